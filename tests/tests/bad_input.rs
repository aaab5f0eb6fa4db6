//! Does every bad request get the answer the documentation promises, and leave nothing behind?
//!
//! One agent and one collector take all of it; at the end each must be up and hold exactly the good events.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use submeter_tests::system::{Agent, Reply, System, Wire};

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_names_what_is_wrong_and_stores_nothing_of_it() -> Result<()> {
    let system = System::start("").await?;
    let agent = system
        .agent("agent", "request_bytes_max = \"256KiB\"")
        .await?;
    for (name, events, status, code, mentions) in bad_events() {
        let body = format!("{{\"events\":[{},{events}]}}", event("good"));
        let reply = post(&agent, "/events/ingest", JSON, body).await?;
        check(&name, &reply, status, code, mentions)?;
        let listed = reply.json()?["errors"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        ensure!(
            listed.iter().any(|error| error["index"] == 1),
            "{name}: {}",
            reply.body
        );
    }
    for (name, path, content_type, body, status, code) in bad_requests() {
        check(
            name,
            &post(&agent, path, content_type, body).await?,
            status,
            code,
            "",
        )?;
    }
    nothing_stored(&agent).await?;

    let reply = post(&agent, "/events/ingest", JSON, events(&[event("good")])).await?;
    ensure!(reply.json()?["ingested_count"] == 1, "{}", reply.body);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_native_endpoint_takes_the_good_and_lists_the_bad() -> Result<()> {
    let system = System::start("").await?;
    let agent = system.agent("agent", "").await?;
    // An id that comes twice is a repetition here, not a fault.
    let bad: Vec<String> = bad_events()
        .into_iter()
        .filter(|(.., code, _)| *code != "DUPLICATE_EVENT_ID")
        .map(|(_, event, ..)| event)
        .collect();
    let mut lines = vec![event("first")];
    lines.extend(bad.iter().map(|event| event.replace('\n', " ")));
    lines.push(event("last"));

    let reply = post(&agent, "/v1/events", NDJSON, lines.join("\n"))
        .await?
        .document()?;
    ensure!(reply["accepted"] == 2, "{reply}");
    let rejected = reply["rejected"].as_array().context("rejected")?;
    ensure!(
        rejected.len() == bad.len(),
        "{} of {}: {reply}",
        rejected.len(),
        bad.len()
    );
    for rejection in rejected {
        ensure!(
            rejection["code"].is_string() && rejection["message"].is_string(),
            "{rejection}"
        );
    }
    let again = post(&agent, "/v1/events", NDJSON, lines.join("\n"))
        .await?
        .document()?;
    ensure!(
        again["accepted"] == 0 && again["duplicates"] == 2,
        "{again}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_cut_off_leaves_nothing_behind() -> Result<()> {
    let system = System::start("").await?;
    let agent = system.agent("agent", "").await?;
    let whole = events(&[event("cut")]);
    let (half, _) = whole.split_at(whole.len() / 2);

    let mut announced = Wire::connect(agent.api().base()).await?;
    announced
        .head(
            "/events/ingest",
            &format!("content-length: {}\r\n", whole.len()),
        )
        .await?;
    announced.bytes(half.as_bytes()).await?;
    announced.end().await?;
    let reply = announced.rest().await?;
    ensure!(
        reply.is_empty() || reply.starts_with("HTTP/1.1 400"),
        "{reply}"
    );

    let mut chunked = Wire::connect(agent.api().base()).await?;
    chunked
        .head("/events/ingest", "transfer-encoding: chunked\r\n")
        .await?;
    chunked
        .bytes(format!("{:x}\r\n{half}\r\n", half.len()).as_bytes())
        .await?;
    chunked.end().await?;
    let reply = chunked.rest().await?;
    ensure!(
        reply.is_empty() || reply.starts_with("HTTP/1.1 400"),
        "{reply}"
    );

    nothing_stored(&agent).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_holds_up_nobody_else() -> Result<()> {
    let system = System::start("").await?;
    let agent = system.agent("agent", "").await?;
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut wire = Wire::connect(agent.api().base()).await?;
        wire.head("/events/ingest", "content-length: 1000\r\n")
            .await?;
        wire.bytes(b"{\"events\":[").await?;
        slow.push(wire);
    }
    let quick = post(&agent, "/events/ingest", JSON, events(&[event("quick")]));
    let quick = tokio::time::timeout(Duration::from_secs(5), quick)
        .await
        .context("held up")??;
    ensure!(quick.status == 200, "{}", quick.body);
    for wire in &mut slow {
        ensure!(
            wire.within(Duration::from_millis(5)).await?.is_empty(),
            "an early answer"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_http_or_not_for_this_host_is_refused() -> Result<()> {
    let system = System::start("").await?;
    let agent = system.agent("agent", "").await?;
    let mut noise = Wire::connect(agent.api().base()).await?;
    noise
        .bytes(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not http\r\n\r\n")
        .await?;
    ensure!(!noise.rest().await?.contains("200 OK"));

    let mut foreign = Wire::connect(agent.api().base()).await?;
    foreign
        .bytes(b"GET /v1/status HTTP/1.1\r\nhost: attacker.example\r\nconnection: close\r\n\r\n")
        .await?;
    let reply = foreign.rest().await?;
    ensure!(
        reply.starts_with("HTTP/1.1 403") && reply.contains("FORBIDDEN_HOST"),
        "{reply}"
    );

    let mut huge = Wire::connect(agent.api().base()).await?;
    huge.bytes(b"GET /v1/status HTTP/1.1\r\nx: ").await?;
    // The agent may hang up before all of it is written.
    let _ = huge.bytes(&vec![b'a'; 1 << 20]).await;
    let reply = huge.rest().await?;
    ensure!(
        reply.is_empty() || reply.starts_with("HTTP/1.1 431"),
        "{reply}"
    );
    nothing_stored(&agent).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_collector_asks_for_a_good_key_and_a_whole_body() -> Result<()> {
    let system = System::start("").await?;
    let api = system.collector.api();
    for key in [None, Some("smk_wrong"), Some("")] {
        let reply = api.with_key(key).get("/meters").await?;
        check("wrong key", &reply, 401, "UNAUTHORIZED", "key")?;
    }
    let reader = api
        .create("/v1/keys", &json!({"name": "reader", "scopes": ["read"]}))
        .await?;
    let reader = api.with_key(reader["key"].as_str());
    ensure!(reader.get("/meters").await?.status == 200);
    let denied = reader.post("/meters", &json!({})).await?;
    check("no scope", &denied, 403, "MISSING_SCOPE", "write")?;

    let cases = [
        ("malformed", JSON, "{\"name\":", 422, ""),
        ("wrong content type", "text/plain", "{}", 415, ""),
        ("unknown field", JSON, r#"{"nam":"x"}"#, 422, "nam"),
        (
            "no aggregation",
            JSON,
            r#"{"name":"x","event_name":"e","measurement_unit":"u"}"#,
            422,
            "aggregation",
        ),
        (
            "wrong aggregation",
            JSON,
            r#"{"name":"x","event_name":"e","measurement_unit":"u","aggregation":{"type":"mean","key":"k"}}"#,
            422,
            "aggregation",
        ),
        (
            "sum without a key",
            JSON,
            r#"{"name":"x","event_name":"e","measurement_unit":"u","aggregation":{"type":"sum"}}"#,
            422,
            "key",
        ),
        (
            "wrong operator",
            JSON,
            r#"{"name":"x","event_name":"e","measurement_unit":"u","aggregation":{"type":"count"},"filter":{"conjunction":"and","clauses":[{"key":"a","operator":"like","value":"b"}]}}"#,
            422,
            "filter.clauses[0].operator",
        ),
    ];
    for (name, content_type, body, status, mentions) in cases {
        let reply = api
            .send(Method::POST, "/meters", Some(content_type), body)
            .await?;
        ensure!(
            reply.status == status,
            "{name}: {} {}",
            reply.status,
            reply.body
        );
        ensure!(!reply.code().is_empty(), "{name}: {}", reply.body);
        ensure!(
            reply.body.contains(mentions),
            "{name} does not say {mentions}: {}",
            reply.body
        );
    }
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(5 << 20));
    let reply = api.send(Method::POST, "/meters", Some(JSON), large).await?;
    check(
        "body over the limit",
        &reply,
        413,
        "BODY_TOO_LARGE",
        "bytes",
    )?;
    // The connection on which the large body came is closed by the collector, maybe while the next request is on its way.
    let listed = match api.list("/meters").await {
        Err(_) => api.list("/meters").await?,
        Ok(listed) => listed,
    };
    ensure!(listed.is_empty());
    Ok(())
}

/// Name, event, expected status and code, and what the message must name.
type BadEvent = (String, String, u16, &'static str, &'static str);

/// Events that refuse their request. Each is put behind a good one.
fn bad_events() -> Vec<BadEvent> {
    let with = |field: &str, value: &str| {
        let mut whole: Value = json!({"event_id": "bad", "customer_id": "c", "event_name": "n"});
        whole[field] = Value::Null;
        // The value is put in as text, so that no JSON library mends it on the way.
        whole.to_string().replacen(
            &format!("\"{field}\":null"),
            &format!("\"{field}\":{value}"),
            1,
        )
    };
    let metadata = |pairs: &str| with("metadata", &format!("{{{pairs}}}"));
    let pairs: Vec<String> = (0..51).map(|n| format!("\"k{n}\":1")).collect();
    let long = |length: usize| format!("\"{}\"", "x".repeat(length));
    let case = |name: &str, event: String, status, code, mentions| {
        (name.to_owned(), event, status, code, mentions)
    };
    vec![
        case(
            "unknown field",
            with("colour", "1"),
            422,
            "UNKNOWN_FIELD",
            "colour",
        ),
        case(
            "no event_id",
            r#"{"customer_id":"c","event_name":"n"}"#.into(),
            422,
            "MISSING_FIELD",
            "event_id",
        ),
        case(
            "no customer_id",
            r#"{"event_id":"e","event_name":"n"}"#.into(),
            422,
            "MISSING_FIELD",
            "customer_id",
        ),
        case(
            "no event_name",
            r#"{"event_id":"e","customer_id":"c"}"#.into(),
            422,
            "MISSING_FIELD",
            "event_name",
        ),
        case("not an object", "7".into(), 422, "MALFORMED_EVENT", ""),
        case(
            "empty id",
            with("event_id", "\"\""),
            400,
            "INVALID_FIELD",
            "event_id",
        ),
        case(
            "long id",
            with("customer_id", &long(257)),
            400,
            "INVALID_FIELD",
            "customer_id",
        ),
        case(
            "NUL in an id",
            with("event_id", "\"a\\u0000b\""),
            400,
            "INVALID_FIELD",
            "event_id",
        ),
        case(
            "control character",
            with("event_name", "\"a\\u001fb\""),
            400,
            "INVALID_FIELD",
            "event_name",
        ),
        case(
            "nested metadata",
            metadata(r#""a":{"b":1}"#),
            400,
            "INVALID_METADATA",
            "a",
        ),
        case(
            "array in metadata",
            metadata(r#""a":[1]"#),
            400,
            "INVALID_METADATA",
            "a",
        ),
        case(
            "51 pairs",
            metadata(&pairs.join(",")),
            400,
            "INVALID_METADATA",
            "50",
        ),
        case(
            "long key",
            metadata(&format!("{}:1", long(101))),
            400,
            "INVALID_METADATA",
            "100",
        ),
        case(
            "long value",
            metadata(&format!("\"a\":{}", long(501))),
            400,
            "INVALID_METADATA",
            "500",
        ),
        case("1e400", metadata("\"a\":1e400"), 400, "INVALID_NUMBER", "a"),
        case(
            "40 digits",
            metadata(&format!("\"a\":{}", "9".repeat(40))),
            400,
            "INVALID_NUMBER",
            "a",
        ),
        case(
            "no offset, not a time",
            with("timestamp", "\"yesterday\""),
            400,
            "INVALID_TIMESTAMP",
            "timestamp",
        ),
        case(
            "a date only",
            with("timestamp", "\"2026-01-01\""),
            400,
            "INVALID_TIMESTAMP",
            "timestamp",
        ),
        case(
            "before 1970",
            with("timestamp", "\"1969-12-31T23:59:59Z\""),
            400,
            "INVALID_TIMESTAMP",
            "timestamp",
        ),
        case(
            "too old",
            with("timestamp", "\"2020-01-01T00:00:00Z\""),
            400,
            "TIMESTAMP_TOO_OLD",
            "timestamp",
        ),
        case(
            "too new",
            with("timestamp", "\"2090-01-01T00:00:00Z\""),
            400,
            "TIMESTAMP_TOO_NEW",
            "timestamp",
        ),
        case(
            "same id twice",
            event("good"),
            400,
            "DUPLICATE_EVENT_ID",
            "event_id",
        ),
    ]
}

/// Requests that are wrong as a whole: name, path, content type, body, expected status and code.
fn bad_requests() -> Vec<(
    &'static str,
    &'static str,
    &'static str,
    String,
    u16,
    &'static str,
)> {
    let many: Vec<String> = (0..1_001).map(|n| event(&format!("many-{n}"))).collect();
    let large = format!("{{\"events\":[{}]}}", " ".repeat(300 << 10));
    let ingest = "/events/ingest";
    vec![
        (
            "malformed JSON",
            ingest,
            JSON,
            "{\"events\":[".to_owned(),
            422,
            "MALFORMED_REQUEST",
        ),
        (
            "NaN",
            ingest,
            JSON,
            events(&[event("n").replace(":1}", ":NaN}")]),
            422,
            "MALFORMED_REQUEST",
        ),
        (
            "not JSON",
            ingest,
            JSON,
            "hello".to_owned(),
            422,
            "MALFORMED_REQUEST",
        ),
        (
            "empty body",
            ingest,
            JSON,
            String::new(),
            422,
            "MALFORMED_REQUEST",
        ),
        (
            "no events",
            ingest,
            JSON,
            "{}".to_owned(),
            422,
            "MISSING_FIELD",
        ),
        (
            "unknown field",
            ingest,
            JSON,
            "{\"evnts\":[]}".to_owned(),
            422,
            "UNKNOWN_FIELD",
        ),
        (
            "1001 events",
            ingest,
            JSON,
            events(&many),
            400,
            "TOO_MANY_EVENTS",
        ),
        (
            "wrong content type",
            ingest,
            "text/plain",
            events(&[event("t")]),
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        (
            "body over the limit",
            ingest,
            JSON,
            large.clone(),
            413,
            "BODY_TOO_LARGE",
        ),
        (
            "body over the limit, native",
            "/v1/events",
            JSON,
            large,
            413,
            "BODY_TOO_LARGE",
        ),
        (
            "malformed JSON, native",
            "/v1/events",
            JSON,
            "[{".to_owned(),
            422,
            "MALFORMED_REQUEST",
        ),
        (
            "no such path",
            "/v2/events",
            JSON,
            "{}".to_owned(),
            404,
            "NOT_FOUND",
        ),
    ]
}

fn event(id: &str) -> String {
    format!(
        r#"{{"event_id":"{id}","customer_id":"customer","event_name":"call","metadata":{{"a":1}}}}"#
    )
}

fn events(events: &[String]) -> String {
    format!("{{\"events\":[{}]}}", events.join(","))
}

async fn post(agent: &Agent, path: &str, content_type: &str, body: String) -> Result<Reply> {
    agent
        .api()
        .send(Method::POST, path, Some(content_type), body)
        .await
}

fn check(name: &str, reply: &Reply, status: u16, code: &str, mentions: &str) -> Result<()> {
    let body = &reply.body;
    ensure!(
        reply.status == status,
        "{name}: expected {status}, got {} {body}",
        reply.status
    );
    ensure!(reply.code() == code, "{name}: expected {code}, got {body}");
    ensure!(
        body.contains(mentions),
        "{name}: does not name {mentions}: {body}"
    );
    ensure!(
        reply.content_type.as_deref() == Some(JSON),
        "{name}: {:?}",
        reply.content_type
    );
    Ok(())
}

async fn nothing_stored(agent: &Agent) -> Result<()> {
    let status = agent.status().await?;
    ensure!(status["receipts"]["accepted"] == 0, "{status}");
    ensure!(agent.api().get("/healthz").await?.status == 200);
    Ok(())
}
