//! What does an agent do at each of its limits?
//!
//! The agent says itself which limits it has. Each must have a setting, a line in the README, and a test that takes the
//! agent to it: one of the stories below, or one of the pipeline's own where the limit cannot be reached from outside in
//! a test's time.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::json;
use submeter_common::time::{Clock, SystemClock};
use submeter_tests::network::{Fault, Proxy};
use submeter_tests::system::{Agent, Api, PATIENCE, Wire, eventually};
use submeter_tests::workload::rfc3339;
use tempfile::TempDir;
use tokio::time::timeout;

const HERE: &str = "tests/tests/budgets.rs";
const PIPELINE: &str = "agent/src/pipeline/tests/budgets.rs";
const DEDUP: &str = "agent/src/pipeline/tests/dedup.rs";

/// Each limit, and the test that takes the agent to it.
const TESTS: [(&str, &str, &str); 20] = [
    ("connections_max", HERE, "connections_beyond_the_limit_wait"),
    ("head_timeout", HERE, "a_slow_head_is_cut_off"),
    ("request_timeout", HERE, "a_slow_body_is_refused"),
    ("request_bytes_max", HERE, "a_large_body_is_refused"),
    (
        "requests_bytes_max",
        HERE,
        "bodies_beyond_the_room_for_all_are_refused",
    ),
    ("queue_requests_max", PIPELINE, "a_long_queue_refuses"),
    ("queue_bytes_max", PIPELINE, "a_full_queue_refuses"),
    (
        "horizon_past",
        HERE,
        "events_beyond_the_horizon_are_refused",
    ),
    (
        "horizon_future",
        HERE,
        "events_beyond_the_horizon_are_refused",
    ),
    (
        "dedup_bytes_max",
        DEDUP,
        "memory_for_ids_has_an_end_and_new_events_are_refused_there_not_forgotten",
    ),
    (
        "groups_per_meter_max",
        PIPELINE,
        "groups_beyond_the_budget_fold_and_totals_stay_exact",
    ),
    (
        "open_bytes_max",
        PIPELINE,
        "an_open_set_beyond_its_budget_is_sealed_although_the_collector_is_away",
    ),
    (
        "outbox_bytes_max",
        PIPELINE,
        "a_full_outbox_refuses_events_until_it_is_acknowledged",
    ),
    (
        "disk_free_bytes_min",
        PIPELINE,
        "a_short_disk_refuses_events_and_still_seals",
    ),
    (
        "journal_bytes_max",
        PIPELINE,
        "the_journal_is_reclaimed_by_bytes_but_never_before_a_checkpoint",
    ),
    (
        "journal_age_max",
        PIPELINE,
        "the_journal_is_reclaimed_by_age_when_nothing_arrives",
    ),
    (
        "acknowledged_bytes_max",
        PIPELINE,
        "acknowledged_frames_are_reclaimed_by_bytes_and_by_age",
    ),
    (
        "acknowledged_age_max",
        PIPELINE,
        "acknowledged_frames_are_reclaimed_by_bytes_and_by_age",
    ),
    ("imports_max", HERE, "imports_beyond_the_limit_are_refused"),
    ("collector_timeout", HERE, "a_silent_collector_is_given_up"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_limit_has_a_setting_a_metric_a_line_in_the_docs_and_a_test() -> Result<()> {
    let (_directory, agent) = alone("").await?;
    let metrics = agent.api().get("/metrics").await?.body;
    let limits: BTreeSet<&str> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("submeter_agent_budget_limit{budget=\""))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let tested: BTreeSet<&str> = TESTS.iter().map(|(limit, _, _)| *limit).collect();
    ensure!(limits == tested, "{:?}", &limits ^ &tested);

    let package = std::env::var("CARGO_MANIFEST_DIR").context("cargo names the package")?;
    let root = Path::new(&package).parent().context("the checkout")?;
    let read = |file: &str| std::fs::read_to_string(root.join(file)).context(file.to_owned());
    let readme = read("README.md")?;
    let settings = agent.command(&["check-config"])?.stdout;
    let settings = String::from_utf8(settings)?;
    for (limit, file, test) in TESTS {
        ensure!(readme.contains(&format!("`{limit}`")), "README: {limit}");
        let is_set = |line: &str| line.starts_with(&format!("{limit} = "));
        ensure!(settings.lines().any(is_set), "{limit} is no setting");
        ensure!(
            read(file)?.contains(&format!("async fn {test}()")),
            "{file} has no test {test}"
        );
        let hits = format!("submeter_agent_budget_hits_total{{budget=\"{limit}\"}}");
        ensure!(metrics.contains(&hits), "{hits} is missing");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_wait() -> Result<()> {
    let (_directory, agent) = alone("connections_max = 2").await?;
    let newcomer = Api::new(agent.api().base(), None)?;
    // Nobody who speaks keeps a connection while the house is full; these have not finished their first word.
    let held = (half_a_head(&agent).await?, half_a_head(&agent).await?);
    eventually("both to be in", PATIENCE, || async {
        let reply = timeout(Duration::from_millis(500), newcomer.get("/healthz")).await;
        ensure!(reply.is_err(), "a third connection is served");
        Ok(())
    })
    .await?;
    drop(held);
    newcomer.get("/healthz").await?.success()?;
    reached(&agent, "connections_max").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_head_is_cut_off() -> Result<()> {
    let (_directory, agent) = alone("head_timeout = \"300ms\"").await?;
    let mut slow = Wire::connect(agent.api().base()).await?;
    slow.bytes(b"POST /events/ingest HTTP/1.1\r\n").await?;
    for _ in 0..1_000 {
        // A drop at a time, each well within the limit.
        tokio::time::sleep(Duration::from_millis(50)).await;
        if slow.bytes(b"x-drop: 1\r\n").await.is_err() {
            break;
        }
    }
    slow.rest().await?;
    reached(&agent, "head_timeout").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_body_is_refused() -> Result<()> {
    let (_directory, agent) = alone("request_timeout = \"500ms\"").await?;
    let mut slow = Wire::connect(agent.api().base()).await?;
    slow.head("/events/ingest", "content-length: 100000\r\n")
        .await?;
    for _ in 0..1_000 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if slow.bytes(b" ").await.is_err() {
            break;
        }
        let reply = slow.within(Duration::from_millis(1)).await?;
        if !reply.is_empty() {
            ensure!(reply.starts_with("HTTP/1.1 408 "), "{reply}");
            break;
        }
    }
    reached(&agent, "request_timeout").await
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_come_slowly_are_taken_as_they_come() -> Result<()> {
    let (_directory, agent) = alone("request_timeout = \"300ms\"").await?;
    let mut slow = Wire::connect(agent.api().base()).await?;
    let lines: Vec<String> = (0..20).map(|n| format!("{}\n", event(n))).collect();
    let length: usize = lines.iter().map(String::len).sum();
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    slow.bytes(head.as_bytes()).await?;
    for line in &lines {
        slow.bytes(line.as_bytes()).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let reply = slow.rest().await?;
    ensure!(reply.contains("\"accepted\":20"), "{reply}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_is_refused() -> Result<()> {
    let (_directory, agent) = alone("request_bytes_max = \"1KiB\"").await?;
    let reply = send(&agent, &padded(2048)).await?;
    ensure!(reply == (413, "BODY_TOO_LARGE".to_owned()), "{reply:?}");
    ensure!(send(&agent, &padded(10)).await?.0 == 200);
    reached(&agent, "request_bytes_max").await
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_beyond_the_room_for_all_are_refused() -> Result<()> {
    let settings = "request_bytes_max = \"64KiB\"\nrequests_bytes_max = \"64KiB\"";
    let (_directory, agent) = alone(settings).await?;
    let mut holding = Wire::connect(agent.api().base()).await?;
    holding
        .head("/events/ingest", "content-length: 60000\r\n")
        .await?;
    holding.bytes(&vec![b' '; 50_000]).await?;
    eventually("the body to be read", PATIENCE, || async {
        let used = metric(&agent, "used", "requests_bytes_max").await?;
        ensure!(used >= 49_000, "{used} bytes");
        Ok(())
    })
    .await?;
    let reply = send(&agent, &padded(30_000)).await?;
    ensure!(reply == (503, "OVERLOADED".to_owned()), "{reply:?}");
    drop(holding);
    eventually("the room to be free again", PATIENCE, || async {
        let reply = send(&agent, &padded(30_000)).await?;
        ensure!(reply.0 == 200, "{reply:?}");
        Ok(())
    })
    .await?;
    reached(&agent, "requests_bytes_max").await
}

#[tokio::test(flavor = "multi_thread")]
async fn events_beyond_the_horizon_are_refused() -> Result<()> {
    let (_directory, agent) = alone("horizon_past = \"10m\"\nhorizon_future = \"1m\"").await?;
    let minute = 60_000_000;
    for (offset, code) in [
        (-11 * minute, "TIMESTAMP_TOO_OLD"),
        (2 * minute, "TIMESTAMP_TOO_NEW"),
    ] {
        let at = rfc3339(SystemClock.now().as_micros() + offset);
        let event = json!({"event_id": at, "customer_id": "c", "event_name": "n", "timestamp": at});
        let reply = agent
            .api()
            .post("/events/ingest", &json!({"events": [event]}))
            .await?;
        ensure!(reply.status == 400, "{reply:?}");
        ensure!(reply.body.contains(code), "{reply:?}");
    }
    reached(&agent, "horizon_past").await?;
    reached(&agent, "horizon_future").await
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_beyond_the_limit_are_refused() -> Result<()> {
    let (_directory, agent) = alone("imports_max = 1").await?;
    let begin = async |id: &str| {
        let import = json!({"id": id, "name": id, "max_age_seconds": 3600});
        let reply = agent.api().post("/v1/imports", &import).await?;
        anyhow::Ok((reply.status, reply.code()))
    };
    ensure!(begin("one").await?.0 == 200);
    ensure!(begin("one").await?.0 == 200, "the same one is found again");
    let refused = begin("two").await?;
    ensure!(
        refused == (409, "TOO_MANY_IMPORTS".to_owned()),
        "{refused:?}"
    );
    agent
        .api()
        .create("/v1/imports/one/complete", &json!({}))
        .await?;
    ensure!(begin("two").await?.0 == 200);
    reached(&agent, "imports_max").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_collector_is_given_up() -> Result<()> {
    let proxy = Proxy::start("http://127.0.0.1:9", 1).await?;
    proxy.storm(&[Fault::BlackHole]);
    let (_directory, agent) = started(&proxy.url(), "collector_timeout = \"200ms\"").await?;
    ensure!(send(&agent, &padded(10)).await?.0 == 200);
    reached(&agent, "collector_timeout").await
}

/// An agent whose collector is away.
async fn alone(settings: &str) -> Result<(TempDir, Agent)> {
    started("http://127.0.0.1:9", settings).await
}

async fn started(collector: &str, settings: &str) -> Result<(TempDir, Agent)> {
    let directory = tempfile::tempdir()?;
    let key = directory.path().join("key");
    std::fs::write(&key, "smk_nobody\n")?;
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600))?;
    let state = directory.path().join("agent");
    let agent = Agent::start(&state, collector, &key, settings).await?;
    Ok((directory, agent))
}

async fn half_a_head(agent: &Agent) -> Result<Wire> {
    let mut wire = Wire::connect(agent.api().base()).await?;
    wire.bytes(b"POST /events/ingest HTTP/1.1\r\n").await?;
    Ok(wire)
}

fn event(number: u32) -> String {
    format!(r#"{{"event_id":"e{number}","customer_id":"c","event_name":"n"}}"#)
}

/// A request of one event with so much white space behind it.
fn padded(bytes: usize) -> String {
    format!(r#"{{"events":[{}]}}{}"#, event(0), " ".repeat(bytes))
}

async fn send(agent: &Agent, body: &str) -> Result<(u16, String)> {
    let json = Some("application/json");
    let sent = agent
        .api()
        .send(Method::POST, "/events/ingest", json, body.to_owned());
    let reply = sent.await?;
    if reply.status == 503 {
        ensure!(reply.retry_after.is_some(), "{reply:?}");
    }
    Ok((reply.status, reply.code()))
}

/// The agent says that the limit was reached, and what the limit is.
async fn reached(agent: &Agent, limit: &str) -> Result<()> {
    eventually("the limit to be counted", PATIENCE, || async {
        ensure!(metric(agent, "hits_total", limit).await? >= 1, "{limit}");
        Ok(())
    })
    .await
}

/// A metric of a limit, without its fraction.
async fn metric(agent: &Agent, kind: &str, limit: &str) -> Result<u64> {
    let name = format!("submeter_agent_budget_{kind}{{budget=\"{limit}\"}} ");
    let text = agent.api().get("/metrics").await?.body;
    let value = text.lines().find_map(|line| line.strip_prefix(&name));
    let value = value.with_context(|| name.clone())?;
    let whole = value.split('.').next().unwrap_or_default();
    whole.parse().with_context(|| format!("{name}{value}"))
}
