//! Time that is told: months go by in a moment, in order, for one customer or for all.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use submeter_collector::collector::{Collector, StartError};
use submeter_collector::config::{Config, Mode};
use submeter_common::aggregate::Group;
use submeter_common::time::ManualClock;
use tempfile::TempDir;

use crate::running::{Agent, Api, NOW, Running, counted, product, subscription, time};

/// Some minutes after every test begins.
const LATER: &str = "2026-03-10T12:05:00Z";

async fn start(directory: TempDir) -> Running {
    let clock = ManualClock::new(time(NOW));
    Running::start_with(directory, clock, |config| config.api.mode = Mode::Test).await
}

pub(crate) async fn clock(api: &Api, body: Value) -> String {
    api.create("/v1/test-clocks", body, "test_clock_id").await
}

pub(crate) async fn advance(api: &Api, id: &str, to: &str) -> Value {
    let path = format!("/v1/test-clocks/{id}/advance");
    api.post(&path, json!({"frozen_time": to})).await
}

/// Waits until a clock is `ready`.
pub(crate) async fn arrived(api: &Api, id: &str) -> Value {
    for _ in 0..1500 {
        let clock = api.fetch(&format!("/v1/test-clocks/{id}")).await;
        if clock["status"] == "ready" {
            return clock;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the clock {id} did not arrive");
}

/// Invoices of a subscription, oldest first: when each was issued, and its total.
async fn invoices(api: &Api, subscription: &str) -> Vec<(String, i64)> {
    let path = format!("/v1/invoices?page_size=100&subscription_id={subscription}");
    let listed = api.fetch(&path).await;
    let mut all: Vec<(String, i64)> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|invoice| {
            (
                invoice["issued_at"].as_str().unwrap().to_owned(),
                invoice["total"].as_i64().unwrap(),
            )
        })
        .collect();
    all.reverse();
    all
}

fn issued(expected: &[(&str, i64)]) -> Vec<(String, i64)> {
    let day = |day: &str| format!("{day}T00:00:00Z");
    expected
        .iter()
        .map(|(at, total)| (day(at), *total))
        .collect()
}

#[tokio::test]
async fn a_customers_months_go_by_in_order_and_nobody_elses() {
    let running = start(tempfile::tempdir().unwrap()).await;
    let api = &running.api;
    let meter = api.counter("calls").await;
    let priced =
        |price: &str| json!([{"meter_id": meter, "price_per_unit": price, "free_threshold": 0}]);
    let small = api
        .create("/products", product(3000, priced("100")), "product_id")
        .await;
    let large = api
        .create("/products", product(6000, priced("50")), "product_id")
        .await;
    let mut agent = Agent::new(7);
    agent.register(api).await;
    let rows = vec![
        counted("ada", &meter, "2025-12-20T00:00:00Z", Group::none(), 100),
        counted("ada", &meter, "2026-01-10T00:00:00Z", Group::none(), 2),
        counted("ada", &meter, "2026-02-10T00:00:00Z", Group::none(), 4),
    ];
    let frame = agent.seal(rows, NOW);
    agent.send(api, frame).await.expect_success();
    let id = clock(
        api,
        json!({"name": "spring", "frozen_time": "2025-12-17T00:00:00Z"}),
    )
    .await;
    api.post(
        "/customers",
        json!({"customer_id": "ada", "name": "Ada", "email": "ada@example.com", "test_clock": id}),
    )
    .await;
    api.customer("bob").await;
    let mut wanted = subscription("ada", &small, "2025-12-17T00:00:00Z");
    wanted["trial_period_days"] = json!(14);
    let ada = api
        .create("/subscriptions", wanted, "subscription_id")
        .await;
    let bob = api.subscribe("bob", &small, "2026-03-01T00:00:00Z").await;
    let shown = api.fetch(&format!("/subscriptions/{ada}")).await;
    assert_eq!(
        (&shown["created_at"], &shown["next_billing_date"]),
        (
            &json!("2025-12-17T00:00:00Z"),
            &json!("2025-12-31T00:00:00Z")
        )
    );

    assert_eq!(
        advance(api, &id, "2026-02-05T00:00:00Z").await["status"],
        "advancing"
    );
    assert_eq!(
        arrived(api, &id).await["frozen_time"],
        "2026-02-05T00:00:00Z"
    );
    // The trial, and one month that its end anchors.
    let so_far = [("2025-12-31", 3000), ("2026-01-31", 200 + 3000)];
    assert_eq!(invoices(api, &ada).await, issued(&so_far));
    // What is agreed on at the clock's time comes at the clock's time.
    let change = json!({
        "product_id": large, "quantity": 1, "proration_billing_mode": "full_immediately", "effective_at": "next_billing_date",
    });
    let agreed = api
        .post(&format!("/subscriptions/{ada}/change-plan"), change)
        .await;
    assert_eq!(agreed["effective_at"], "2026-02-28T00:00:00Z");
    advance(api, &id, "2026-04-15T00:00:00Z").await;
    arrived(api, &id).await;
    let more = [
        so_far[0],
        so_far[1],
        ("2026-02-28", 400 + 6000),
        ("2026-03-31", 6000),
    ];
    assert_eq!(invoices(api, &ada).await, issued(&more));
    let end = json!({"cancel_at_next_billing_date": true});
    api.call(Method::PATCH, &format!("/subscriptions/{ada}"), &end)
        .await
        .expect_success();
    advance(api, &id, "2026-12-01T00:00:00Z").await;
    arrived(api, &id).await;
    assert_eq!(invoices(api, &ada).await, issued(&more));
    assert_eq!(
        api.fetch(&format!("/subscriptions/{ada}")).await["status"],
        "cancelled"
    );
    // Bob lives by the machine's time.
    assert_eq!(invoices(api, &bob).await.len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn a_customers_credits_and_payments_live_by_its_clock() {
    let running = start(tempfile::tempdir().unwrap()).await;
    let api = &running.api;
    let tokens = json!({
        "name": "Tokens", "unit": "token", "precision": 0, "overage_enabled": false, "rollover_enabled": false,
    });
    let tokens = api.create("/credit-entitlements", tokens, "id").await;
    let id = clock(api, json!({"frozen_time": "2026-01-01T00:00:00Z"})).await;
    api.post(
        "/customers",
        json!({"customer_id": "ada", "name": "Ada", "email": "ada@example.com", "test_clock": id}),
    )
    .await;
    let grant = json!({"credit_entitlement_id": tokens, "amount": "50", "expires_at": "2026-02-01T00:00:00Z"});
    api.post("/v1/customers/ada/grants", grant).await;
    let path = format!("/credit-entitlements/{tokens}/balances/ada");
    assert_eq!(
        api.fetch(&path).await["balance"],
        "50",
        "it has not expired by the clock, though by the machine"
    );
    let plan = api
        .create("/products", product(100, json!([])), "product_id")
        .await;
    let ada = api.subscribe("ada", &plan, "2026-01-01T00:00:00Z").await;
    let listed = api
        .fetch(&format!("/v1/invoices?subscription_id={ada}"))
        .await;
    let invoice = listed["items"][0]["invoice_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let paid = api
        .post(&format!("/v1/invoices/{invoice}/pay"), json!({}))
        .await;
    assert_eq!(paid["closed_at"], "2026-01-01T00:00:00Z");
    advance(api, &id, "2026-02-01T00:00:00Z").await;
    arrived(api, &id).await;
    assert_eq!(api.fetch(&path).await["balance"], "0");
    running.stop().await;
}

#[tokio::test]
async fn grants_end_at_their_time_in_order_and_all_of_it_is_told() {
    let running = start(tempfile::tempdir().unwrap()).await;
    let api = &running.api;
    let tokens = json!({
        "name": "Tokens", "unit": "token", "precision": 0, "overage_enabled": false, "rollover_enabled": false,
    });
    let tokens = api.create("/credit-entitlements", tokens, "id").await;
    let id = clock(api, json!({"frozen_time": "2026-01-01T00:00:00Z"})).await;
    api.post(
        "/customers",
        json!({"customer_id": "ada", "name": "Ada", "email": "ada@example.com", "test_clock": id}),
    )
    .await;
    let grant = |amount: &str, priority: u32, expires_at: &str| json!({"credit_entitlement_id": tokens, "amount": amount, "priority": priority, "expires_at": expires_at});
    api.post(
        "/v1/customers/ada/grants",
        grant("50", 10, "2026-01-10T06:00:00Z"),
    )
    .await;
    api.post(
        "/v1/customers/ada/grants",
        grant("30", 1, "2026-01-05T00:00:00Z"),
    )
    .await;
    let entries = format!("/credit-entitlements/{tokens}/balances/ada/ledger-entries");
    api.post(&entries, json!({"entry_type": "debit", "amount": "10"}))
        .await;
    // Told to go on past everything at once, and once more.
    for to in ["2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"] {
        advance(api, &id, to).await;
        arrived(api, &id).await;
        let outbox = api.fetch("/v1/outbox?limit=1000").await;
        let told: Vec<Value> = outbox["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|message| {
                let data = &message["data"];
                json!([
                    message["topic"],
                    message["at"],
                    data["amount"],
                    data["balance_after"]
                ])
            })
            .collect();
        let begun = "2026-01-01T00:00:00Z";
        assert_eq!(
            told,
            [
                json!(["credit.added", begun, "50", "50"]),
                json!(["credit.added", begun, "30", "80"]),
                json!(["credit.deducted", begun, "10", "70"]),
                json!(["credit.expired", "2026-01-05T00:00:00Z", "20", "50"]),
                json!(["credit.expired", "2026-01-10T06:00:00Z", "50", "0"]),
            ]
        );
    }
    let path = format!("/credit-entitlements/{tokens}/balances/ada");
    assert_eq!(api.fetch(&path).await["balance"], "0");
    let audit = api.fetch("/v1/ledgers/audit").await;
    assert_eq!(audit["items"][0]["faults"], json!([]));
    running.stop().await;
}

#[tokio::test]
async fn the_whole_collector_can_live_by_a_clock_that_survives_restarts() {
    let running = start(tempfile::tempdir().unwrap()).await;
    let api = &running.api;
    let plan = api
        .create("/products", product(100, json!([])), "product_id")
        .await;
    api.customer("ada").await;
    let id = clock(
        api,
        json!({"frozen_time": "2026-01-01T00:00:00Z", "scope": "collector"}),
    )
    .await;
    let second = json!({"frozen_time": "2026-01-01T00:00:00Z", "scope": "collector"});
    let refused = api.call(Method::POST, "/v1/test-clocks", &second).await;
    assert_eq!(
        (refused.status, refused.code()),
        (StatusCode::CONFLICT, "TEST_CLOCK_EXISTS")
    );
    let ada = api.subscribe("ada", &plan, "2026-01-01T00:00:00Z").await;
    advance(api, &id, "2026-02-15T00:00:00Z").await;
    arrived(api, &id).await;
    let expected = [("2026-01-01", 100), ("2026-02-01", 100)];
    assert_eq!(invoices(api, &ada).await, issued(&expected));

    let (directory, _) = running.stop().await;
    let running = start(directory).await;
    let api = &running.api;
    let clock = api.fetch(&format!("/v1/test-clocks/{id}")).await;
    assert_eq!(clock["frozen_time"], "2026-02-15T00:00:00Z");
    // Told to go on and stopped before it could: it goes on after the start.
    let mut agent = Agent::new(7);
    agent.register(api).await;
    running.clock.set(time(LATER));
    advance(api, &id, "2026-04-15T00:00:00Z").await;
    let held_up = api.fetch(&format!("/v1/test-clocks/{id}")).await;
    assert_eq!(held_up["status"], "advancing");
    assert_eq!(held_up["waiting_for_agents"], json!([agent.id]));
    let (directory, _) = running.stop().await;
    let running = start(directory).await;
    running.clock.set(time(LATER));
    let api = &running.api;
    agent.register(api).await;
    let frame = agent.seal(Vec::new(), LATER);
    agent.send(api, frame).await.expect_success();
    arrived(api, &id).await;
    let expected = [
        ("2026-01-01", 100),
        ("2026-02-01", 100),
        ("2026-03-01", 100),
        ("2026-04-01", 100),
    ];
    assert_eq!(invoices(api, &ada).await, issued(&expected));
    running.stop().await;
}

#[tokio::test]
async fn clocks_that_cannot_be_are_refused() {
    let running = start(tempfile::tempdir().unwrap()).await;
    let api = &running.api;
    let id = clock(api, json!({"frozen_time": "2026-01-01T00:00:00Z"})).await;
    let clocks = "/v1/test-clocks";
    let path = format!("{clocks}/{id}/advance");
    for (path, body, status, code, field) in [
        (clocks, json!({}), 422, "MISSING_FIELD", "frozen_time"),
        (
            clocks,
            json!({"frozen_time": "soon"}),
            422,
            "INVALID_FIELD",
            "frozen_time",
        ),
        (
            clocks,
            json!({"frozen_time": "2026-01-01T00:00:00Z", "scope": "galaxy"}),
            422,
            "INVALID_FIELD",
            "scope",
        ),
        (
            &path,
            json!({"frozen_time": "2026-01-01T00:00:00Z"}),
            422,
            "INVALID_FIELD",
            "frozen_time",
        ),
        (
            &path,
            json!({"frozen_time": "2046-01-01T00:00:00Z"}),
            422,
            "INVALID_FIELD",
            "frozen_time",
        ),
        (
            "/v1/test-clocks/clk_none/advance",
            json!({"frozen_time": "2026-01-02T00:00:00Z"}),
            404,
            "TEST_CLOCK_NOT_FOUND",
            "",
        ),
        (
            "/customers",
            json!({"name": "A", "email": "a@b", "test_clock": "clk_none"}),
            422,
            "INVALID_FIELD",
            "test_clock",
        ),
    ] {
        let reply = api.call(Method::POST, path, &body).await;
        let found = (
            reply.status.as_u16(),
            reply.code(),
            reply.body["field"].as_str().unwrap_or_default(),
        );
        assert_eq!(found, (status, code, field), "{path} {body}");
    }
    // A customer's subscription lives by the customer's clock.
    let plan = api
        .create("/products", product(100, json!([])), "product_id")
        .await;
    api.customer("ada").await;
    let mut wanted = subscription("ada", &plan, "2026-01-01T00:00:00Z");
    wanted["test_clock"] = json!(id);
    let reply = api.call(Method::POST, "/subscriptions", &wanted).await;
    assert_eq!(
        (reply.status.as_u16(), reply.body["field"].as_str()),
        (422, Some("test_clock"))
    );
    running.stop().await;
}

#[tokio::test]
async fn live_mode_knows_no_test_clocks_and_does_not_start_over_them() {
    let running = Running::start().await;
    let frozen = json!({"frozen_time": "2026-01-01T00:00:00Z"});
    let refused = running
        .api
        .call(Method::POST, "/v1/test-clocks", &frozen)
        .await;
    assert_eq!(
        (refused.status, refused.code()),
        (StatusCode::FORBIDDEN, "LIVE_MODE")
    );
    let bound = json!({"name": "A", "email": "a@b", "test_clock": "clk_1"});
    let refused = running.api.call(Method::POST, "/customers", &bound).await;
    assert_eq!(
        (refused.status, refused.code()),
        (StatusCode::FORBIDDEN, "LIVE_MODE")
    );
    running.stop().await;

    let running = start(tempfile::tempdir().unwrap()).await;
    clock(&running.api, frozen).await;
    let (directory, machine) = running.stop().await;
    let config = Config {
        data_dir: directory.path().to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        ..Config::default()
    };
    let started = Collector::start(config, std::sync::Arc::new(machine)).await;
    assert!(
        matches!(started, Err(StartError::TestClocks)),
        "{started:?}"
    );
}

#[tokio::test]
async fn credits_that_were_set_aside_come_back_when_the_time_is_over() {
    let running = start(tempfile::tempdir().unwrap()).await;
    let api = &running.api;
    let kind = api
        .create(
            "/credit-entitlements",
            json!({"name": "Tokens", "unit": "token", "precision": 0, "overage_enabled": false, "rollover_enabled": false}),
            "id",
        )
        .await;
    let now = "2026-02-01T00:00:00Z";
    let id = clock(api, json!({"name": "spring", "frozen_time": now})).await;
    for (customer, told) in [("ada", Some(&id)), ("bob", None)] {
        api.post(
            "/customers",
            json!({"customer_id": customer, "name": customer, "email": format!("{customer}@example.com"), "test_clock": told}),
        )
        .await;
        let entries = format!("/credit-entitlements/{kind}/balances/{customer}/ledger-entries");
        api.post(&entries, json!({"entry_type": "credit", "amount": "10"}))
            .await;
    }
    let hold = json!({"credit_entitlement_id": kind, "amount": "7", "timeout_seconds": 3600});
    let mut held = Vec::new();
    for customer in ["ada", "bob"] {
        let path = format!("/v1/customers/{customer}/reservations");
        held.push(api.create(&path, hold.clone(), "reservation_id").await);
    }
    let balance = async |customer: &str| {
        let path = format!("/credit-entitlements/{kind}/balances/{customer}");
        api.fetch(&path).await["balance"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let before = (balance("ada").await, balance("bob").await);
    assert_eq!(before, ("3".to_owned(), "3".to_owned()));
    advance(api, &id, "2026-02-01T02:00:00Z").await;
    arrived(api, &id).await;
    // Ada's two hours went by, Bob's did not.
    let after = (balance("ada").await, balance("bob").await);
    assert_eq!(after, ("10".to_owned(), "3".to_owned()));
    let status =
        async |id: &str| api.fetch(&format!("/v1/reservations/{id}")).await["status"].clone();
    assert_eq!(status(&held[0]).await, "expired");
    assert_eq!(status(&held[1]).await, "held");
    let path = format!("/v1/reservations/{}/commit", held[0]);
    let late = api.call(Method::POST, &path, &json!({})).await;
    assert_eq!(
        (late.status, late.code()),
        (StatusCode::CONFLICT, "RESERVATION_ENDED")
    );
}
