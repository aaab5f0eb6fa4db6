//! An id counts once, for the whole retention, over requests, generations and restarts.

use submeter_common::event::Event;

use super::kit::{Kit, event, seconds, submission, submit};
use crate::pipeline::EventOutcome::{Accepted, Conflict, Duplicate};

fn numbered(kit: &Kit, ids: std::ops::Range<u64>) -> Vec<Event<'static>> {
    ids.map(|id| event(format!("evt_{id}"), "cus", kit.now(), 1))
        .collect()
}

#[tokio::test]
async fn two_copies_in_one_request_count_once() {
    let kit = Kit::new();
    let pipeline = kit.open();
    let copy = event("a", "cus", kit.now(), 1);
    let other = event("a", "cus", kit.now(), 2);
    let outcomes = submit(&pipeline, &[copy.clone(), copy, other])
        .await
        .unwrap();
    assert_eq!(outcomes, [Accepted, Duplicate, Conflict]);
}

#[tokio::test]
async fn copies_in_flight_at_once_count_once() {
    let kit = Kit::new();
    let pipeline = kit.open();
    let copies: Vec<_> = (0..50)
        .map(|_| {
            let pipeline = pipeline.clone();
            let event = event("a", "cus", kit.now(), 1);
            tokio::spawn(async move { submit(&pipeline, &[event]).await.unwrap() })
        })
        .collect();
    let mut accepted = 0;
    for copy in copies {
        accepted += usize::from(copy.await.unwrap() == [Accepted]);
    }
    assert_eq!(accepted, 1);
    assert_eq!(pipeline.status().receipts.duplicate, 49);
}

#[tokio::test]
async fn a_retry_without_a_timestamp_is_no_conflict() {
    let kit = Kit::new();
    let pipeline = kit.open();
    let mut first = event("a", "cus", kit.now(), 1);
    first.timestamp_given = false;
    let mut retry = first.clone();
    retry.timestamp = kit.now().saturating_add(seconds(5));
    assert_eq!(submit(&pipeline, &[first]).await.unwrap(), [Accepted]);
    assert_eq!(submit(&pipeline, &[retry]).await.unwrap(), [Duplicate]);
}

#[tokio::test]
async fn ids_survive_generations_and_restarts() {
    let mut kit = Kit::new();
    kit.config.dedup_generation_ids_max = 300;
    let all = numbered(&kit, 0..3000);
    let mut pipeline = kit.open();
    for events in all.chunks(70) {
        assert!(
            submit(&pipeline, events)
                .await
                .unwrap()
                .iter()
                .all(|outcome| *outcome == Accepted)
        );
    }
    for stop in [true, false] {
        for events in all.chunks(500) {
            let outcomes = submit(&pipeline, events).await.unwrap();
            assert!(outcomes.iter().all(|outcome| *outcome == Duplicate));
        }
        assert_eq!(pipeline.status().dedup_ids, 3000);
        if stop {
            pipeline.stop().await.unwrap();
        }
        drop(pipeline);
        pipeline = kit.open();
    }
    let fresh = numbered(&kit, 3000..3100);
    assert_eq!(submit(&pipeline, &fresh).await.unwrap(), [Accepted; 100]);
}

#[tokio::test]
async fn an_id_is_forgotten_after_the_retention_and_not_before() {
    let mut kit = Kit::new();
    kit.config.dedup_retention = seconds(2 * 3600);
    let pipeline = kit.open();
    let first = event("a", "cus", kit.now(), 1);
    submit(&pipeline, &[first]).await.unwrap();
    kit.clock.advance(seconds(3600));
    // Something else arrives, so the old generation is closed; the id stays known.
    submit(&pipeline, &[event("b", "cus", kit.now(), 1)])
        .await
        .unwrap();
    assert_eq!(
        submit(&pipeline, &[event("a", "cus", kit.now(), 2)])
            .await
            .unwrap(),
        [Conflict]
    );
    kit.clock.advance(seconds(3 * 3600));
    for attempt in 0..200 {
        if pipeline.status().dedup_ids <= 1 {
            break;
        }
        assert!(attempt < 199, "expired ids go by themselves");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(
        submit(&pipeline, &[event("a", "cus", kit.now(), 3)])
            .await
            .unwrap(),
        [Accepted]
    );
}

#[tokio::test]
async fn an_event_is_found_by_its_id() {
    let mut kit = Kit::new();
    kit.config.dedup_generation_ids_max = 10;
    let pipeline = kit.open();
    for events in numbered(&kit, 0..100).chunks(7) {
        submit(&pipeline, events).await.unwrap();
    }
    let found = pipeline.event("evt_42").unwrap().unwrap();
    assert_eq!(
        (found.event_id.as_str(), found.timestamp),
        ("evt_42", kit.now())
    );
    assert_eq!(pipeline.event("evt_100").unwrap(), None);
}

#[tokio::test]
async fn a_submission_says_what_it_holds() {
    let kit = Kit::new();
    let pipeline = kit.open();
    assert!(pipeline.submission().is_empty());
    let full = submission(&pipeline, &numbered(&kit, 0..3));
    assert_eq!(full.len(), 3);
    assert!(full.bytes() > 3 * 20);
}
