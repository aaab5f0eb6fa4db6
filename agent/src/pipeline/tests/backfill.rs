//! A meter that comes late counts what the journal still holds, exactly once.

use std::borrow::Cow;

use submeter_common::event::Value;
use submeter_common::meter::AggregationKind;
use submeter_common::quantity::Quantity;

use super::collector::{Collector, collect};
use super::kit::{Kit, backfilled, catalog, event, meter, submit};
use crate::inspection::{MeterItem, MetersQuery, Question};
use crate::pipeline::{EventQuery, Pipeline, SealReason};

async fn accept(kit: &Kit, pipeline: &Pipeline, ids: std::ops::Range<u64>) {
    for id in ids {
        let event = event(format!("evt_{id}"), "cus", kit.now(), 2);
        submit(pipeline, &[event]).await.unwrap();
    }
}

#[tokio::test]
async fn a_late_meter_counts_the_past_and_the_present_once() {
    let kit = Kit::new();
    let mut collector = Collector::default();
    let pipeline = kit.open();
    accept(&kit, &pipeline, 0..20).await;
    pipeline.seal(SealReason::Requested).await.unwrap();
    accept(&kit, &pipeline, 20..30).await;
    pipeline
        .set_catalog(catalog(1, &[meter(AggregationKind::Sum)]))
        .await
        .unwrap();
    accept(&kit, &pipeline, 30..40).await;
    collect(&pipeline, &mut collector).await;
    assert_eq!(collector.quantity("cus", "mtr_sum"), Quantity::from_u64(80));
    assert_eq!(collector.newest().receipts.unmatched, 30);
}

#[tokio::test]
async fn a_crash_at_any_time_repeats_no_backfill_and_forgets_none() {
    for records in [0, 1, 7, 40] {
        let mut kit = Kit::new();
        kit.config.checkpoint_bytes_max = 1;
        let mut collector = Collector::default();
        let mut pipeline = kit.open();
        accept(&kit, &pipeline, 0..records).await;
        for version in 1..4 {
            pipeline
                .set_catalog(catalog(version, &[meter(AggregationKind::Sum)]))
                .await
                .unwrap();
            drop(pipeline);
            pipeline = kit.open();
        }
        backfilled(&pipeline).await;
        drop(pipeline);
        pipeline = kit.open();
        collect(&pipeline, &mut collector).await;
        assert_eq!(
            collector.quantity("cus", "mtr_sum"),
            Quantity::from_u64(2 * records)
        );
    }
}

#[tokio::test]
async fn a_meter_that_vanishes_and_returns_counts_what_it_missed() {
    let kit = Kit::new();
    let mut collector = Collector::default();
    let pipeline = kit.open();
    let meters = [meter(AggregationKind::Sum), meter(AggregationKind::Count)];
    pipeline.set_catalog(catalog(2, &meters)).await.unwrap();
    accept(&kit, &pipeline, 0..10).await;
    pipeline
        .set_catalog(catalog(1, &meters[..1]))
        .await
        .unwrap();
    accept(&kit, &pipeline, 10..15).await;
    pipeline.set_catalog(catalog(3, &meters)).await.unwrap();
    accept(&kit, &pipeline, 15..18).await;
    collect(&pipeline, &mut collector).await;
    assert_eq!(
        collector.quantity("cus", "mtr_count"),
        Quantity::from_u64(18)
    );
    assert_eq!(collector.quantity("cus", "mtr_sum"), Quantity::from_u64(36));
}

#[tokio::test]
async fn an_archived_meter_counts_nothing_new() {
    let kit = Kit::new();
    let mut collector = Collector::default();
    let pipeline = kit.open();
    let mut count = meter(AggregationKind::Count);
    pipeline
        .set_catalog(catalog(1, std::slice::from_ref(&count)))
        .await
        .unwrap();
    accept(&kit, &pipeline, 0..10).await;
    count.archived = true;
    pipeline
        .set_catalog(catalog(2, std::slice::from_ref(&count)))
        .await
        .unwrap();
    accept(&kit, &pipeline, 10..15).await;
    collect(&pipeline, &mut collector).await;
    assert_eq!(
        collector.quantity("cus", "mtr_count"),
        Quantity::from_u64(10)
    );
}

/// Events of some 14 KB, so many that a backfill of them takes several steps.
async fn accept_long(kit: &Kit, pipeline: &Pipeline, ids: std::ops::Range<u64>) {
    for id in ids {
        let mut event = event(format!("evt_{id}"), "cus", kit.now(), 2);
        for key in 0..30 {
            let value = Value::String(Cow::Owned("v".repeat(450)));
            event
                .metadata
                .push((Cow::Owned(format!("key_{key}")), value));
        }
        submit(pipeline, &[event]).await.unwrap();
    }
}

#[tokio::test]
async fn a_meter_archived_while_it_is_backfilled_still_counts_its_past() {
    let kit = Kit::new();
    let mut collector = Collector::default();
    let mut pipeline = kit.open();
    accept_long(&kit, &pipeline, 0..400).await;
    let mut sum = meter(AggregationKind::Sum);
    let made = catalog(1, std::slice::from_ref(&sum));
    pipeline.set_catalog(made).await.unwrap();
    sum.archived = true;
    let archived = catalog(2, std::slice::from_ref(&sum));
    pipeline.set_catalog(archived).await.unwrap();
    accept(&kit, &pipeline, 400..410).await;
    drop(pipeline);
    pipeline = kit.open();
    collect(&pipeline, &mut collector).await;
    assert_eq!(
        collector.quantity("cus", "mtr_sum"),
        Quantity::from_u64(800)
    );
}

#[tokio::test]
async fn a_frame_vouches_for_a_catalog_only_when_its_meters_have_counted_the_past() {
    let kit = Kit::new();
    let mut collector = Collector::default();
    let pipeline = kit.open();
    accept_long(&kit, &pipeline, 0..400).await;
    pipeline.seal(SealReason::Requested).await.unwrap();
    let made = catalog(1, &[meter(AggregationKind::Sum)]);
    pipeline.set_catalog(made).await.unwrap();
    // Steps and seals take turns, so that some frames hold a part of the past.
    loop {
        pipeline.seal(SealReason::Requested).await.unwrap();
        let done = !pipeline.status().backfilling;
        collector.drain(&pipeline.outbox());
        let vouched = collector.newest().catalog_version == 1;
        let counted = collector.quantity("cus", "mtr_sum");
        assert_eq!(vouched, counted == Quantity::from_u64(800), "{counted}");
        if done && vouched {
            break;
        }
    }
}

#[tokio::test]
async fn a_new_catalog_is_vouched_for_at_once_when_there_is_nothing_to_backfill() {
    let kit = Kit::new();
    let mut collector = Collector::default();
    let pipeline = kit.open();
    pipeline.seal(SealReason::Requested).await.unwrap();
    let made = catalog(1, &[meter(AggregationKind::Sum)]);
    pipeline.set_catalog(made).await.unwrap();
    pipeline.seal(SealReason::Interval).await.unwrap();
    collector.drain(&pipeline.outbox());
    assert_eq!(collector.newest().catalog_version, 1, "periods wait for it");
}

#[tokio::test]
async fn a_late_meter_counts_as_far_as_the_journal_reaches_and_says_so() {
    let mut kit = Kit::new();
    kit.config.journal_bytes_max = 6400;
    let mut collector = Collector::default();
    let pipeline = kit.open();
    let early = catalog(1, &[meter(AggregationKind::Count)]);
    pipeline.set_catalog(early).await.unwrap();
    for id in 0..200 {
        accept(&kit, &pipeline, id..id + 1).await;
        kit.clock.advance(super::kit::seconds(1));
    }
    pipeline.seal(SealReason::Requested).await.unwrap();
    while pipeline.status().journal_bytes > 6400 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let both = catalog(
        2,
        &[meter(AggregationKind::Count), meter(AggregationKind::Sum)],
    );
    pipeline.set_catalog(both).await.unwrap();

    let all = EventQuery {
        limit: 1000,
        ..EventQuery::default()
    };
    let retained = pipeline.events(&all).unwrap();
    let (kept, oldest) = (retained.len() as u64, retained.last().unwrap().accepted_at);
    assert!(kept > 0 && kept < 200, "{kept}");
    collect(&pipeline, &mut collector).await;
    assert_eq!(
        collector.quantity("cus", "mtr_sum"),
        Quantity::from_u64(2 * kept)
    );
    let meters = MetersQuery.ask(&pipeline.inspection()).unwrap().meters;
    let since = |id: &str| {
        let of = |meter: &&MeterItem| meter.meter_id == id;
        meters.iter().find(of).unwrap().counts_since
    };
    assert_eq!(since("mtr_count"), None, "was there from the beginning");
    assert_eq!(since("mtr_sum"), Some(oldest));
}

#[tokio::test]
async fn the_catalog_is_there_after_a_restart() {
    let kit = Kit::new();
    let pipeline = kit.open();
    let catalog = catalog(7, &[meter(AggregationKind::Last)]);
    pipeline.set_catalog(catalog.clone()).await.unwrap();
    drop(pipeline);
    assert_eq!(*kit.open().catalog(), catalog);
}

#[tokio::test]
async fn a_watermark_stands_still_while_a_meter_misses_its_past() {
    let kit = Kit::new();
    let pipeline = kit.open();
    pipeline.seal(SealReason::Requested).await.unwrap();
    let before = pipeline.status().watermark;
    accept(&kit, &pipeline, 0..50).await;
    kit.clock.advance(super::kit::seconds(600));
    pipeline
        .set_catalog(catalog(1, &[meter(AggregationKind::Sum)]))
        .await
        .unwrap();
    pipeline.seal(SealReason::Requested).await.unwrap();
    let during = pipeline.status();
    backfilled(&pipeline).await;
    pipeline.seal(SealReason::Requested).await.unwrap();
    assert!(during.watermark == before || !during.backfilling);
    assert!(pipeline.status().watermark > before);
}
