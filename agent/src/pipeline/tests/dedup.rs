//! An id counts once, for the whole retention, over requests, generations and restarts.

use submeter_common::event::Event;

use super::kit::{Kit, event, seconds, submission, submit};
use crate::dedup::RunIds as _;
use crate::dedup::StoredRun;
use crate::pipeline::EventOutcome::{Accepted, Conflict, Duplicate};
use crate::pipeline::shared::lock;
use crate::pipeline::{Health, ImportCursor, ImportRequest, Pipeline, RefusalReason, SubmitError};
use crate::store::crash::Moment;

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

/// Waits until the retained journal holds no more than this.
async fn given_back(pipeline: &Pipeline, bytes: u64) {
    for attempt in 0.. {
        if pipeline.status().journal_bytes <= bytes {
            return;
        }
        assert!(attempt < 400, "{:?}", pipeline.status());
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
}

#[tokio::test]
async fn the_journal_is_given_back_when_its_ids_are_in_a_run_and_not_before() {
    let mut kit = Kit::new();
    kit.config.journal_bytes_max = 6400;
    kit.config.checkpoint_interval = std::time::Duration::from_millis(10);
    let pipeline = kit.open();
    for events in numbered(&kit, 0..500).chunks(10) {
        submit(&pipeline, events).await.unwrap();
    }
    assert_eq!(
        remembered(&pipeline).runs,
        [],
        "the generation is far from full"
    );
    given_back(&pipeline, 6400).await;
    let runs = remembered(&pipeline).runs;
    assert_eq!(runs.iter().map(|run| run.ids).sum::<u64>(), 500, "{runs:?}");
    submit(&pipeline, &numbered(&kit, 500..510)).await.unwrap();
    drop(pipeline);
    let pipeline = kit.open();
    let again = submit(&pipeline, &numbered(&kit, 0..510)).await.unwrap();
    assert_eq!(again, [Duplicate; 510]);
    assert_eq!(pipeline.status().dedup_ids, 510);
}

#[tokio::test]
async fn records_without_an_id_do_not_hold_the_journal_back() {
    let mut kit = Kit::new();
    kit.config.checkpoint_interval = std::time::Duration::from_millis(10);
    let pipeline = kit.open();
    let events = numbered(&kit, 0..10);
    submit(&pipeline, &events).await.unwrap();
    let request = ImportRequest {
        id: "i".to_owned(),
        name: "old.jsonl".to_owned(),
        max_age: seconds(3600),
    };
    pipeline.begin_import(request).await.unwrap();
    // Known events: the import's line is all there is to record.
    for line in 1..5 {
        let mut known = submission(&pipeline, &events);
        known.import = Some(ImportCursor {
            id: "i".to_owned(),
            first_line: line - 1,
            next_line: line,
        });
        assert_eq!(pipeline.submit(known).await.unwrap(), [Duplicate; 10]);
    }
    assert_eq!(pipeline.status().journal_seq, 5);
    kit.clock.advance(seconds(25 * 3600));
    given_back(&pipeline, 0).await;
    drop(pipeline);
    let pipeline = kit.open();
    assert_eq!(pipeline.status().journal_seq, 5);
    assert_eq!(submit(&pipeline, &events).await.unwrap(), [Duplicate; 10]);
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

/// Applications that send new ids and old ones, over deaths at any write of any thread and over expiry.
async fn ids_story(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut kit = Kit::new();
    kit.config.dedup_generation_ids_max = random.usize(8..40);
    kit.config.dedup_retention = seconds(4000);
    // Now and then the journal is given back long before a generation is full.
    kit.config.journal_age_max = seconds(random.u64(100..4000));
    kit.config.checkpoint_bytes_max = *random.choice(&[1, 3_000, 1 << 30]).unwrap();
    let mut pipeline = kit.open();
    // Each id, and when it was accepted.
    let mut accepted: Vec<submeter_common::time::Timestamp> = Vec::new();
    let base = kit.now();
    for _ in 0..60 {
        match random.u8(0..10) {
            0 => kit.clock.advance(seconds(random.u64(0..600))),
            1 => {
                drop(pipeline);
                pipeline = kit.open();
            }
            2 => {
                let stopped = pipeline.stop().await;
                assert!(stopped.is_ok() || pipeline.shared().store.crash.is_dead());
                drop(pipeline);
                pipeline = kit.open();
            }
            3 | 4 => {
                let moment = *random.choice(&[Moment::Before, Moment::After]).unwrap();
                pipeline.shared().store.crash.arm(random.u64(0..15), moment);
            }
            _ => {}
        }
        let fresh = accepted.len() as u64..accepted.len() as u64 + random.u64(1..40);
        let known = (0..random.usize(0..30)).filter_map(|_| random.choice(0..accepted.len()));
        let known: Vec<usize> = known.collect();
        let of = |id: u64| event(format!("evt_{id}"), "cus", base, 1);
        let events: Vec<Event<'static>> = known
            .iter()
            .map(|id| of(*id as u64))
            .chain(fresh.clone().map(of))
            .collect();
        let mut retried = false;
        let outcomes = loop {
            match submit(&pipeline, &events).await {
                Ok(outcomes) => break outcomes,
                Err(error) => {
                    assert!(
                        pipeline.shared().store.crash.is_dead(),
                        "seed {seed}: {error}"
                    );
                    drop(pipeline);
                    pipeline = kit.open();
                    retried = true;
                }
            }
        };
        let forgettable = kit.now().saturating_sub(kit.config.dedup_retention);
        for (id, outcome) in known.iter().zip(&outcomes) {
            let within = accepted[*id] >= forgettable;
            assert!(
                *outcome == Duplicate || !within,
                "seed {seed}: evt_{id} of {} is {outcome:?} at {}",
                accepted[*id],
                kit.now()
            );
            if *outcome == Accepted {
                accepted[*id] = kit.now();
            }
        }
        for outcome in &outcomes[known.len()..] {
            assert!(
                *outcome == Accepted || (retried && *outcome == Duplicate),
                "seed {seed}"
            );
            accepted.push(kit.now());
        }
    }
    drop(pipeline);
    let pipeline = kit.open();
    let dedup = remembered(&pipeline);
    let expected = accepted
        .iter()
        .filter(|at| **at >= kit.now().saturating_sub(kit.config.dedup_retention));
    assert!(dedup.ids >= expected.count() as u64, "seed {seed}");
}

#[tokio::test]
async fn ids_are_exact_while_runs_merge_and_the_process_dies() {
    let seeds = std::env::var("SUBMETER_TEST_SEED").unwrap_or_else(|_| "1..9".to_owned());
    let (first, end) = seeds.split_once("..").unwrap_or((&seeds, ""));
    let first: u64 = first.parse().unwrap();
    for seed in first..end.parse().unwrap_or(first + 1) {
        ids_story(seed).await;
    }
}

/// Where the ids are.
#[derive(Debug)]
struct Remembered {
    ids: u64,
    runs: Vec<StoredRun>,
}

fn remembered(pipeline: &Pipeline) -> Remembered {
    let runs = lock(&pipeline.shared().runs).clone();
    let ids = lock(&pipeline.shared().dedup).ids();
    Remembered { ids, runs }
}

/// Waits until the remembered ids look like this.
async fn until(pipeline: &Pipeline, wanted: impl Fn(&Remembered) -> bool) -> Remembered {
    for _ in 0..6000 {
        let dedup = remembered(pipeline);
        if wanted(&dedup) {
            return dedup;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{:?}", remembered(pipeline))
}

#[tokio::test]
async fn generations_are_merged_until_few_runs_are_left() {
    let mut kit = Kit::new();
    kit.config.dedup_generation_ids_max = 50;
    let pipeline = kit.open();
    let mut sent = 0;
    for events in numbered(&kit, 0..50 * 64).chunks(50) {
        submit(&pipeline, events).await.unwrap();
        sent += events.len() as u64;
        let on_disk = |dedup: &Remembered| -> u64 {
            let whole = dedup.runs.iter().filter(|run| run.is_complete());
            whole.map(|run| run.ids).sum()
        };
        until(&pipeline, |dedup| on_disk(dedup) == sent).await;
    }
    let dedup = until(&pipeline, |dedup| {
        let settled = dedup.runs.iter().all(|run| run.is_complete());
        let of = |level| dedup.runs.iter().filter(|run| run.level == level).count();
        settled && (0..9).all(|level| of(level) < 4)
    })
    .await;
    assert_eq!((dedup.ids, pipeline.status().dedup_ids), (3200, 3200));
    // 64 generations of four to one, three times over.
    let levels: Vec<u8> = dedup.runs.iter().map(|run| run.level).collect();
    assert_eq!(levels, [3], "{dedup:?}");
    // Found wherever they are now, and a new id is not taken for one of them.
    let again = submit(&pipeline, &numbered(&kit, 0..3200)).await.unwrap();
    assert!(again.iter().all(|outcome| *outcome == Duplicate));
    let found = pipeline.event("evt_1234").unwrap().unwrap();
    assert_eq!(found.event_id, "evt_1234");
    assert_eq!(
        submit(&pipeline, &numbered(&kit, 3200..3300))
            .await
            .unwrap(),
        [Accepted; 100]
    );
}

#[tokio::test]
async fn what_no_name_covers_is_swept_away_at_a_start() {
    let mut kit = Kit::new();
    kit.config.dedup_generation_ids_max = 50;
    let pipeline = kit.open();
    submit(&pipeline, &numbered(&kit, 0..60)).await.unwrap();
    pipeline.stop().await.unwrap();
    let store = &pipeline.shared().store;
    let run = crate::dedup::StoredRun {
        id: 900,
        level: 1,
        ids: 0,
        slices_log2: 0,
        slices_done: 0,
        inputs: vec![1],
        opened_at: kit.now(),
        marks: Vec::new(),
    };
    let mut entries: Vec<_> = (0..200)
        .map(|id| crate::dedup::Entry {
            fingerprint: pipeline.shared().fingerprinter.id(&format!("stray_{id}")),
            payload: 1,
            location: 1,
        })
        .collect();
    entries.sort_by_key(|entry| entry.fingerprint);
    let stray = entries[7].fingerprint;
    store
        .write_slices(&run, 0..1, entries.into_iter().map(Ok))
        .unwrap();
    assert!(store.find(900, stray).unwrap().is_some());
    drop(pipeline);
    let pipeline = kit.open();
    assert!(pipeline.shared().store.find(900, stray).unwrap().is_none());
    assert_eq!(pipeline.status().dedup_ids, 60);
}

#[tokio::test]
async fn memory_for_ids_has_an_end_and_new_events_are_refused_there_not_forgotten() {
    let mut kit = Kit::new();
    kit.config.dedup_generation_ids_max = 100;
    kit.config.dedup_retention = seconds(4000);
    kit.config.dedup_bytes_max = 40_000;
    let pipeline = kit.open();
    let mut next = 0;
    let refused = loop {
        match submit(&pipeline, &numbered(&kit, next..next + 50)).await {
            Ok(_) => next += 50,
            Err(refused) => break refused,
        }
        assert!(next < 100_000, "{} bytes", pipeline.status().dedup_bytes);
    };
    let reason = RefusalReason::DedupFull;
    assert!(matches!(refused, SubmitError::Refused { reason: found, .. } if found == reason));
    let Health::Degraded { reasons } = pipeline.status().health else {
        panic!("health does not show why events are refused")
    };
    assert_eq!(reasons, [reason.as_str()]);
    assert_eq!(pipeline.status().dedup_ids, next);
    // With time, ids expire and there is room again.
    kit.clock.advance(seconds(4000 * 2));
    for attempt in 0.. {
        if submit(&pipeline, &numbered(&kit, next..next + 1))
            .await
            .is_ok()
        {
            break;
        }
        assert!(attempt < 3000, "{:?}", remembered(&pipeline));
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_last_conflicts_are_listed_over_crashes_and_no_more_than_a_thousand() {
    let mut kit = Kit::new();
    kit.config.checkpoint_bytes_max = 1;
    let mut pipeline = kit.open();
    submit(&pipeline, &numbered(&kit, 0..1)).await.unwrap();
    for number in 1..=30 {
        // What conflicts, and something new that brings it to the journal.
        let mut events: Vec<Event<'static>> = (0..40)
            .map(|n| event("evt_0", format!("cus_{number}_{n}"), kit.now(), 7))
            .collect();
        events.extend(numbered(&kit, number..number + 1));
        let outcomes = submit(&pipeline, &events).await.unwrap();
        assert!(outcomes[..40].iter().all(|outcome| *outcome == Conflict));
        if number == 20 {
            drop(pipeline);
            pipeline = kit.open();
        }
    }
    pipeline.stop().await.unwrap();
    let listed = pipeline.shared().store.snapshot().conflicts().unwrap();
    let numbers: Vec<u64> = listed.iter().map(|one| one.number).collect();
    assert_eq!(numbers, (201..=1200).collect::<Vec<u64>>());
    let last = &listed.last().unwrap().conflict;
    assert_eq!(
        (last.event_id.as_str(), last.customer_id.as_str()),
        ("evt_0", "cus_30_39")
    );
    assert_eq!((last.refused_at, last.timestamp), (kit.now(), kit.now()));
    let first = crate::store::record::Location::from_u64(last.first);
    assert_eq!((first.record(), first.index()), (1, 0));
    assert_eq!(pipeline.status().receipts.conflict, 1200);
}
