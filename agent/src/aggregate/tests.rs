//! Open partials: one per key, split when one cannot take more.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::borrow::Cow;

use submeter_common::event::{Event, Value};
use submeter_common::id::MeterId;
use submeter_common::meter::{Aggregation, AggregationKind, Meter};
use submeter_common::quantity::Quantity;
use submeter_common::time::Timestamp;

use super::{Account, MeterIndex, OpenPartials};

fn meter(id: &str, event_name: &str, kind: AggregationKind) -> Meter {
    let now = Timestamp::from_micros(0);
    Meter {
        id: MeterId::new(id).unwrap(),
        name: id.to_owned(),
        description: None,
        event_name: event_name.to_owned(),
        measurement_unit: "units".to_owned(),
        aggregation: Aggregation {
            kind,
            key: Some("n".to_owned()),
        },
        filter: None,
        group_by: Vec::new(),
        archived: false,
        created_at: now,
        updated_at: now,
    }
}

fn event(name: &'static str, n: Value<'static>) -> Event<'static> {
    Event {
        event_id: Cow::Borrowed("e"),
        customer_id: Cow::Borrowed("c"),
        event_name: Cow::Borrowed(name),
        timestamp: Timestamp::from_micros(0),
        timestamp_given: true,
        metadata: vec![(Cow::Borrowed("n"), n)],
    }
}

#[test]
fn an_event_goes_to_the_meters_of_its_name() {
    let mut index = MeterIndex::default();
    let mut archived = meter("archived", "a", AggregationKind::Count);
    archived.archived = true;
    index.replace(&[
        meter("one", "a", AggregationKind::Count),
        meter("two", "b", AggregationKind::Count),
        meter("three", "a", AggregationKind::Sum),
        archived,
    ]);
    let event = event("a", Value::Bool(true));
    let ids: Vec<&str> = index
        .matching(&event)
        .map(|m| m.meter.id.as_str())
        .collect();
    assert_eq!(ids, ["one", "three"]);
}

#[test]
fn a_slot_outlives_its_meter() {
    let mut index = MeterIndex::default();
    index.replace(&[meter("one", "a", AggregationKind::Count)]);
    let slot = index.slot(&MeterId::new("one").unwrap());
    index.replace(&[meter("two", "a", AggregationKind::Count)]);
    assert_eq!(index.id(slot.meter).as_str(), "one");
    assert_ne!(index.slot(&MeterId::new("two").unwrap()), slot);
}

#[test]
fn a_total_that_would_overflow_goes_on_in_a_further_part() {
    let mut index = MeterIndex::default();
    index.replace(&[meter("sum", "a", AggregationKind::Sum)]);
    let digits = "9".repeat(30);
    let huge = event("a", Value::Number(Quantity::parse(&digits).unwrap()));
    let metered = index.matching(&huge).next().unwrap().clone();
    let mut open = OpenPartials::new(10);
    open.observe(&metered, &huge, &mut Account::default())
        .unwrap();
    // Doubling a stored partial reaches the end of 256 bits in a few steps.
    for _ in 0..60 {
        let taken: Vec<_> = open
            .dirty()
            .map(|o| (o.customer.clone(), o.partial.clone()))
            .collect();
        for (customer, partial) in taken {
            let window = Timestamp::from_micros(0).window();
            let group = submeter_common::aggregate::Group::none();
            open.merge(metered.slot, &customer, window, group, &partial)
                .unwrap();
        }
        if open.len() > 1 {
            break;
        }
    }
    let mut parts: Vec<u16> = open.dirty().map(|open| open.part).collect();
    parts.sort_unstable();
    assert_eq!(parts, [0, 1]);
}

#[test]
fn a_set_that_grows_large_goes_on_in_a_further_part() {
    let mut index = MeterIndex::default();
    index.replace(&[meter("unique", "a", AggregationKind::UniqueCount)]);
    let mut open = OpenPartials::new(10);
    let mut events = 0;
    while open.len() < 3 {
        events += 1;
        let event = event("a", Value::Number(Quantity::from_u64(events)));
        let metered = index.matching(&event).next().unwrap();
        open.observe(metered, &event, &mut Account::default())
            .unwrap();
    }
    let taken = open.take();
    assert_eq!(
        taken.iter().map(|open| open.partial.events).sum::<u64>(),
        events
    );
    assert!(
        taken
            .iter()
            .all(|open| open.partial.heap_bytes() <= 2 * 1024 * 1024)
    );
    assert_eq!(open.len(), 0);
}

#[test]
fn the_texts_of_keys_count_as_memory() {
    let mut index = MeterIndex::default();
    let mut grouped = meter("grouped", "a", AggregationKind::Count);
    grouped.group_by = vec!["n".to_owned()];
    index.replace(&[grouped]);
    let mut open = OpenPartials::new(1000);
    for number in 0..100 {
        let value = format!("{number:0>500}");
        let event = event("a", Value::String(Cow::Owned(value)));
        let metered = index.matching(&event).next().unwrap();
        open.observe(metered, &event, &mut Account::default())
            .unwrap();
    }
    assert!(open.heap_bytes() >= 100 * 500, "{}", open.heap_bytes());
    open.take();
    assert_eq!(open.heap_bytes(), 0);
}
