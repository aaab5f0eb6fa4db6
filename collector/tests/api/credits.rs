//! Credits and wallets, through the API alone.

use axum::http::Method;
use serde_json::{Value, json};
use submeter_common::aggregate::Group;
use submeter_common::time::Clock as _;

use crate::running::{Agent, Api, Running, counted, time};

async fn tokens(api: &Api, precision: u8) -> String {
    let entitlement = json!({
        "name": "Tokens", "unit": "tokens", "precision": precision,
        "overage_enabled": true, "rollover_enabled": false,
    });
    api.create("/credit-entitlements", entitlement, "id").await
}

fn entry(entry_type: &str, amount: &str, key: &str) -> Value {
    json!({"entry_type": entry_type, "amount": amount, "idempotency_key": key, "reason": "by hand"})
}

async fn balance(api: &Api, kind: &str, customer: &str) -> String {
    let path = format!("/credit-entitlements/{kind}/balances/{customer}");
    let reply = api.fetch(&path).await;
    reply["balance"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn credits_are_given_and_taken_once_for_each_key_and_every_debit_names_its_grants() {
    let running = Running::start().await;
    let api = &running.api;
    let kind = tokens(api, 2).await;
    api.customer("ada").await;
    let entries = format!("/credit-entitlements/{kind}/balances/ada/ledger-entries");
    let first = api
        .call(Method::POST, &entries, &entry("credit", "100.5", "a"))
        .await;
    assert_eq!(first.status, 201);
    let first = first.body;
    assert_eq!(
        json!([
            first["balance_before"],
            first["balance_after"],
            first["is_credit"]
        ]),
        json!(["0", "100.5", true])
    );
    let again = api
        .call(Method::POST, &entries, &entry("credit", "100.5", "a"))
        .await;
    assert_eq!(
        (again.status.as_u16(), again.code()),
        (409, "IDEMPOTENCY_KEY_REUSED")
    );
    assert_eq!(again.should_retry.as_deref(), Some("false"));
    running.clock.set(time("2026-03-10T12:00:31Z"));
    api.post(&entries, entry("credit", "20", "b")).await;
    let debit = api.post(&entries, entry("debit", "110", "c")).await;
    assert_eq!(debit["balance_after"], "10.5");
    assert_eq!(balance(api, &kind, "ada").await, "10.5");

    let path = format!("/credit-entitlements/{kind}/balances/ada/ledger");
    let ledger = api.fetch(&path).await;
    let listed: Vec<Value> = ledger["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            json!([
                entry["transaction_type"],
                entry["amount"],
                entry["balance_after"]
            ])
        })
        .collect();
    assert_eq!(
        json!(listed),
        json!([
            ["credit_deducted", "9.5", "10.5"],
            ["credit_deducted", "100.5", "20"],
            ["credit_added", "20", "120.5"],
            ["credit_added", "100.5", "100.5"],
        ])
    );
    let grants = api
        .fetch(&format!("/credit-entitlements/{kind}/balances/ada/grants"))
        .await;
    let newest_first = grants["items"].as_array().unwrap();
    assert_eq!(ledger["items"][0]["grant_id"], newest_first[0]["id"]);
    assert_eq!(ledger["items"][1]["grant_id"], newest_first[1]["id"]);

    // Voiding takes back what is left.
    let grant = newest_first[0]["id"].as_str().unwrap();
    let voided = api
        .post(
            &format!("/v1/grants/{grant}/void"),
            json!({"amount": "0.5"}),
        )
        .await;
    assert_eq!(voided["remaining_amount"], "10");
    let audit = api.fetch("/v1/ledgers/audit").await;
    assert_eq!(audit["items"][0]["faults"], json!([]));
    assert_eq!(audit["items"][0]["entries"], 5);
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_its_field_and_changes_nothing() {
    let running = Running::start().await;
    let api = &running.api;
    let kind = tokens(api, 2).await;
    api.customer("ada").await;
    let entries = format!("/credit-entitlements/{kind}/balances/ada/ledger-entries");
    api.post(&entries, entry("credit", "10", "a")).await;
    for (path, body, status, code, field) in [
        (
            entries.as_str(),
            entry("debit", "10.01", "b"),
            400,
            "INSUFFICIENT_CREDITS",
            "amount",
        ),
        (
            &entries,
            entry("credit", "0.001", "b"),
            422,
            "INVALID_FIELD",
            "amount",
        ),
        (
            &entries,
            entry("credit", "0", "b"),
            422,
            "INVALID_FIELD",
            "amount",
        ),
        (
            &entries,
            entry("credit", "-1", "b"),
            422,
            "INVALID_FIELD",
            "amount",
        ),
        (
            &entries,
            entry("credit", "1000000000000000000", "b"),
            422,
            "INVALID_FIELD",
            "amount",
        ),
        (
            &entries,
            json!({"entry_type": "credit", "amount": "1", "expires_at": "2020-01-01T00:00:00Z"}),
            422,
            "INVALID_FIELD",
            "expires_at",
        ),
        (
            "/v1/customers/ada/reservations",
            json!({"credit_entitlement_id": kind, "amount": "11"}),
            400,
            "INSUFFICIENT_CREDITS",
            "amount",
        ),
        (
            "/v1/customers/ada/reservations",
            json!({"credit_entitlement_id": kind, "amount": "1", "timeout_seconds": 0}),
            422,
            "INVALID_FIELD",
            "timeout_seconds",
        ),
        (
            "/customers/ada/wallets/ledger-entries",
            json!({"amount": 1, "currency": "USD", "entry_type": "debit"}),
            400,
            "INSUFFICIENT_BALANCE",
            "amount",
        ),
        (
            "/customers/ada/wallets/ledger-entries",
            json!({"amount": 0, "currency": "USD", "entry_type": "credit"}),
            422,
            "INVALID_FIELD",
            "amount",
        ),
        (
            "/customers/ada/wallets/ledger-entries",
            json!({"amount": 1, "currency": "usd", "entry_type": "credit"}),
            422,
            "INVALID_FIELD",
            "currency",
        ),
    ] {
        let reply = api.call(Method::POST, path, &body).await;
        let found = (
            reply.status.as_u16(),
            reply.code(),
            reply.body["field"].as_str(),
        );
        assert_eq!(found, (status, code, Some(field)), "{path} {body}");
    }
    assert_eq!(balance(api, &kind, "ada").await, "10");
    let wallets = api.fetch("/customers/ada/wallets").await;
    assert_eq!(wallets["items"], json!([]));
}

#[tokio::test]
async fn many_at_once_never_spend_a_credit_twice() {
    let running = Running::start().await;
    let api = &running.api;
    let kind = tokens(api, 0).await;
    api.customer("ada").await;
    let entries = format!("/credit-entitlements/{kind}/balances/ada/ledger-entries");
    api.post(&entries, entry("credit", "30", "a")).await;
    let debits: Vec<_> = (0..50)
        .map(|number| {
            let (entries, body) = (
                entries.clone(),
                entry("debit", "1", &format!("debit-{number}")),
            );
            let api = api.clone();
            tokio::spawn(async move { api.call(Method::POST, &entries, &body).await.status })
        })
        .collect();
    let mut statuses = Vec::new();
    for debit in debits {
        statuses.push(debit.await.unwrap().as_u16());
    }
    let count = |status| statuses.iter().filter(|found| **found == status).count();
    assert_eq!((count(201), count(400)), (30, 20), "{statuses:?}");
    assert_eq!(balance(api, &kind, "ada").await, "0");
}

#[tokio::test]
async fn usage_of_the_open_period_is_deducted_at_once_and_cannot_be_spent_again() {
    let running = Running::start().await;
    let api = &running.api;
    let kind = tokens(api, 0).await;
    let (calls, images) = (api.counter("calls").await, api.counter("images").await);
    // Two meters draw on one kind of credits, at different rates.
    let plan = json!({
        "name": "Plan", "tax_category": "saas",
        "price": {
            "type": "usage_based_price", "currency": "USD", "discount": 0, "fixed_price": 0,
            "purchasing_power_parity": false,
            "payment_frequency_count": 1, "payment_frequency_interval": "Month",
            "subscription_period_count": 10, "subscription_period_interval": "Year",
            "meters": [
                {"meter_id": calls, "credit_entitlement_id": kind, "meter_units_per_credit": "10"},
                {"meter_id": images, "credit_entitlement_id": kind, "meter_units_per_credit": "0.5"},
            ],
        },
        "credit_entitlements": [{"credit_entitlement_id": kind, "credits_amount": "100"}],
    });
    let plan = api.create("/products", plan, "product_id").await;
    api.customer("ada").await;
    let subscribed = api.subscribe("ada", &plan, "2026-03-01T00:00:00Z").await;
    assert_eq!(balance(api, &kind, "ada").await, "100");
    let mut agent = Agent::new(7);
    agent.register(api).await;
    let rows = vec![
        counted("ada", &calls, "2026-03-05T00:00:00Z", Group::none(), 200),
        counted("ada", &images, "2026-03-06T00:00:00Z", Group::none(), 15),
    ];
    let frame = agent.seal(rows, "2026-03-10T12:00:00Z");
    agent.send(api, frame).await.expect_success();
    // 200 calls are 20 credits, 15 images 30.
    assert_eq!(balance(api, &kind, "ada").await, "50");
    let usage = api
        .fetch(&format!("/subscriptions/{subscribed}/credit-usage"))
        .await;
    assert_eq!(usage["items"][0]["balance"], "50");
    let entries = format!("/credit-entitlements/{kind}/balances/ada/ledger-entries");
    let refused = api
        .call(Method::POST, &entries, &entry("debit", "51", "a"))
        .await;
    assert_eq!(refused.code(), "INSUFFICIENT_CREDITS");
    api.post(&entries, entry("debit", "50", "b")).await;

    // The next period's credits are there when it begins, although this one is not closed yet.
    running.clock.set(time("2026-04-01T00:00:01Z"));
    assert_eq!(balance(api, &kind, "ada").await, "100");
    let hold = json!({"credit_entitlement_id": kind, "amount": "40", "timeout_seconds": 60});
    let held = api.post("/v1/customers/ada/reservations", hold).await;
    assert_eq!(balance(api, &kind, "ada").await, "60");
    let frame = agent.seal(Vec::new(), "2026-04-01T00:00:00Z");
    agent.send(api, frame).await.expect_success();
    let invoice = crate::billing::closing(&running, &subscribed).await;
    let used: Vec<&Value> = invoice["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| &line["credits"]["credits_used"])
        .collect();
    assert_eq!(json!(used), json!(["20", "30"]));
    let id = held["reservation_id"].as_str().unwrap();
    let commit = format!("/v1/reservations/{id}/commit");
    let committed = api.post(&commit, json!({"amount": "15"})).await;
    assert_eq!(committed["status"], "committed");
    assert_eq!(
        api.post(&commit, json!({"amount": "15"})).await,
        committed,
        "a retry"
    );
    assert_eq!(balance(api, &kind, "ada").await, "85");
    let audit = api.fetch("/v1/ledgers/audit").await;
    assert_eq!(audit["items"][0]["faults"], json!([]));
    assert!(running.clock.now() > time("2026-04-01T00:00:00Z"));
}

#[tokio::test]
async fn wallets_hold_money_in_each_currency() {
    let running = Running::start().await;
    let api = &running.api;
    api.customer("ada").await;
    let path = "/customers/ada/wallets/ledger-entries";
    let fund = json!({"amount": 5_000_000_000_i64, "currency": "USD", "entry_type": "credit", "idempotency_key": "k"});
    let wallet = api.post(path, fund.clone()).await;
    assert_eq!(wallet["balance"], 5_000_000_000_i64);
    assert_eq!(
        api.post(path, fund).await["balance"],
        5_000_000_000_i64,
        "a replayed key"
    );
    api.post(
        path,
        json!({"amount": 7, "currency": "JPY", "entry_type": "credit"}),
    )
    .await;
    let taken = json!({"amount": 1, "currency": "USD", "entry_type": "debit", "reason": "gift"});
    api.post(path, taken).await;
    let wallets = api.fetch("/customers/ada/wallets").await;
    assert_eq!(wallets["total_balance_usd"], 4_999_999_999_i64);
    assert_eq!(wallets["items"].as_array().unwrap().len(), 2);
    let movements = api.fetch(&format!("{path}?currency=USD")).await;
    let newest = &movements["items"][0];
    assert_eq!(
        json!([
            newest["before_balance"],
            newest["after_balance"],
            newest["is_credit"],
            newest["reason"]
        ]),
        json!([5_000_000_000_i64, 4_999_999_999_i64, false, "gift"])
    );
}
