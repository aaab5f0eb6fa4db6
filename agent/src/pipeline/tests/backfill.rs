//! A meter that comes late counts what the journal still holds, exactly once.

use submeter_common::meter::AggregationKind;
use submeter_common::quantity::Quantity;

use super::collector::{Collector, collect};
use super::kit::{Kit, backfilled, catalog, event, meter, submit};
use crate::pipeline::{Pipeline, SealReason};

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
