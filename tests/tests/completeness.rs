//! Is a period invoiced when everything of it is in, and never before without saying so?

use std::time::Duration;

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use submeter_common::time::{Clock, SystemClock};
use submeter_tests::builders::{self, Every};
use submeter_tests::system::{Agent, Api, Outcome, PATIENCE, System, eventually};
use submeter_tests::workload::rfc3339;

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60 * MINUTE;

#[tokio::test(flavor = "multi_thread")]
async fn a_period_waits_for_every_live_agent() -> Result<()> {
    let system = System::start("billing_interval = \"100ms\"").await?;
    let api = system.collector.api().clone();
    let meter = builders::create_meter(&api, &meter()).await?;
    let mut early = system.agent("early", "flush_interval = \"100ms\"").await?;
    let mut late = system.agent("late", "flush_interval = \"100ms\"").await?;
    let end = registered(&api, 2).await?;
    subscribe(&api, &meter, end).await?;
    ingest(&early, "early", end - 1).await?;
    ingest(&late, "late", end - 1).await?;
    early.flush().await?;

    ensure!(early.drain().await? == Outcome::Drained);
    tokio::time::sleep(Duration::from_secs(1)).await;
    ensure!(
        closed(&api).await?.is_empty(),
        "closed while an agent may still have usage"
    );
    ensure!(late.drain().await? == Outcome::Drained);

    let invoice = invoiced(&api).await?;
    ensure!(invoice["complete"] == true, "{invoice}");
    ensure!(invoice["missing_agents"] == json!([]), "{invoice}");
    // One event of each, at ten cents.
    ensure!(invoice["total"] == 20, "{invoice}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_wait_the_invoice_names_who_is_missing() -> Result<()> {
    let settings = "billing_interval = \"100ms\"\ncompleteness_wait = \"1s\"";
    let system = System::start(settings).await?;
    let api = system.collector.api().clone();
    let mut there = system.agent("there", "flush_interval = \"100ms\"").await?;
    let mut gone = system.agent("gone", "flush_interval = \"100ms\"").await?;
    let missing = gone.status().await?["agent_id"].clone();
    let meter = builders::create_meter(&api, &meter()).await?;
    let end = registered(&api, 2).await?;
    ingest(&there, "there", end - 1).await?;
    there.flush().await?;
    gone.kill()?;
    ensure!(there.drain().await? == Outcome::Drained);
    subscribe(&api, &meter, end).await?;

    let invoice = invoiced(&api).await?;
    ensure!(invoice["complete"] == false, "{invoice}");
    ensure!(
        invoice["missing_agents"] == json!([missing]),
        "{missing} is not named: {invoice}"
    );
    ensure!(invoice["total"] == 10, "{invoice}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_agent_holds_nothing_back() -> Result<()> {
    let system = System::start("billing_interval = \"100ms\"").await?;
    let api = system.collector.api().clone();
    let meter = builders::create_meter(&api, &meter()).await?;
    let mut there = system.agent("there", "flush_interval = \"100ms\"").await?;
    let mut gone = system.agent("gone", "flush_interval = \"100ms\"").await?;
    let retired = gone.status().await?["agent_id"].clone();
    let end = registered(&api, 2).await?;
    subscribe(&api, &meter, end).await?;
    ingest(&there, "there", end - 1).await?;
    there.flush().await?;
    gone.kill()?;
    ensure!(there.drain().await? == Outcome::Drained);
    tokio::time::sleep(Duration::from_secs(1)).await;
    ensure!(
        closed(&api).await?.is_empty(),
        "closed while an agent may still have usage"
    );
    // Who asks why is told for whom: only for the one that did not say farewell.
    let state = api.fetch("/v1/completeness").await?;
    ensure!(state["waiting"][0]["agents"] == json!([retired]), "{state}");

    let retired = retired.as_str().unwrap_or_default();
    api.create(&format!("/v1/agents/{retired}/retire"), &json!({}))
        .await?;
    let invoice = invoiced(&api).await?;
    let state = api.fetch("/v1/completeness").await?;
    ensure!(state["waiting"] == json!([]), "{state}");
    let retirements = api.list("/v1/audit").await?.into_iter();
    let retirements = retirements.filter(|entry| entry["action"] == "agent.retired");
    ensure!(retirements.count() == 1);
    ensure!(
        invoice["complete"] == true && invoice["total"] == 10,
        "{invoice}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meter_made_just_before_the_agent_leaves_still_counts() -> Result<()> {
    let system = System::start("billing_interval = \"100ms\"").await?;
    let api = system.collector.api().clone();
    // The agent would not ask for the new meter by itself before the hour is over.
    let mut agent = system.agent("agent", "flush_interval = \"1h\"").await?;
    let end = registered(&api, 1).await?;
    let meter = builders::create_meter(&api, &meter()).await?;
    ingest(&agent, "in time", end - 1).await?;
    ensure!(agent.drain().await? == Outcome::Drained);
    subscribe(&api, &meter, end).await?;
    let invoice = invoiced(&api).await?;
    ensure!(invoice["total"] == 10, "{invoice}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meter_newer_than_an_agents_catalog_is_waited_for() -> Result<()> {
    let system = System::start("billing_interval = \"100ms\"").await?;
    let api = system.collector.api().clone();
    // A horizon this short lets the watermark pass the period's end within the test.
    let settings = "flush_interval = \"1h\"\nhorizon_past = \"1s\"";
    let agent = system.agent("agent", settings).await?;
    let end = registered(&api, 1).await? - 5 * MINUTE;
    let meter = builders::create_meter(&api, &meter()).await?;
    import(&agent, end - 1).await?;
    // The agent reports past the period's end, but has not heard of the meter when it does.
    agent.flush().await?;
    subscribe(&api, &meter, end).await?;
    agent.flush().await?;
    let invoice = invoiced(&api).await?;
    ensure!(invoice["total"] == 10, "{invoice}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_of_an_unknown_customer_is_parked_and_billed_when_the_customer_appears() -> Result<()>
{
    let system = System::start("billing_interval = \"100ms\"").await?;
    let api = system.collector.api().clone();
    let meter = builders::create_meter(&api, &meter()).await?;
    let mut agent = system.agent("agent", "flush_interval = \"100ms\"").await?;
    let end = registered(&api, 1).await?;
    ingest(&agent, "before", end - 1).await?;
    agent.flush().await?;
    ensure!(agent.drain().await? == Outcome::Drained);

    subscribe(&api, &meter, end).await?;
    let invoice = invoiced(&api).await?;
    ensure!(invoice["total"] == 10, "{invoice}");
    Ok(())
}

/// Waits for `agents` agents, then answers the start of the current minute.
async fn registered(api: &Api, agents: usize) -> Result<i64> {
    eventually("the agents to register", PATIENCE, || async {
        let known = api.fetch("/v1/agents").await?["items"]
            .as_array()
            .map_or(0, Vec::len);
        ensure!(known == agents, "{known} agents");
        Ok(())
    })
    .await?;
    Ok(SystemClock.now().as_micros() / MINUTE * MINUTE)
}

/// Subscribes a customer to a product at ten cents a call, for the day that ends with `end`.
async fn subscribe(api: &Api, meter: &str, end: i64) -> Result<()> {
    let prices = [builders::paid(meter, "10", 0)];
    let product = builders::product("Calls", Every::Day, 0, &prices);
    let product = builders::create_product(api, &product).await?;
    builders::create_customer(api, &builders::customer("acme", "Acme")).await?;
    let start = rfc3339(end - DAY);
    builders::subscribe(api, &builders::subscription("acme", &product, &start)).await?;
    Ok(())
}

fn meter() -> Value {
    builders::meter("Calls", "call", "count", "", "call")
}

async fn ingest(agent: &Agent, id: &str, at: i64) -> Result<()> {
    let event = json!({
        "event_id": id,
        "customer_id": "acme",
        "event_name": "call",
        "timestamp": rfc3339(at),
    });
    agent
        .api()
        .create("/events/ingest", &json!({"events": [event]}))
        .await?;
    Ok(())
}

/// Brings one call in by the way for past events.
async fn import(agent: &Agent, at: i64) -> Result<()> {
    let begin = json!({"id": "past", "name": "past", "max_age_seconds": 86_400});
    agent.api().create("/v1/imports", &begin).await?;
    let line = json!({
        "event_id": "past",
        "customer_id": "acme",
        "event_name": "call",
        "timestamp": rfc3339(at),
    });
    let path = "/v1/imports/past/events?first_line=0";
    let ndjson = Some("application/x-ndjson");
    let reply = agent
        .api()
        .send(Method::POST, path, ndjson, line.to_string())
        .await?
        .document()?;
    ensure!(reply["accepted"] == 1, "{reply}");
    agent
        .api()
        .create("/v1/imports/past/complete", &json!({}))
        .await?;
    Ok(())
}

async fn closed(api: &Api) -> Result<Vec<Value>> {
    let invoices = api.list("/v1/invoices").await?;
    Ok(invoices
        .into_iter()
        .filter(|invoice| !invoice["closes_period"].is_null())
        .collect())
}

/// The one invoice that closes the period.
async fn invoiced(api: &Api) -> Result<Value> {
    eventually("the invoice", PATIENCE, || async {
        let invoices = closed(api).await?;
        ensure!(invoices.len() == 1, "{} invoices", invoices.len());
        let id = invoices[0]["invoice_id"].as_str().unwrap_or_default();
        api.fetch(&format!("/v1/invoices/{id}")).await
    })
    .await
}
