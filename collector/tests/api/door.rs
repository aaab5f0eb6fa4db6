//! The door: its bounds, and where the API is found behind it.

use std::time::Duration;

use reqwest::StatusCode;
use submeter_common::time::ManualClock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::running::{NOW, Running, time};

const SHORT: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(10);

async fn start(change: impl FnOnce(&mut submeter_collector::config::Config)) -> Running {
    Running::start_with(
        tempfile::tempdir().unwrap(),
        ManualClock::new(time(NOW)),
        change,
    )
    .await
}

async fn connect(running: &Running) -> TcpStream {
    TcpStream::connect(running.api.base.trim_start_matches("http://"))
        .await
        .unwrap()
}

async fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut text))
        .await
        .unwrap()
        .unwrap();
    text
}

#[tokio::test]
async fn a_head_that_never_ends_is_given_up() {
    let running = start(|config| config.api.head_timeout = SHORT).await;
    let mut slow = connect(&running).await;
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        .await
        .unwrap();
    rest(slow).await;
    assert_eq!(running.api.get("/healthz").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up_and_may_be_sent_again() {
    let running = start(|config| config.api.request_timeout = SHORT).await;
    let key = std::fs::read_to_string(running.path("bootstrap.key")).unwrap();
    let mut slow = connect(&running).await;
    let head = format!(
        "POST /meters HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{{",
        key.trim()
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    let answer = rest(slow).await.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 503"), "{answer}");
    assert!(
        answer.contains("retry-after: ") && answer.contains("unavailable"),
        "{answer}"
    );
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_and_are_served_later() {
    let running = start(|config| config.api.connections_max = 2).await;
    let first = connect(&running).await;
    let _second = connect(&running).await;
    let mut third = connect(&running).await;
    third
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut byte = [0];
    assert!(
        timeout(SHORT, third.read(&mut byte)).await.is_err(),
        "there was no room yet"
    );
    drop(first);
    assert!(rest(third).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn the_api_is_found_under_its_path_prefix_and_health_at_the_root() {
    let running = start(|config| config.api.path_prefix = "/billing".to_owned()).await;
    for (path, status) in [
        ("/billing/meters", StatusCode::OK),
        ("/billing/v1/usage", StatusCode::UNPROCESSABLE_ENTITY),
        ("/meters", StatusCode::NOT_FOUND),
        ("/healthz", StatusCode::OK),
    ] {
        assert_eq!(running.api.get(path).await.status, status, "{path}");
    }
    let unknown = running.api.get("/billing/nothing").await;
    assert_eq!(unknown.code(), "NO_SUCH_ROUTE");
    let nobody = running.api.with_key(None).get("/billing/meters").await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
}
