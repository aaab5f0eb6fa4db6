//! What happens at each limit: refused before anything is full, or folded, never lost.

use std::time::Duration;

use submeter_common::id::MeterId;
use submeter_common::meter::AggregationKind;
use submeter_common::protocol::decode_frame;
use submeter_common::quantity::Quantity;

use super::collector::{Collector, collect};
use super::kit::{Kit, catalog, event, grouped, meter, seconds, submission, submit};
use crate::pipeline::shared::lock;
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

/// Submits one event after the other while the committer stands still; how the first refused one was refused.
async fn refused_by_a_standing_committer(kit: &Kit) -> RefusalReason {
    let pipeline = kit.open();
    // The committer looks every id up.
    let dedup = lock(&pipeline.shared().dedup);
    let mut waiting = Vec::new();
    let mut refused = None;
    for id in 0..10 {
        let events = [event(format!("evt_{id}"), "cus", kit.now(), 1)];
        let (reply, answer) = tokio::sync::oneshot::channel();
        match pipeline
            .shared()
            .admit(submission(&pipeline, &events), reply)
        {
            Ok(()) => waiting.push(answer),
            Err(SubmitError::Refused { reason, .. }) => refused = Some(reason),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(pipeline.shared().requests.waiting().0 > 0);
    drop(dedup);
    for answer in waiting {
        answer.await.unwrap().unwrap();
    }
    // What was refused is taken when it is sent again.
    submit(&pipeline, &[event("evt_9", "cus", kit.now(), 1)])
        .await
        .unwrap();
    refused.expect("ten events do not fit")
}

#[tokio::test]
async fn room_foreseen_for_a_seal_is_not_held_back_for_ever() {
    let mut kit = Kit::new();
    kit.config.disk_free_bytes_min = 1;
    let pipeline = kit.open();
    // Foreseen for a burst that has been sealed since; while everything is refused nothing comes to a write.
    pipeline.shared().disk.foresee(u64::MAX);
    for attempt in 0.. {
        match submit(&pipeline, &[event("a", "cus", kit.now(), 1)]).await {
            Ok(_) => break,
            Err(SubmitError::Refused { reason, .. }) => assert_eq!(reason, RefusalReason::DiskLow),
            Err(error) => panic!("{error}"),
        }
        assert!(
            attempt < 200,
            "events are refused for room that nobody needs"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_long_queue_refuses() {
    let mut kit = Kit::new();
    kit.config.queue_requests_max = 2;
    let reason = refused_by_a_standing_committer(&kit).await;
    assert_eq!(reason, RefusalReason::QueueLong);
}

#[tokio::test]
async fn a_full_queue_refuses() {
    let mut kit = Kit::new();
    kit.config.queue_bytes_max = 200;
    let reason = refused_by_a_standing_committer(&kit).await;
    assert_eq!(reason, RefusalReason::QueueFull);
}

#[tokio::test]
async fn acknowledged_frames_are_reclaimed_by_bytes_and_by_age() {
    for by_age in [false, true] {
        let mut kit = Kit::new();
        if !by_age {
            kit.config.acknowledged_bytes_max = 0;
        }
        let mut collector = Collector::default();
        let pipeline = kit.open();
        submit(&pipeline, &[event("a", "cus", kit.now(), 1)])
            .await
            .unwrap();
        pipeline.seal(SealReason::Requested).await.unwrap();
        collector.drain(&pipeline.outbox());
        if by_age {
            assert!(pipeline.status().usage.acknowledged_bytes > 0);
            kit.clock.advance(seconds(25 * 3600));
        }
        for attempt in 0.. {
            if pipeline.status().usage.acknowledged_bytes == 0 {
                break;
            }
            assert!(attempt < 200, "an idle agent reclaims, too");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
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
async fn an_open_set_beyond_its_budget_is_sealed_although_the_collector_is_away() {
    for in_memory in [100_000, 50] {
        let mut kit = Kit::new();
        kit.config.open_partials_in_memory_max = in_memory;
        kit.config.open_bytes_max = 64 * 1024;
        let mut collector = Collector::default();
        let pipeline = kit.open();
        pipeline
            .set_catalog(catalog(1, &[meter(AggregationKind::Sum)]))
            .await
            .unwrap();
        let mut largest = 0;
        for minute in 0..100 {
            let events: Vec<_> = (0..10)
                .map(|n| {
                    let id = format!("{minute}_{n}");
                    event(id, format!("cus_{n}"), kit.now(), n + 1)
                })
                .collect();
            submit(&pipeline, &events).await.unwrap();
            largest = largest.max(pipeline.status().usage.open_bytes);
            kit.clock.advance(seconds(60));
        }
        let frames = pipeline.status().outbox_frames;
        assert!((2..50).contains(&frames), "{frames} frames");
        assert!(largest < 2 * 64 * 1024, "{largest} bytes were open");
        collect(&pipeline, &mut collector).await;
        assert_eq!(
            collector.quantity("cus_0", "mtr_sum"),
            Quantity::from_u64(100)
        );
        assert_eq!(
            collector.quantity("cus_9", "mtr_sum"),
            Quantity::from_u64(1000)
        );
        assert_eq!(pipeline.status().usage.open_bytes, 0);
    }
}

#[tokio::test]
async fn a_day_offline_costs_a_row_for_each_key_and_minute() {
    let kit = Kit::new();
    let mut collector = Collector::default();
    let pipeline = kit.open();
    pipeline
        .set_catalog(catalog(1, &[meter(AggregationKind::Count)]))
        .await
        .unwrap();
    const MINUTES: u64 = 24 * 60;
    for minute in 0..MINUTES {
        // Many events, two customers; nobody fetches frames, and so nothing is sealed.
        let events: Vec<_> = (0..20)
            .map(|n| {
                let id = format!("{minute}_{n}");
                event(id, format!("cus_{}", n % 2), kit.now(), n)
            })
            .collect();
        submit(&pipeline, &events).await.unwrap();
        kit.clock.advance(seconds(60));
    }
    let status = pipeline.status();
    assert_eq!(status.open_partials, 2 * MINUTES);
    assert_eq!(status.outbox_frames, 0);
    assert!(
        status.usage.open_bytes < 1 << 20,
        "{} bytes",
        status.usage.open_bytes
    );
    collect(&pipeline, &mut collector).await;
    assert_eq!(
        collector.quantity("cus_0", "mtr_count"),
        Quantity::from_u64(10 * MINUTES)
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
