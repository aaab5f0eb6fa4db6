//! Can an operator see what an agent holds, whether it runs or not, and without changing anything?

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use submeter_tests::builders;
use submeter_tests::system::{Agent, PATIENCE, System, eventually, program};

/// Events of the story: 240 calls of three customers in two regions, and 10 that no meter looks at.
const CALLS: usize = 240;
const STRAYS: usize = 10;

/// What the agent holds, as the commands tell it.
#[derive(Debug, PartialEq)]
struct Told {
    events: Vec<Value>,
    partials: Vec<Value>,
    meters: Value,
    id: Value,
    rows: Value,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_agent_and_its_directory_after_a_crash_tell_the_same() -> Result<()> {
    let system = System::start("").await?;
    let (count, sum) = create_meters(&system).await?;
    let settings = "flush_interval = \"1h\"\ncheckpoint_interval = \"1h\"";
    let mut agent = system.agent("agent", settings).await?;
    ingest(&agent, 0..CALLS / 2).await?;
    agent.flush().await?;
    ingest(&agent, CALLS / 2..CALLS + STRAYS).await?;

    let running = told(&agent)?;
    check_events(&running.events, &count, &sum)?;
    check_partials(&running.partials, &count, &sum)?;
    let frames = lines(&agent, &["inspect", "outbox", "--limit", "0", "--json"])?;
    ensure!(!frames.is_empty(), "no frame");
    ensure!(
        frames.iter().all(|frame| frame["state"] == "acknowledged"),
        "{frames:?}"
    );

    agent.kill()?;
    let before = files(agent.directory())?;
    let stopped = told(&agent)?;
    ensure!(stopped == running, "{stopped:#?}\n{running:#?}");
    let status = document(&agent, &["status", "--json"])?;
    ensure!(
        status["receipts"]["accepted"] == CALLS + STRAYS
            && status["receipts"]["unmatched"] == STRAYS
            && status["at_risk_events"] == CALLS / 2 + STRAYS
            && status["flush"]["state"] == "stopped",
        "{status}"
    );
    ensure!(
        files(agent.directory())? == before,
        "looking changed a file"
    );

    // Nor did looking disturb what the agent finds again.
    agent.start_again().await?;
    agent.flush().await?;
    let status = agent.status().await?;
    ensure!(
        status["receipts"]["accepted"] == CALLS + STRAYS && status["at_risk_events"] == 0,
        "{status}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_walk_every_list_exactly_once_in_the_same_order() -> Result<()> {
    let system = System::start("").await?;
    create_meters(&system).await?;
    let mut agent = system.agent("agent", "flush_interval = \"1h\"").await?;
    for part in 0..5 {
        ingest(&agent, part * 40..part * 40 + 40).await?;
        agent.flush().await?;
    }
    ingest(&agent, 200..240).await?;
    for stopped in [false, true] {
        if stopped {
            agent.kill()?;
        }
        let lists: [&[&str]; 4] = [
            &["inspect", "events"],
            &["inspect", "events", "--customer", "acme"],
            &["inspect", "partials"],
            &["inspect", "outbox"],
        ];
        for list in lists {
            let all = lines(&agent, &[list, &["--limit", "0", "--json"]].concat())?;
            let mut walked = Vec::new();
            let mut after = None::<String>;
            loop {
                let mut page = [list, &["--limit", "3", "--json"]].concat();
                if let Some(after) = &after {
                    page.extend(["--after", after.as_str()]);
                }
                let page = lines(&agent, &page)?;
                let Some(last) = page.last() else { break };
                after = Some(last["cursor"].as_str().context("cursor")?.to_owned());
                walked.extend(page);
            }
            ensure!(walked.len() > 3, "{list:?} has but {} items", walked.len());
            ensure!(walked == all, "{list:?}, stopped {stopped}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_or_not_reachable_is_said_with_its_own_exit_code() -> Result<()> {
    let system = System::start("").await?;
    let mut agent = system.agent("agent", "").await?;
    ingest(&agent, 0..3).await?;
    for stopped in [false, true] {
        if stopped {
            agent.kill()?;
        }
        failed(
            &agent,
            &["inspect", "dedup", "--event-id", "nobody"],
            66,
            "nobody",
        )?;
        failed(
            &agent,
            &["inspect", "outbox", "--seq", "999"],
            66,
            "frame 999",
        )?;
        failed(&agent, &["inspect", "events", "--after", "here"], 1, "17.3")?;
        failed(&agent, &["inspect", "events", "--start", "noon"], 2, "noon")?;
    }
    agent.start_again().await?;
    // The directory is held, but the address that was written leads nowhere.
    let address = agent.directory().join("agent.addr");
    let written = std::fs::read_to_string(&address)?;
    std::fs::write(&address, "127.0.0.1:9\n")?;
    failed(
        &agent,
        &["inspect", "events"],
        1,
        "in use by another process",
    )?;
    std::fs::write(&address, written)?;
    succeeded(&agent, &["inspect", "events"])?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_an_import_names_it() -> Result<()> {
    let system = System::start("").await?;
    let agent = system.agent("agent", "flush_interval = \"1h\"").await?;
    ingest(&agent, 0..5).await?;
    let file = system.root().join("past.ndjson");
    let line = r#"{"event_id":"past","customer_id":"acme","event_name":"call","timestamp":"2026-01-01T00:00:00Z"}"#;
    std::fs::write(&file, format!("{line}\n"))?;
    let file = file.to_string_lossy().into_owned();
    succeeded(&agent, &["import", &file, "--max-age", "3650d"])?;
    let import = agent.status().await?["imports"][0]["id"]
        .as_str()
        .context("the import's id")?
        .to_owned();
    let events = lines(
        &agent,
        &["inspect", "events", "--import", &import, "--json"],
    )?;
    ensure!(
        events.len() == 1 && events[0]["event_id"] == "past" && events[0]["import"] == *import,
        "{events:?}"
    );
    let table = succeeded(&agent, &["inspect", "events"])?;
    ensure!(table.contains(&import[..12]), "{table}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_follows_what_is_accepted_and_what_it_is_asked_for() -> Result<()> {
    let system = System::start("").await?;
    let (count, _) = create_meters(&system).await?;
    let mut agent = system.agent("agent", "").await?;
    agent.flush().await?;
    ingest(&agent, 0..10).await?;
    let mut all = tail(&agent, &["--json", "--count", "30"]).await?;
    let mut some = tail(&agent, &["--customer", "acme", "--count", "10"]).await?;
    ingest(&agent, 10..40).await?;
    let mut ids = Vec::new();
    for line in lines_of(&mut all)? {
        let event: Value = serde_json::from_str(&line?)?;
        ensure!(event["meters"][0]["meter_id"] == *count, "{event}");
        ids.push(event["event_id"].as_str().context("event_id")?.to_owned());
    }
    let expected: Vec<String> = (10..40).map(|number| format!("e{number}")).collect();
    ensure!(ids == expected, "{ids:?}");
    for line in lines_of(&mut some)? {
        let line = line?;
        ensure!(
            line.contains("  acme  call  ") && line.contains("→ Calls"),
            "{line}"
        );
    }
    ensure!(all.wait()?.success() && some.wait()?.success());

    let mut left = tail(&agent, &[]).await?;
    agent.drain().await?;
    ensure!(left.wait()?.code() == Some(1));
    failed(&agent, &["tail"], 1, "does not run")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_of_tail_is_told_what_it_missed() -> Result<()> {
    const BATCHES: usize = 120;
    let system = System::start("").await?;
    let agent = system.agent("agent", "").await?;
    let mut slow = tail(&agent, &["--json"]).await?;
    // Far more than any pipe or socket holds, and nobody reads: the agent takes it all the same.
    let filler = "x".repeat(400);
    for batch in 0..BATCHES {
        let events: Vec<Value> = (0..1000)
            .map(|number| {
                json!({
                    "event_id": format!("b{batch}-{number}"),
                    "customer_id": "acme",
                    "event_name": "call",
                    "metadata": { "filler": filler },
                })
            })
            .collect();
        let body = json!({ "events": events });
        agent.api().create("/events/ingest", &body).await?;
    }
    let (mut seen, mut skipped) = (0, 0);
    for line in lines_of(&mut slow)? {
        let line: Value = serde_json::from_str(&line?)?;
        match line["skipped"].as_u64() {
            Some(events) => skipped += events,
            None => seen += 1,
        }
        if seen + skipped == BATCHES as u64 * 1000 {
            break;
        }
    }
    ensure!(seen > 0 && skipped > 0, "seen {seen}, skipped {skipped}");
    slow.kill()?;
    slow.wait()?;
    Ok(())
}

/// Starts `tail` and waits until the agent has taken it on.
async fn tail(agent: &Agent, arguments: &[&str]) -> Result<Child> {
    let before = tails(agent).await?;
    let child = Command::new(program("submeter-agent")?)
        .arg("tail")
        .args(arguments)
        .arg("--data-dir")
        .arg(agent.directory())
        .stdout(Stdio::piped())
        .spawn()?;
    eventually("the tail to begin", PATIENCE, || async {
        let now = tails(agent).await?;
        ensure!(now > before, "{now} tails have begun");
        Ok(())
    })
    .await?;
    Ok(child)
}

/// Tails that have begun.
async fn tails(agent: &Agent) -> Result<u64> {
    let metrics = agent.api().get("/metrics").await?.body;
    let begun = metrics.lines().filter(|line| {
        line.starts_with("submeter_agent_requests_total") && line.contains("/v1/tail")
    });
    let counts = begun.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    Ok(counts.sum())
}

fn lines_of(child: &mut Child) -> Result<impl Iterator<Item = std::io::Result<String>>> {
    let output = child.stdout.take().context("its output")?;
    Ok(BufReader::new(output).lines())
}

fn told(agent: &Agent) -> Result<Told> {
    let all = |area: &'static str| ["inspect", area, "--limit", "0", "--json"];
    Ok(Told {
        events: lines(agent, &all("events"))?,
        partials: lines(agent, &all("partials"))?,
        meters: document(agent, &["inspect", "meters", "--json"])?,
        id: document(agent, &["inspect", "dedup", "--event-id", "e7", "--json"])?,
        rows: document(agent, &["inspect", "outbox", "--seq", "1", "--json"])?,
    })
}

fn check_events(events: &[Value], count: &str, sum: &str) -> Result<()> {
    ensure!(events.len() == CALLS + STRAYS, "{} events", events.len());
    let ids: BTreeSet<&str> = events
        .iter()
        .filter_map(|e| e["event_id"].as_str())
        .collect();
    ensure!(ids.len() == events.len(), "an event is told twice");
    let newest = format!("e{}", CALLS + STRAYS - 1);
    ensure!(events[0]["event_id"] == *newest, "{}", events[0]);
    for event in events {
        let meters: BTreeSet<&str> = event["meters"]
            .as_array()
            .context("meters")?
            .iter()
            .filter_map(|meter| meter["meter_id"].as_str())
            .collect();
        let expected = if event["event_name"] == "call" {
            BTreeSet::from([count, sum])
        } else {
            BTreeSet::new()
        };
        ensure!(meters == expected, "{event}");
    }
    Ok(())
}

fn check_partials(partials: &[Value], count: &str, sum: &str) -> Result<()> {
    let mut events = BTreeMap::<&str, u64>::new();
    let mut quantity = 0.0;
    for partial in partials {
        let meter = partial["meter_id"].as_str().context("meter_id")?;
        *events.entry(meter).or_default() += partial["events"].as_u64().context("events")?;
        if meter == sum {
            quantity += partial["quantity"]
                .as_str()
                .context("quantity")?
                .parse::<f64>()?;
            ensure!(partial["group"]["region"].is_string(), "{partial}");
        }
    }
    let open = u64::try_from(CALLS / 2)?;
    ensure!(
        events == BTreeMap::from([(count, open), (sum, open)]),
        "{events:?}"
    );
    let expected: usize = (CALLS / 2..CALLS).sum();
    ensure!(
        quantity == expected as f64,
        "{quantity}, expected {expected}"
    );
    Ok(())
}

async fn create_meters(system: &System) -> Result<(String, String)> {
    let api = system.collector.api();
    let count = builders::meter("Calls", "call", "count", "", "call");
    let mut sum = builders::meter("Tokens", "call", "sum", "tokens", "token");
    sum["group_by"] = json!(["region"]);
    Ok((
        builders::create_meter(api, &count).await?,
        builders::create_meter(api, &sum).await?,
    ))
}

async fn ingest(agent: &Agent, numbers: std::ops::Range<usize>) -> Result<()> {
    let customers = ["acme", "globex", "initech"];
    let events: Vec<Value> = numbers
        .map(|number| {
            json!({
                "event_id": format!("e{number}"),
                "customer_id": customers[number % 3],
                "event_name": if number < CALLS { "call" } else { "stray" },
                "metadata": { "tokens": number, "region": if number % 2 == 0 { "eu" } else { "us" } },
            })
        })
        .collect();
    agent
        .api()
        .create("/events/ingest", &json!({ "events": events }))
        .await?;
    Ok(())
}

/// Every file of a directory with what is in it; the log of the process lies beside it.
fn files(directory: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(self::files(&path)?);
        } else {
            files.insert(path.display().to_string(), std::fs::read(&path)?);
        }
    }
    Ok(files)
}

fn succeeded(agent: &Agent, arguments: &[&str]) -> Result<String> {
    let output = agent.command(arguments)?;
    ensure!(output.status.success(), "{arguments:?}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

fn document(agent: &Agent, arguments: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&succeeded(agent, arguments)?)?)
}

fn lines(agent: &Agent, arguments: &[&str]) -> Result<Vec<Value>> {
    let text = succeeded(agent, arguments)?;
    let lines = text.lines().map(serde_json::from_str);
    lines
        .collect::<Result<_, _>>()
        .with_context(|| text.clone())
}

fn failed(agent: &Agent, arguments: &[&str], code: i32, says: &str) -> Result<()> {
    let output: Output = agent.command(arguments)?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.code() == Some(code) && text.contains(says),
        "{arguments:?}: expected {code} and {says:?}: {output:?}"
    );
    Ok(())
}
