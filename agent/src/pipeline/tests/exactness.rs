//! Whatever happens in whatever order, the collector's totals are those of a plain loop over the accepted events.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use submeter_common::aggregate::Group;
use submeter_common::event::{Event, Value};
use submeter_common::meter::{AggregationKind, Meter};
use submeter_common::quantity::Quantity;
use submeter_common::time::Timestamp;

use super::collector::{Collector, Key, collect};
use super::kit::{Kit, catalog, event, grouped, meter, seconds, submit};
use crate::pipeline::{EventOutcome, Pipeline, SealReason};

/// The truth: a list of accepted events and loops over it. It shares no code with what it checks.
#[derive(Default)]
struct Model {
    accepted: Vec<Event<'static>>,
    by_id: HashMap<String, i64>,
    duplicates: u64,
    conflicts: u64,
}

impl Model {
    fn submit(&mut self, events: &[Event<'static>]) -> Vec<EventOutcome> {
        events.iter().map(|event| self.one(event)).collect()
    }

    fn one(&mut self, event: &Event<'static>) -> EventOutcome {
        let tokens = tokens_of(event);
        match self.by_id.get(&*event.event_id) {
            Some(seen) if *seen == tokens => {
                self.duplicates += 1;
                EventOutcome::Duplicate
            }
            Some(_) => {
                self.conflicts += 1;
                EventOutcome::Conflict
            }
            None => {
                self.by_id.insert(event.event_id.to_string(), tokens);
                self.accepted.push(event.clone());
                EventOutcome::Accepted
            }
        }
    }

    fn totals(&self, meters: &[Meter]) -> BTreeMap<Key, (Quantity, u64)> {
        let mut values: BTreeMap<Key, Vec<(Timestamp, String, i64)>> = BTreeMap::new();
        for meter in meters {
            for event in &self.accepted {
                let tokens = tokens_of(event);
                let group = if meter.group_by.is_empty() {
                    Group::none()
                } else {
                    Group::of([Some(
                        if tokens % 2 == 0 { "even" } else { "odd" }.to_owned(),
                    )])
                };
                let key = (event.customer_id.to_string(), meter.id.to_string(), group);
                let value = (event.timestamp, event.event_id.to_string(), tokens);
                values.entry(key).or_default().push(value);
            }
        }
        let kinds: HashMap<String, AggregationKind> = meters
            .iter()
            .map(|meter| (meter.id.to_string(), meter.aggregation.kind))
            .collect();
        values
            .into_iter()
            .map(|(key, values)| {
                let total = total(kinds[&key.1], &values);
                (key, (Quantity::from_i64(total), values.len() as u64))
            })
            .collect()
    }
}

fn total(kind: AggregationKind, values: &[(Timestamp, String, i64)]) -> i64 {
    let tokens = || values.iter().map(|(_, _, tokens)| *tokens);
    match kind {
        AggregationKind::Count => i64::try_from(values.len()).unwrap(),
        AggregationKind::Sum => tokens().sum(),
        AggregationKind::Max => tokens().max().unwrap(),
        AggregationKind::Min => tokens().min().unwrap(),
        AggregationKind::Last => values.iter().max().unwrap().2,
        AggregationKind::UniqueCount => {
            i64::try_from(tokens().collect::<BTreeSet<_>>().len()).unwrap()
        }
    }
}

fn tokens_of(event: &Event<'_>) -> i64 {
    match event.get("tokens") {
        Some(Value::Number(number)) => number.to_string().parse().unwrap(),
        other => panic!("tokens are a number, found {other:?}"),
    }
}

fn all_meters() -> Vec<Meter> {
    vec![
        meter(AggregationKind::Count),
        meter(AggregationKind::Sum),
        meter(AggregationKind::Max),
        meter(AggregationKind::Min),
        meter(AggregationKind::Last),
        meter(AggregationKind::UniqueCount),
        grouped(AggregationKind::Sum),
        grouped(AggregationKind::Count),
    ]
}

/// Budgets small enough that every path is taken: many checkpoints, spills, frames and generations.
fn squeeze(kit: &mut Kit, random: &mut fastrand::Rng) {
    kit.config.checkpoint_bytes_max = *random.choice(&[1, 2_000, 1 << 30]).unwrap();
    kit.config.open_partials_in_memory_max = *random.choice(&[5, 60, 100_000]).unwrap();
    kit.config.frame_rows_max = *random.choice(&[7, 50, 20_000]).unwrap();
    kit.config.dedup_generation_ids_max = *random.choice(&[10, 100, 229_376]).unwrap();
    kit.config.groups_per_meter_max = 100;
}

/// Events of which some are retries, some conflicts, and some twice in the same request.
fn draw(random: &mut fastrand::Rng, now: Timestamp, next_id: &mut u64) -> Vec<Event<'static>> {
    let count = random.usize(1..30);
    let mut events: Vec<Event<'static>> = Vec::new();
    for _ in 0..count {
        let old = *next_id > 0 && random.f32() < 0.2;
        let id = if old {
            random.u64(0..*next_id)
        } else {
            *next_id
        };
        *next_id += u64::from(!old);
        // Everything but the id follows from the id, but for a conflict.
        let mut of_id = fastrand::Rng::with_seed(id);
        let age = seconds(of_id.u64(0..600));
        let base = super::kit::at("2026-01-10T12:00:00Z");
        let tokens = of_id.i64(-50..1000) + i64::from(random.f32() < 0.05);
        let customer = format!("cus_{}", of_id.u8(0..6));
        assert!(base <= now);
        events.push(event(
            format!("evt_{id}"),
            customer,
            base.saturating_sub(age),
            tokens,
        ));
    }
    events
}

async fn story(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut kit = Kit::new();
    squeeze(&mut kit, &mut random);
    let meters = all_meters();
    let mut known = random.usize(0..meters.len());
    let mut model = Model::default();
    let mut collector = Collector::default();
    let mut next_id = 0;
    let mut pipeline = kit.open();
    pipeline
        .set_catalog(catalog(1, &meters[..known]))
        .await
        .unwrap();
    for _ in 0..random.usize(10..60) {
        match random.u8(0..20) {
            0..10 => {
                let events = draw(&mut random, kit.now(), &mut next_id);
                let expected = model.submit(&events);
                assert_eq!(
                    submit(&pipeline, &events).await.unwrap(),
                    expected,
                    "seed {seed}"
                );
            }
            10..12 => drop(pipeline.seal(SealReason::Interval).await.unwrap()),
            12 => drop(pipeline.seal(SealReason::Requested).await.unwrap()),
            13..15 => drop(collector.drain(&pipeline.outbox())),
            15 => {
                let seq = random.u64(1..=pipeline.outbox().sealed().seq.max(1));
                pipeline.outbox().rewind(seq).unwrap();
            }
            16 => {
                known = (known + 1).min(meters.len());
                let version = 1 + known as u64;
                pipeline
                    .set_catalog(catalog(version, &meters[..known]))
                    .await
                    .unwrap();
            }
            17 => kit.clock.advance(seconds(random.u64(0..40))),
            18 => {
                pipeline.stop().await.unwrap();
                drop(pipeline);
                pipeline = kit.open();
            }
            _ => pipeline = crash(&kit, pipeline),
        }
    }
    pipeline.set_catalog(catalog(100, &meters)).await.unwrap();
    if random.bool() {
        pipeline = crash(&kit, pipeline);
    }
    collect(&pipeline, &mut collector).await;
    assert_eq!(collector.totals(), model.totals(&meters), "seed {seed}");
    let receipts = &collector.newest().receipts;
    assert_eq!(
        receipts.accepted,
        model.accepted.len() as u64,
        "seed {seed}"
    );
    assert!(receipts.duplicate <= model.duplicates && receipts.conflict <= model.conflicts);
    check_status(&pipeline);
}

fn check_status(pipeline: &Pipeline) {
    let status = pipeline.status();
    assert_eq!(
        (
            status.at_risk_events,
            status.outbox_frames,
            status.open_partials
        ),
        (0, 0, 0)
    );
    assert_eq!(status.quarantined, 0);
    assert!(status.receipts.is_conserved());
}

/// Everything the threads had not finished is gone, as after `kill -9`.
fn crash(kit: &Kit, pipeline: Pipeline) -> Pipeline {
    drop(pipeline);
    kit.open()
}

#[tokio::test]
async fn totals_are_exact_over_random_crashes_seals_and_catalogs() {
    let first = std::env::var("SUBMETER_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let (first, count) = first.map_or((1, 24), |seed: u64| (seed, 1));
    for seed in first..first + count {
        story(seed).await;
    }
}
