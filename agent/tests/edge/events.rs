//! Good events through both endpoints, and how they are found again.

use serde_json::json;

use crate::harness::{alone, batch, event, seconds_from_now};

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_answers_like_the_first_try_and_the_first_payload_wins() {
    let (_directory, agent) = alone().await;
    let events = [event("e1"), event("e2")];
    assert_eq!(
        agent.ingest(&events).await,
        json!({"ingested_count": 2, "duplicate_count": 0, "conflict_count": 0})
    );
    assert_eq!(
        agent.ingest(&events).await,
        json!({"ingested_count": 2, "duplicate_count": 2, "conflict_count": 0})
    );
    let other = event("e1").replace("12.5", "13");
    assert_eq!(
        agent.ingest(&[other]).await,
        json!({"ingested_count": 1, "duplicate_count": 0, "conflict_count": 1})
    );
    let found = agent.get("/events/e1").await;
    assert_eq!(found.status, 200);
    assert!(found.text.contains(r#""tokens":12.5"#), "{}", found.text);
    let receipts = agent.status().await["receipts"].clone();
    assert_eq!(receipts["received"], 5);
    assert_eq!(
        (
            &receipts["accepted"],
            &receipts["duplicate"],
            &receipts["conflict"]
        ),
        (&2.into(), &2.into(), &1.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_come_back_with_all_their_digits() {
    let (_directory, agent) = alone().await;
    let precise = "123456789012345678901234567890.123456789012345678901234567890123456";
    let event = format!(
        r#"{{"event_id":"exact","customer_id":"acme","event_name":"n","timestamp":null,"metadata":{{"n":{precise},"zero":-0,"e":1.5e3,"ok":true}}}}"#
    );
    agent.ingest(&[event]).await;
    let found = agent.get("/events/exact").await;
    for part in [
        precise,
        r#""zero":0"#,
        r#""e":1500"#,
        r#""ok":true"#,
        r#""business_id":"biz_submeter""#,
    ] {
        assert!(found.text.contains(part), "{part} is not in {}", found.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_object_an_array_and_lines_are_the_same_to_the_native_endpoint() {
    let (_directory, agent) = alone().await;
    let one = agent.post("/v1/events", JSON, event("e1")).await;
    assert_eq!(
        one.json(),
        json!({"accepted": 1, "duplicates": 0, "conflicts": 0, "rejected_count": 0, "rejected": []})
    );
    let array = agent
        .post(
            "/v1/events",
            "application/json; charset=utf-8",
            format!("[{},{}]", event("e1"), event("e2")),
        )
        .await;
    assert_eq!(
        (&array.json()["accepted"], &array.json()["duplicates"]),
        (&1.into(), &1.into())
    );
    let lines = agent
        .post(
            "/v1/events",
            NDJSON,
            format!("{}\r\n\n{}", event("e2"), event("e3")),
        )
        .await;
    assert_eq!(
        (&lines.json()["accepted"], &lines.json()["duplicates"]),
        (&1.into(), &1.into())
    );
    let none = agent.post("/v1/events", JSON, "[]").await;
    assert_eq!((none.status, &none.json()["accepted"]), (200, &0.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_longer_than_any_request_is_taken_whole() {
    let (_directory, agent) = alone().await;
    // 12 MB: three times the limit of a body that is held in memory.
    let lines: String = (0..60_000)
        .map(|number| {
            format!(
                "{}\n",
                event(&format!("e{number}")).replace("small", &"m".repeat(80))
            )
        })
        .collect();
    assert!(lines.len() > 10 << 20);
    let reply = agent.post("/v1/events", NDJSON, lines).await;
    assert_eq!(reply.json()["accepted"], 60_000, "{reply:?}");
    assert_eq!(agent.status().await["receipts"]["accepted"], 60_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_single_posts_at_once_are_all_answered() {
    let (_directory, agent) = alone().await;
    let client = reqwest::Client::new();
    let posts: Vec<_> = (0..100)
        .map(|number| {
            let request = client
                .post(agent.url("/events/ingest"))
                .header("content-type", JSON)
                .body(batch(&[event(&format!("e{number}"))]));
            tokio::spawn(async move { request.send().await.map(|reply| reply.status().as_u16()) })
        })
        .collect();
    for post in posts {
        assert_eq!(post.await.expect("joins").expect("answers"), 200);
    }
    assert_eq!(agent.status().await["receipts"]["accepted"], 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_listed_newest_first_page_by_page_and_filtered() {
    let (_directory, agent) = alone().await;
    for number in 0..25 {
        let customer = if number % 5 == 0 { "other" } else { "acme" };
        let at = seconds_from_now(number - 100);
        let event = format!(
            r#"{{"event_id":"e{number}","customer_id":"{customer}","event_name":"n","timestamp":"{at}"}}"#
        );
        agent.ingest(&[event]).await;
    }
    let ids = |text: &str| -> Vec<String> {
        let page: serde_json::Value = serde_json::from_str(text).expect("JSON");
        page["items"]
            .as_array()
            .expect("items")
            .iter()
            .map(|item| item["event_id"].as_str().unwrap_or("").to_owned())
            .collect()
    };
    let first = ids(&agent.get("/events").await.text);
    assert_eq!((first.len(), first[0].as_str()), (10, "e24"));
    let third = ids(&agent.get("/events?page_number=2").await.text);
    assert_eq!(third, ["e4", "e3", "e2", "e1", "e0"]);
    assert_eq!(ids(&agent.get("/events?page_number=3").await.text).len(), 0);
    assert_eq!(
        ids(&agent
            .get("/events?customer_id=other&page_size=100")
            .await
            .text)
        .len(),
        5
    );
    let start = seconds_from_now(-80).replace('+', "%2B");
    assert!(
        ids(&agent
            .get(&format!("/events?start={start}&page_size=100"))
            .await
            .text)
        .len()
            <= 5
    );
    assert_eq!(
        ids(&agent.get("/events?event_name=none").await.text).len(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_with_slashes_and_spaces_is_found() {
    let (_directory, agent) = alone().await;
    agent.ingest(&[event("a/b c?ü")]).await;
    let found = agent.get("/events/a%2Fb%20c%3F%C3%BC").await;
    assert_eq!(
        (found.status, &found.json()["event_id"]),
        (200, &"a/b c?ü".into()),
        "{found:?}"
    );
}
