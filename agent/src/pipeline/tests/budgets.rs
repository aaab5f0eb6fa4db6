//! What happens at each limit: refused before anything is full, or folded, never lost.

use std::time::Duration;

use submeter_common::id::MeterId;
use submeter_common::meter::AggregationKind;
use submeter_common::protocol::decode_frame;
use submeter_common::quantity::Quantity;

use super::collector::{Collector, collect};
use super::kit::{Kit, catalog, event, grouped, meter, seconds, submit};
use crate::pipeline::{EventQuery, Health, OpenError, RefusalReason, SealReason, SubmitError};

#[tokio::test]
async fn the_journal_is_reclaimed_by_age_when_nothing_arrives() {
    let mut kit = Kit::new();
    kit.config.checkpoint_interval = Duration::from_millis(10);
    let pipeline = kit.open();
    submit(&pipeline, &[event("a", "cus", kit.now(), 1)])
        .await
        .unwrap();
    assert!(pipeline.event("a").unwrap().is_some());
    kit.clock.advance(seconds(25 * 3600));
    for attempt in 0.. {
        if pipeline.status().journal_bytes == 0 {
            break;
        }
        assert!(attempt < 200, "an idle agent reclaims, too");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(pipeline.event("a").unwrap(), None);
    drop(pipeline);
    let pipeline = kit.open();
    assert_eq!(pipeline.status().receipts.accepted, 1);
    // Record numbers go on, so that nothing is replayed or overwritten.
    submit(&pipeline, &[event("b", "cus", kit.now(), 1)])
        .await
        .unwrap();
    assert_eq!(pipeline.status().journal_seq, 2);
}

#[tokio::test]
async fn the_journal_is_reclaimed_by_bytes_but_never_before_a_checkpoint() {
    let mut kit = Kit::new();
    kit.config.journal_bytes_max = 6400;
    let pipeline = kit.open();
    for id in 0..400 {
        submit(
            &pipeline,
            &[event(format!("evt_{id}"), "cus", kit.now(), 1)],
        )
        .await
        .unwrap();
    }
    let uncovered = pipeline.status().journal_bytes;
    assert!(uncovered > 12_800, "no checkpoint, no reclaim: {uncovered}");
    pipeline.seal(SealReason::Requested).await.unwrap();
    for attempt in 0.. {
        if pipeline.status().journal_bytes <= 6400 {
            break;
        }
        assert!(attempt < 200, "a checkpoint allows the reclaim");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let everything = EventQuery {
        limit: 1000,
        ..EventQuery::default()
    };
    let left = pipeline.events(&everything).unwrap();
    assert!(!left.is_empty() && left.len() < 200);
    assert_eq!(left[0].event_id, "evt_399", "newest first");
}

#[tokio::test]
async fn a_full_outbox_refuses_events_until_it_is_acknowledged() {
    let mut kit = Kit::new();
    kit.config.outbox_bytes_max = 1;
    let mut collector = Collector::default();
    let pipeline = kit.open();
    submit(&pipeline, &[event("a", "cus", kit.now(), 1)])
        .await
        .unwrap();
    pipeline.seal(SealReason::Requested).await.unwrap();
    let refused = submit(&pipeline, &[event("b", "cus", kit.now(), 1)]).await;
    let reason = RefusalReason::OutboxFull;
    assert!(matches!(refused, Err(SubmitError::Refused { reason: why, .. }) if why == reason));
    assert!(matches!(pipeline.status().health, Health::Degraded { .. }));
    collector.drain(&pipeline.outbox());
    submit(&pipeline, &[event("b", "cus", kit.now(), 1)])
        .await
        .unwrap();
    assert_eq!(pipeline.status().health, Health::Ok);
}

#[tokio::test]
async fn a_short_disk_refuses_events_and_still_seals() {
    let mut kit = Kit::new();
    kit.config.disk_free_bytes_min = u64::MAX;
    let pipeline = kit.open();
    let refused = submit(&pipeline, &[event("a", "cus", kit.now(), 1)]).await;
    let reason = RefusalReason::DiskLow;
    assert!(matches!(refused, Err(SubmitError::Refused { reason: why, .. }) if why == reason));
    pipeline.seal(SealReason::Requested).await.unwrap();
}

#[tokio::test]
async fn groups_beyond_the_budget_fold_and_totals_stay_exact() {
    let mut kit = Kit::new();
    kit.config.groups_per_meter_max = 1;
    let mut collector = Collector::default();
    let pipeline = kit.open();
    pipeline
        .set_catalog(catalog(1, &[grouped(AggregationKind::Sum)]))
        .await
        .unwrap();
    let events: Vec<_> = (1..=10)
        .map(|n| event(format!("evt_{n}"), "cus", kit.now(), n))
        .collect();
    submit(&pipeline, &events).await.unwrap();
    collect(&pipeline, &mut collector).await;
    let totals = collector.totals();
    let sums: Vec<Quantity> = totals.values().map(|(quantity, _)| *quantity).collect();
    assert!(totals.keys().any(|(_, _, group)| group.is_other()));
    assert_eq!(sums.len(), 2);
    assert_eq!(
        sums[0].checked_add(sums[1]).unwrap(),
        Quantity::from_u64(55)
    );
}

#[tokio::test]
async fn a_seal_makes_frames_of_bounded_size() {
    let mut kit = Kit::new();
    kit.config.frame_rows_max = 10;
    for spill in [100_000, 3] {
        let mut kit = Kit::new();
        kit.config.frame_rows_max = 10;
        kit.config.open_partials_in_memory_max = spill;
        let pipeline = kit.open();
        pipeline
            .set_catalog(catalog(1, &[meter(AggregationKind::Count)]))
            .await
            .unwrap();
        for n in 0..35 {
            let event = event(format!("evt_{n}"), format!("cus_{n}"), kit.now(), 1);
            submit(&pipeline, &[event]).await.unwrap();
        }
        pipeline.seal(SealReason::Interval).await.unwrap();
        let outbox = pipeline.outbox();
        assert_eq!(outbox.sealed().seq, 4);
        let mut rows = Vec::new();
        while let Some(frame) = outbox.next().unwrap() {
            rows.push(decode_frame(&frame.bytes).unwrap().0.rows.len());
            let digest = frame.digest;
            outbox
                .acknowledge(submeter_common::protocol::Position {
                    seq: frame.seq,
                    digest,
                })
                .unwrap();
        }
        assert_eq!(rows, [10, 10, 10, 5]);
    }
}

#[tokio::test]
async fn more_meters_than_a_header_lists_take_a_further_frame() {
    let kit = Kit::new();
    let mut collector = Collector::default();
    let pipeline = kit.open();
    let meters: Vec<_> = (0..3000)
        .map(|n| {
            let mut meter = meter(AggregationKind::Count);
            meter.id = MeterId::new(format!("mtr_{n:0>240}")).unwrap();
            meter
        })
        .collect();
    pipeline.set_catalog(catalog(1, &meters)).await.unwrap();
    submit(&pipeline, &[event("a", "cus", kit.now(), 1)])
        .await
        .unwrap();
    collect(&pipeline, &mut collector).await;
    assert_eq!(collector.headers.len(), 2);
    assert_eq!(collector.totals().len(), 3000);
}

#[test]
fn a_retention_shorter_than_the_horizon_is_refused() {
    let mut kit = Kit::new();
    kit.config.dedup_retention = seconds(3600);
    let opened =
        crate::pipeline::Pipeline::open(kit.config.clone(), std::sync::Arc::new(kit.clock.clone()));
    assert!(matches!(
        opened,
        Err(OpenError::InvalidConfig {
            field: "dedup_retention",
            ..
        })
    ));
}

#[test]
fn a_directory_in_use_is_refused() {
    let kit = Kit::new();
    let first = kit.open();
    let second =
        crate::pipeline::Pipeline::open(kit.config.clone(), std::sync::Arc::new(kit.clock.clone()));
    assert!(matches!(second, Err(OpenError::Locked { .. })));
    drop(first);
    kit.open();
}
