//! How long a start takes after `kill -9`: the real agent, from its process's start to the first event acknowledged.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::CUSTOMERS;
use super::agent::{self, Sender};
use super::drive::Client as _;
use super::table::{Sheet, mebibytes, millis};
use crate::system::{Agent, System};

/// What is there to be found again: ids in retention, and the whole of the journal's default budget but for the part that
/// is reclaimed at a time.
const IDS: u64 = 10_000_000;
const JOURNAL_BYTES: u64 = (1 << 30) - (1 << 25);

const SENDERS: usize = 4;
const BATCH: usize = 1_000;
const STARTS: usize = 3;

/// How often it is looked whether enough is there.
const GLANCE: Duration = Duration::from_millis(500);

/// Fills an agent, kills it in the middle of accepting, and starts it again a few times, each ended alike.
pub(super) async fn run() -> Result<()> {
    println!("» restart after kill -9: {IDS} ids, a gibibyte of journal");
    let system = System::start("").await?;
    agent::create_meters(system.collector.api(), 0).await?;
    let mut agent = system.agent("agent", "").await?;
    let first = first();
    agent.api().create("/events/ingest", &first).await?;
    let senders = fill(&agent).await?;

    let mut sheet = Sheet::new(&["start", "ready", "first ack", "resident"]);
    for start in 1..=STARTS {
        agent.kill()?;
        let began = Instant::now();
        agent.start_again().await?;
        let ready = began.elapsed();
        Sender::open(&agent, SENDERS + start, 1, CUSTOMERS)?.send()?;
        let acknowledged = began.elapsed();
        remembers(&agent, &first).await?;
        sheet.row(vec![
            start.to_string(),
            millis(ready),
            millis(acknowledged),
            mebibytes(agent.process().resident_bytes()?),
        ]);
    }
    // The connections of the first life broke with it.
    for sender in senders {
        ensure!(sender.join().is_ok(), "a client panicked");
    }
    println!("{sheet}");
    println!("ready: it takes events; an event sent before all others was each time a duplicate.");
    Ok(())
}

/// Sends until enough is there, and on.
async fn fill(agent: &Agent) -> Result<Vec<JoinHandle<()>>> {
    let senders = (0..SENDERS)
        .map(|worker| Sender::open(agent, worker, BATCH, CUSTOMERS))
        .collect::<Result<Vec<_>>>()?;
    let senders: Vec<_> = senders
        .into_iter()
        .map(|mut sender| thread::spawn(move || while sender.send().is_ok() {}))
        .collect();
    loop {
        let status = agent.status().await?;
        let reached = |name: &str, enough| status[name].as_u64() >= Some(enough);
        if reached("dedup_ids", IDS) && reached("journal_bytes", JOURNAL_BYTES) {
            return Ok(senders);
        }
        let stopped = senders.iter().all(JoinHandle::is_finished);
        ensure!(!stopped, "events are not taken any more: {status}");
        tokio::time::sleep(GLANCE).await;
    }
}

/// An event without a time of its own, so that it is the same whenever it is sent.
fn first() -> Value {
    json!({"events": [{"event_id": "first", "customer_id": "first", "event_name": "llm.request"}]})
}

async fn remembers(agent: &Agent, first: &Value) -> Result<()> {
    let before = agent::accepted(agent).await?;
    agent.api().create("/events/ingest", first).await?;
    let after = agent::accepted(agent).await?;
    ensure!(before == after, "an id was forgotten");
    Ok(())
}
