//! Is everything that was acknowledged still there after a `kill -9`, at any moment?

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use submeter_tests::builders;
use submeter_tests::system::{Api, Outcome, PATIENCE, System, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_killed_again_and_again_loses_and_repeats_nothing() -> Result<()> {
    let system = System::start("").await?;
    let api = system.collector.api().clone();
    let meter = sum_meter(&api).await?;
    // Seals, checkpoints and flushes often, so that kills fall into all of them.
    let settings = "flush_interval = \"50ms\"\ncheckpoint_interval = \"50ms\"";
    let mut agent = system.agent("agent", settings).await?;
    let next = AtomicU64::new(0);
    let clients: Vec<Api> = vec![agent.api().clone(); 4];
    let end = tokio::time::Instant::now() + Duration::from_secs(6);
    let send = async |client: &Api| {
        while tokio::time::Instant::now() < end {
            let batch = next.fetch_add(1, Ordering::Relaxed);
            retry_until_acknowledged(client, batch).await?;
        }
        anyhow::Ok(())
    };
    let crashes = async {
        for wait in [300, 40, 700, 5, 150, 400, 90, 250] {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            agent.crash_and_start().await?;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(
        send(&clients[0]),
        send(&clients[1]),
        send(&clients[2]),
        send(&clients[3]),
        crashes
    )?;

    ensure!(agent.drain().await? == Outcome::Drained);
    let batches = next.load(Ordering::Relaxed);
    ensure!(batches > 20, "only {batches} batches were sent");
    let usage = usage(&api, &meter).await?;
    ensure!(
        usage["events"] == batches * BATCH,
        "{batches} batches: {usage}"
    );
    // The values 0, 1, 2, … of all events: their sum tells a lost one from a repeated one.
    let events = batches * BATCH;
    ensure!(usage["quantity"] == sum_below(events), "{usage}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_killed_again_and_again_counts_each_frame_once() -> Result<()> {
    let mut system = System::start("").await?;
    let meter = sum_meter(system.collector.api()).await?;
    let agent = system.agent("agent", "flush_interval = \"50ms\"").await?;
    let mut batches = 0;
    for wait in [200, 30, 350, 5, 120] {
        for _ in 0..10 {
            retry_until_acknowledged(agent.api(), batches).await?;
            batches += 1;
        }
        tokio::time::sleep(Duration::from_millis(wait)).await;
        system.collector.kill()?;
        retry_until_acknowledged(agent.api(), batches).await?;
        batches += 1;
        system.collector.start_again().await?;
    }
    let api = system.collector.api().clone();
    let events = batches * BATCH;
    eventually("everything to arrive", PATIENCE, || async {
        agent.flush().await?;
        let usage = usage(&api, &meter).await?;
        ensure!(usage["events"] == events, "{events} events: {usage}");
        ensure!(usage["quantity"] == sum_below(events), "{usage}");
        Ok(())
    })
    .await
}

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

/// The sum of the values of the first `events` events, as the collector writes it.
fn sum_below(events: u64) -> Value {
    json!((events * (events - 1) / 2).to_string())
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
