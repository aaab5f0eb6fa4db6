//! What a watermark claims, and that nothing is accepted against it.

use submeter_common::event::RejectionCode;
use submeter_common::meter::AggregationKind;
use submeter_common::protocol::IncidentKind;
use submeter_common::quantity::Quantity;

use super::collector::{Collector, collect};
use super::kit::{Kit, at, catalog, event, meter, seconds, submission, submit};
use crate::pipeline::EventOutcome::{Accepted, Duplicate, TooOld};
use crate::pipeline::{SealReason, SubmitError};

#[tokio::test]
async fn nothing_older_than_a_sealed_watermark_is_accepted() {
    let kit = Kit::new();
    let pipeline = kit.open();
    let edge = at("2026-01-10T10:59:00Z");
    let before = edge.saturating_sub(seconds(1));
    assert_eq!(
        submit(&pipeline, &[event("a", "cus", before, 1)])
            .await
            .unwrap(),
        [Accepted]
    );
    pipeline.seal(SealReason::Requested).await.unwrap();
    assert_eq!(pipeline.status().watermark, Some(edge));
    let events = [
        event("a", "cus", before, 1),
        event("b", "cus", before, 1),
        event("c", "cus", edge, 1),
    ];
    // A retry of what is counted is a duplicate, however old.
    assert_eq!(
        submit(&pipeline, &events).await.unwrap(),
        [Duplicate, TooOld, Accepted]
    );
    let receipts = pipeline.status().receipts;
    assert_eq!(receipts.rejected.get("TIMESTAMP_TOO_OLD"), Some(&1));
    assert!(receipts.is_conserved());
}

#[tokio::test]
async fn a_whole_submission_is_refused_as_a_whole() {
    let kit = Kit::new();
    let pipeline = kit.open();
    pipeline.seal(SealReason::Requested).await.unwrap();
    let events = [
        event("a", "cus", kit.now(), 1),
        event("b", "cus", at("2026-01-10T10:00:00Z"), 1),
    ];
    let mut whole = submission(&pipeline, &events);
    whole.whole = true;
    let refused = pipeline.submit(whole).await;
    assert!(matches!(refused, Err(SubmitError::TooOld { indices }) if indices == [1]));
    assert_eq!(
        pipeline.event("a").unwrap(),
        None,
        "nothing of it is stored"
    );
}

#[tokio::test]
async fn the_floor_survives_a_crash() {
    let kit = Kit::new();
    let pipeline = kit.open();
    pipeline.seal(SealReason::Requested).await.unwrap();
    drop(pipeline);
    let pipeline = kit.open();
    let old = event("b", "cus", at("2026-01-10T10:58:59Z"), 1);
    assert_eq!(submit(&pipeline, &[old]).await.unwrap(), [TooOld]);
}

#[tokio::test]
async fn a_clock_that_was_ahead_for_a_minute_does_not_shut_the_present_out() {
    let kit = Kit::new();
    let mut collector = Collector::default();
    let pipeline = kit.open();
    let right = kit.now();
    kit.clock.set(right.saturating_add(seconds(86_400)));
    pipeline.seal(SealReason::Requested).await.unwrap();
    assert_eq!(
        pipeline.status().watermark,
        Some(at("2026-01-11T10:59:00Z"))
    );
    kit.clock.set(right);
    let half_an_hour_old = right.saturating_sub(seconds(1800));
    let events = [
        event("a", "cus", right, 1),
        event("b", "cus", half_an_hour_old, 1),
        event("c", "cus", right.saturating_sub(seconds(7200)), 1),
    ];
    let outcomes = submit(&pipeline, &events).await.unwrap();
    assert_eq!(outcomes, [Accepted, Accepted, TooOld]);
    pipeline.seal(SealReason::Requested).await.unwrap();
    collector.drain(&pipeline.outbox());
    assert_eq!(collector.newest().watermark, at("2026-01-10T10:59:00Z"));
    assert_eq!(pipeline.status().usage.clock_set_back, 1);
    // And it stays so over a restart, also one without a word in between.
    kit.clock.set(right.saturating_add(seconds(86_400)));
    pipeline.seal(SealReason::Requested).await.unwrap();
    drop(pipeline);
    kit.clock.set(right);
    let pipeline = kit.open();
    let outcomes = submit(&pipeline, &[event("d", "cus", half_an_hour_old, 1)]).await;
    assert_eq!(outcomes.unwrap(), [Accepted]);
}

#[tokio::test]
async fn a_clock_that_is_corrected_a_little_takes_no_claim_back() {
    let kit = Kit::new();
    let pipeline = kit.open();
    pipeline.seal(SealReason::Requested).await.unwrap();
    let claimed = pipeline.status().watermark;
    kit.clock.set(kit.now().saturating_sub(seconds(50)));
    submit(&pipeline, &[event("a", "cus", kit.now(), 1)])
        .await
        .unwrap();
    pipeline.seal(SealReason::Requested).await.unwrap();
    assert_eq!(pipeline.status().watermark, claimed);
    assert_eq!(pipeline.status().usage.clock_set_back, 0);
}

#[tokio::test]
async fn a_farewell_claims_everything_and_does_not_bind_the_next_life() {
    let kit = Kit::new();
    let mut collector = Collector::default();
    let pipeline = kit.open();
    collect(&pipeline, &mut collector).await;
    assert!(collector.newest().farewell);
    assert_eq!(collector.newest().watermark, kit.now());
    pipeline.stop().await.unwrap();
    drop(pipeline);
    let pipeline = kit.open();
    let waited = event("a", "cus", kit.now().saturating_sub(seconds(30)), 1);
    assert_eq!(submit(&pipeline, &[waited]).await.unwrap(), [Accepted]);
    pipeline.seal(SealReason::Interval).await.unwrap();
    collector.drain(&pipeline.outbox());
    assert!(!collector.newest().farewell);
    assert!(collector.newest().watermark < kit.now());
}

#[tokio::test]
async fn an_idle_agent_sends_heartbeats_and_no_more() {
    let kit = Kit::new();
    let pipeline = kit.open();
    let seal = async || pipeline.seal(SealReason::Interval).await.unwrap().seq;
    assert_eq!(seal().await, 1);
    kit.clock.advance(seconds(59));
    assert_eq!(seal().await, 1);
    kit.clock.advance(seconds(1));
    assert_eq!(seal().await, 2);
    let requested = pipeline.seal(SealReason::Requested).await.unwrap().seq;
    assert_eq!(requested, 2, "nothing new to say");
    pipeline.record_rejected(RejectionCode::InvalidField, 3);
    let requested = pipeline.seal(SealReason::Requested).await.unwrap().seq;
    assert_eq!(requested, 3, "receipts are news");
    assert_eq!(pipeline.status().receipts.received, 3);
}

#[tokio::test]
async fn what_a_previous_life_left_open_is_sealed_at_a_late_start() {
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
    drop(pipeline);
    kit.clock.advance(seconds(5 * 3600));
    let pipeline = kit.open();
    collector.drain(&pipeline.outbox());
    assert_eq!(collector.quantity("cus", "mtr_count"), Quantity::ONE);
    assert_eq!(collector.newest().watermark, at("2026-01-10T15:59:00Z"));
    let again = kit.now();
    drop(pipeline);
    assert_eq!(
        kit.open().outbox().sealed().seq,
        1,
        "nothing open, nothing sealed at {again}"
    );
}

#[tokio::test]
async fn a_frame_that_others_of_its_seal_follow_claims_no_more_than_the_last_one() {
    let mut kit = Kit::new();
    kit.config.frame_rows_max = 1;
    let mut collector = Collector::default();
    let pipeline = kit.open();
    pipeline
        .set_catalog(catalog(1, &[meter(AggregationKind::Sum)]))
        .await
        .unwrap();
    // A farewell claims everything up to now; who comes back takes what is older.
    collect(&pipeline, &mut collector).await;
    pipeline.stop().await.unwrap();
    drop(pipeline);
    let pipeline = kit.open();
    let older = kit.now().saturating_sub(seconds(600));
    let events = [event("a", "one", older, 1), event("b", "two", older, 2)];
    submit(&pipeline, &events).await.unwrap();
    pipeline.seal(SealReason::Requested).await.unwrap();
    let first = collector.headers.len();
    collector.drain(&pipeline.outbox());
    let claims: Vec<_> = collector.headers[first..]
        .iter()
        .map(|header| header.watermark)
        .collect();
    assert_eq!(claims.len(), 2);
    assert!(claims.iter().all(|claim| *claim <= older), "{claims:?}");
}

#[tokio::test]
async fn a_new_identity_claims_nothing_before_its_first_frame() {
    let mut kit = Kit::new();
    kit.config.frame_rows_max = 1;
    let mut collector = Collector::default();
    let pipeline = kit.open();
    pipeline
        .set_catalog(catalog(1, &[meter(AggregationKind::Sum)]))
        .await
        .unwrap();
    let older = at("2026-01-10T10:58:30Z");
    let events = [event("a", "one", older, 1), event("b", "two", older, 2)];
    submit(&pipeline, &events).await.unwrap();
    pipeline.seal(SealReason::Requested).await.unwrap();
    assert!(pipeline.status().watermark > Some(older));
    // The frames never arrived; their rows are open again.
    pipeline
        .new_identity(IncidentKind::LostState)
        .await
        .unwrap();
    assert_eq!(pipeline.status().watermark, None);
    pipeline.seal(SealReason::Requested).await.unwrap();
    collector.drain(&pipeline.outbox());
    let [first, .., last] = &collector.headers[..] else {
        panic!("two rows make two frames");
    };
    assert!(first.watermark <= older, "{}", first.watermark);
    assert!(last.watermark > older);
}

#[tokio::test]
async fn nothing_is_acknowledged_after_the_door_is_closed() {
    let kit = Kit::new();
    let mut collector = Collector::default();
    let pipeline = kit.open();
    submit(&pipeline, &[event("a", "cus", kit.now(), 1)])
        .await
        .unwrap();
    pipeline.close_door();
    let late = submit(&pipeline, &[event("b", "cus", kit.now(), 2)]).await;
    assert!(matches!(late, Err(SubmitError::Stopping)), "{late:?}");
    collect(&pipeline, &mut collector).await;
    assert_eq!(collector.newest().receipts.accepted, 1);
    pipeline.stop().await.unwrap();
}
