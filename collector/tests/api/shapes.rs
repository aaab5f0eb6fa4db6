//! The shape of every resource, field by field, against `tests/api/shapes/*.json`.
//!
//! `UPDATE_SHAPES=1 cargo test …` writes the files anew; a change of one is a change of the interface.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use submeter_common::aggregate::Group;

use crate::running::{Agent, Running, counted, product};

/// What has not happened by then never will.
const PATIENCE: Duration = Duration::from_secs(60);

/// Replaces what differs from run to run: ids.
fn normalised(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(normalised_text(text)),
        Value::Array(values) => values.into_iter().map(normalised).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| (key, normalised(value)))
            .collect(),
        other => other,
    }
}

fn normalised_text(text: String) -> String {
    match text.split_once('_') {
        Some((prefix, id))
            if id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) =>
        {
            format!("{prefix}_…")
        }
        _ if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            "digest…".to_owned()
        }
        _ => text,
    }
}

fn check(name: &str, value: Value) {
    // Asked at run time: checkouts share a target directory, and this may have been built from another one.
    let file = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap())
        .join("tests/api/shapes")
        .join(format!("{name}.json"));
    let found = serde_json::to_string_pretty(&normalised(value)).unwrap() + "\n";
    if std::env::var_os("UPDATE_SHAPES").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap();
    assert_eq!(
        found,
        expected,
        "{name} has another shape than {}",
        file.display()
    );
}

#[tokio::test]
async fn every_resource_has_the_shape_that_clients_rely_on() {
    let running = Running::start().await;
    let api = &running.api;
    // Ids sort by time: without it, the order of lists would differ from run to run.
    let tick = || running.clock.advance(Duration::from_secs(1));
    let meter = json!({
        "name": "Calls", "description": "API calls", "event_name": "api.call", "measurement_unit": "calls",
        "aggregation": {"type": "count"}, "group_by": ["tier"],
        "filter": {"conjunction": "or", "clauses": [{"key": "tier", "operator": "equals", "value": "pro"},
            {"conjunction": "and", "clauses": [{"key": "n", "operator": "greater_than", "value": 1.50}]}]},
    });
    let created = api.post("/meters", meter).await;
    let calls = created["id"].as_str().unwrap().to_owned();
    check("meter", created);
    tick();
    let answers = api.counter("answers").await;
    let credits = json!({
        "name": "Tokens", "unit": "tokens", "precision": 2, "overage_enabled": true, "rollover_enabled": false,
        "overage_behavior": "invoice_at_billing", "price_per_unit": "5", "currency": "USD", "overage_limit": 3_000_000_000_i64,
    });
    let created = api.post("/credit-entitlements", credits).await;
    let tokens = created["id"].as_str().unwrap().to_owned();
    check("credit_entitlement", created);
    let mut plan = product(
        4900,
        json!([
            {"meter_id": calls, "price_per_unit": "0.5", "free_threshold": 10},
            {"meter_id": answers, "credit_entitlement_id": tokens, "meter_units_per_credit": "2.5", "free_threshold": 1},
        ]),
    );
    plan["credit_entitlements"] =
        json!([{"credit_entitlement_id": tokens, "credits_amount": "20"}]);
    plan["metadata"] = json!({"tier": "pro", "seats": 5, "beta": true});
    let created = api.post("/products", plan).await;
    let plan = created["product_id"].as_str().unwrap().to_owned();
    check("product", created);
    check(
        "product_listed",
        api.fetch("/products").await["items"][0].clone(),
    );
    api.customer("ada").await;
    check("customer", api.fetch("/customers/ada").await);

    tick();
    let mut agent = Agent::new(1);
    check("register", agent.register(api).await);
    let rows = vec![
        counted(
            "ada",
            &calls,
            "2026-02-03T04:05:00Z",
            Group::of([Some("pro".to_owned())]),
            111,
        ),
        counted("ada", &answers, "2026-02-03T04:05:00Z", Group::none(), 61),
    ];
    let frame = agent.seal(rows, "2026-03-10T12:00:00Z");
    check(
        "frame_applied",
        agent.send(api, frame).await.expect_success(),
    );
    let next = agent.seal(vec![], "2026-03-10T12:00:00Z");
    let gap = agent.seal(vec![], "2026-03-10T12:00:00Z");
    check("frame_gap", agent.send(api, gap).await.body);
    agent.send(api, next).await.expect_success();
    check("agent", api.fetch("/v1/agents").await["items"][0].clone());
    let usage = format!(
        "/v1/usage?customer_id=ada&meter_id={calls}&start=2026-02-01T00:00:00Z&end=2026-03-01T00:00:00Z&group_by=tier"
    );
    check("usage", api.fetch(&usage).await);

    let order = json!({
        "billing": {"country": "US", "city": "Springfield"}, "customer": {"customer_id": "ada"}, "product_id": plan,
        "quantity": 2, "start_date": "2026-02-01T00:00:00Z", "metadata": {"order": "7"},
    });
    let created = api.post("/subscriptions", order).await;
    let subscribed = created["subscription_id"].as_str().unwrap().to_owned();
    check("subscription_created", created);
    let issued = async {
        while api.fetch("/v1/invoices").await["items"]
            .as_array()
            .unwrap()
            .len()
            < 2
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let issued = tokio::time::timeout(PATIENCE, issued).await;
    issued.expect("two invoices are issued");
    check(
        "subscription",
        api.fetch(&format!("/subscriptions/{subscribed}")).await,
    );
    check(
        "subscription_listed",
        api.fetch("/subscriptions").await["items"][0].clone(),
    );
    check(
        "usage_history",
        api.fetch(&format!("/subscriptions/{subscribed}/usage-history"))
            .await,
    );
    check(
        "customer_credits",
        api.fetch("/customers/ada/credit-entitlements").await,
    );
    let invoices = api.fetch("/v1/invoices").await;
    let invoices = invoices["items"].as_array().unwrap();
    let (opening, closing): (Vec<&Value>, Vec<&Value>) = invoices
        .iter()
        .partition(|invoice| invoice["period"].is_null());
    check("invoice_opening", opening[0].clone());
    check("invoice_closing", closing[0].clone());
    tick();
    let key = json!({"name": "k", "scopes": ["write", "read"]});
    check("key_created", api.post("/v1/keys", key).await);
    check("key", api.fetch("/v1/keys").await["items"][0].clone());
}
