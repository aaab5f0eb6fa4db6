//! Does every event count once, whatever lies between the processes does to requests and replies?

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use submeter_common::time::{Clock, SystemClock};
use submeter_tests::auditor::{Decimal, Measure};
use submeter_tests::builders;
use submeter_tests::network::fleet::Fleet;
use submeter_tests::network::{Fault, Proxy};
use submeter_tests::system::{Agent, Api, PATIENCE, System, eventually};
use submeter_tests::workload::delivery::Delivery;
use submeter_tests::workload::{self, CUSTOMERS, Call, customer_id, trace};

/// What is counted, each in its own way of going wrong: a sum shows a lost or repeated event, a maximum a lost one.
const MEASURES: [(Measure, &str, &str); 4] = [
    (Measure::Requests, "count", ""),
    (Measure::ContextTokens, "sum", "context_tokens"),
    (Measure::LongestContext, "max", "context_tokens"),
    (Measure::Users, "unique_count", "user"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_event_counts_once_whatever_the_network_does() -> Result<()> {
    let system = System::start("").await?;
    let api = system.collector.api().clone();
    let meters = create_meters(&api).await?;
    let upward = Proxy::start(system.collector.url(), 7).await?;
    let settings = "horizon_past = \"6h\"\nflush_interval = \"20ms\"\nframe_rows_max = 20\ncollector_timeout = \"2s\"";
    let key = system.collector.bootstrap_key_file();
    let agent = Agent::start(&system.root().join("agent"), &upward.url(), &key, settings).await?;
    let inward = Proxy::start(agent.api().base(), 8).await?;
    let client = Api::new(&inward.url(), None)?;

    upward.storm(&Fault::ALL);
    inward.storm(&Fault::HONEST);
    let calls = sample();
    let report = Delivery::plan(&calls, 9).send(&client).await?;
    ensure!(report.failures > 0, "{report:?}");
    eventually("every fault to have happened", 2 * PATIENCE, || async {
        // Flushes that are asked for keep something on the way.
        client.post("/v1/flush", &Value::Null).await?;
        inward.has_seen(&Fault::HONEST)?;
        upward.has_seen(&Fault::ALL)
    })
    .await?;
    upward.storm(&[]);

    eventually("everything to arrive", PATIENCE, || agent.flush()).await?;
    let receipts = &agent.status().await?["receipts"];
    ensure!(receipts["accepted"] == calls.len(), "{receipts}");
    compare(&api, &meters, &calls).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_agents_that_come_back_at_once_bring_everything() -> Result<()> {
    let members = match std::env::var("SUBMETER_FLEET") {
        Ok(members) => members.parse().context("SUBMETER_FLEET")?,
        Err(_) => 1_000,
    };
    come_back(members, "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_that_keep_their_connections_do_not_shut_the_others_out() -> Result<()> {
    // Who waited for an idle connection to end would wait for an hour.
    come_back(100, "connections_max = 20\nhead_timeout = \"1h\"").await
}

async fn come_back(members: usize, settings: &str) -> Result<()> {
    const CUSTOMERS: usize = 100;
    let mut system = System::start(settings).await?;
    let definition = builders::meter("Calls", "call", "count", "", "call");
    let meter = builders::create_meter(system.collector.api(), &definition).await?;
    let minute = SystemClock.now().truncate_to_minute();
    let mut fleet = Fleet::new(members, CUSTOMERS, &meter, 11)?;
    fleet.seal(5, minute)?;
    fleet.come_back(system.collector.api()).await?;

    // An outage: every member has some frames when the collector is back.
    system.collector.kill()?;
    for minutes in 1..=4 {
        fleet.seal(20, minute.saturating_sub(Duration::from_secs(60 * minutes)))?;
    }
    system.collector.start_again().await?;
    let report = fleet.come_back(system.collector.api()).await?;
    println!("{members} members: {report:?}");
    ensure!(report.frames == 4 * u64::try_from(members)?, "{report:?}");

    let api = system.collector.api().clone();
    let mut counted = 0;
    for customer in 0..CUSTOMERS {
        counted += events(&api, &format!("c{customer}"), &meter).await?;
    }
    ensure!(
        counted == fleet.accepted(),
        "{counted} of {}",
        fleet.accepted()
    );
    let memory = system.collector.process().resident_bytes()?;
    println!("the collector holds {} MiB", memory >> 20);
    ensure!(memory < 384 << 20, "{memory} bytes");
    Ok(())
}

/// The calls of some hours, fewer than the whole trace: a bad network takes its time for each request.
fn sample() -> Vec<Call> {
    let now = SystemClock.now().as_micros();
    let calls = workload::calls(&trace::generated(5), now);
    calls
        .into_iter()
        .filter(|call| call.index % 3 == 0)
        .collect()
}

async fn create_meters(api: &Api) -> Result<Vec<String>> {
    let mut meters = Vec::new();
    for (measure, aggregation, key) in MEASURES {
        let name = format!("{measure:?}");
        let meter = builders::meter(&name, "llm.request", aggregation, key, "unit");
        meters.push(builders::create_meter(api, &meter).await?);
    }
    Ok(meters)
}

/// Every customer's quantities are the auditor's.
async fn compare(api: &Api, meters: &[String], calls: &[Call]) -> Result<()> {
    for customer in 0..CUSTOMERS {
        let own: Vec<&Call> = calls
            .iter()
            .filter(|call| call.customer == customer)
            .collect();
        for ((measure, _, _), meter) in MEASURES.iter().zip(meters) {
            let id = customer_id(customer);
            let usage = usage(api, &id, meter).await?;
            let events = usage["events"].as_u64().unwrap_or_default();
            ensure!(
                events == own.len() as u64,
                "{id} {measure:?}: {} expected, {usage}",
                own.len()
            );
            let quantity = Decimal::read(&usage["quantity"])?;
            ensure!(quantity == measure.of(&own)?, "{id} {measure:?}: {usage}");
        }
    }
    Ok(())
}

async fn events(api: &Api, customer: &str, meter: &str) -> Result<u64> {
    usage(api, customer, meter).await?["events"]
        .as_u64()
        .context("events")
}

async fn usage(api: &Api, customer: &str, meter: &str) -> Result<Value> {
    let path = format!("/v1/usage?customer_id={customer}&meter_id={meter}");
    let usage = api.fetch(&path).await?;
    usage["items"]
        .get(0)
        .cloned()
        .with_context(|| usage.to_string())
}
