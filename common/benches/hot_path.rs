//! What an event costs on its way through the vocabulary: read, filtered, counted, encoded; and
//! what a row costs in a frame.
#![allow(clippy::unwrap_used, missing_docs)]

use divan::{Bencher, black_box, counter::BytesCount, counter::ItemsCount};
use submeter_common::{
    AgentId, Aggregation, AggregationKind, CustomerId, Digest, Event, Filter, Frame, FrameHeader,
    Group, Horizon, MeterId, Partial, Quantity, Receipts, Row, State, Timestamp, Window,
    decode_frame, encode_frame,
    protocol::{Reach, events_by_meter},
    read_batch,
};

const EVENTS: usize = 1000;
const NOW: Timestamp = Timestamp::from_micros(1_769_860_800_000_000);

fn main() {
    divan::main();
}

/// A request of the usual kind: an LLM call with a few properties.
fn request() -> String {
    let events: Vec<String> = (0..EVENTS)
        .map(|n| {
            format!(
                r#"{{"event_id":"evt_01HZX4T9{n:08}","customer_id":"customer_{:04}","event_name":"llm.call","timestamp":"2026-01-31T11:59:{:02}.125Z","metadata":{{"model":"gpt-4-turbo","context_tokens":{},"generated_tokens":{},"cost":0.00{},"cached":false}}}}"#,
                n % 50,
                n % 60,
                n * 7,
                n * 3,
                n + 1,
            )
        })
        .collect();
    format!(r#"{{"events":[{}]}}"#, events.join(","))
}

fn events(body: &str) -> Vec<Event<'_>> {
    let mut events = Vec::new();
    read_batch(body.as_bytes(), NOW, &Horizon::default(), |event| {
        events.push(event.clone());
    })
    .unwrap();
    events
}

#[divan::bench]
fn read_a_batch(bencher: Bencher<'_, '_>) {
    let body = request();
    bencher
        .counter(BytesCount::of_str(&body))
        .counter(ItemsCount::new(EVENTS))
        .bench(|| {
            read_batch(black_box(body.as_bytes()), NOW, &Horizon::default(), |_| {}).unwrap()
        });
}

#[divan::bench]
fn encode_for_the_journal(bencher: Bencher<'_, '_>) {
    let body = request();
    let events = events(&body);
    let mut out = Vec::new();
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        out.clear();
        for event in &events {
            event.encode(&mut out);
        }
        out.len()
    });
}

#[divan::bench]
fn decode_from_the_journal(bencher: Bencher<'_, '_>) {
    let body = request();
    let records: Vec<Vec<u8>> = events(&body)
        .iter()
        .map(|event| {
            let mut out = Vec::new();
            event.encode(&mut out);
            out
        })
        .collect();
    bencher.counter(ItemsCount::new(EVENTS)).bench(|| {
        records
            .iter()
            .map(|record| Event::decode(record).unwrap().metadata.len())
            .sum::<usize>()
    });
}

#[divan::bench]
fn filter_and_sum(bencher: Bencher<'_, '_>) {
    let body = request();
    let events = events(&body);
    let filter = r#"{"conjunction":"and","clauses":[
        {"key":"model","operator":"contains","value":"gpt-4"},
        {"key":"context_tokens","operator":"greater_than","value":100}]}"#;
    let filter = Filter::parse(filter, "filter").unwrap();
    let aggregation = Aggregation {
        kind: AggregationKind::Sum,
        key: Some("context_tokens".to_owned()),
    };
    bencher.counter(ItemsCount::new(EVENTS)).bench(|| {
        let mut partial = Partial::identity(AggregationKind::Sum);
        for event in events.iter().filter(|event| filter.matches(event)) {
            partial.observe(&aggregation, event).unwrap();
        }
        partial
    });
}

const ROWS: i32 = 20_000;

fn frame() -> Frame {
    let rows: Vec<Row> = (0..ROWS)
        .map(|n| Row {
            customer_id: CustomerId::new(format!("customer_{:04}", n / 40)).unwrap(),
            meter_id: MeterId::new("mtr_tokens").unwrap(),
            group: Group::none(),
            window: Window::from_minute(29_497_680 + n % 40),
            partial: Partial {
                events: 3,
                non_numeric: 0,
                state: State::Sum(Quantity::from_i64(i64::from(n) * 13)),
            },
        })
        .collect();
    let header = FrameHeader {
        agent_id: AgentId::from_bytes([7; 16]),
        epoch: 1,
        seq: 1,
        previous: Digest::ZERO,
        sealed_at: NOW,
        watermark: NOW,
        farewell: false,
        catalog_version: 1,
        receipts: Receipts::default(),
        reach: Reach::default(),
        meter_events: events_by_meter(&rows).unwrap(),
    };
    Frame { header, rows }
}

#[divan::bench]
fn freeze_a_frame(bencher: Bencher<'_, '_>) {
    let frame = frame();
    bencher
        .counter(ItemsCount::new(frame.rows.len()))
        .bench(|| encode_frame(&frame).unwrap().0.len());
}

#[divan::bench]
fn read_a_frame(bencher: Bencher<'_, '_>) {
    let (bytes, _) = encode_frame(&frame()).unwrap();
    bencher
        .counter(ItemsCount::new(frame().rows.len()))
        .bench(|| decode_frame(black_box(&bytes)).unwrap().0.rows.len());
}
