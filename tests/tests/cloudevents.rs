//! Do the clients that people already use for CloudEvents get their usage counted, each event once?
//!
//! Every event's `tokens` is another power of two, so a sum tells exactly which events were counted.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use submeter_tests::builders;
use submeter_tests::python::Python;
use submeter_tests::system::{Agent, Api, Outcome, System};

#[tokio::test(flavor = "multi_thread")]
async fn the_cloudevents_sdk_sends_in_every_mode() -> Result<()> {
    let python = Python::with("cloudevents")?;
    let (system, agent, meters) = metered().await?;
    python.run("send_cloudevents.py", &[agent.api().base()])?;
    agent.flush().await?;
    meters.check(&system, "acme", "11", "511").await?;
    let odd = "Gr%C3%BCn%20%26%20%22S%C3%B6hne%22%20100%25";
    meters.check(&system, odd, "2", "3").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cloudevents_sdk_of_the_older_line_sends_in_every_mode() -> Result<()> {
    let python = Python::with("openmeter")?;
    let (system, agent, meters) = metered().await?;
    python.run("send_cloudevents_1.py", &[agent.api().base()])?;
    agent.flush().await?;
    meters.check(&system, "acme", "8", "127").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openmeter_client_sends_to_the_agent_unchanged() -> Result<()> {
    let python = Python::with("openmeter")?;
    let (system, _, meters) = metered().await?;
    let file = system.root().join("ingest.token");
    std::fs::write(&file, "sesame\n")?;
    std::fs::set_permissions(&file, Permissions::from_mode(0o600))?;
    let token = format!("ingest_token_file = \"{}\"", file.display());
    let mut agent = system.agent("asking", &token).await?;
    python.run("send_openmeter.py", &[agent.api().base(), "sesame"])?;
    ensure!(agent.drain().await? == Outcome::Drained);
    meters.check(&system, "acme", "107", "100063").await
}

/// A meter that counts the calls, and one that adds up their tokens.
struct Meters {
    calls: String,
    tokens: String,
}

impl Meters {
    async fn check(
        &self,
        system: &System,
        customer: &str,
        calls: &str,
        tokens: &str,
    ) -> Result<()> {
        let api = system.collector.api();
        let counted = usage(api, customer, &self.calls).await?;
        ensure!(counted["quantity"] == calls, "{counted}");
        let summed = usage(api, customer, &self.tokens).await?;
        ensure!(summed["quantity"] == tokens, "{summed}");
        Ok(())
    }
}

async fn metered() -> Result<(System, Agent, Meters)> {
    let system = System::start("").await?;
    let api = system.collector.api();
    let calls = builders::meter("Calls", "llm.call", "count", "", "call");
    let tokens = builders::meter("Tokens", "llm.call", "sum", "tokens", "token");
    let meters = Meters {
        calls: builders::create_meter(api, &calls).await?,
        tokens: builders::create_meter(api, &tokens).await?,
    };
    let agent = system.agent("agent", "flush_interval = \"1h\"").await?;
    Ok((system, agent, meters))
}

async fn usage(api: &Api, customer: &str, meter: &str) -> Result<Value> {
    let usage = api
        .fetch(&format!(
            "/v1/usage?customer_id={customer}&meter_id={meter}"
        ))
        .await?;
    let items = usage["items"].as_array().context("items")?;
    ensure!(items.len() == 1, "{usage}");
    Ok(items[0].clone())
}
