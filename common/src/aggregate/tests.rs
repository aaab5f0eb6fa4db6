#![allow(clippy::unwrap_used)]

use std::{borrow::Cow, collections::BTreeMap};

use bincode::config;
use proptest::prelude::*;

use super::*;
use crate::{
    CustomerId, Meter, MeterId, Row, Value, Window, decode_frame, encode_frame,
    samples::{
        KINDS, NOW, aggregation, any_events, any_kind, any_partial, frame, meter, number, observed,
    },
};

fn event(id: &'static str, second: i64, value: Option<Value<'static>>) -> Event<'static> {
    Event {
        event_id: Cow::Borrowed(id),
        customer_id: Cow::Borrowed("acme"),
        event_name: Cow::Borrowed("call"),
        timestamp: crate::Timestamp::from_micros(NOW.as_micros() + second * 1_000_000),
        timestamp_given: true,
        metadata: value
            .map(|value| (Cow::Borrowed("value"), value))
            .into_iter()
            .collect(),
    }
}

fn text(text: &'static str) -> Option<Value<'static>> {
    Some(Value::String(Cow::Borrowed(text)))
}

fn check(kind: AggregationKind, events: &[Event<'static>], value: &str, non_numeric: u64) {
    let partial = observed(&aggregation(kind), events);
    assert_eq!(partial.value(), number(value), "{kind:?}");
    assert_eq!(partial.non_numeric, non_numeric, "{kind:?}");
    assert_eq!(partial.events, events.len() as u64);
}

#[test]
fn each_aggregation_reduces_the_same_events_its_own_way() {
    let events = [
        event("a", 0, Some(Value::Number(number("2.5")))),
        event("b", 9, text("-1.0")),
        event("c", 5, Some(Value::Number(number("2.50")))),
        event("d", 99, text("many")),
        event("e", 99, text("1e3")),
        event("f", 99, Some(Value::Bool(true))),
        event("g", 99, None),
    ];
    check(AggregationKind::Count, &events, "7", 0);
    check(AggregationKind::Sum, &events, "4", 4);
    check(AggregationKind::Max, &events, "2.5", 4);
    check(AggregationKind::Min, &events, "-1", 4);
    check(AggregationKind::Last, &events, "-1", 4);
    // 2.5 however spelled, "-1.0", "many", "1e3", true; only the missing key contributes nothing.
    check(AggregationKind::UniqueCount, &events, "5", 1);
}

#[test]
fn nothing_observed_is_zero_and_says_so() {
    for kind in KINDS {
        let partial = Partial::identity(kind);
        assert_eq!(
            (partial.value(), partial.has_value(), partial.kind()),
            (Quantity::ZERO, false, kind)
        );
        let with_nothing = observed(&aggregation(kind), &[event("a", 0, None)]);
        assert_eq!(with_nothing.has_value(), kind == AggregationKind::Count);
    }
}

#[test]
fn last_is_by_event_time_and_then_by_event_id() {
    let one = |id, second, value: &str| event(id, second, Some(Value::Number(number(value))));
    check(
        AggregationKind::Last,
        &[one("a", 2, "1"), one("b", 1, "2")],
        "1",
        0,
    );
    check(
        AggregationKind::Last,
        &[one("b", 1, "2"), one("a", 1, "1")],
        "2",
        0,
    );
    check(
        AggregationKind::Last,
        &[one("a", 1, "1"), one("b", 1, "2")],
        "2",
        0,
    );
}

#[test]
fn a_look_alike_string_is_another_value() {
    let events = [
        event("a", 0, Some(Value::Number(number("7")))),
        event("b", 0, text("7")),
        event("c", 0, text("007")),
        event("d", 0, Some(Value::Bool(true))),
        event("e", 0, text("true")),
    ];
    check(AggregationKind::UniqueCount, &events, "5", 0);
}

#[test]
fn fingerprints_are_frozen() {
    let hex = |value: Value<'_>| -> String {
        Fingerprint::of(&value)
            .as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    };
    let values = [
        Value::String(Cow::Borrowed("gpt-4")),
        Value::Number(number("12.5")),
        Value::Bool(true),
    ];
    // BLAKE3 of "s" + the text, of "n" + the mantissa, of "b" + 0 or 1; cut to 128 bits.
    assert_eq!(
        values.map(hex),
        [
            "3493695fee15d24af52d8198c8fddc67",
            "019c13416ae64bf67c2db2e400e1d893",
            "e5a2256c896dd62757ad0c520be95789",
        ]
    );
}

#[test]
fn an_error_changes_nothing() {
    let huge = number("999999999999999999999999999999");
    let mut full = observed(
        &aggregation(AggregationKind::Sum),
        &[event("a", 0, Some(Value::Number(huge)))],
    );
    while let State::Sum(total) = full.state.clone()
        && let Some(doubled) = total.checked_add(total)
    {
        full.state = State::Sum(doubled);
    }
    let before = full.clone();
    assert_eq!(full.merge(&before), Err(AggregateError::Overflow));
    assert_eq!(full, before);
    let more = Value::Number(full.value());
    assert_eq!(
        full.observe(
            &aggregation(AggregationKind::Sum),
            &event("b", 0, Some(more))
        ),
        Err(AggregateError::Overflow)
    );
    assert_eq!(full, before);

    let mut countless = Partial {
        events: u64::MAX,
        ..Partial::identity(AggregationKind::Count)
    };
    let before = countless.clone();
    assert_eq!(
        countless.merge(&observed(
            &aggregation(AggregationKind::Count),
            &[event("a", 0, None)]
        )),
        Err(AggregateError::Overflow)
    );
    assert_eq!(
        countless.observe(&aggregation(AggregationKind::Count), &event("a", 0, None)),
        Err(AggregateError::Overflow)
    );
    assert_eq!(countless, before);

    for (left, right) in KINDS
        .into_iter()
        .flat_map(|left| KINDS.map(|right| (left, right)))
    {
        let mut partial = Partial::identity(left);
        let merged = partial.merge(&Partial::identity(right));
        let expected = if left == right {
            Ok(())
        } else {
            Err(AggregateError::KindMismatch {
                expected: left,
                found: right,
            })
        };
        assert_eq!(merged, expected);
        assert_eq!(
            partial.observe(&aggregation(right), &event("a", 0, None)),
            expected
        );
    }
}

fn merged<'p>(kind: AggregationKind, parts: impl IntoIterator<Item = &'p Partial>) -> Partial {
    let mut total = Partial::identity(kind);
    for part in parts {
        total.merge(part).unwrap();
    }
    total
}

fn any_three() -> impl Strategy<Value = (Partial, Partial, Partial)> {
    any_kind().prop_flat_map(|kind| (any_partial(kind), any_partial(kind), any_partial(kind)))
}

type Key = (CustomerId, MeterId, Group, Window);

/// Usage by key, straight from the events.
fn counted_at_once(events: &[Event<'static>], meters: &[Meter]) -> BTreeMap<Key, Partial> {
    let mut usage = BTreeMap::new();
    for (event, meter) in events
        .iter()
        .flat_map(|event| meters.iter().map(move |meter| (event, meter)))
    {
        let customer = CustomerId::new(event.customer_id.as_ref()).unwrap();
        let key = (
            customer,
            meter.id.clone(),
            meter.group_of(event),
            event.timestamp.window(),
        );
        let partial = usage
            .entry(key)
            .or_insert_with(|| Partial::identity(meter.aggregation.kind));
        partial.observe(&meter.aggregation, event).unwrap();
    }
    usage
}

proptest! {
    #[test]
    fn merge_is_associative_and_commutative_and_has_an_identity((a, b, c) in any_three()) {
        let kind = a.kind();
        let left = merged(kind, [&merged(kind, [&a, &b]), &c]);
        let right = merged(kind, [&a, &merged(kind, [&b, &c])]);
        prop_assert_eq!(&left, &right);
        prop_assert_eq!(left, merged(kind, [&c, &b, &a]));
        let mut identity_last = a.clone();
        identity_last.merge(&Partial::identity(kind)).unwrap();
        prop_assert_eq!(&identity_last, &a);
        prop_assert_eq!(merged(kind, [&a]), a);
    }

    #[test]
    fn observing_in_any_order_is_the_same(kind in any_kind(), events in any_events(20), seed in any::<u64>()) {
        let shuffled = shuffled(&events, seed);
        let aggregation = aggregation(kind);
        prop_assert_eq!(observed(&aggregation, &events), observed(&aggregation, &shuffled));
    }

    #[test]
    fn bytes_come_back(partial in any_kind().prop_flat_map(any_partial)) {
        let bytes = bincode::encode_to_vec(&partial, config::standard()).unwrap();
        let (decoded, read): (Partial, usize) = bincode::decode_from_slice(&bytes, config::standard()).unwrap();
        prop_assert_eq!((decoded, read), (partial, bytes.len()));
    }

    /// The law that billing stands on: however the same events are spread over agents and frames, in
    /// whatever order the frames come, the merged windows are those of counting all at once; and
    /// windows merged to periods are the periods of all events.
    #[test]
    fn any_split_over_agents_windows_and_frames_merges_to_the_same_result(
        events in any_events(40),
        places in prop::collection::vec(0..9usize, 40),
        grouped in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let meters = KINDS.map(|kind| meter(kind, grouped));
        let at_once = counted_at_once(&events, &meters);

        // Three agents with three frames each.
        let mut parts = vec![Vec::new(); 9];
        for (event, place) in shuffled(&events, seed).into_iter().zip(places) {
            parts[place].push(event);
        }
        let frames = parts.iter().map(|part| {
            let rows = counted_at_once(part, &meters).into_iter().map(|((customer_id, meter_id, group, window), partial)| {
                Row { customer_id, meter_id, group, window, partial }
            });
            encode_frame(&frame(rows.collect())).unwrap().0
        });
        let frames: Vec<Vec<u8>> = shuffled(&frames.collect::<Vec<_>>(), seed);

        let mut usage: BTreeMap<Key, Partial> = BTreeMap::new();
        for bytes in &frames {
            for row in decode_frame(bytes).unwrap().0.rows {
                let kind = row.partial.kind();
                let key = (row.customer_id, row.meter_id, row.group, row.window);
                usage.entry(key).or_insert_with(|| Partial::identity(kind)).merge(&row.partial).unwrap();
            }
        }
        prop_assert_eq!(&usage, &at_once);

        for meter in &meters {
            let kind = meter.aggregation.kind;
            let windows = usage.iter().filter(|(key, _)| key.1 == meter.id).map(|(_, partial)| partial);
            prop_assert_eq!(merged(kind, windows), observed(&meter.aggregation, &events));
        }
    }
}

/// An order that the seed decides.
fn shuffled<T: Clone>(items: &[T], seed: u64) -> Vec<T> {
    let mut keyed: Vec<(crate::Digest, T)> = items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            (
                crate::Digest::of(format!("{seed} {index}").as_bytes()),
                item.clone(),
            )
        })
        .collect();
    keyed.sort_by_key(|(digest, _)| *digest);
    keyed.into_iter().map(|(_, item)| item).collect()
}
