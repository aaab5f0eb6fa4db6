//! Does a process that is asked to stop leave nothing behind, and say so when it must?

use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use submeter_tests::builders;
use submeter_tests::system::{Agent, Api, Outcome, PATIENCE, System, Wire, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_agent_hands_everything_over_and_says_farewell() -> Result<()> {
    let system = System::start("").await?;
    let api = system.collector.api().clone();
    let meter = count_meter(&api).await?;
    // It would not flush by itself for an hour: only the drain can bring this in.
    let mut agent = system.agent("agent", "flush_interval = \"1h\"").await?;
    ingest(&agent, 0..250).await?;
    ensure!(agent.drain().await? == Outcome::Drained);

    ensure!(counted(&api, &meter).await? == json!("250"));
    let agents = api.fetch("/v1/agents").await?;
    let known = &agents["items"][0];
    ensure!(known["farewell"] == true, "{known}");
    ensure!(known["receipts"]["accepted"] == 250, "{known}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn both_stop_signals_drain_and_an_idle_process_stops_at_once() -> Result<()> {
    for signal in [Signal::TERM, Signal::INT] {
        let mut system = System::start("").await?;
        let mut agent = system.agent("agent", "").await?;
        agent.process().signal(signal)?;
        let status = agent.process().ended(Duration::from_secs(15)).await?;
        ensure!(status.code() == Some(0), "agent, {signal:?}: {status}");
        system.collector.process().signal(signal)?;
        let status = system
            .collector
            .process()
            .ended(Duration::from_secs(15))
            .await?;
        ensure!(status.code() == Some(0), "collector, {signal:?}: {status}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_its_collector_says_what_is_left_and_brings_it_later() -> Result<()> {
    let mut system = System::start("").await?;
    let meter = count_meter(system.collector.api()).await?;
    let mut agent = system
        .agent("agent", "flush_interval = \"1h\"\nshutdown_grace = \"1s\"")
        .await?;
    ingest(&agent, 0..120).await?;
    system.collector.kill()?;
    ensure!(agent.drain().await? == Outcome::FramesLeft);
    let log = agent.process().log_tail();
    ensure!(
        log.contains("120") || log.contains("left"),
        "the log does not say what is left:\n{log}"
    );

    agent.start_again().await?;
    ingest(&agent, 100..150).await?;
    system.collector.start_again().await?;
    let api = system.collector.api().clone();
    eventually("everything to arrive", PATIENCE, || async {
        agent.flush().await?;
        let counted = counted(&api, &meter).await?;
        ensure!(counted == json!("150"), "{counted}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_wait_and_loses_nothing() -> Result<()> {
    let mut system = System::start("").await?;
    let meter = count_meter(system.collector.api()).await?;
    let mut agent = system
        .agent("agent", "flush_interval = \"1h\"\nshutdown_grace = \"1h\"")
        .await?;
    ingest(&agent, 0..30).await?;
    system.collector.kill()?;
    // A request that never ends keeps a polite agent waiting, too.
    let mut slow = Wire::connect(agent.api().base()).await?;
    slow.head("/events/ingest", "content-length: 10\r\n")
        .await?;
    agent.process().signal(Signal::TERM)?;
    agent.process().signal(Signal::INT)?;
    let status = agent.process().ended(PATIENCE).await?;
    ensure!(status.code() == Some(3), "{status}");

    agent.start_again().await?;
    system.collector.start_again().await?;
    agent.flush().await?;
    let counted = counted(system.collector.api(), &meter).await?;
    ensure!(counted == json!("30"), "{counted}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_flight_is_answered_before_the_agent_stops() -> Result<()> {
    let system = System::start("").await?;
    let api = system.collector.api().clone();
    let meter = count_meter(&api).await?;
    let mut agent = system.agent("agent", "").await?;
    let ingest_api = agent.api().clone();
    let stream = tokio::spawn(async move {
        let mut acknowledged = 0_u64;
        for number in 0_u64.. {
            let body = json!({"events": [event(number)]});
            match ingest_api.post("/events/ingest", &body).await {
                Ok(reply) if reply.status == 200 => acknowledged = number + 1,
                _ => break,
            }
        }
        acknowledged
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    ensure!(agent.drain().await? == Outcome::Drained);
    let acknowledged = stream.await?;
    ensure!(acknowledged > 0);
    let counted = counted(&api, &meter).await?;
    let counted: u64 = counted.as_str().unwrap_or_default().parse()?;
    // The last request may have been stored while its answer was lost; never the other way round.
    ensure!(
        counted == acknowledged || counted == acknowledged + 1,
        "{counted} {acknowledged}"
    );
    Ok(())
}

async fn count_meter(api: &Api) -> Result<String> {
    builders::create_meter(api, &builders::meter("Calls", "call", "count", "", "call")).await
}

fn event(number: u64) -> Value {
    json!({"event_id": format!("e{number}"), "customer_id": "acme", "event_name": "call"})
}

async fn ingest(agent: &Agent, numbers: std::ops::Range<u64>) -> Result<()> {
    let events: Vec<Value> = numbers.map(event).collect();
    let answer = agent
        .api()
        .create("/events/ingest", &json!({"events": events}))
        .await?;
    ensure!(answer["ingested_count"] == events.len(), "{answer}");
    Ok(())
}

async fn counted(api: &Api, meter: &str) -> Result<Value> {
    let usage = api
        .fetch(&format!("/v1/usage?customer_id=acme&meter_id={meter}"))
        .await?;
    Ok(usage["items"][0]["quantity"].clone())
}
