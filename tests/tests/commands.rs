//! Do the commands do what they say, against running processes, and end with the right exit code?

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use submeter_tests::builders;
use submeter_tests::system::{Agent, PATIENCE, System, eventually, program};

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_what_the_agent_holds() -> Result<()> {
    let system = System::start("").await?;
    let agent = system.agent("agent", "flush_interval = \"1h\"").await?;
    ingest_calls(&agent, 3).await?;
    let json: Value = serde_json::from_str(&succeeded(&agent.command(&["status", "--json"])?)?)?;
    let fields = [
        "agent_id",
        "epoch",
        "sealed",
        "acknowledged",
        "watermark",
        "receipts",
        "open_partials",
        "outbox_frames",
        "at_risk_events",
        "imports",
        "health",
    ];
    for field in fields {
        ensure!(json.get(field).is_some(), "no {field}: {json}");
    }
    ensure!(
        json["receipts"]["accepted"] == 3 && json["at_risk_events"] == 3,
        "{json}"
    );
    let table = succeeded(&agent.command(&["status"])?)?;
    let id = json["agent_id"].as_str().context("agent_id")?;
    ensure!(table.contains(id) && table.contains("at risk"), "{table}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn flush_waits_until_the_collector_has_everything() -> Result<()> {
    let mut system = System::start("").await?;
    let agent = system.agent("agent", "flush_interval = \"1h\"").await?;
    ingest_calls(&agent, 3).await?;
    succeeded(&agent.command(&["flush", "--wait"])?)?;
    ensure!(agent.status().await?["at_risk_events"] == 0);

    system.collector.kill()?;
    ingest_calls(&agent, 5).await?;
    let output = agent.command(&["flush", "--wait", "--timeout", "1s"])?;
    ensure!(output.status.code() == Some(3), "{output:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_brings_a_year_in_and_is_not_repeated() -> Result<()> {
    let system = System::start("").await?;
    let api = system.collector.api();
    let meter = builders::meter("Calls", "call", "count", "", "call");
    let meter = builders::create_meter(api, &meter).await?;
    let agent = system.agent("agent", "flush_interval = \"200ms\"").await?;
    let file = system.root().join("past.ndjson");
    std::fs::write(&file, past_calls(2_500))?;
    let file = file.to_string_lossy();

    let output = agent.command(&["import", &file, "--max-age", "400d"])?;
    succeeded(&output)?;
    let again = succeeded(&agent.command(&["import", &file, "--max-age", "400d"])?)?;
    ensure!(again.contains("imported before"), "{again}");
    agent.flush().await?;
    let path = format!(
        "/v1/usage?customer_id=acme&meter_id={meter}&start={}&end={}",
        days_ago(400),
        days_ago(0)
    );
    let usage = api.fetch(&path).await?;
    ensure!(usage["items"][0]["quantity"] == "2500", "{usage}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_goes_on_after_a_crash_of_the_agent() -> Result<()> {
    let system = System::start("").await?;
    let api = system.collector.api();
    let meter = builders::meter("Calls", "call", "count", "", "call");
    let meter = builders::create_meter(api, &meter).await?;
    let mut agent = system.agent("agent", "flush_interval = \"200ms\"").await?;
    let file = system.root().join("past.ndjson");
    std::fs::write(&file, past_calls(60_000))?;
    let config = agent.directory().with_extension("toml");
    let mut import = Command::new(program("submeter-agent")?)
        .arg("import")
        .arg(&file)
        .args(["--max-age", "400d", "--config"])
        .arg(&config)
        .arg("--data-dir")
        .arg(agent.directory())
        .spawn()?;
    eventually("the import to be under way", PATIENCE, || async {
        let done = agent.status().await?["imports"][0]["lines_done"].as_u64();
        ensure!(done.is_some_and(|lines| lines > 0), "{done:?}");
        Ok(())
    })
    .await?;
    agent.crash_and_start().await?;
    let status = tokio::task::spawn_blocking(move || import.wait()).await??;
    ensure!(status.code() == Some(0), "{status}");
    agent.flush().await?;
    let path = format!(
        "/v1/usage?customer_id=acme&meter_id={meter}&start={}&end={}",
        days_ago(400),
        days_ago(0)
    );
    let usage = api.fetch(&path).await?;
    ensure!(usage["items"][0]["quantity"] == "60000", "{usage}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn check_config_names_every_problem_and_run_refuses_with_64() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("agent.toml");
    std::fs::write(
        &file,
        "flush_intervall = \"10s\"\nhorizon_past = \"soon\"\n",
    )?;
    let agent = |command: &str| -> Result<Output> {
        Ok(Command::new(program("submeter-agent")?)
            .args([command, "--config"])
            .arg(&file)
            .arg("--data-dir")
            .arg(directory.path())
            .output()?)
    };
    for command in ["check-config", "run"] {
        let output = agent(command)?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(64), "{command}: {output:?}");
        ensure!(
            text.contains("flush_intervall") && text.contains("horizon_past"),
            "{text}"
        );
    }
    std::fs::write(&file, "flush_interval = \"7s\"\n")?;
    let effective = succeeded(&agent("check-config")?)?;
    ensure!(effective.contains("flush_interval = \"7s\""), "{effective}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_shown_once_listed_and_revoked() -> Result<()> {
    let system = System::start("").await?;
    let keys = |arguments: &[&str]| -> Result<String> {
        let output = Command::new(program("submeter-collector")?)
            .arg("keys")
            .args(arguments)
            .args(["--collector", system.collector.url(), "--key-file"])
            .arg(system.collector.bootstrap_key_file())
            .output()?;
        succeeded(&output)
    };
    let file = system.root().join("exposed.key");
    std::fs::copy(system.collector.bootstrap_key_file(), &file)?;
    std::fs::set_permissions(&file, Permissions::from_mode(0o644))?;
    let exposed = Command::new(program("submeter-collector")?)
        .args([
            "keys",
            "list",
            "--collector",
            system.collector.url(),
            "--key-file",
        ])
        .arg(&file)
        .output()?;
    let said = String::from_utf8_lossy(&exposed.stderr).into_owned();
    ensure!(
        exposed.status.code() == Some(1) && said.contains("0644"),
        "{said}"
    );

    let created = keys(&["create", "--scope", "read", "--name", "dashboards"])?;
    let key = created
        .split_whitespace()
        .find(|word| word.starts_with("smk_"));
    let key = key.with_context(|| created.clone())?;
    let reader = system.collector.api().with_key(Some(key));
    ensure!(reader.get("/meters").await?.status == 200);

    let listed = keys(&["list"])?;
    ensure!(
        listed.contains("dashboards") && !listed.contains(key),
        "{listed}"
    );
    let all = system.collector.api().fetch("/v1/keys").await?;
    let known = all["items"].as_array().context("items")?;
    let id = known
        .iter()
        .find(|known| known["name"] == "dashboards")
        .context("the key")?;
    let id = id["id"]
        .as_str()
        .or_else(|| id["key_id"].as_str())
        .context("an id")?;
    keys(&["revoke", id])?;
    ensure!(reader.get("/meters").await?.status == 401);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn both_processes_can_be_probed_and_measured() -> Result<()> {
    let system = System::start("").await?;
    let agent = system.agent("agent", "").await?;
    for api in [agent.api(), &system.collector.api().with_key(None)] {
        for probe in ["/healthz", "/readyz"] {
            ensure!(
                api.get(probe).await?.status == 200,
                "{probe} of {}",
                api.base()
            );
        }
        let metrics = api.get("/metrics").await?;
        ensure!(
            metrics.status == 200 && metrics.body.contains("# TYPE"),
            "{}",
            metrics.body
        );
    }
    Ok(())
}

/// Standard output of a command that must have succeeded.
fn succeeded(output: &Output) -> Result<String> {
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

async fn ingest_calls(agent: &Agent, calls: usize) -> Result<()> {
    let call = |number: usize| {
        format!(r#"{{"event_id":"e{number}","customer_id":"acme","event_name":"call"}}"#)
    };
    let events: Vec<String> = (0..calls).map(call).collect();
    let body = serde_json::from_str(&format!("{{\"events\":[{}]}}", events.join(",")))?;
    agent.api().create("/events/ingest", &body).await?;
    Ok(())
}

/// Lines of NDJSON: calls of the last year, newest first.
fn past_calls(calls: usize) -> String {
    let call = |number: usize| {
        let at = days_ago(i64::try_from(number % 360).unwrap_or(0) + 1);
        format!(
            "{{\"event_id\":\"p{number}\",\"customer_id\":\"acme\",\"event_name\":\"call\",\"timestamp\":\"{at}\"}}\n"
        )
    };
    (0..calls).map(call).collect()
}

/// The start of the minute so many days ago, as RFC 3339.
fn days_ago(days: i64) -> String {
    use submeter_common::time::{Clock, SystemClock};
    let minute = SystemClock.now().as_micros() / 60_000_000;
    submeter_tests::workload::rfc3339((minute - days * 24 * 60) * 60_000_000)
}
