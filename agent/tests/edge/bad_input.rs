//! Everything wrong that can be sent: each case gets its status, its code and a message that names the field; nothing of it is
//! stored, and the agent answers the next request.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Reply, Running, alone, batch, config, event, seconds_from_now};

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

/// Name, path, content type, body, and what is answered: status, code, a word of the message.
type BadRequest = (
    &'static str,
    &'static str,
    &'static str,
    Vec<u8>,
    u16,
    &'static str,
    &'static str,
);

/// One event with some fields replaced, as text so that nothing is corrected on the way.
fn with(field: &str, value: &str) -> String {
    let mut fields = vec![
        ("event_id", "\"bad\""),
        ("customer_id", "\"acme\""),
        ("event_name", "\"api.call\""),
    ];
    fields.retain(|(name, _)| *name != field);
    fields.push((field, value));
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    format!("{{{}}}", fields.join(","))
}

fn without(field: &str) -> String {
    let fields = [
        ("event_id", "\"bad\""),
        ("customer_id", "\"acme\""),
        ("event_name", "\"api.call\""),
    ];
    let fields: Vec<String> = fields
        .iter()
        .filter(|(name, _)| *name != field)
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    format!("{{{}}}", fields.join(","))
}

fn text(length: usize) -> String {
    format!("\"{}\"", "x".repeat(length))
}

/// Bad events: name, event, status as a whole request, code, what the message names.
fn bad_events() -> Vec<(&'static str, String, u16, &'static str, &'static str)> {
    let pairs: Vec<String> = (0..51).map(|number| format!("\"k{number}\":1")).collect();
    vec![
        (
            "no event id",
            without("event_id"),
            422,
            "MISSING_FIELD",
            "event_id",
        ),
        (
            "no customer",
            without("customer_id"),
            422,
            "MISSING_FIELD",
            "customer_id",
        ),
        (
            "no event name",
            without("event_name"),
            422,
            "MISSING_FIELD",
            "event_name",
        ),
        (
            "null event id",
            with("event_id", "null"),
            422,
            "MISSING_FIELD",
            "event_id",
        ),
        (
            "unknown field",
            with("colour", "\"red\""),
            422,
            "UNKNOWN_FIELD",
            "colour",
        ),
        (
            "number as id",
            with("event_id", "7"),
            422,
            "MALFORMED_EVENT",
            "event_id",
        ),
        (
            "an array as event",
            "[]".to_owned(),
            422,
            "MALFORMED_EVENT",
            "event",
        ),
        (
            "empty id",
            with("event_id", "\"\""),
            400,
            "INVALID_FIELD",
            "event_id",
        ),
        (
            "long id",
            with("event_id", &text(257)),
            400,
            "INVALID_FIELD",
            "event_id",
        ),
        (
            "long customer",
            with("customer_id", &text(257)),
            400,
            "INVALID_FIELD",
            "customer_id",
        ),
        (
            "NUL",
            with("event_id", "\"a\\u0000b\""),
            400,
            "INVALID_FIELD",
            "event_id",
        ),
        (
            "control character",
            with("customer_id", "\"a\\nb\""),
            400,
            "INVALID_FIELD",
            "customer_id",
        ),
        (
            "nested metadata",
            with("metadata", "{\"a\":{\"b\":1}}"),
            400,
            "INVALID_METADATA",
            "metadata.a",
        ),
        (
            "array in metadata",
            with("metadata", "{\"a\":[1]}"),
            400,
            "INVALID_METADATA",
            "metadata.a",
        ),
        (
            "metadata that is no object",
            with("metadata", "[1]"),
            422,
            "MALFORMED_EVENT",
            "metadata",
        ),
        (
            "too many pairs",
            with("metadata", &format!("{{{}}}", pairs.join(","))),
            400,
            "INVALID_METADATA",
            "metadata",
        ),
        (
            "long key",
            with("metadata", &format!("{{{}:1}}", text(101))),
            400,
            "INVALID_METADATA",
            "metadata",
        ),
        (
            "long value",
            with("metadata", &format!("{{\"a\":{}}}", text(501))),
            400,
            "INVALID_METADATA",
            "metadata.a",
        ),
        (
            "1e400",
            with("metadata", "{\"a\":1e400}"),
            400,
            "INVALID_NUMBER",
            "metadata.a",
        ),
        (
            "40 digits",
            with("metadata", &format!("{{\"a\":{}}}", "9".repeat(40))),
            400,
            "INVALID_NUMBER",
            "metadata.a",
        ),
        (
            "date only",
            with("timestamp", "\"2026-01-01\""),
            400,
            "INVALID_TIMESTAMP",
            "timestamp",
        ),
        (
            "before 1970",
            with("timestamp", "\"1969-12-31T23:59:59Z\""),
            400,
            "INVALID_TIMESTAMP",
            "timestamp",
        ),
        (
            "no time at all",
            with("timestamp", "\"yesterday\""),
            400,
            "INVALID_TIMESTAMP",
            "timestamp",
        ),
        (
            "time as number",
            with("timestamp", "1700000000"),
            422,
            "MALFORMED_EVENT",
            "timestamp",
        ),
        (
            "too old",
            with("timestamp", &format!("\"{}\"", seconds_from_now(-3700))),
            400,
            "TIMESTAMP_TOO_OLD",
            "timestamp",
        ),
        (
            "too new",
            with("timestamp", &format!("\"{}\"", seconds_from_now(400))),
            400,
            "TIMESTAMP_TOO_NEW",
            "timestamp",
        ),
    ]
}

fn check(name: &str, reply: &Reply, status: u16, code: &str, names: &str) {
    assert_eq!(reply.status, status, "{name}: {reply:?}");
    assert_eq!(reply.content_type, "application/json", "{name}: {reply:?}");
    let body = reply.json();
    assert_eq!(body["code"], code, "{name}: {body}");
    assert!(
        body["message"]
            .as_str()
            .is_some_and(|message| message.contains(names)),
        "{name}: {body}"
    );
}

/// Nothing was stored, and the agent answers.
async fn untouched(agent: &Running) {
    let listed = agent.get("/events?page_size=1&page_number=1").await;
    assert_eq!(
        (listed.status, listed.text.as_str()),
        (200, r#"{"items":[]}"#)
    );
    let listed = agent.get("/events").await;
    assert_eq!(listed.text, r#"{"items":[]}"#);
    let status = agent.status().await;
    assert_eq!(status["receipts"]["accepted"], 0, "{status:#}");
    assert_eq!(status["journal_seq"], 0, "{status:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_event_refuses_its_whole_request_and_is_listed() {
    let (_directory, agent) = alone().await;
    let cases = bad_events();
    for (name, bad, status, code, names) in &cases {
        let reply = agent
            .post("/events/ingest", JSON, batch(&[event("good"), bad.clone()]))
            .await;
        check(name, &reply, *status, code, names);
        let errors = &reply.json()["errors"];
        assert_eq!(errors.as_array().map(Vec::len), Some(1), "{name}: {errors}");
        assert_eq!(errors[0]["index"], 1, "{name}: {errors}");
        assert_eq!(errors[0]["code"], *code, "{name}: {errors}");
    }
    untouched(&agent).await;
    let receipts = &agent.status().await["receipts"];
    assert_eq!(receipts["received"], cases.len(), "{receipts}");
    assert_eq!(agent.ingest(&[event("good")]).await["ingested_count"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_native_endpoint_lists_the_bad_and_takes_the_good() {
    let (_directory, agent) = alone().await;
    let cases = bad_events();
    let mut lines: Vec<String> = cases.iter().map(|(_, bad, ..)| bad.clone()).collect();
    lines.insert(0, event("first"));
    lines.push("{\"event_id\":\"cut".to_owned());
    lines.push(String::new());
    lines.push(event("last"));
    let reply = agent.post("/v1/events", NDJSON, lines.join("\n")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let body = reply.json();
    assert_eq!(
        (&body["accepted"], &body["rejected_count"]),
        (&2.into(), &(cases.len() + 1).into()),
        "{body}"
    );
    for (index, (name, _, _, code, names)) in cases.iter().enumerate() {
        let rejected = &body["rejected"][index];
        assert_eq!(rejected["index"], index + 1, "{name}: {rejected}");
        assert_eq!(rejected["code"], *code, "{name}: {rejected}");
        assert!(
            rejected["message"]
                .as_str()
                .is_some_and(|message| message.contains(names)),
            "{name}: {rejected}"
        );
    }

    lines.retain(|line| !line.is_empty() && !line.contains("cut"));
    let reply = agent
        .post("/v1/events", JSON, format!("[{}]", lines.join(",")))
        .await;
    let body = reply.json();
    assert_eq!(
        (&body["accepted"], &body["duplicates"]),
        (&0.into(), &2.into()),
        "{body}"
    );
    assert_eq!(
        body["rejected"].as_array().map(Vec::len),
        Some(cases.len()),
        "{body}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_request_is_refused_before_anything_of_it_is_stored() {
    let (_directory, agent) = alone().await;
    let good = batch(&[event("good")]);
    let many: Vec<String> = (0..1001)
        .map(|number| event(&format!("e{number}")))
        .collect();
    let twice = batch(&[event("same"), event("other"), event("same")]);
    let nan = good.replace("12.5", "NaN");
    let not_utf8 = [good.as_bytes(), b"\xff"].concat();
    let cases: Vec<BadRequest> = vec![
        (
            "no JSON",
            "/events/ingest",
            JSON,
            b"hello".to_vec(),
            422,
            "MALFORMED_REQUEST",
            "JSON",
        ),
        (
            "empty",
            "/events/ingest",
            JSON,
            Vec::new(),
            422,
            "MALFORMED_REQUEST",
            "JSON",
        ),
        (
            "cut off",
            "/events/ingest",
            JSON,
            good.as_bytes()[..40].to_vec(),
            422,
            "MALFORMED_REQUEST",
            "JSON",
        ),
        (
            "NaN",
            "/events/ingest",
            JSON,
            nan.into_bytes(),
            422,
            "MALFORMED_REQUEST",
            "JSON",
        ),
        (
            "not UTF-8",
            "/events/ingest",
            JSON,
            not_utf8,
            422,
            "MALFORMED_REQUEST",
            "UTF-8",
        ),
        (
            "no events",
            "/events/ingest",
            JSON,
            b"{}".to_vec(),
            422,
            "MISSING_FIELD",
            "events",
        ),
        (
            "other field",
            "/events/ingest",
            JSON,
            b"{\"evnts\":[]}".to_vec(),
            422,
            "UNKNOWN_FIELD",
            "evnts",
        ),
        (
            "empty list",
            "/events/ingest",
            JSON,
            b"{\"events\":[]}".to_vec(),
            400,
            "INVALID_FIELD",
            "events",
        ),
        (
            "1001 events",
            "/events/ingest",
            JSON,
            batch(&many).into_bytes(),
            400,
            "TOO_MANY_EVENTS",
            "1000",
        ),
        (
            "an id twice",
            "/events/ingest",
            JSON,
            twice.into_bytes(),
            400,
            "DUPLICATE_EVENT_ID",
            "event_id",
        ),
        (
            "text",
            "/events/ingest",
            "text/plain",
            good.clone().into_bytes(),
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            "application/json",
        ),
        (
            "latin",
            "/events/ingest",
            "application/json; charset=latin1",
            good.clone().into_bytes(),
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            "utf-8",
        ),
        (
            "5 MiB",
            "/events/ingest",
            JSON,
            vec![b' '; 5 << 20],
            413,
            "BODY_TOO_LARGE",
            "4194304",
        ),
        (
            "native, no JSON",
            "/v1/events",
            JSON,
            b"[{".to_vec(),
            422,
            "MALFORMED_REQUEST",
            "JSON",
        ),
        (
            "native, 1001 events",
            "/v1/events",
            JSON,
            format!("[{}]", many.join(",")).into_bytes(),
            400,
            "TOO_MANY_EVENTS",
            "1000",
        ),
        (
            "native, a number",
            "/v1/events",
            JSON,
            b"7".to_vec(),
            422,
            "MALFORMED_REQUEST",
            "object",
        ),
        (
            "native, text",
            "/v1/events",
            "text/csv",
            good.into_bytes(),
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            "ndjson",
        ),
        (
            "no such path",
            "/v2/events",
            JSON,
            b"{}".to_vec(),
            404,
            "NOT_FOUND",
            "/v2/events",
        ),
        (
            "no such method",
            "/healthz",
            JSON,
            b"{}".to_vec(),
            405,
            "METHOD_NOT_ALLOWED",
            "POST",
        ),
    ];
    for (name, path, content_type, body, status, code, names) in cases {
        let reply = agent.post(path, content_type, body).await;
        check(name, &reply, status, code, names);
    }
    untouched(&agent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_query_names_its_parameter() {
    let (_directory, agent) = alone().await;
    for (query, names) in [
        ("page_size=0", "page_size"),
        ("page_size=101", "page_size"),
        ("page_size=x", "page_size"),
        ("page_number=-1", "page_number"),
        ("start=today", "start"),
        ("end=2026-01-01", "end"),
    ] {
        check(
            query,
            &agent.get(&format!("/events?{query}")).await,
            422,
            "INVALID_QUERY",
            names,
        );
    }
    check(
        "unknown id",
        &agent.get("/events/nobody").await,
        404,
        "EVENT_NOT_FOUND",
        "nobody",
    );
    check(
        "broken id",
        &agent.get("/events/%ff").await,
        400,
        "INVALID_PATH",
        "UTF-8",
    );
}

/// Sends bytes as they are and returns what comes back until the agent hangs up.
pub(crate) async fn raw(agent: &Running, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(agent.address()).await.expect("connects");
    let _agent_may_hang_up_first = stream.write_all(bytes).await;
    let _agent_may_hang_up_first = stream.shutdown().await;
    let mut reply = Vec::new();
    let _reset_after_the_reply = stream.read_to_end(&mut reply).await;
    String::from_utf8_lossy(&reply).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_host_or_origin_is_refused() {
    let (_directory, agent) = alone().await;
    let good = batch(&[event("good")]);
    for headers in [
        "host: evil.example",
        "host: 127.0.0.1.evil.example:7600",
        "host: 127.0.0.1\r\nhost: 127.0.0.1",
        "x: y",
        "host: 127.0.0.1\r\norigin: https://evil.example",
        "host: 127.0.0.1\r\norigin: null",
    ] {
        let head = format!(
            "POST /events/ingest HTTP/1.1\r\n{headers}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            good.len()
        );
        let reply = raw(&agent, format!("{head}{good}").as_bytes()).await;
        assert!(
            reply.starts_with("HTTP/1.1 403") && reply.contains("FORBIDDEN_HOST"),
            "{headers}: {reply}"
        );
    }
    untouched(&agent).await;
    let local = "GET /healthz HTTP/1.1\r\nhost: localhost\r\norigin: http://localhost:3000\r\nconnection: close\r\n\r\n";
    assert!(
        raw(&agent, local.as_bytes())
            .await
            .starts_with("HTTP/1.1 200")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_cut_off_on_the_wire_and_noise_leave_nothing_behind() {
    let (_directory, agent) = alone().await;
    let head =
        "POST /events/ingest HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let half = format!(
        "{head}content-length: 1000\r\n\r\n{{\"events\":[{}",
        event("half")
    );
    let reply = raw(&agent, half.as_bytes()).await;
    assert!(
        reply.is_empty() || reply.contains("INCOMPLETE_BODY"),
        "{reply}"
    );
    let chunk = format!(
        "{head}transfer-encoding: chunked\r\n\r\nffff\r\n{{\"events\":[{}",
        event("half")
    );
    let reply = raw(&agent, chunk.as_bytes()).await;
    assert!(
        reply.is_empty() || reply.contains("INCOMPLETE_BODY"),
        "{reply}"
    );
    raw(
        &agent,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    )
    .await;
    let reply = raw(
        &agent,
        format!(
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n",
            "y".repeat(1 << 20)
        )
        .as_bytes(),
    )
    .await;
    assert!(
        reply.is_empty() || reply.starts_with("HTTP/1.1 431"),
        "{reply}"
    );
    untouched(&agent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_body_is_refused_by_its_own_name() {
    let (_directory, agent) = alone().await;
    for path in ["/events/ingest", "/v1/events"] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n"
        );
        let reply = raw(
            &agent,
            format!("{head}content-length: 2\r\n\r\n\x1f\x0b").as_bytes(),
        )
        .await;
        assert!(reply.starts_with("HTTP/1.1 415"), "{reply}");
        assert!(
            reply.contains("Content-Encoding is \\\"gzip\\\""),
            "{reply}"
        );
    }
    untouched(&agent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_beyond_the_memory_for_them_are_asked_to_come_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = config(directory.path(), crate::harness::NOBODY);
    config.request_bytes_max = submeter_agent::config::Bytes(64 << 10);
    config.requests_bytes_max = submeter_agent::config::Bytes(64 << 10);
    let agent = Running::start(config).await;
    // A client that holds the budget by not finishing its body.
    let mut slow = TcpStream::connect(agent.address()).await.expect("connects");
    let head = "POST /events/ingest HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 65536\r\n\r\n";
    slow.write_all(head.as_bytes()).await.expect("writes");
    slow.write_all(&vec![b' '; 60 << 10]).await.expect("writes");
    let deadline = std::time::Instant::now() + crate::harness::PATIENCE;
    loop {
        let padded = format!("{}{}", batch(&[event("padded")]), " ".repeat(8 << 10));
        let reply = agent.post("/events/ingest", JSON, padded).await;
        if reply.status == 503 {
            check("overloaded", &reply, 503, "OVERLOADED", "later");
            assert_eq!(reply.retry_after.as_deref(), Some("1"));
            break;
        }
        assert!(std::time::Instant::now() < deadline, "never refused");
    }
    drop(slow);
    agent.until("room again", |_| true).await;
    let deadline = std::time::Instant::now() + crate::harness::PATIENCE;
    while agent
        .post("/events/ingest", JSON, batch(&[event("after")]))
        .await
        .status
        != 200
    {
        assert!(
            std::time::Instant::now() < deadline,
            "the budget was not given back"
        );
    }
}
