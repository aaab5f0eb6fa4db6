//! What does an agent do that comes back after a crash while something else has changed?
//!
//! (`crash_loop` kills at random moments, `crash_points` at every named step.)

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use submeter_tests::builders;
use submeter_tests::system::{Api, PATIENCE, System, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_starts_and_counts_while_the_collector_is_away() -> Result<()> {
    let mut system = System::start("").await?;
    let meter = sum_meter(system.collector.api()).await?;
    let mut agent = system.agent("agent", "flush_interval = \"100ms\"").await?;
    agent.flush().await?;
    system.collector.kill()?;

    // The catalog is on disk: the events are matched although nobody can be asked.
    agent.crash_and_start().await?;
    retry_until_acknowledged(agent.api(), 0).await?;
    eventually("the events to be matched", PATIENCE, || async {
        let receipts = agent.status().await?["receipts"].clone();
        ensure!(receipts["matched"] == BATCH, "{receipts}");
        Ok(())
    })
    .await?;

    // An agent that has never seen a collector takes events, too.
    let stranger = system
        .agent("stranger", "flush_interval = \"100ms\"")
        .await?;
    retry_until_acknowledged(stranger.api(), 1).await?;

    system.collector.start_again().await?;
    let api = system.collector.api().clone();
    eventually(
        "both to arrive, the stranger's by backfill",
        PATIENCE,
        || async {
            agent.flush().await?;
            stranger.flush().await?;
            let usage = usage(&api, &meter).await?;
            ensure!(usage["events"] == 2 * BATCH, "{usage}");
            Ok(())
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meter_made_later_counts_what_is_still_in_the_journal() -> Result<()> {
    let system = System::start("").await?;
    let api = system.collector.api().clone();
    let mut agent = system.agent("agent", "flush_interval = \"100ms\"").await?;
    for batch in 0..3 {
        retry_until_acknowledged(agent.api(), batch).await?;
    }
    agent.flush().await?;
    agent.crash_and_start().await?;

    let meter = sum_meter(&api).await?;
    retry_until_acknowledged(agent.api(), 3).await?;
    eventually("the meter to be backfilled", PATIENCE, || async {
        agent.flush().await?;
        let usage = usage(&api, &meter).await?;
        ensure!(usage["events"] == 4 * BATCH, "{usage}");
        Ok(())
    })
    .await?;
    agent.crash_and_start().await?;
    agent.flush().await?;
    ensure!(
        usage(&api, &meter).await?["events"] == 4 * BATCH,
        "backfilled twice"
    );
    Ok(())
}

/// Events in one request.
const BATCH: u64 = 25;

/// Sends the events of a batch until they are acknowledged.
async fn retry_until_acknowledged(client: &Api, batch: u64) -> Result<()> {
    let body =
        json!({"events": (batch * BATCH..(batch + 1) * BATCH).map(event).collect::<Vec<_>>()});
    eventually("an acknowledgement", PATIENCE, || async {
        let answer = client.create("/events/ingest", &body).await?;
        ensure!(answer["ingested_count"] == BATCH, "{answer}");
        Ok(())
    })
    .await
}

fn event(number: u64) -> Value {
    json!({
        "event_id": format!("e{number}"),
        "customer_id": "acme",
        "event_name": "call",
        "metadata": {"value": number},
    })
}

async fn sum_meter(api: &Api) -> Result<String> {
    builders::create_meter(
        api,
        &builders::meter("Values", "call", "sum", "value", "unit"),
    )
    .await
}

async fn usage(api: &Api, meter: &str) -> Result<Value> {
    let usage = api
        .fetch(&format!("/v1/usage?customer_id=acme&meter_id={meter}"))
        .await?;
    usage["items"]
        .get(0)
        .cloned()
        .with_context(|| usage.to_string())
}
