//! Imports: past events, resumed by line, each line once whatever is sent again.

use serde_json::json;

use crate::harness::{NOBODY, Reply, Running, alone, config, seconds_from_now};

const NDJSON: &str = "application/x-ndjson";

const DAY: i64 = 86_400;

fn lines(range: std::ops::Range<i64>) -> String {
    let line = |number: i64| {
        let at = seconds_from_now(-30 * DAY - number);
        format!(
            "{{\"event_id\":\"p{number}\",\"customer_id\":\"acme\",\"event_name\":\"past\",\"timestamp\":\"{at}\"}}\n"
        )
    };
    range.map(line).collect()
}

async fn begin(agent: &Running, id: &str, days: i64) -> Reply {
    let body = json!({"id": id, "name": "past.ndjson", "max_age_seconds": days * DAY});
    agent
        .post("/v1/imports", "application/json", body.to_string())
        .await
}

async fn send(agent: &Running, first_line: u64, body: String) -> Reply {
    agent
        .post(
            &format!("/v1/imports/f1/events?first_line={first_line}"),
            NDJSON,
            body,
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn past_events_are_taken_once_and_parts_may_be_sent_again() {
    let (_directory, agent) = alone().await;
    assert_eq!(begin(&agent, "f1", 400).await.json()["lines_done"], 0);
    let first = send(&agent, 0, lines(0..1500)).await.json();
    assert_eq!(
        (&first["lines_done"], &first["accepted"]),
        (&1500.into(), &1500.into()),
        "{first}"
    );
    let again = send(&agent, 0, lines(0..1500)).await.json();
    assert_eq!(
        (
            &again["lines_done"],
            &again["accepted"],
            &again["duplicates"]
        ),
        (&1500.into(), &0.into(), &0.into()),
        "{again}"
    );
    let overlapping = send(&agent, 1000, lines(1000..2000)).await.json();
    assert_eq!(
        (&overlapping["lines_done"], &overlapping["accepted"]),
        (&2000.into(), &500.into()),
        "{overlapping}"
    );
    let complete = agent
        .post("/v1/imports/f1/complete", "application/json", "")
        .await
        .json();
    assert_eq!(
        (&complete["status"], &complete["lines_done"]),
        (&"complete".into(), &2000.into()),
        "{complete}"
    );
    assert_eq!(agent.status().await["receipts"]["accepted"], 2000);
    let late = send(&agent, 2000, lines(2000..2001)).await;
    assert_eq!(
        (late.status, &late.json()["code"]),
        (409, &"IMPORT_COMPLETE".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_agent_goes_on_at_its_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let agent = Running::start(config(directory.path(), NOBODY)).await;
    begin(&agent, "f1", 400).await;
    send(&agent, 0, lines(0..700)).await;
    agent.stop().await;
    let agent = Running::start(config(directory.path(), NOBODY)).await;
    assert_eq!(begin(&agent, "f1", 400).await.json()["lines_done"], 700);
    let rest = send(&agent, 700, lines(700..800)).await.json();
    assert_eq!(
        (&rest["lines_done"], &rest["accepted"]),
        (&800.into(), &100.into()),
        "{rest}"
    );
    let items = agent.get("/v1/imports").await.json();
    assert_eq!(items["items"][0]["lines_done"], 800, "{items}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_lines_are_listed_by_their_place_in_the_file_and_counted_as_done() {
    let (_directory, agent) = alone().await;
    begin(&agent, "f1", 40).await;
    let old = lines(0..1)
        .replace("p0", "ancient")
        .replace("acme\"", "acme\",\"metadata\":{}");
    let old = old.replacen(
        &old[old.find("\"timestamp\"").unwrap_or(0)..],
        &format!("\"timestamp\":\"{}\"}}\n", seconds_from_now(-50 * DAY)),
        1,
    );
    let body = format!("{}\n{{\n{old}{}", lines(0..2), lines(2..4));
    let reply = send(&agent, 0, body).await.json();
    assert_eq!(
        (
            &reply["accepted"],
            &reply["rejected_count"],
            &reply["lines_done"]
        ),
        (&4.into(), &2.into(), &7.into()),
        "{reply}"
    );
    assert_eq!(
        (
            &reply["rejected"][0]["index"],
            &reply["rejected"][0]["code"]
        ),
        (&3.into(), &"MALFORMED_EVENT".into())
    );
    assert_eq!(
        (
            &reply["rejected"][1]["index"],
            &reply["rejected"][1]["code"]
        ),
        (&4.into(), &"TIMESTAMP_TOO_OLD".into())
    );
    let blank = send(&agent, 7, "\n\nnonsense\n".to_owned()).await.json();
    assert_eq!(
        (&blank["lines_done"], &blank["rejected_count"]),
        (&10.into(), &1.into()),
        "{blank}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_call_is_told_what_was_expected() {
    let (_directory, agent) = alone().await;
    let code = |reply: &Reply| {
        (
            reply.status,
            reply.json()["code"].as_str().unwrap_or_default().to_owned(),
        )
    };
    assert_eq!(
        code(&send(&agent, 0, lines(0..1)).await),
        (404, "IMPORT_NOT_FOUND".to_owned())
    );
    begin(&agent, "f1", 400).await;
    assert_eq!(
        code(&send(&agent, 5, lines(0..1)).await),
        (409, "IMPORT_OUT_OF_ORDER".to_owned())
    );
    let unnumbered = agent
        .post("/v1/imports/f1/events", NDJSON, lines(0..1))
        .await;
    assert_eq!(code(&unnumbered), (422, "INVALID_QUERY".to_owned()));
    let wrong_type = agent
        .post(
            "/v1/imports/f1/events?first_line=0",
            "application/json",
            lines(0..1),
        )
        .await;
    assert_eq!(
        code(&wrong_type),
        (415, "UNSUPPORTED_MEDIA_TYPE".to_owned())
    );
    for (body, status, expected) in [
        ("{}", 422, "MALFORMED_REQUEST"),
        (
            r#"{"id":"","name":"n","max_age_seconds":1}"#,
            400,
            "INVALID_FIELD",
        ),
        (
            r#"{"id":"i","name":"n","max_age_seconds":0}"#,
            400,
            "INVALID_FIELD",
        ),
        (
            r#"{"id":"i","name":"n","max_age_seconds":1,"more":1}"#,
            422,
            "MALFORMED_REQUEST",
        ),
    ] {
        let reply = agent.post("/v1/imports", "application/json", body).await;
        assert_eq!(
            code(&reply),
            (status, expected.to_owned()),
            "{body}: {reply:?}"
        );
    }
    assert_eq!(agent.delete("/v1/imports/f1").await.status, 200);
    assert_eq!(
        code(&agent.delete("/v1/imports/f1").await),
        (404, "IMPORT_NOT_FOUND".to_owned())
    );
    assert_eq!(agent.status().await["receipts"]["accepted"], 0);
}
