//! What the flusher does with each answer of the collector. In every story the same must hold at the end: each event counts once.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use submeter_agent::config::Config;
use submeter_common::id::Digest;
use submeter_common::protocol::{FrameResult, Position, RegisterRequest, RegisterStatus};
use submeter_common::time::{Clock as _, ManualClock, SystemClock};

use crate::collector::{Collector, Mischief};
use crate::harness::{PATIENCE, Running, config, event};
use crate::lifecycle::again;

fn flushed(status: &Value) -> bool {
    status["at_risk_events"] == 0 && status["outbox_frames"] == 0
}

fn events(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|number| event(&format!("e{number}"))).collect()
}

/// A collector and an agent that has handed ten events over.
async fn flowing(set: impl Fn(&mut Config)) -> (Collector, Running, tempfile::TempDir) {
    let collector = Collector::start().await;
    collector.count_meter("mtr_calls");
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = config(directory.path(), &collector.url());
    set(&mut config);
    let agent = Running::start(config).await;
    agent
        .until("the catalog", |status| status["catalog_version"] == 1)
        .await;
    agent.ingest(&events(0..10)).await;
    agent
        .until("the first frames", |status| {
            status["receipts"]["accepted"] == 10 && flushed(status)
        })
        .await;
    (collector, agent, directory)
}

/// Ten events, the mischief, ten more; all twenty count once in the end.
async fn survives(mischief: &[Mischief]) -> (Collector, Running, tempfile::TempDir) {
    let (collector, agent, directory) = flowing(|_| {}).await;
    collector.will(mischief);
    agent.ingest(&events(10..20)).await;
    agent
        .until("all frames", |status| {
            status["receipts"]["accepted"] == 20 && flushed(status)
        })
        .await;
    assert_eq!(collector.book().events_of("mtr_calls"), 20);
    assert!(collector.book().mischief.is_empty());
    (collector, agent, directory)
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_arrive_in_order_as_one_chain() {
    let (collector, agent, _directory) = survives(&[]).await;
    let book = collector.book();
    for (index, pair) in book.applied.windows(2).enumerate() {
        assert_eq!(pair[0].header.seq, index as u64 + 1);
        assert_eq!(pair[1].header.seq, index as u64 + 2);
        assert!(pair[1].header.watermark >= pair[0].header.watermark);
        assert!(pair[1].header.receipts.is_conserved());
    }
    assert_eq!(book.registers.len(), 1);
    drop(book);
    drop(agent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_was_cut_off_leads_to_a_duplicate_and_not_to_a_second_count() {
    let (collector, _agent, _directory) = survives(&[Mischief::CutOff, Mischief::CutOff]).await;
    assert!(collector.book().results.contains(&FrameResult::Duplicate));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_to_another_call_acknowledges_nothing() {
    let (collector, agent, _directory) = survives(&[Mischief::OldReply, Mischief::OldReply]).await;
    assert_eq!(collector.book().registers.len(), 1);
    let metrics = agent.get("/metrics").await.text;
    let counted = "submeter_agent_flush_failures_total{cause=\"misdelivered\"}";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_collector_is_left_alone_for_as_long_as_it_asks() {
    for busy in [Mischief::Busy(1), Mischief::Limited(1)] {
        is_left_alone_for_a_second(busy).await;
    }
}

async fn is_left_alone_for_a_second(busy: Mischief) {
    let (collector, _agent, _directory) = survives(&[busy]).await;
    let book = collector.book();
    let waits: Vec<Duration> = book
        .arrivals
        .windows(2)
        .filter(|pair| pair[0].0 == pair[1].0)
        .map(|pair| pair[1].1.duration_since(pair[0].1))
        .collect();
    assert_eq!(waits.len(), 1, "one frame was sent twice");
    assert!(waits[0] >= Duration::from_secs(1), "{waits:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_agent_registers_again_and_goes_on() {
    let (collector, _agent, _directory) = survives(&[Mischief::Fence]).await;
    assert_eq!(collector.book().registers.len(), 2);
    assert!(collector.book().results.contains(&FrameResult::Fenced));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_forgot_the_agent_gets_everything_again() {
    let (collector, _agent, _directory) = survives(&[Mischief::Forget]).await;
    assert_eq!(collector.book().registers.len(), 2);
    assert_eq!(collector.book().applied[0].header.seq, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_proxy_is_no_acknowledgement_and_a_refused_key_is_tried_again() {
    let (_collector, agent, _directory) = survives(&[Mischief::Garbage, Mischief::RefuseKey]).await;
    agent
        .until("flowing", |status| status["flush"]["state"] == "flowing")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hours_without_a_collector_cost_a_row_for_each_key_and_minute() {
    const MINUTES: u64 = 6 * 60;
    let collector = Collector::start().await;
    collector.count_meter("mtr_calls");
    let directory = tempfile::tempdir().expect("a directory");
    let clock = ManualClock::new(SystemClock.now());
    let config = config(directory.path(), &collector.url());
    let agent = Running::start_at(config, Arc::new(clock.clone())).await;
    agent
        .until("the catalog", |status| status["catalog_version"] == 1)
        .await;
    agent.until("the first frames", flushed).await;
    let address = collector.url().trim_start_matches("http://").parse();
    let kept = std::mem::take(&mut *collector.book());
    drop(collector);
    // An idle agent would find out with its next heartbeat only. Once there is a frame that nobody takes, it is the last.
    agent.ingest(&events(0..1)).await;
    let before = agent
        .until("retrying", |status| {
            status["flush"]["state"] == "retrying" && status["outbox_frames"] == 1
        })
        .await;
    for minute in 0..MINUTES {
        clock.advance(Duration::from_secs(60));
        let four: Vec<String> = (0..4)
            .map(|n| event(&format!("m{minute}-{n}")).replace("acme", &format!("c{}", n % 2)))
            .collect();
        agent.ingest(&four).await;
    }
    let status = agent.status().await;
    let open = |status: &Value| status["open_partials"].as_u64();
    assert_eq!(open(&status), open(&before).map(|few| few + 2 * MINUTES));
    assert_eq!(
        status["sealed"]["seq"], before["sealed"]["seq"],
        "frames while nobody is there"
    );

    let collector = again(address.expect("an address"), kept).await;
    let flushed = "/v1/flush?wait=true&timeout_seconds=60";
    agent.post(flushed, "application/json", "").await;
    agent
        .until("everything", |status| status["at_risk_events"] == 0)
        .await;
    assert_eq!(collector.book().events_of("mtr_calls"), 4 * MINUTES + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_drains_while_new_events_come_and_they_follow_soon() {
    let (collector, agent, _directory) = flowing(|config| config.frame_rows_max = 1).await;
    let address = collector.url().trim_start_matches("http://").parse();
    let mut kept = std::mem::take(&mut *collector.book());
    drop(collector);
    // Each customer is a row, each row a frame: an hour of them while nobody is there.
    let of_customer =
        |number: u32| event(&format!("b{number}")).replace("acme", &format!("c{number}"));
    let backlog: Vec<String> = (0..200).map(of_customer).collect();
    agent.ingest(&backlog).await;
    agent.post("/v1/flush", "application/json", "").await;
    let status = agent.status().await;
    assert!(status["outbox_frames"].as_u64() >= Some(200), "{status}");

    kept.slowness = Duration::from_millis(10);
    let collector = again(address.expect("an address"), kept).await;
    agent.post("/v1/flush", "application/json", "").await;
    let (mut new, mut during) = (0, 0);
    let last = loop {
        agent.ingest(&[event(&format!("n{new}"))]).await;
        new += 1;
        let left = agent.status().await["outbox_frames"].as_u64().unwrap_or(0);
        during += u64::from((1..200).contains(&left));
        if left == 0 && during > 0 {
            break std::time::Instant::now();
        }
        assert!(new < 100_000, "{left} frames are left");
    };
    agent
        .until("the new events", |status| status["at_risk_events"] == 0)
        .await;
    println!(
        "{new} new events, {during} of them while the backlog drained; all there {:?} after it",
        last.elapsed()
    );
    assert!(
        during > 10,
        "{during} events came while the backlog drained"
    );
    let counted = collector.book().events_of("mtr_calls");
    assert_eq!(counted, 10 + 200 + new);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_collector_gets_the_frames_it_lost_again() {
    let (collector, agent, _directory) = survives(&[]).await;
    let before = collector.book().applied.len();
    assert!(before >= 2);
    collector.book().restore(1);
    agent.ingest(&events(20..30)).await;
    agent
        .until("all frames", |status| {
            status["receipts"]["accepted"] == 30 && flushed(status)
        })
        .await;
    assert!(collector.book().results.contains(&FrameResult::Gap));
    assert_eq!(collector.book().events_of("mtr_calls"), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_in_a_session_leads_to_a_new_identity_and_stops_nothing() {
    let collector = Collector::start().await;
    collector.count_meter("mtr_calls");
    let directory = tempfile::tempdir().expect("a directory");
    let agent = Running::start(config(directory.path(), &collector.url())).await;
    agent.ingest(&events(0..10)).await;
    agent.until("all frames", flushed).await;
    let before = agent.status().await["agent_id"].clone();
    collector.will(&[Mischief::Fork]);
    agent.ingest(&events(10..20)).await;
    let status = agent
        .until("a new identity", |status| {
            status["agent_id"] != before && status["receipts"]["accepted"] == 20 && flushed(status)
        })
        .await;
    assert_eq!(status["flush"]["state"], "flowing");
    let incident = &status["incidents"][0];
    assert_eq!(incident["kind"], "forked");
    assert_eq!(incident["former_agent_id"], before);
    assert!(incident["repeated"]["first"].is_u64(), "{incident}");
    let metrics = agent.get("/metrics").await.text;
    assert!(
        metrics.contains("submeter_agent_incidents{kind=\"forked\"} 1"),
        "{metrics}"
    );
    let book = collector.book();
    assert_eq!(book.events_of("mtr_calls"), 20);
    let told = book.registers.last().expect("a register").incidents.clone();
    assert_eq!(
        told.len(),
        1,
        "told with the first register of the new identity"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_disowns_a_frame_of_another_history_and_goes_on_behind_it() {
    let (collector, agent, directory) = survives(&[]).await;
    let delivered = agent.status().await["journal_seq"].as_u64().unwrap_or(0);
    agent.stop().await;
    let seq = collector.book().applied.len() as u64;
    let another = Position {
        seq,
        digest: Digest::of(b"another history"),
    };
    collector.book().place(another);
    collector.book().delivered = delivered;
    let agent = Running::start(config(directory.path(), &collector.url())).await;
    let disowned = |register: &RegisterRequest| register.disowned == Some(another);
    let deadline = std::time::Instant::now() + PATIENCE;
    while !collector.book().registers.iter().any(disowned) {
        assert!(std::time::Instant::now() < deadline, "nothing is disowned");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    collector.book().next_status = Some(RegisterStatus::Rollback);
    agent.ingest(&events(20..30)).await;
    agent
        .until("all frames", |status| {
            status["receipts"]["accepted"] == 30 && flushed(status)
        })
        .await;
    assert_eq!(collector.book().events_of("mtr_calls"), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_restored_from_a_backup_goes_on_behind_the_collector() {
    let (collector, agent, directory) = survives(&[]).await;
    let delivered = agent.status().await["journal_seq"].as_u64().unwrap_or(0);
    agent.stop().await;
    let ahead = Position {
        seq: 1000,
        digest: Digest::of(b"frame 1000"),
    };
    collector.book().place(ahead);
    collector.book().delivered = delivered;
    collector.book().next_status = Some(RegisterStatus::Rollback);
    let agent = Running::start(config(directory.path(), &collector.url())).await;
    agent.ingest(&events(20..30)).await;
    let status = agent
        .until("all frames", |status| {
            status["receipts"]["accepted"] == 30 && flushed(status)
        })
        .await;
    assert_eq!(status["incidents"][0]["kind"], "rolled_back");
    let book = collector.book();
    assert!(
        book.applied
            .last()
            .is_some_and(|frame| frame.header.seq > 1000)
    );
    assert!(
        book.applied
            .iter()
            .any(|frame| frame.header.previous == ahead.digest)
    );
    assert_eq!(book.events_of("mtr_calls"), 30);
    drop(book);
    drop(agent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_state_leads_to_a_new_identity_and_loses_nothing() {
    let collector = Collector::start().await;
    collector.count_meter("mtr_calls");
    collector.book().next_status = Some(RegisterStatus::LostState);
    let directory = tempfile::tempdir().expect("a directory");
    let agent = Running::start(config(directory.path(), &collector.url())).await;
    agent.ingest(&events(0..10)).await;
    agent
        .until("all frames", |status| {
            status["receipts"]["accepted"] == 10 && flushed(status)
        })
        .await;
    let book = collector.book();
    assert_eq!(book.registers.len(), 2);
    assert_eq!(book.registers[1].incidents.len(), 1);
    assert_ne!(book.registers[0].agent_id, book.registers[1].agent_id);
    assert_ne!(book.registers[0].state_nonce, book.registers[1].state_nonce);
    assert_eq!(book.events_of("mtr_calls"), 10);
    drop(book);
    drop(agent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_catalog_is_noticed_in_a_reply_and_events_of_before_are_counted() {
    let collector = Collector::start().await;
    let directory = tempfile::tempdir().expect("a directory");
    let agent = Running::start(config(directory.path(), &collector.url())).await;
    agent.ingest(&events(0..10)).await;
    agent
        .until("all frames", |status| {
            status["receipts"]["accepted"] == 10 && flushed(status)
        })
        .await;
    collector.count_meter("mtr_later");
    agent.ingest(&events(10..20)).await;
    agent
        .until("the catalog", |status| {
            status["catalog_version"] == 1 && status["receipts"]["accepted"] == 20
        })
        .await;
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while collector.book().events_of("mtr_later") != 20 {
        assert!(
            std::time::Instant::now() < deadline,
            "{} of 20",
            collector.book().events_of("mtr_later")
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_agent_sends_heartbeats_whose_watermark_advances() {
    let collector = Collector::start().await;
    let directory = tempfile::tempdir().expect("a directory");
    let agent = Running::start(config(directory.path(), &collector.url())).await;
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while collector.book().applied.len() < 3 {
        assert!(std::time::Instant::now() < deadline, "no heartbeat");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(
        collector
            .book()
            .applied
            .iter()
            .all(|frame| frame.rows.is_empty())
    );
    drop(agent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_and_a_farewell_count_by_meters_made_just_before() {
    let collector = Collector::start().await;
    let directory = tempfile::tempdir().expect("a directory");
    let mut slow = config(directory.path(), &collector.url());
    slow.flush_interval = submeter_agent::config::Span::seconds(3600);
    slow.shutdown_grace = submeter_agent::config::Span::seconds(10);
    let agent = Running::start(slow).await;
    agent
        .until("flowing", |status| status["flush"]["state"] == "flowing")
        .await;
    agent.ingest(&events(0..10)).await;
    let first = agent
        .post("/v1/flush?wait=true", "application/json", "")
        .await
        .json();
    assert_eq!(first["complete"], true, "{first}");

    collector.count_meter("mtr_first");
    let second = agent
        .post("/v1/flush?wait=true", "application/json", "")
        .await
        .json();
    assert_eq!(second["complete"], true, "{second}");
    assert_eq!(collector.book().events_of("mtr_first"), 10);

    collector.count_meter("mtr_second");
    agent.ingest(&events(10..15)).await;
    let stopped = agent.stop().await;
    assert!(
        matches!(stopped, submeter_agent::agent::Stopped::Drained),
        "{stopped:?}"
    );
    assert_eq!(collector.book().events_of("mtr_first"), 15);
    assert_eq!(collector.book().events_of("mtr_second"), 15);
    assert!(
        collector
            .book()
            .applied
            .last()
            .is_some_and(|frame| frame.header.farewell)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_that_cannot_be_read_keeps_no_frame_back() {
    let (collector, agent, _directory) = flowing(|_| {}).await;
    collector.book().catalog_is_away = true;
    agent.ingest(&events(10..20)).await;
    let flush = "/v1/flush?wait=true&timeout_seconds=1";
    let reply = agent.post(flush, "application/json", "").await;
    assert_eq!(reply.json()["complete"], false, "by which catalog?");
    agent.until("all frames", flushed).await;
    assert_eq!(collector.book().events_of("mtr_calls"), 20);

    collector.book().catalog_is_away = false;
    let flush = "/v1/flush?wait=true&timeout_seconds=60";
    let reply = agent.post(flush, "application/json", "").await;
    assert_eq!(reply.json()["complete"], true, "{}", reply.text);
}
