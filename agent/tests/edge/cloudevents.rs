//! CloudEvents 1.0 at the door: every mode is the same event, and what is refused names the attribute at fault.

use serde_json::{Value, json};

use crate::harness::{Reply, Running, alone, event, seconds_from_now};

const PATH: &str = "/api/v1/events";
const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";
const JSON: &str = "application/json";

/// A CloudEvent with some members replaced; `null` stands for an absent one.
fn cloudevent(id: &str, changes: Value) -> String {
    let mut members = json!({
        "specversion": "1.0", "id": id, "source": "/shop", "type": "api.call", "subject": "acme",
        "data": {"tokens": 12.5, "model": "small"},
    });
    let members_changed = members.as_object_mut().expect("an object");
    members_changed.extend(changes.as_object().cloned().unwrap_or_default());
    members.to_string()
}

fn good(id: &str) -> String {
    cloudevent(id, json!({}))
}

async fn binary(agent: &Running, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut request = reqwest::Client::new()
        .post(agent.url(PATH))
        .body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    agent.send(request).await
}

fn taken(reply: &Reply) {
    assert_eq!(
        (
            reply.status,
            reply.text.as_str(),
            reply.content_type.as_str()
        ),
        (204, "", ""),
        "{reply:?}"
    );
}

fn refused(name: &str, reply: &Reply, status: u16, code: &str, says: &str) {
    assert_eq!(reply.status, status, "{name}: {reply:?}");
    assert_eq!(reply.content_type, JSON, "{name}: {reply:?}");
    let body = reply.json();
    assert_eq!(body["code"], code, "{name}: {body}");
    assert!(
        body["message"]
            .as_str()
            .is_some_and(|message| message.contains(says)),
        "{name}: {body}"
    );
}

async fn receipts(agent: &Running) -> Value {
    agent.status().await["receipts"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mode_is_the_same_event() {
    let (_directory, agent) = alone().await;
    let time = seconds_from_now(-30);
    let one = cloudevent("4711", json!({"time": time}));
    let base64 = cloudevent(
        "4711",
        json!({"time": time, "data": null, "data_base64": "eyJtb2RlbCI6InNtYWxsIiwidG9rZW5zIjoxMi41MH0="}),
    );
    for (content_type, body) in [
        (STRUCTURED, one.clone()),
        ("application/CloudEvents+JSON; charset=UTF-8", one.clone()),
        (BATCH, format!("[{one}]")),
        (JSON, one.clone()),
        (JSON, format!("[{one},{one}]")),
        (STRUCTURED, base64),
        (BATCH, "[]".to_owned()),
    ] {
        taken(&agent.post(PATH, content_type, body).await);
    }
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "4711"),
        ("ce-source", "/shop"),
        ("ce-type", "api.call"),
        ("Ce-Subject", "%61cme"),
        ("ce-time", time.as_str()),
        (
            "ce-traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
    ];
    let data = r#"{"model":"small","tokens":12.5}"#;
    taken(&binary(&agent, &headers, data).await);
    let typed = [
        &headers[..],
        &[("content-type", "application/vnd.shop+json")],
    ]
    .concat();
    taken(&binary(&agent, &typed, data).await);

    let found = agent.get("/events/ce:5:%2Fshop:4711").await;
    assert_eq!(found.status, 200, "{found:?}");
    let stored = found.json();
    assert_eq!(stored["customer_id"], "acme");
    assert_eq!(stored["event_name"], "api.call");
    assert_eq!(
        stored["metadata"],
        json!({"model": "small", "tokens": 12.5})
    );
    let receipts = receipts(&agent).await;
    assert_eq!(
        (
            &receipts["accepted"],
            &receipts["duplicate"],
            &receipts["conflict"]
        ),
        (&1.into(), &8.into(), &0.into()),
        "{receipts}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_payload_wins_and_no_native_id_is_met_by_chance() {
    let (_directory, agent) = alone().await;
    taken(&agent.post(PATH, STRUCTURED, good("e1")).await);
    taken(
        &agent
            .post(
                PATH,
                STRUCTURED,
                cloudevent("e1", json!({"subject": "bolt"})),
            )
            .await,
    );
    taken(
        &agent
            .post(
                PATH,
                STRUCTURED,
                cloudevent("e1", json!({"source": "/other"})),
            )
            .await,
    );
    agent.ingest(&[event("e1")]).await;
    let receipts = receipts(&agent).await;
    assert_eq!(
        (
            &receipts["accepted"],
            &receipts["duplicate"],
            &receipts["conflict"]
        ),
        (&3.into(), &0.into(), &1.into()),
        "{receipts}"
    );
}

/// Bad events: name, what is changed, status, code, the attribute, a word of the message.
fn bad_events() -> Vec<(
    &'static str,
    Value,
    u16,
    &'static str,
    &'static str,
    &'static str,
)> {
    let long = "x".repeat(257);
    let pairs: serde_json::Map<String, Value> = (0..51)
        .map(|number| (format!("k{number}"), json!(1)))
        .collect();
    vec![
        (
            "no specversion",
            json!({"specversion": null}),
            422,
            "MISSING_FIELD",
            "specversion",
            "required",
        ),
        (
            "old specversion",
            json!({"specversion": "0.3"}),
            400,
            "INVALID_FIELD",
            "specversion",
            "1.0",
        ),
        (
            "no id",
            json!({"id": null}),
            422,
            "MISSING_FIELD",
            "id",
            "required",
        ),
        (
            "number as id",
            json!({"id": 7}),
            422,
            "MALFORMED_EVENT",
            "id",
            "string",
        ),
        (
            "no source",
            json!({"source": null}),
            422,
            "MISSING_FIELD",
            "source",
            "required",
        ),
        (
            "no type",
            json!({"type": null}),
            422,
            "MISSING_FIELD",
            "type",
            "required",
        ),
        (
            "long type",
            json!({"type": long}),
            400,
            "INVALID_FIELD",
            "type",
            "256",
        ),
        (
            "no subject",
            json!({"subject": null}),
            422,
            "MISSING_FIELD",
            "subject",
            "customer",
        ),
        (
            "empty subject",
            json!({"subject": ""}),
            400,
            "INVALID_FIELD",
            "subject",
            "empty",
        ),
        (
            "no time at all",
            json!({"time": "yesterday"}),
            400,
            "INVALID_TIMESTAMP",
            "time",
            "RFC 3339",
        ),
        (
            "too old",
            json!({"time": seconds_from_now(-3700)}),
            400,
            "TIMESTAMP_TOO_OLD",
            "time",
            "past",
        ),
        (
            "too new",
            json!({"time": seconds_from_now(400)}),
            400,
            "TIMESTAMP_TOO_NEW",
            "time",
            "future",
        ),
        (
            "XML",
            json!({"datacontenttype": "text/xml"}),
            400,
            "INVALID_FIELD",
            "datacontenttype",
            "JSON",
        ),
        (
            "text as data",
            json!({"data": "7"}),
            422,
            "MALFORMED_EVENT",
            "data",
            "object",
        ),
        (
            "nested data",
            json!({"data": {"a": {"b": 1}}}),
            400,
            "INVALID_METADATA",
            "data.a",
            "nesting",
        ),
        (
            "too many pairs",
            json!({"data": pairs}),
            400,
            "INVALID_METADATA",
            "data",
            "50",
        ),
        (
            "data twice",
            json!({"data_base64": "e30="}),
            422,
            "MALFORMED_EVENT",
            "data_base64",
            "beside",
        ),
        (
            "no Base64",
            json!({"data": null, "data_base64": "?"}),
            400,
            "INVALID_FIELD",
            "data_base64",
            "Base64",
        ),
        (
            "camel case",
            json!({"customerId": "acme"}),
            422,
            "UNKNOWN_FIELD",
            "customerId",
            "lower-case",
        ),
        (
            "object beside data",
            json!({"metadata": {"a": 1}}),
            422,
            "MALFORMED_EVENT",
            "metadata",
            "data",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_event_refuses_its_whole_request_by_the_attribute_at_fault() {
    let (_directory, agent) = alone().await;
    let cases = bad_events();
    for (name, changes, status, code, attribute, says) in &cases {
        let bad = cloudevent("bad", changes.clone());
        let alone = agent.post(PATH, STRUCTURED, bad.clone()).await;
        refused(name, &alone, *status, code, says);
        let body = format!("[{},{bad},{}]", good("e1"), good("e2"));
        let reply = agent.post(PATH, BATCH, body).await;
        refused(name, &reply, *status, code, says);
        let errors = &reply.json()["errors"];
        assert_eq!(errors.as_array().map(Vec::len), Some(1), "{name}: {errors}");
        assert_eq!(
            (&errors[0]["index"], &errors[0]["field"]),
            (&1.into(), &(*attribute).into()),
            "{name}: {errors}"
        );
    }
    let receipts = receipts(&agent).await;
    assert_eq!(receipts["accepted"], 0, "{receipts}");
    assert_eq!(receipts["received"], 2 * cases.len(), "{receipts}");
    assert_eq!(agent.get("/events").await.text, r#"{"items":[]}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_no_cloudevent_is_refused() {
    let (_directory, agent) = alone().await;
    let one = good("e1");
    let many = format!("[{}]", vec![one.clone(); 1001].join(","));
    for (name, content_type, body, status, code, says) in [
        (
            "no JSON",
            STRUCTURED,
            "hello".to_owned(),
            422,
            "MALFORMED_REQUEST",
            "JSON",
        ),
        (
            "an array as event",
            STRUCTURED,
            format!("[{one}]"),
            422,
            "MALFORMED_REQUEST",
            "object",
        ),
        (
            "an event as array",
            BATCH,
            one.clone(),
            422,
            "MALFORMED_REQUEST",
            "array",
        ),
        ("1001 events", BATCH, many, 400, "TOO_MANY_EVENTS", "1000"),
        (
            "5 MiB",
            BATCH,
            " ".repeat(5 << 20),
            413,
            "BODY_TOO_LARGE",
            "4194304",
        ),
        (
            "Avro",
            "application/cloudevents+avro",
            one.clone(),
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            "cloudevents+json",
        ),
        (
            "text",
            "text/plain",
            one.clone(),
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            "ce-",
        ),
        (
            "latin",
            "application/cloudevents+json; charset=latin1",
            one,
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            "utf-8",
        ),
    ] {
        refused(
            name,
            &agent.post(PATH, content_type, body).await,
            status,
            code,
            says,
        );
    }
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "b1"),
        ("ce-source", "/shop"),
        ("ce-type", "api.call"),
    ];
    for (name, header, body, status, code, says) in [
        (
            "binary without subject",
            ("ce-sampled", "1"),
            "{}",
            422,
            "MISSING_FIELD",
            "subject",
        ),
        (
            "bad escape",
            ("ce-subject", "100%"),
            "{}",
            400,
            "INVALID_FIELD",
            "subject",
        ),
        (
            "bad escape in UTF-8",
            ("ce-subject", "%C0%A0"),
            "{}",
            400,
            "INVALID_FIELD",
            "subject",
        ),
        (
            "binary that is no JSON",
            ("ce-subject", "acme"),
            "hello",
            422,
            "MALFORMED_EVENT",
            "data",
        ),
        (
            "binary text",
            ("content-type", "text/plain"),
            "{}",
            400,
            "INVALID_FIELD",
            "datacontenttype",
        ),
        (
            "type twice",
            ("ce-datacontenttype", "text/xml"),
            "{}",
            422,
            "MALFORMED_EVENT",
            "datacontenttype",
        ),
    ] {
        let headers = [&headers[..], &[header]].concat();
        refused(
            name,
            &binary(&agent, &headers, body).await,
            status,
            code,
            says,
        );
    }
    assert_eq!(receipts(&agent).await["accepted"], 0);
    refused(
        "GET",
        &agent.get(PATH).await,
        405,
        "METHOD_NOT_ALLOWED",
        "GET",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_single_cloudevents_at_once_are_all_taken_beside_a_health_check() {
    let (_directory, agent) = alone().await;
    let client = reqwest::Client::new();
    let posts: Vec<_> = (0..100)
        .map(|number| {
            let request = client
                .post(agent.url(PATH))
                .header("content-type", STRUCTURED)
                .body(good(&format!("e{number}")));
            tokio::spawn(async move { request.send().await.map(|reply| reply.status().as_u16()) })
        })
        .collect();
    let health = agent.get("/events?page_size=1&page_number=1").await;
    assert_eq!(health.status, 200, "{health:?}");
    for post in posts {
        assert_eq!(post.await.expect("joins").expect("answers"), 204);
    }
    assert_eq!(receipts(&agent).await["accepted"], 100);
}
