//! Does an id count once, whoever repeats it and whenever, and is it told when the repetition was another event?

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use submeter_tests::system::{Agent, Api, System, program};

const IDS: u64 = 3000;

#[tokio::test(flavor = "multi_thread")]
async fn ids_count_once_over_copies_in_flight_and_a_kill_and_conflicts_are_listed() -> Result<()> {
    let system = System::start("").await?;
    let mut agent = system.agent("agent", "").await?;

    // Every event is on its way twice at the same time.
    let mut accepted = 0;
    for from in (0..IDS).step_by(500) {
        let api = agent.api();
        let (one, other) = tokio::join!(send(api, from, 1), send(api, from, 1));
        let (one, other) = (one?, other?);
        accepted += number(&one, "accepted")? + number(&other, "accepted")?;
    }
    ensure!(accepted == IDS, "{accepted} of {IDS} were accepted");

    agent.crash_and_start().await?;
    for from in (0..IDS).step_by(500) {
        let again = send(agent.api(), from, 1).await?;
        ensure!(number(&again, "duplicates")? == 500, "{again}");
    }

    // The same ids, but other events.
    let other = send(agent.api(), 0, 2).await?;
    ensure!(number(&other, "conflicts")? == 500, "{other}");
    agent.flush().await?;
    let receipts = agent.status().await?["receipts"].take();
    ensure!(
        receipts["accepted"] == IDS && receipts["conflict"] == 500,
        "{receipts}"
    );

    let listed = conflicts(&agent)?;
    ensure!(listed.len() == 100, "{} are listed", listed.len());
    let first = &listed[0];
    ensure!(
        first["customer_id"] == "acme" && first["first_place"].is_string(),
        "{first}"
    );
    agent.kill()?;
    ensure!(conflicts(&agent)? == listed, "a stopped agent lists others");
    Ok(())
}

#[test]
fn a_start_refuses_a_horizon_beyond_the_retention() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let run = Command::new(program("submeter-agent")?)
        .arg("run")
        .arg("--data-dir")
        .arg(directory.path().join("data"))
        .env("SUBMETER_AGENT_HORIZON_PAST", "2h")
        .env("SUBMETER_AGENT_DEDUP_RETENTION", "1h")
        .output()?;
    let said = String::from_utf8_lossy(&run.stderr);
    ensure!(
        !run.status.success() && run.status.code().is_some(),
        "{}: {said}",
        run.status
    );
    ensure!(
        said.contains("horizon_past is 2h but dedup_retention only 1h"),
        "{said}"
    );
    ensure!(
        !directory.path().join("data").exists(),
        "something was made before the refusal"
    );
    Ok(())
}

async fn send(api: &Api, from: u64, tokens: u64) -> Result<Value> {
    let events: Vec<Value> = (from..from + 500)
        .map(|id| {
            json!({"event_id": format!("evt_{id}"), "customer_id": "acme", "event_name": "api.call", "metadata": {"tokens": tokens}})
        })
        .collect();
    api.create("/v1/events", &Value::Array(events)).await
}

fn conflicts(agent: &Agent) -> Result<Vec<Value>> {
    let output = agent.command(&["inspect", "conflicts", "--limit", "0", "--json"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", output.status);
    let lines = String::from_utf8(output.stdout)?;
    lines
        .lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect()
}

fn number(reply: &Value, field: &str) -> Result<u64> {
    reply[field]
        .as_u64()
        .with_context(|| format!("{field} of {reply}"))
}
