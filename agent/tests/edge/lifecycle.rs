//! Starting and stopping: with the collector away, without a key, with a wrong setting; what is left is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use submeter_agent::agent::{Agent, StartError, Stopped};
use submeter_agent::config::{Secret, Span};
use submeter_common::time::SystemClock;

use crate::collector::{Book, Collector};
use crate::harness::{NOBODY, Running, config, event, secret_file};

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_agent_seals_a_farewell_and_is_drained() {
    let collector = Collector::start().await;
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = config(directory.path(), &collector.url());
    config.flush_interval = Span::seconds(3600);
    let agent = Running::start(config).await;
    assert!(directory.path().join("agent.addr").exists());
    agent.ingest(&[event("e1")]).await;
    let stopped = agent.stop().await;
    assert!(matches!(stopped, Stopped::Drained), "{stopped:?}");
    let book = collector.book();
    assert!(
        book.applied
            .last()
            .is_some_and(|frame| frame.header.farewell)
    );
    assert_eq!(
        book.applied
            .last()
            .map(|frame| frame.header.receipts.accepted),
        Some(1)
    );
    assert!(!directory.path().join("agent.addr").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_collector_an_agent_stops_in_time_and_says_what_is_left() {
    let directory = tempfile::tempdir().expect("a directory");
    let agent = Running::start(config(directory.path(), NOBODY)).await;
    agent.ingest(&[event("e1"), event("e2")]).await;
    let started = std::time::Instant::now();
    let stopped = agent.stop().await;
    assert!(started.elapsed() < Duration::from_secs(5));
    match stopped {
        Stopped::FramesLeft { frames, events, .. } => assert!(
            frames >= 1 && events == 2,
            "{frames} frames, {events} events"
        ),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_starts_and_counts_by_the_stored_catalog_with_the_collector_away() {
    let collector = Collector::start().await;
    collector.count_meter("mtr_calls");
    let directory = tempfile::tempdir().expect("a directory");
    let agent = Running::start(config(directory.path(), &collector.url())).await;
    agent
        .until("the catalog", |status| status["catalog_version"] == 1)
        .await;
    assert!(matches!(agent.stop().await, Stopped::Drained));
    let address: SocketAddr = collector
        .url()
        .trim_start_matches("http://")
        .parse()
        .expect("an address");
    let kept = std::mem::take(&mut *collector.book());
    drop(collector);

    let agent = Running::start(config(directory.path(), &format!("http://{address}"))).await;
    agent.ingest(&[event("e1"), event("e2")]).await;
    let status = agent
        .until("retrying", |status| status["flush"]["state"] == "retrying")
        .await;
    assert_eq!(status["catalog_version"], 1);
    agent
        .until("counted", |status| status["receipts"]["matched"] == 2)
        .await;

    let collector = again(address, kept).await;
    agent
        .until("all frames", |status| status["at_risk_events"] == 0)
        .await;
    assert_eq!(collector.book().events_of("mtr_calls"), 2);
}

/// The port was in use a moment ago.
pub(crate) async fn again(address: SocketAddr, book: Book) -> Collector {
    for _ in 0..50 {
        if std::net::TcpListener::bind(address).is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Collector::start_at(address, book).await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_events_are_taken_and_sent_once_there_is_one() {
    let collector = Collector::start().await;
    let directory = tempfile::tempdir().expect("a directory");
    let key_file = directory.path().join("key");
    let mut config = config(&directory.path().join("data"), &collector.url());
    config.key = None;
    config.key_file = Some(key_file.clone());
    let agent = Running::start(config).await;
    agent.ingest(&[event("e1")]).await;
    let status = agent
        .until("no key", |status| status["flush"]["state"] == "no_key")
        .await;
    let message = status["flush"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("key"), "{message}");
    secret_file(&key_file, "smk_late\n", 0o600);
    agent
        .post("/v1/flush?wait=true", "application/json", "")
        .await;
    agent
        .until("all frames", |status| status["at_risk_events"] == 0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_ingest_token_or_a_taken_port_stops_the_start_and_frees_the_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut wrong = config(directory.path(), NOBODY);
    wrong.ingest_token_file = Some(directory.path().join("none"));
    let started = Agent::start(&wrong, Arc::new(SystemClock)).await;
    assert!(
        matches!(started, Err(StartError::Config(message)) if message.contains("ingest_token_file"))
    );

    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut wrong = config(directory.path(), NOBODY);
    wrong.listen = taken.local_addr().expect("an address");
    assert!(matches!(
        Agent::start(&wrong, Arc::new(SystemClock)).await,
        Err(StartError::Io { .. })
    ));
    Running::start(config(directory.path(), NOBODY))
        .await
        .stop()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_only_probes_are_open() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = config(directory.path(), NOBODY);
    config.ingest_token = Secret::new("sesame");
    let agent = Running::start(config).await;
    for path in [
        "/events?page_size=1&page_number=1",
        "/v1/status",
        "/v1/imports",
    ] {
        let reply = agent.get(path).await;
        assert_eq!(
            (reply.status, reply.json()["code"].as_str()),
            (401, Some("UNAUTHORIZED")),
            "{path}"
        );
        for (token, status) in [("wrong", 401), ("sesame", 200)] {
            let request = reqwest::Client::new()
                .get(agent.url(path))
                .bearer_auth(token);
            assert_eq!(agent.send(request).await.status, status, "{path} {token}");
        }
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(agent.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_name_the_gauge_to_watch() {
    let directory = tempfile::tempdir().expect("a directory");
    let agent = Running::start(config(directory.path(), NOBODY)).await;
    agent.ingest(&[event("e1")]).await;
    let metrics = agent.get("/metrics").await;
    assert!(metrics.content_type.starts_with("text/plain"));
    for name in [
        "submeter_agent_at_risk_events ",
        "submeter_agent_accepted_events_total",
        "submeter_agent_requests_total",
    ] {
        assert!(
            metrics.text.contains(name),
            "{name} is not in\n{}",
            metrics.text
        );
    }
}
