//! The demo: a month of a small company's usage, from the applications' events to exact invoices.
//!
//! One collector and two agents on free ports; last month's events go in through both agents while one of
//! them is killed and requests are repeated; then the customers are subscribed from the first of that
//! month, and since that period is complete it is invoiced at once. Everything is left running.

mod history;
mod import;
mod report;
mod running;
mod shop;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use submeter_common::time::{Clock, SystemClock};

use crate::system::{self, Agent, Api, System, eventually};
use history::History;
use running::Running;
use shop::Shop;

const COLLECTOR_SETTINGS: &str = "billing_interval = \"500ms\"";
const AGENT_SETTINGS: &str = "flush_interval = \"1s\"\nheartbeat_interval = \"2s\"";

/// Half-open calendar month in UTC, as RFC 3339.
#[derive(Clone, Debug)]
pub(crate) struct Month {
    /// Its first instant.
    pub(crate) start: Timestamp,
    /// The first instant after it.
    pub(crate) end: Timestamp,
}

/// Runs the demo from beginning to end and leaves everything running.
///
/// # Errors
/// When a step fails, or when what was billed is not what was sent.
pub async fn run() -> Result<()> {
    let began = Instant::now();
    let directory = directory()?;
    fresh(&directory).await?;
    let month = last_month()?;

    say("starting a collector and two agents");
    system::outlived();
    let mut system = System::start_in(&directory, COLLECTOR_SETTINGS).await?;
    let mut running = Running::in_directory(&directory);
    running.record("submeter-collector", system.collector.process())?;
    let api = system.collector.api().clone();
    let shop = Shop::open(&api).await?;
    let mut one = system.agent("agent-one", AGENT_SETTINGS).await?;
    running.record("submeter-agent", one.process())?;
    let mut two = system.agent("agent-two", AGENT_SETTINGS).await?;
    running.record("submeter-agent", two.process())?;

    let history = History::of(&month);
    say(&format!(
        "sending {} events of {} through both agents, {} of them repeated",
        history.events(),
        month.name(),
        history.repeats()
    ));
    let crashes = send(&history, &mut one, &two, &month).await?;
    running.record("submeter-agent", one.process())?;
    say(&format!(
        "agent one was killed with -9 half way and restarted; {crashes} requests were tried again"
    ));
    let duplicates = duplicates(&one).await? + duplicates(&two).await?;
    let sent_bytes = api.counter("submeter_collector_frame_bytes_total").await?;

    say("subscribing the customers from the first of the month");
    let subscriptions = shop.subscribe_everyone(&api, &month).await?;
    let invoices = eventually("the invoices", Duration::from_secs(40), || async {
        let invoices = report::closing_invoices(&api, &month).await?;
        ensure!(
            invoices.len() >= subscriptions,
            "{} of {subscriptions} invoices",
            invoices.len()
        );
        Ok(invoices)
    })
    .await?;

    report::usage(&api, &shop, &month).await?;
    report::invoices(&invoices)?;
    let billed = report::billed_events(&invoices)?;
    let (sent, repeats) = (history.events(), history.repeats());
    println!(
        "frames to the collector: {sent_bytes} bytes for {sent} events, {} bytes an event",
        hundredths(sent_bytes * 100 / sent.max(1))
    );
    println!("check: sent {sent}, duplicates {duplicates}, billed {billed}");
    ensure!(
        billed == sent,
        "{sent} different events were sent and {billed} were billed"
    );
    ensure!(
        duplicates >= repeats,
        "{repeats} events were repeated, {duplicates} duplicates"
    );

    for process in [system.collector.process(), one.process(), two.process()] {
        process.detach();
    }
    farewell(&system, &one, &two, began.elapsed());
    Ok(())
}

/// Stops what [`run`] left running, and nothing else.
///
/// # Errors
/// When a process does not end.
pub async fn stop() -> Result<()> {
    Running::in_directory(&directory()?).stop().await
}

/// Sends the history through both agents and kills one half way; how many requests were tried again.
async fn send(history: &History, one: &mut Agent, two: &Agent, month: &Month) -> Result<usize> {
    let (to_one, to_two) = (history.share(0), history.share(1));
    let first = import::Import::new("agent-one", to_one, month);
    let second = import::Import::new("agent-two", to_two, month);
    let (api_one, api_two) = (one.api().clone(), two.api().clone());
    let crash = async {
        first.half_sent().await;
        one.crash_and_start().await
    };
    let (again, _, ()) = tokio::try_join!(first.send(&api_one), second.send(&api_two), crash)?;
    one.flush().await?;
    two.flush().await?;
    Ok(again)
}

async fn duplicates(agent: &Agent) -> Result<u64> {
    agent.status().await?["receipts"]["duplicate"]
        .as_u64()
        .context("receipts.duplicate")
}

/// The month that ended at least two hours ago: older than what agents still wait for.
fn last_month() -> Result<Month> {
    let now = Timestamp::from_microsecond(SystemClock.now().as_micros())?;
    let settled = (now - 2.hours()).to_zoned(TimeZone::UTC);
    let end = settled.first_of_month()?.start_of_day()?;
    let start = end.checked_sub(1.month())?;
    Ok(Month {
        start: start.timestamp(),
        end: end.timestamp(),
    })
}

impl Month {
    /// Year and month, such as 2026-10.
    fn name(&self) -> String {
        self.start.to_string().chars().take(7).collect()
    }
}

/// Stops an earlier demo and takes its data away.
async fn fresh(directory: &Path) -> Result<()> {
    Running::in_directory(directory).stop().await?;
    if directory.exists() {
        std::fs::remove_dir_all(directory)?;
    }
    std::fs::create_dir_all(directory)?;
    Ok(())
}

/// Where the demo keeps its data: `SUBMETER_DEMO_DIR`, else below the user's cache.
fn directory() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("SUBMETER_DEMO_DIR") {
        return Ok(PathBuf::from(named));
    }
    let home = std::env::var_os("HOME").context("HOME or SUBMETER_DEMO_DIR")?;
    Ok(Path::new(&home).join(".cache/submeter/demo"))
}

/// A number of hundredths as a decimal.
fn hundredths(hundredths: u64) -> String {
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn say(what: &str) {
    println!("» {what}");
}

fn farewell(system: &System, one: &Agent, two: &Agent, took: Duration) {
    let url = |api: &Api| api.base().to_owned();
    println!("\nAll of it took {:.1?} and is still running:", took);
    println!("  collector  {}", system.collector.url());
    println!("  agents     {}  {}", url(one.api()), url(two.api()));
    println!(
        "  key        {}",
        system.collector.bootstrap_key_file().display()
    );
    println!("Look at an invoice, a line's derivation included:");
    println!(
        "  curl -H \"Authorization: Bearer $(cat {})\" {}/v1/invoices",
        system.collector.bootstrap_key_file().display(),
        system.collector.url()
    );
    println!("Look at an agent:  curl {}/v1/status", url(one.api()));
    println!("Stop everything:   make demo-stop");
}
