//! Frames: frozen, in order, kept for a collector that lost some, moved when the chain starts anew.

use submeter_common::id::Digest;
use submeter_common::meter::AggregationKind;
use submeter_common::protocol::{IncidentKind, Position};
use submeter_common::quantity::Quantity;

use super::collector::{Collector, collect};
use super::kit::{Kit, catalog, event, meter, submit};
use crate::pipeline::{Pipeline, PipelineError, SealReason};

async fn with_frames(kit: &Kit, frames: u64) -> Pipeline {
    let pipeline = kit.open();
    pipeline
        .set_catalog(catalog(1, &[meter(AggregationKind::Count)]))
        .await
        .unwrap();
    for id in 0..frames {
        seal_one(kit, &pipeline, &format!("evt_{id}")).await;
    }
    pipeline
}

async fn seal_one(kit: &Kit, pipeline: &Pipeline, id: &str) {
    submit(pipeline, &[event(id, "cus", kit.now(), 1)])
        .await
        .unwrap();
    pipeline.seal(SealReason::Interval).await.unwrap();
}

#[tokio::test]
async fn a_frame_never_changes() {
    let kit = Kit::new();
    let pipeline = with_frames(&kit, 2).await;
    let first = pipeline.outbox().next().unwrap().unwrap();
    drop(pipeline);
    let pipeline = kit.open();
    let again = pipeline.outbox().next().unwrap().unwrap();
    assert_eq!(
        (first.seq, first.digest, first.bytes),
        (again.seq, again.digest, again.bytes)
    );
}

#[tokio::test]
async fn a_rewind_sends_retained_frames_again() {
    let kit = Kit::new();
    let mut collector = Collector::default();
    let pipeline = with_frames(&kit, 5).await;
    let outbox = pipeline.outbox();
    assert_eq!(collector.drain(&outbox), 5);
    assert_eq!(outbox.acknowledged(), outbox.sealed());
    assert!(outbox.rewind(3).unwrap());
    assert_eq!(outbox.next().unwrap().unwrap().seq, 3);
    assert_eq!(pipeline.status().at_risk_events, 3);
    drop(outbox);
    drop(pipeline);
    let pipeline = kit.open();
    assert_eq!(pipeline.outbox().next().unwrap().unwrap().seq, 3);
    assert_eq!(
        collector.drain(&pipeline.outbox()),
        0,
        "the collector has them"
    );
    assert!(!pipeline.outbox().rewind(9).unwrap());
}

#[tokio::test]
async fn acknowledged_frames_go_when_their_budget_is_used_up() {
    let mut kit = Kit::new();
    kit.config.acknowledged_bytes_max = 0;
    let pipeline = with_frames(&kit, 3).await;
    let outbox = pipeline.outbox();
    let second = outbox.digest_of(2).unwrap();
    outbox
        .acknowledge(Position {
            seq: 2,
            digest: second,
        })
        .unwrap();
    for attempt in 0.. {
        if outbox.digest_of(1).is_none() {
            break;
        }
        assert!(
            attempt < 200,
            "acknowledged frames are reclaimed when idle, too"
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(!outbox.rewind(2).unwrap());
    assert_eq!(
        outbox.next().unwrap().unwrap().seq,
        3,
        "unacknowledged frames stay"
    );
}

#[tokio::test]
async fn an_acknowledgement_of_something_else_is_refused() {
    let kit = Kit::new();
    let pipeline = with_frames(&kit, 1).await;
    let foreign = Position {
        seq: 1,
        digest: Digest::new([1; 32]),
    };
    let refused = pipeline.outbox().acknowledge(foreign);
    assert!(matches!(refused, Err(PipelineError::Invalid(_))));
    let unsealed = Position {
        seq: 2,
        digest: Digest::ZERO,
    };
    assert!(pipeline.outbox().acknowledge(unsealed).is_err());
}

#[tokio::test]
async fn a_new_identity_carries_over_what_was_not_acknowledged() {
    let kit = Kit::new();
    let mut collector = Collector::default();
    let pipeline = with_frames(&kit, 3).await;
    let outbox = pipeline.outbox();
    let first = outbox.next().unwrap().unwrap();
    collector.apply(1, &first.bytes);
    outbox
        .acknowledge(Position {
            seq: 1,
            digest: first.digest,
        })
        .unwrap();
    let old = pipeline.identity();
    let new = pipeline
        .new_identity(IncidentKind::LostState)
        .await
        .unwrap();
    assert_ne!(old.agent_id, new.agent_id);
    assert_eq!(pipeline.identity(), new);
    assert_eq!(pipeline.status().at_risk_events, 2);
    drop(outbox);
    drop(pipeline);
    let pipeline = kit.open();
    assert_eq!(pipeline.identity(), new);
    collector.meet_new_agent();
    collect(&pipeline, &mut collector).await;
    assert_eq!(collector.newest().agent_id, new.agent_id);
    assert_eq!(
        collector.quantity("cus", "mtr_count"),
        Quantity::from_u64(3)
    );
}

#[tokio::test]
async fn the_epoch_goes_into_later_frames() {
    let kit = Kit::new();
    let mut collector = Collector::default();
    let pipeline = kit.open();
    pipeline.outbox().set_epoch(7).unwrap();
    drop(pipeline);
    let pipeline = kit.open();
    collect(&pipeline, &mut collector).await;
    assert_eq!(collector.newest().epoch, 7);
}
