//! Thresholds and caps, through the API alone, under told time and the machine's.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use submeter_collector::config::Mode;
use submeter_common::aggregate::Group;
use submeter_common::protocol::Row;
use submeter_common::time::ManualClock;

use crate::running::{Agent, Api, NOW, Running, counted, time};

/// What has not happened by then never will.
const PATIENCE: Duration = Duration::from_secs(60);

async fn start() -> Running {
    let clock = ManualClock::new(time(NOW));
    let directory = tempfile::tempdir().unwrap();
    Running::start_with(directory, clock, |config| config.api.mode = Mode::Test).await
}

/// What was told of thresholds, in order.
async fn told(api: &Api) -> Vec<Value> {
    let outbox = api.fetch("/v1/outbox?limit=1000").await;
    let all = outbox["items"].as_array().unwrap().clone();
    all.into_iter()
        .filter(|message| message["topic"] == "usage.threshold_reached")
        .collect()
}

/// Waits until so many marks are told.
async fn told_of(api: &Api, marks: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let told = told(api).await;
        if told.len() >= marks {
            assert_eq!(told.len(), marks, "{told:#?}");
            return told;
        }
        assert!(begun.elapsed() < PATIENCE, "{told:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn send(api: &Api, agent: &mut Agent, rows: Vec<Row>) {
    let frame = agent.seal(rows, NOW);
    agent.send(api, frame).await.expect_success();
}

/// Customer, start of the period, mark and what was used.
fn brief(message: &Value) -> Value {
    let data = &message["data"];
    json!([
        data["customer_id"],
        data["period"]["start"],
        data["mark"],
        data["used"]
    ])
}

#[tokio::test]
async fn a_cap_is_told_and_shown_and_usage_goes_on_being_counted() {
    let running = Running::start().await;
    let api = &running.api;
    let calls = api.counter("calls").await;
    let plan = api.product(&[(&calls, "50", 0)]).await;
    api.customer("ada").await;
    let subscription = api.subscribe("ada", &plan, "2026-03-01T00:00:00Z").await;
    let cap = json!({
        "name": "March money", "customer_id": "ada", "measure": "spend", "currency": "USD", "limit": "1000",
        "marks": [120, 50, 100], "cap": true, "metadata": {"plan": "small"},
    });
    let cap = api.post("/v1/thresholds", cap).await;
    assert_eq!(cap["marks"], json!([50, 100, 120]));
    let id = cap["threshold_id"].as_str().unwrap();
    assert_eq!(api.fetch(&format!("/v1/thresholds/{id}")).await, cap);
    let standing = api.fetch("/v1/customers/ada/thresholds").await;
    assert_eq!(
        json!([
            standing["capped"],
            standing["items"][0]["used"],
            standing["items"][0]["remaining"]
        ]),
        json!([false, "0", "1000"])
    );

    let mut agent = Agent::new(7);
    agent.register(api).await;
    let rows = vec![counted(
        "ada",
        &calls,
        "2026-03-09T10:00:00Z",
        Group::none(),
        21,
    )];
    send(api, &mut agent, rows).await;
    let marks = told_of(api, 2).await;
    let march = "2026-03-01T00:00:00Z";
    assert_eq!(
        marks.iter().map(brief).collect::<Vec<_>>(),
        [
            json!(["ada", march, 50, "1050"]),
            json!(["ada", march, 100, "1050"])
        ]
    );
    let data = &marks[1]["data"];
    assert_eq!(
        json!([
            data["cap"],
            data["capped"],
            data["threshold_id"],
            data["subscription_id"],
            data["limit"],
            data["currency"],
            data["metadata"]
        ]),
        json!([true, true, id, subscription, "1000", "USD", {"plan": "small"}])
    );
    // Usage is counted all the same; what is capped is the application's to refuse.
    let rows = vec![counted(
        "ada",
        &calls,
        "2026-03-09T11:00:00Z",
        Group::none(),
        4,
    )];
    send(api, &mut agent, rows).await;
    told_of(api, 3).await;
    let standing = api.fetch("/v1/customers/ada/thresholds").await;
    assert_eq!(
        json!([
            standing["capped"],
            standing["items"][0]["used"],
            standing["items"][0]["remaining"],
            standing["items"][0]["marks_reached"]
        ]),
        json!([true, "1250", "0", [50, 100, 120]])
    );

    // More is agreed on: not capped any more, and the new marks are new.
    let path = format!("/v1/thresholds/{id}");
    let more = json!({"limit": 2000, "name": null});
    let changed = api.call(Method::PATCH, &path, &more).await.expect_success();
    assert_eq!(
        json!([changed["limit"], changed["name"]]),
        json!(["2000", null])
    );
    let again = told_of(api, 4).await;
    assert_eq!(
        json!([again[3]["data"]["mark"], again[3]["data"]["capped"]]),
        json!([50, false])
    );
    let deleted = api.call(Method::DELETE, &path, &Value::Null).await;
    assert_eq!(deleted.status, 204);
    assert_eq!(api.get(&path).await.status, 404);
    assert_eq!(api.fetch("/v1/thresholds").await, json!({"items": []}));
    let standing = api.fetch("/v1/customers/ada/thresholds").await;
    assert_eq!(standing["items"], json!([]));

    // What was told stays told over a restart, and is not told again.
    let (directory, clock) = running.stop().await;
    let running = Running::start_over(directory, clock).await;
    let rows = vec![counted(
        "ada",
        &calls,
        "2026-03-09T11:00:00Z",
        Group::none(),
        1,
    )];
    agent.register(&running.api).await;
    send(&running.api, &mut agent, rows).await;
    assert_eq!(told(&running.api).await, again);
    running.stop().await;
}

#[tokio::test]
async fn thresholds_of_everybody_are_told_customer_by_customer_as_told_time_goes_by() {
    let running = start().await;
    let api = &running.api;
    let calls = api.counter("calls").await;
    let plan = api.product(&[(&calls, "1", 0)]).await;
    let clock = json!({"frozen_time": "2025-12-01T00:00:00Z"});
    let clock = api.create("/v1/test-clocks", clock, "test_clock_id").await;
    for name in ["ada", "bob"] {
        let customer = json!({"customer_id": name, "name": name, "email": "x@example.com", "test_clock": clock});
        api.post("/customers", customer).await;
    }
    let threshold =
        json!({"product_id": plan, "meter_id": calls, "measure": "quantity", "limit": 10});
    api.post("/v1/thresholds", threshold).await;
    let mut agent = Agent::new(7);
    agent.register(api).await;
    let rows = vec![
        counted("ada", &calls, "2025-12-20T00:00:00Z", Group::none(), 9),
        counted("ada", &calls, "2026-01-10T00:00:00Z", Group::none(), 7),
        counted("ada", &calls, "2026-02-10T00:00:00Z", Group::none(), 10),
        counted("bob", &calls, "2026-01-05T00:00:00Z", Group::none(), 8),
    ];
    send(api, &mut agent, rows).await;
    for name in ["ada", "bob"] {
        api.subscribe(name, &plan, "2025-12-01T00:00:00Z").await;
    }
    told_of(api, 1).await;
    let advance = json!({"frozen_time": "2026-03-05T00:00:00Z"});
    api.post(&format!("/v1/test-clocks/{clock}/advance"), advance)
        .await;
    let told = told_of(api, 4).await;
    let seen: Vec<Value> = told
        .iter()
        .map(|message| json!([brief(message), message["at"]]))
        .collect();
    let of = |name: &str, month: &str, mark: u32, used: &str| {
        let start = format!("{month}-01T00:00:00Z");
        json!([[name, start, mark, used], start])
    };
    assert_eq!(
        seen,
        [
            of("ada", "2025-12", 80, "9"),
            of("bob", "2026-01", 80, "8"),
            of("ada", "2026-02", 80, "10"),
            of("ada", "2026-02", 100, "10"),
        ]
    );
    running.stop().await;
}

#[tokio::test]
async fn thresholds_that_cannot_be_are_refused_with_their_field() {
    let running = Running::start().await;
    let api = &running.api;
    let calls = api.counter("calls").await;
    api.customer("ada").await;
    let good =
        json!({"customer_id": "ada", "meter_id": calls, "measure": "quantity", "limit": "10"});
    let with = |field: &str, value: Value| {
        let mut changed = good.clone();
        changed[field] = value;
        changed
    };
    let spend = |limit: Value| json!({"customer_id": "ada", "measure": "spend", "currency": "JPY", "limit": limit});
    for (body, code, field) in [
        (
            json!({"measure": "quantity", "limit": 1}),
            "INVALID_FIELD",
            "customer_id",
        ),
        (
            json!({"customer_id": "ada", "limit": 1}),
            "MISSING_FIELD",
            "measure",
        ),
        (
            json!({"customer_id": "ada", "measure": "spend", "currency": "USD"}),
            "MISSING_FIELD",
            "limit",
        ),
        (
            with("customer_id", json!("eve")),
            "INVALID_FIELD",
            "customer_id",
        ),
        (
            with("product_id", json!("pdt_none")),
            "INVALID_FIELD",
            "product_id",
        ),
        (
            with("meter_id", json!("mtr_none")),
            "INVALID_FIELD",
            "meter_id",
        ),
        (with("meter_id", json!("")), "INVALID_FIELD", "meter_id"),
        (with("meter_id", Value::Null), "INVALID_FIELD", "meter_id"),
        (with("measure", json!("money")), "INVALID_FIELD", "measure"),
        (with("measure", json!("spend")), "INVALID_FIELD", "currency"),
        (with("currency", json!("USD")), "INVALID_FIELD", "currency"),
        (with("limit", json!("0")), "INVALID_FIELD", "limit"),
        (with("limit", json!(-5)), "INVALID_FIELD", "limit"),
        (with("limit", json!("many")), "INVALID_FIELD", "limit"),
        (
            with("limit", json!("0.0000000000001")),
            "INVALID_FIELD",
            "limit",
        ),
        (spend(json!("0.5")), "INVALID_FIELD", "limit"),
        (
            spend(json!("9223372036854775808")),
            "INVALID_FIELD",
            "limit",
        ),
        (with("marks", json!([])), "INVALID_FIELD", "marks"),
        (
            with("marks", json!([80, 1001])),
            "INVALID_FIELD",
            "marks[1]",
        ),
        (with("marks", json!([80, 0])), "INVALID_FIELD", "marks[1]"),
        (with("marks", json!([80, 80])), "INVALID_FIELD", "marks[1]"),
        (with("marks", json!([80.5])), "INVALID_FIELD", "marks[0]"),
        (with("cap", json!("yes")), "INVALID_FIELD", "cap"),
        (
            with("metadata", json!({"a": {}})),
            "INVALID_FIELD",
            "metadata.a",
        ),
        (with("surprise", json!(1)), "UNKNOWN_FIELD", "surprise"),
    ] {
        let refused = api.call(Method::POST, "/v1/thresholds", &body).await;
        let found = (
            refused.status.as_u16(),
            refused.code(),
            refused.body["field"].as_str(),
        );
        assert_eq!(found, (422, code, Some(field)), "{body} {}", refused.body);
    }
    assert_eq!(api.fetch("/v1/thresholds").await, json!({"items": []}));

    let id = api.create("/v1/thresholds", good, "threshold_id").await;
    let path = format!("/v1/thresholds/{id}");
    for (body, field) in [
        (json!({"limit": 0}), "limit"),
        (json!({"marks": [5000]}), "marks[0]"),
        (json!({"measure": "spend"}), "measure"),
        (json!({"customer_id": "bob"}), "customer_id"),
    ] {
        let refused = api.call(Method::PATCH, &path, &body).await;
        assert_eq!(
            (refused.status.as_u16(), refused.body["field"].as_str()),
            (422, Some(field))
        );
    }
    for path in ["/v1/thresholds/thr_none", "/v1/customers/eve/thresholds"] {
        assert_eq!(api.get(path).await.status, 404);
    }
    running.stop().await;
}
