#![allow(clippy::unwrap_used)]

use super::*;
use crate::samples::{NOW, meter};

fn event(json: &str) -> Event<'_> {
    Event::parse(json, NOW).unwrap()
}

const CALL: &str = r#"{"event_id": "e", "customer_id": "c", "event_name": "call",
    "metadata": {"place": "eu", "tokens": 12.50, "cached": true}}"#;

#[test]
fn a_meter_counts_events_of_its_name_that_pass_its_filter_unless_archived() {
    let mut meter = meter(AggregationKind::Count, false);
    assert!(meter.matches(&event(CALL)));
    for (filter, passes) in [("eu", true), ("us", false)] {
        let json = format!(
            r#"{{"conjunction":"and","clauses":[{{"key":"place","operator":"equals","value":"{filter}"}}]}}"#
        );
        meter.filter = Some(Filter::parse(&json, "filter").unwrap());
        assert_eq!(meter.matches(&event(CALL)), passes);
    }
    meter.filter = None;
    meter.archived = true;
    assert!(!meter.matches(&event(CALL)));
    meter.archived = false;
    meter.event_name = "Call".to_owned();
    assert!(!meter.matches(&event(CALL)));
}

#[test]
fn a_group_is_the_canonical_text_of_its_keys_values() {
    let mut meter = meter(AggregationKind::Count, false);
    assert_eq!(meter.group_of(&event(CALL)), Group::none());
    meter.group_by = ["cached", "missing", "tokens", "place"]
        .map(str::to_owned)
        .to_vec();
    let values =
        [Some("true"), None, Some("12.5"), Some("eu")].map(|value| value.map(str::to_owned));
    assert_eq!(meter.group_of(&event(CALL)), Group::of(values));
}

#[test]
fn json_comes_back_and_unknown_aggregations_do_not() {
    let mut meter = meter(AggregationKind::UniqueCount, true);
    let json = r#"{"conjunction":"or","clauses":[{"key":"k","operator":"less_than","value":0.1}]}"#;
    meter.filter = Some(Filter::parse(json, "filter").unwrap());
    let json = serde_json::to_string(&meter).unwrap();
    assert!(
        json.contains(r#""aggregation":{"type":"unique_count","key":"value"}"#),
        "{json}"
    );
    assert_eq!(serde_json::from_str::<Meter>(&json).unwrap(), meter);
    assert!(serde_json::from_str::<Aggregation>(r#"{"type":"avg","key":"k"}"#).is_err());
    let count: Aggregation = serde_json::from_str(r#"{"type":"count","key":null}"#).unwrap();
    assert_eq!(count.check(), Ok(()));
}

#[test]
fn a_definition_that_breaks_a_rule_is_told_by_field() {
    let refused = |change: fn(&mut Meter), field: &str, message: &str| {
        let mut meter = meter(AggregationKind::Sum, false);
        assert_eq!(meter.check(), Ok(()));
        change(&mut meter);
        let error = meter.check().unwrap_err();
        assert_eq!(
            (error.field.as_str(), error.message.as_str()),
            (field, message)
        );
    };
    refused(|meter| meter.name.clear(), "name", "must not be empty");
    refused(
        |meter| meter.event_name = "a\u{0}".to_owned(),
        "event_name",
        "must not contain control characters",
    );
    refused(
        |meter| meter.measurement_unit = "u".repeat(257),
        "measurement_unit",
        "must be at most 256 bytes long, but has 257",
    );
    refused(
        |meter| meter.aggregation.key = None,
        "aggregation.key",
        "is required for every aggregation but count",
    );
    refused(
        |meter| meter.aggregation.key = Some(String::new()),
        "aggregation.key",
        "must have 1 to 100 characters, none of them control characters",
    );
    refused(
        |meter| meter.group_by = ["a", "b", "c", "d", "e", "f"].map(str::to_owned).to_vec(),
        "group_by",
        "must hold at most 5 keys",
    );
    refused(
        |meter| meter.group_by = vec!["a".to_owned(), "a".to_owned()],
        "group_by[1]",
        "must not repeat an earlier key",
    );
}
