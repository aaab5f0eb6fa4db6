//! Is usage that comes after its period was invoiced billed all the same, once, and without touching that invoice?

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use submeter_common::time::{Clock, SystemClock};
use submeter_tests::builders::{self, Every};
use submeter_tests::system::{Agent, Api, Outcome, PATIENCE, System, eventually};
use submeter_tests::workload::rfc3339;

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The agent's horizon is an hour, so its watermark is past the first period's end and before the second one's.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_into_an_invoiced_period_is_an_adjustment_on_the_next_invoice() -> Result<()> {
    let system = System::start("billing_interval = \"100ms\"").await?;
    let api = system.collector.api().clone();
    let meter = builders::meter("Calls", "call", "count", "", "call");
    let meter = builders::create_meter(&api, &meter).await?;
    let mut agent = system.agent("agent", "flush_interval = \"100ms\"").await?;
    agent.flush().await?;
    let second_end = SystemClock.now().as_micros() / MINUTE * MINUTE - 10 * MINUTE;
    let first_end = second_end - DAY;
    import(&agent, "early", &[first_end - 3]).await?;
    subscribe(&api, &meter, first_end - DAY).await?;
    agent.flush().await?;
    let issued = invoices(&api, 1).await?.remove(0);
    ensure!(
        issued["total"] == 10 && issued["complete"] == true,
        "{issued}"
    );

    // Time that the watermark has vouched for is opened again; two calls belong to the closed period, one to the open one.
    let late = [first_end - 2, first_end - 1, second_end - HOUR];
    import(&agent, "late", &late).await?;
    let again = begin(&agent, "late").await?;
    ensure!(again["status"] == "complete", "{again}");
    ensure!(agent.drain().await? == Outcome::Drained);

    let invoices = invoices(&api, 2).await?;
    ensure!(
        invoices[0] == issued,
        "an issued invoice changed: {}",
        invoices[0]
    );
    let lines = invoices[1]["lines"].as_array().context("lines")?;
    let found: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                line["kind"].as_str(),
                line["quantity"].as_str(),
                line["amount"].as_i64(),
            )
        })
        .collect();
    // The adjustment says what the period has now, and charges what it had not.
    let expected = [
        (Some("usage"), Some("1"), Some(10)),
        (Some("adjustment"), Some("3"), Some(20)),
    ];
    ensure!(found == expected, "{lines:?}");
    ensure!(invoices[1]["total"] == 30, "{}", invoices[1]);
    Ok(())
}

/// Ten cents a call, from `start`, day by day.
async fn subscribe(api: &Api, meter: &str, start: i64) -> Result<()> {
    let product = builders::product("Calls", Every::Day, 0, &[builders::paid(meter, "10", 0)]);
    let product = builders::create_product(api, &product).await?;
    builders::create_customer(api, &builders::customer("acme", "Acme")).await?;
    let start = rfc3339(start);
    builders::subscribe(api, &builders::subscription("acme", &product, &start)).await?;
    Ok(())
}

fn call(at: i64) -> String {
    let event = json!({
        "event_id": format!("at-{at}"),
        "customer_id": "acme",
        "event_name": "call",
        "timestamp": rfc3339(at),
    });
    event.to_string()
}

/// Brings calls at these times in as an import of its own.
async fn import(agent: &Agent, id: &str, times: &[i64]) -> Result<()> {
    let state = begin(agent, id).await?;
    ensure!(state["status"] == "open", "{state}");
    // A frame that takes the watermark back is on its way while the import is open.
    agent.flush().await?;
    let lines: Vec<String> = times.iter().copied().map(call).collect();
    let reply = agent
        .api()
        .send(
            Method::POST,
            &format!("/v1/imports/{id}/events?first_line=0"),
            Some("application/x-ndjson"),
            lines.join("\n"),
        )
        .await?
        .document()?;
    ensure!(reply["accepted"] == times.len(), "{reply}");
    let path = format!("/v1/imports/{id}/complete");
    agent.api().create(&path, &Value::Null).await?;
    Ok(())
}

async fn begin(agent: &Agent, id: &str) -> Result<Value> {
    let begin = json!({"id": id, "name": id, "max_age_seconds": 5 * DAY / 1_000_000});
    agent.api().create("/v1/imports", &begin).await
}

/// Waits for so many invoices that close a period; the first period's first.
async fn invoices(api: &Api, many: usize) -> Result<Vec<Value>> {
    eventually("the invoices", PATIENCE, || async {
        let mut closed = Vec::new();
        for invoice in api.list("/v1/invoices").await? {
            if !invoice["closes_period"].is_null() {
                let id = invoice["invoice_id"].as_str().context("an id")?;
                closed.push(api.fetch(&format!("/v1/invoices/{id}")).await?);
            }
        }
        ensure!(closed.len() == many, "{} invoices", closed.len());
        closed.sort_by_key(|invoice| invoice["number"].to_string());
        // Nothing that comes later may change them.
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok(closed)
    })
    .await
}
