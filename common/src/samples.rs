//! What the property tests draw: quantities, events and meters of every kind, and rows to put into
//! frames.

use std::borrow::Cow;

use proptest::prelude::*;
use uuid::Uuid;

use crate::{
    AgentId, Aggregation, AggregationKind, CustomerId, Digest, Event, Frame, FrameHeader, Group,
    Meter, MeterId, Partial, Quantity, Receipts, Row, Timestamp, Value, Window,
    protocol::{Reach, events_by_meter},
};

pub(crate) const KINDS: [AggregationKind; 6] = [
    AggregationKind::Count,
    AggregationKind::Sum,
    AggregationKind::Max,
    AggregationKind::Min,
    AggregationKind::Last,
    AggregationKind::UniqueCount,
];

/// 2026-01-31T12:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_micros(1_769_860_800_000_000);

pub(crate) fn number(text: &str) -> Quantity {
    Quantity::parse(text).unwrap()
}

/// Any quantity that an event may hold: 30 digits before and 36 after the point.
pub(crate) fn any_quantity() -> impl Strategy<Value = Quantity> {
    let long = ("-?", "[0-9]{1,30}", "[0-9]{0,36}").prop_map(|(sign, whole, fraction)| {
        let point = if fraction.is_empty() { "" } else { "." };
        number(&format!("{sign}{whole}{point}{fraction}"))
    });
    let short = any::<i32>().prop_map(|value| Quantity::from_i64(i64::from(value)));
    let price =
        (any::<i32>(), 0..12u32).prop_map(|(value, scale)| number(&format!("{value}e-{scale}")));
    prop_oneof![long, short, price]
}

pub(crate) fn any_kind() -> impl Strategy<Value = AggregationKind> {
    prop::sample::select(&KINDS[..])
}

/// Values that meet each other: equal ones of several spellings and kinds come up often.
pub(crate) fn any_value() -> impl Strategy<Value = Value<'static>> {
    prop_oneof![
        (-3i64..4).prop_map(|value| Value::Number(Quantity::from_i64(value))),
        any_quantity().prop_map(Value::Number),
        "-?[0-3](\\.[05]0?)?".prop_map(|text| Value::String(Cow::Owned(text))),
        "\\PC{0,12}".prop_map(|text| Value::String(Cow::Owned(text))),
        any::<bool>().prop_map(Value::Bool),
    ]
}

/// Events of three customers within a few minutes, so that they share windows and sometimes times.
pub(crate) fn any_events(max: usize) -> impl Strategy<Value = Vec<Event<'static>>> {
    let event = (
        0..3u8,
        0..5i64,
        0..3i64,
        prop::option::of(any_value()),
        prop::option::of(any_value()),
    );
    prop::collection::vec(event, 0..max).prop_map(|drawn| {
        let events = drawn.into_iter().enumerate();
        events
            .map(|(index, (customer, minute, second, value, place))| {
                let mut metadata = Vec::new();
                metadata.extend(place.map(|place| (Cow::Borrowed("place"), place)));
                metadata.extend(value.map(|value| (Cow::Borrowed("value"), value)));
                Event {
                    event_id: Cow::Owned(format!("evt_{index}")),
                    customer_id: Cow::Owned(format!("customer {customer}")),
                    event_name: Cow::Borrowed("call"),
                    timestamp: Timestamp::from_micros(
                        NOW.as_micros() + (minute * 60 + second) * 1_000_000,
                    ),
                    timestamp_given: true,
                    metadata,
                }
            })
            .collect()
    })
}

pub(crate) fn aggregation(kind: AggregationKind) -> Aggregation {
    Aggregation {
        kind,
        key: (kind != AggregationKind::Count).then(|| "value".to_owned()),
    }
}

/// A meter of one kind that groups by `place`, or does not group.
pub(crate) fn meter(kind: AggregationKind, grouped: bool) -> Meter {
    Meter {
        id: MeterId::new(format!("mtr_{kind:?}_{grouped}")).unwrap(),
        name: "Calls".to_owned(),
        description: None,
        event_name: "call".to_owned(),
        measurement_unit: "calls".to_owned(),
        aggregation: aggregation(kind),
        filter: None,
        group_by: if grouped {
            vec!["place".to_owned()]
        } else {
            Vec::new()
        },
        archived: false,
        created_at: NOW,
        updated_at: NOW,
    }
}

/// The partial of these events.
pub(crate) fn observed<'e>(
    aggregation: &Aggregation,
    events: impl IntoIterator<Item = &'e Event<'static>>,
) -> Partial {
    let mut partial = Partial::identity(aggregation.kind);
    for event in events {
        partial.observe(aggregation, event).unwrap();
    }
    partial
}

pub(crate) fn any_partial(kind: AggregationKind) -> impl Strategy<Value = Partial> {
    any_events(12).prop_map(move |events| observed(&aggregation(kind), &events))
}

pub(crate) fn header(rows: &[Row]) -> FrameHeader {
    FrameHeader {
        agent_id: AgentId::new(Uuid::from_u128(0x1234_5678_9abc_def0)),
        epoch: 3,
        seq: 7,
        previous: Digest::of(b"before"),
        sealed_at: NOW,
        watermark: NOW.truncate_to_minute(),
        farewell: false,
        catalog_version: 5,
        receipts: Receipts {
            received: 10,
            accepted: 10,
            matched: 9,
            unmatched: 1,
            ..Receipts::default()
        },
        reach: Reach {
            record: 300,
            whole: true,
            backfilling: false,
        },
        meter_events: events_by_meter(rows).unwrap(),
    }
}

pub(crate) fn frame(rows: Vec<Row>) -> Frame {
    Frame {
        header: header(&rows),
        rows,
    }
}

pub(crate) fn row(customer: &str, meter: &str, group: Group, minute: i32, partial: Partial) -> Row {
    Row {
        customer_id: CustomerId::new(customer).unwrap(),
        meter_id: MeterId::new(meter).unwrap(),
        group,
        window: Window::from_minute(minute),
        partial,
    }
}

/// One frame with a row of every aggregation, two groups, the rest, and two windows.
pub(crate) fn sample_frame() -> Frame {
    let event = |id: &'static str, value: Value<'static>| Event {
        event_id: Cow::Borrowed(id),
        customer_id: Cow::Borrowed("acme"),
        event_name: Cow::Borrowed("call"),
        timestamp: NOW,
        timestamp_given: true,
        metadata: vec![(Cow::Borrowed("value"), value)],
    };
    let events = [
        event("evt_1", Value::Number(number("12.5"))),
        event("evt_2", Value::String(Cow::Borrowed("-0.001"))),
        event("evt_3", Value::Bool(true)),
    ];
    let minute = NOW.window().minute();
    let mut rows: Vec<Row> = KINDS
        .into_iter()
        .map(|kind| {
            let partial = observed(&aggregation(kind), &events);
            row(
                "acme",
                &format!("mtr_{kind:?}"),
                Group::none(),
                minute,
                partial,
            )
        })
        .collect();
    let count = observed(&aggregation(AggregationKind::Count), &events);
    let group = Group::of([Some("eu".to_owned()), None]);
    rows.push(row("bolt", "mtr_Count", group, minute - 1, count.clone()));
    rows.push(row("bolt", "mtr_Count", Group::other(), minute, count));
    rows.sort_by_key(|row| {
        (
            row.customer_id.clone(),
            row.meter_id.clone(),
            row.group.clone(),
            row.window,
        )
    });
    frame(rows)
}
