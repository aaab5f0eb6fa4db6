//! Who may speak: names in every place a request can carry one, pages of browsers, and the token.

use submeter_agent::config::Secret;

use crate::bad_input::raw;
use crate::harness::{NOBODY, Running, alone, config};

async fn answers(agent: &Running, head: &str, status: u16) {
    let reply = raw(
        agent,
        format!("{head}\r\nconnection: close\r\n\r\n").as_bytes(),
    )
    .await;
    let expected = format!(" {status} ");
    assert!(
        reply
            .lines()
            .next()
            .is_some_and(|line| line.contains(&expected)),
        "{head}: {reply}"
    );
    assert_eq!(
        reply.contains("FORBIDDEN_HOST"),
        status == 403,
        "{head}: {reply}"
    );
    assert!(
        !reply.to_lowercase().contains("access-control-"),
        "{head}: {reply}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_name_is_refused_wherever_it_stands() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = config(directory.path(), NOBODY);
    config.allowed_hosts = vec!["Meter.Local".to_owned()];
    let agent = Running::start(config).await;
    for (head, status) in [
        ("GET /healthz HTTP/1.1\r\nhost: localhost", 200),
        ("GET /healthz HTTP/1.1\r\nhost: meter.local:7600", 200),
        ("GET /healthz HTTP/1.1\r\nhost: [::1]:7600", 200),
        ("GET /healthz HTTP/1.0\r\nhost: 127.0.0.1", 200),
        ("GET /healthz HTTP/1.0", 403),
        ("GET /healthz HTTP/1.1", 403),
        ("GET /healthz HTTP/1.1\r\nhost:", 403),
        ("GET /healthz HTTP/1.1\r\nhost: evil.example", 403),
        (
            "GET /healthz HTTP/1.1\r\nhost: meter.local.evil.example",
            403,
        ),
        (
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: evil.example",
            403,
        ),
        ("GET /healthz HTTP/1.1\r\nhost: 192.0.2.1", 403),
        ("GET /healthz HTTP/1.1\r\nhost: [fd00::1]:7600", 403),
        // The absolute form names the host once more.
        (
            "GET http://localhost/healthz HTTP/1.1\r\nhost: localhost",
            200,
        ),
        (
            "GET http://evil.example/healthz HTTP/1.1\r\nhost: localhost",
            403,
        ),
        (
            "GET http://localhost/healthz HTTP/1.1\r\nhost: evil.example",
            403,
        ),
        ("CONNECT evil.example:80 HTTP/1.1\r\nhost: localhost", 403),
        // What a page's requests carry.
        (
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\norigin: http://[::1]:3000",
            200,
        ),
        (
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\norigin: https://meter.local",
            200,
        ),
        (
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\norigin: https://evil.example",
            403,
        ),
        (
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\norigin: http://evil.example#@localhost",
            403,
        ),
        (
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\norigin: http://localhost\r\norigin: http://evil.example",
            403,
        ),
        (
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\norigin: null",
            403,
        ),
        (
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\norigin: file://",
            403,
        ),
        (
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\norigin: localhost",
            403,
        ),
        // A page may not even ask whether it may: no reply allows it, from wherever it came.
        (
            "OPTIONS /events/ingest HTTP/1.1\r\nhost: localhost\r\norigin: https://evil.example\r\naccess-control-request-method: POST",
            403,
        ),
        (
            "OPTIONS /events/ingest HTTP/1.1\r\nhost: localhost\r\norigin: http://localhost:3000\r\naccess-control-request-method: POST",
            405,
        ),
    ] {
        answers(&agent, head, status).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_client_gets_to_read_why_even_with_much_to_send() {
    let (_directory, agent) = alone().await;
    let request = reqwest::Client::new()
        .post(agent.url("/events/ingest"))
        .header("host", "agent.pod.example:7600")
        .header("content-type", "application/json")
        .body(vec![b' '; 8 << 20]);
    let reply = agent.send(request).await;
    assert_eq!(
        (reply.status, reply.json()["code"].as_str()),
        (403, Some("FORBIDDEN_HOST"))
    );
    let message = reply.json()["message"].to_string();
    assert!(
        message.contains("agent.pod.example") && message.contains("allowed_hosts"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_but_the_probes_asks_for_the_token_in_its_own_words() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = config(directory.path(), NOBODY);
    config.ingest_token = Secret::new("sesame");
    let agent = Running::start(config).await;
    let client = reqwest::Client::new();
    for (method, path) in [
        ("POST", "/events/ingest"),
        ("POST", "/v1/events"),
        ("POST", "/api/v1/events"),
        ("GET", "/events"),
        ("GET", "/events/e1"),
        ("GET", "/v1/status"),
        ("POST", "/v1/flush"),
        ("POST", "/v1/imports"),
        ("DELETE", "/v1/imports/x"),
        ("GET", "/no/such/path"),
    ] {
        for authorization in [
            None,
            Some("Bearer wrong"),
            Some("Bearer sesam"),
            Some("Bearer sesame1"),
            Some("Basic sesame"),
            Some("sesame"),
        ] {
            let method = method.parse().expect("a method");
            let mut request = client.request(method, agent.url(path));
            if let Some(value) = authorization {
                request = request.header("authorization", value);
            }
            let reply = request.send().await.expect("a reply");
            assert_eq!(reply.status().as_u16(), 401, "{path} {authorization:?}");
            assert_eq!(reply.headers()["www-authenticate"], "Bearer", "{path}");
            let body: serde_json::Value =
                serde_json::from_str(&reply.text().await.expect("a body")).expect("JSON");
            assert_eq!(body["code"], "UNAUTHORIZED", "{path}: {body}");
            assert!(!body.to_string().contains("sesame1"), "{body}");
        }
    }
    let good = client
        .get(agent.url("/v1/status"))
        .header("authorization", "bearer sesame");
    assert_eq!(agent.send(good).await.status, 200);
}
