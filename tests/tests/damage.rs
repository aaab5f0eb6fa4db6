//! What happens to an agent whose state directory was damaged, as an operator meets it?

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use submeter_tests::builders;
use submeter_tests::system::{Agent, System};

const BATCHES: usize = 20;
const EVENTS: usize = 30;

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_costs_one_record_and_is_told_until_a_person_has_seen_it() -> Result<()> {
    let system = System::start("").await?;
    let meter = builders::meter("Calls", "call", "count", "", "call");
    builders::create_meter(system.collector.api(), &meter).await?;
    let settings = "flush_interval = \"1h\"\ncheckpoint_interval = \"1h\"";
    let mut agent = system.agent("agent", settings).await?;
    ingest(&agent).await?;
    check_refused_while_running(&agent)?;
    agent.kill()?;

    let verdict = verify(&agent, 0)?;
    ensure!(verdict["sound"] == true, "{verdict}");
    flip_in_the_middle(&newest_log(agent.directory())?)?;
    let verdict = verify(&agent, 5)?;
    ensure!(state(&verdict, "log") == "damaged", "{verdict}");

    agent.start_again().await?;
    let status = agent.status().await?;
    let damage = &status["damage"][0];
    ensure!(damage["events_lost"] == EVENTS, "{damage:#}");
    let accepted = BATCHES * EVENTS - EVENTS;
    ensure!(status["receipts"]["accepted"] == accepted, "{status:#}");
    agent.flush().await?;
    let status = agent.status().await?;
    ensure!(status["at_risk_events"] == 0, "{status:#}");

    let kept = damage["kept_in"].as_str().context("kept_in")?;
    ensure!(agent.directory().join(kept).join("db").is_dir(), "{kept}");
    agent.crash_and_start().await?;
    ensure!(
        agent.status().await?["damage"][0] == *damage,
        "told again, and no more of it"
    );
    let table = agent.command(&["status"])?.stdout;
    ensure!(String::from_utf8_lossy(&table).contains("damage"));
    // A stopped agent tells it, too, and what is sound again does not hide what was lost.
    agent.kill()?;
    let verdict = verify(&agent, 0)?;
    ensure!(
        verdict["recoveries"].as_array().map(Vec::len) == Some(1)
            && verdict["recoveries"][0]["events_lost"] == EVENTS,
        "{verdict:#}"
    );
    let table = agent.command(&["verify"])?.stderr;
    ensure!(String::from_utf8_lossy(&table).contains("1 recoveries from damage"));
    agent.start_again().await?;
    take_note(&agent, 1)?;
    let status = agent.status().await?;
    ensure!(status["damage"] == json!([]), "{status:#}");
    take_note(&agent, 0)?;
    agent.crash_and_start().await?;
    ensure!(
        agent.status().await?["damage"] == json!([]),
        "a restart tells it again"
    );
    agent.kill()?;
    let verdict = verify(&agent, 0)?;
    ensure!(verdict["recoveries"] == json!([]), "{verdict:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_rocksdb_refuses_starts_again_with_nothing_lost() -> Result<()> {
    let system = System::start("").await?;
    let meter = builders::meter("Calls", "call", "count", "", "call");
    builders::create_meter(system.collector.api(), &meter).await?;
    let mut agent = system.agent("agent", "flush_interval = \"1h\"").await?;
    ingest(&agent).await?;
    agent.kill()?;
    std::fs::remove_file(agent.directory().join("db/CURRENT"))?;
    verify(&agent, 5)?;
    agent.start_again().await?;
    let status = agent.status().await?;
    ensure!(
        status["receipts"]["accepted"] == BATCHES * EVENTS,
        "{status:#}"
    );
    ensure!(status["damage"][0]["events_lost"] == 0, "{status:#}");
    agent.kill()?;
    // Of a stopped agent as well.
    take_note(&agent, 1)?;
    let verdict = verify(&agent, 0)?;
    ensure!(verdict["recoveries"] == json!([]), "{verdict:#}");
    Ok(())
}

fn take_note(agent: &Agent, recoveries: usize) -> Result<()> {
    let noted = agent.command(&["verify", "--acknowledge"])?;
    let said = String::from_utf8_lossy(&noted.stdout);
    let expected = format!("took note of {recoveries} recoveries");
    ensure!(
        noted.status.success() && said.contains(&expected),
        "{noted:?}"
    );
    Ok(())
}

async fn ingest(agent: &Agent) -> Result<()> {
    for batch in 0..BATCHES {
        let events: Vec<Value> = (0..EVENTS)
            .map(|number| {
                json!({
                    "event_id": format!("e{batch}.{number}"),
                    "customer_id": "acme",
                    "event_name": "call",
                    "metadata": { "tokens": number },
                })
            })
            .collect();
        let body = json!({ "events": events });
        agent.api().create("/events/ingest", &body).await?;
    }
    Ok(())
}

fn check_refused_while_running(agent: &Agent) -> Result<()> {
    let refused = agent.command(&["verify"])?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(refused.status.code() == Some(1), "{refused:?}");
    ensure!(said.contains("stop the agent first"), "{said}");
    Ok(())
}

fn verify(agent: &Agent, code: i32) -> Result<Value> {
    let output = agent.command(&["verify", "--json"])?;
    ensure!(
        output.status.code() == Some(code),
        "expected {code}, got {output:?}"
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn state<'a>(verdict: &'a Value, area: &str) -> &'a str {
    let areas = verdict["areas"].as_array().into_iter().flatten();
    areas
        .filter(|found| found["area"] == area)
        .find_map(|found| found["state"].as_str())
        .unwrap_or("missing")
}

fn newest_log(state: &Path) -> Result<PathBuf> {
    let mut logs = Vec::new();
    for entry in std::fs::read_dir(state.join("db"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            logs.push(path);
        }
    }
    logs.sort();
    logs.pop().context("a database has a log")
}

/// Flips a bit within an event of the middle batch.
fn flip_in_the_middle(log: &Path) -> Result<()> {
    let mut bytes = std::fs::read(log)?;
    let wanted = format!("e{}.15", BATCHES / 2);
    let at = bytes
        .windows(wanted.len())
        .position(|window| window == wanted.as_bytes())
        .context("the log holds the event")?;
    bytes[at] ^= 1;
    std::fs::write(log, bytes)?;
    Ok(())
}
