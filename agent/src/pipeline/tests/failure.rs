//! A write that fails: no acknowledgement, ever again, and a clean recovery.

use submeter_common::meter::AggregationKind;
use submeter_common::quantity::Quantity;

use super::collector::{Collector, collect};
use super::kit::{Kit, catalog, event, meter, seconds, submit};
use crate::pipeline::EventOutcome::Accepted;
use crate::pipeline::{Health, PipelineError, SealReason, SubmitError};
use crate::store::crash::Moment;

#[tokio::test]
async fn a_failed_write_is_not_acknowledged_and_poisons() {
    let kit = Kit::new();
    let mut collector = Collector::default();
    let pipeline = kit.open();
    pipeline
        .set_catalog(catalog(1, &[meter(AggregationKind::Count)]))
        .await
        .unwrap();
    submit(&pipeline, &[event("a", "cus", kit.now(), 1)])
        .await
        .unwrap();
    pipeline.shared().store.crash.arm(0, Moment::Before);
    let failed = submit(&pipeline, &[event("b", "cus", kit.now(), 1)]).await;
    assert!(matches!(failed, Err(SubmitError::Failed(_))));
    assert!(pipeline.poisoned().await.contains("on purpose"));
    let after = submit(&pipeline, &[event("c", "cus", kit.now(), 1)]).await;
    assert!(
        matches!(after, Err(SubmitError::Failed(_))),
        "no way back but a restart"
    );
    let sealed = pipeline.seal(SealReason::Requested).await;
    assert!(matches!(sealed, Err(PipelineError::Failed(_))));
    assert!(matches!(pipeline.status().health, Health::Degraded { .. }));
    assert!(pipeline.stop().await.is_err());
    drop(pipeline);
    let pipeline = kit.open();
    assert_eq!(
        submit(&pipeline, &[event("b", "cus", kit.now(), 1)])
            .await
            .unwrap(),
        [Accepted]
    );
    collect(&pipeline, &mut collector).await;
    assert_eq!(
        collector.quantity("cus", "mtr_count"),
        Quantity::from_u64(2)
    );
}

#[tokio::test]
async fn a_failed_seal_poisons_and_loses_nothing() {
    let kit = Kit::new();
    let mut collector = Collector::default();
    let pipeline = kit.open();
    pipeline
        .set_catalog(catalog(1, &[meter(AggregationKind::Count)]))
        .await
        .unwrap();
    submit(&pipeline, &[event("a", "cus", kit.now(), 1)])
        .await
        .unwrap();
    pipeline.shared().store.crash.arm(0, Moment::Before);
    let sealed = pipeline.seal(SealReason::Requested).await;
    assert!(matches!(sealed, Err(PipelineError::Failed(_))));
    drop(pipeline);
    let pipeline = kit.open();
    collect(&pipeline, &mut collector).await;
    assert_eq!(collector.quantity("cus", "mtr_count"), Quantity::ONE);
}

#[tokio::test]
async fn a_write_that_fails_beside_the_threads_ends_them_too() {
    let kit = Kit::new();
    let pipeline = kit.open();
    submit(&pipeline, &[event("a", "cus", kit.now(), 1)])
        .await
        .unwrap();
    let sealed = pipeline.seal(SealReason::Requested).await.unwrap();
    pipeline.shared().store.crash.arm(0, Moment::Before);
    let told = pipeline.outbox().acknowledge(sealed);
    assert!(matches!(told, Err(PipelineError::Failed(_))));
    let runtime = tokio::runtime::Handle::current();
    let stopped = tokio::task::spawn_blocking(move || runtime.block_on(pipeline.stop()));
    let stopped = tokio::time::timeout(seconds(60), stopped).await;
    assert!(stopped.expect("it ends").unwrap().is_err());
}

#[tokio::test]
async fn a_stopped_pipeline_refuses_politely() {
    let kit = Kit::new();
    let pipeline = kit.open();
    pipeline.stop().await.unwrap();
    let refused = submit(&pipeline, &[event("a", "cus", kit.now(), 1)]).await;
    assert!(matches!(refused, Err(SubmitError::Stopping)));
    let sealed = pipeline.seal(SealReason::Requested).await;
    assert!(matches!(sealed, Err(PipelineError::Stopping)));
    pipeline.stop().await.unwrap();
}
