//! The Unix socket beside TCP: the same routes, the same budgets, other manners.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use submeter_agent::agent::{Agent, StartError};
use submeter_agent::config::{Config, Mode, Secret};
use submeter_common::time::SystemClock;
use tempfile::TempDir;
use tokio::net::UnixStream;

use crate::harness::{NOBODY, PATIENCE, Reply, Running, batch, config, event};

const JSON: &str = "application/json";

fn with_socket() -> (TempDir, PathBuf, Config) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("agent.sock");
    let mut config = config(&directory.path().join("data"), NOBODY);
    config.unix_socket = Some(path.clone());
    (directory, path, config)
}

fn through(path: &Path) -> reqwest::Client {
    reqwest::Client::builder()
        .unix_socket(path)
        .timeout(PATIENCE)
        .build()
        .expect("a client")
}

async fn send(agent: &Running, path: &Path, ask: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = through(path).get(format!("http://any.name{ask}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    agent.send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_has_the_same_routes_beside_tcp_and_goes_at_the_stop() {
    let (_directory, path, mut config) = with_socket();
    config.unix_socket_mode = Mode(0o606);
    let agent = Running::start(config).await;
    let mode = std::fs::metadata(&path)
        .expect("the socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o606);
    let post = through(&path)
        .post("http://localhost/events/ingest")
        .header("content-type", JSON)
        .body(batch(&[event("e1")]));
    assert_eq!(agent.send(post).await.status, 200);
    agent.ingest(&[event("e2")]).await;
    for ask in [
        "/events/e1",
        "/events/e2",
        "/v1/status",
        "/healthz",
        "/metrics",
    ] {
        assert_eq!(send(&agent, &path, ask, &[]).await.status, 200, "{ask}");
        assert_eq!(agent.get(ask).await.status, 200, "{ask}");
    }
    assert_eq!(agent.status().await["receipts"]["accepted"], 2);
    agent.stop().await;
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn any_host_may_be_named_through_the_socket_but_no_foreign_origin() {
    let (_directory, path, mut config) = with_socket();
    config.ingest_token = Secret::new("sesame");
    let agent = Running::start(config).await;
    let token = ("authorization", "Bearer sesame");
    let ask = "/v1/status";
    for (headers, status) in [
        (vec![token], 200),
        (vec![token, ("host", "evil.example")], 200),
        (vec![token, ("origin", "http://localhost:3000")], 200),
        (vec![token, ("origin", "https://evil.example")], 403),
        (vec![], 401),
    ] {
        let reply = send(&agent, &path, ask, &headers).await;
        assert_eq!(reply.status, status, "{headers:?}: {reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_agent_left_is_replaced_and_what_is_not_ours_stays() {
    let (_directory, path, config) = with_socket();
    // A killed process leaves its file; nobody listens behind it.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("binds"));
    let agent = Running::start(config.clone()).await;
    assert_eq!(send(&agent, &path, "/healthz", &[]).await.status, 200);

    let mut second = config.clone();
    second.data_dir = config.data_dir.with_extension("second");
    let started = Agent::start(&second, Arc::new(SystemClock)).await;
    let Err(StartError::Io { doing, .. }) = started else {
        panic!("two agents on one socket");
    };
    assert!(doing.contains("agent.sock"), "{doing}");
    assert_eq!(send(&agent, &path, "/healthz", &[]).await.status, 200);
    agent.stop().await;

    std::fs::write(&path, "precious").expect("a file");
    let started = Agent::start(&config, Arc::new(SystemClock)).await;
    assert!(matches!(started, Err(StartError::Io { .. })));
    assert_eq!(
        std::fs::read_to_string(&path).expect("the file"),
        "precious"
    );
    std::fs::remove_file(&path).expect("removed");
    // The directory was let go of.
    Running::start(config).await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_doors_share_the_connections() {
    let (_directory, path, mut config) = with_socket();
    config.connections_max = 2;
    let agent = Running::start(config).await;
    let first = UnixStream::connect(&path).await.expect("connects");
    let second = UnixStream::connect(&path).await.expect("connects");
    let health = reqwest::Client::new().get(agent.url("/healthz"));
    // The two are accepted in their order before it; a machine so busy that it has not come that far proves nothing here.
    let waiting = tokio::time::timeout(Duration::from_millis(500), health.send()).await;
    assert!(waiting.is_err(), "{waiting:?}");
    drop((first, second));
    assert_eq!(agent.get("/healthz").await.status, 200);
}
