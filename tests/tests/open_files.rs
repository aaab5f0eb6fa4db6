//! What does a process do with the number of files it may open?

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use submeter_tests::system::{Api, PATIENCE, Process, eventually, program};
use tempfile::TempDir;

/// A process whose shell was told how many files it may open.
struct Limited {
    process: Process,
    place: TempDir,
}

impl Limited {
    /// Starts an agent after `ulimit` with these arguments.
    fn agent(ulimit: &str) -> Result<Self> {
        let arguments = ["run", "--collector", "none", "--listen", "127.0.0.1:0"];
        Self::start("submeter-agent", &arguments, ulimit)
    }

    fn start(name: &str, arguments: &[&str], ulimit: &str) -> Result<Self> {
        let place = tempfile::Builder::new().prefix("submeter-").tempdir()?;
        let script = format!("ulimit {ulimit} && exec \"$0\" \"$@\"");
        let program = program(name)?;
        let data = place.path().join("data");
        let mut words = vec!["-c".as_ref(), script.as_ref(), program.as_os_str()];
        words.extend(arguments.iter().map(std::ffi::OsStr::new));
        words.extend(["--data-dir".as_ref(), data.as_os_str()]);
        let log = place.path().join("log");
        let process = Process::spawn(Path::new("/bin/sh"), &words, &log)?;
        Ok(Self { process, place })
    }

    /// Waits until it serves.
    async fn api(&mut self, address: &str) -> Result<Api> {
        let file = self.place.path().join("data").join(address);
        let text = eventually("an address", PATIENCE, || async {
            Ok(std::fs::read_to_string(&file)?)
        });
        let text = text.await.with_context(|| self.process.log_tail())?;
        let api = Api::new(&format!("http://{}", text.trim()), None)?;
        eventually("an answer", PATIENCE, || async {
            api.get("/readyz").await?.success()
        })
        .await?;
        Ok(api)
    }

    /// Its soft and its hard limit.
    fn limits(&self) -> Result<(String, String)> {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", self.process.id()))?;
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max open files"));
        let mut words = line.context("its limit")?.split_whitespace().skip(3);
        let mut word = || words.next().map(str::to_owned).context("a number");
        Ok((word()?, word()?))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_low_soft_limit_is_raised_and_every_connection_served() -> Result<()> {
    const CONNECTIONS: usize = 400;
    let mut agent = Limited::agent("-S -n 200")?;
    let api = agent.api("agent.addr").await?;
    let (soft, hard) = agent.limits()?;
    ensure!(soft == hard, "{soft} of {hard}");
    let mut kept = Vec::new();
    for number in 0..CONNECTIONS {
        let answer = asked(&api, PATIENCE);
        kept.push(answer.with_context(|| format!("connection {number}"))?);
    }
    takes_events(&api).await
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_hard_limit_is_too_low_fewer_connections_are_served_at_once() -> Result<()> {
    // 320 files of the store and 64 others are kept back.
    const SERVED: u64 = 500 - 320 - 64;
    let mut agent = Limited::agent("-n 500")?;
    let api = agent.api("agent.addr").await?;
    let log = agent.process.log();
    ensure!(
        log.contains("may open fewer files than connections_max needs")
            && log.contains("116 connections are served at once"),
        "{log}"
    );
    let limit = "submeter_agent_budget_limit{budget=\"connections_max\"} ";
    let metrics = api.get("/metrics").await?.body;
    let limit = metrics.lines().find_map(|line| line.strip_prefix(limit));
    ensure!(limit == Some("116"), "{limit:?}");

    // Whoever has not said yet what he wants keeps his place.
    let host = api.base().trim_start_matches("http://");
    let mut kept = Vec::new();
    for _ in 0..SERVED {
        let mut stream = TcpStream::connect(host)?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\n")?;
        kept.push(stream);
    }
    ensure!(
        asked(&api, Duration::from_millis(500)).is_err(),
        "one more than there is room for was served"
    );
    drop(kept);
    takes_events(&api).await?;
    ensure!(!agent.process.is_over(), "{}", agent.process.log_tail());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_may_open_too_few_files_to_work_refuses_to_start() -> Result<()> {
    let mut agent = Limited::agent("-n 350")?;
    let status = agent.process.ended(PATIENCE).await?;
    let log = agent.process.log();
    ensure!(
        status.code() == Some(64)
            && log.contains(
                "connections_max: this process may open 350 files, expected at least 400"
            ),
        "{status}: {log}"
    );
    ensure!(
        !agent.place.path().join("data").exists(),
        "something was made"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_raises_its_soft_limit_and_says_when_the_hard_one_is_too_low() -> Result<()> {
    let arguments = ["serve", "--listen", "127.0.0.1:0"];
    let mut collector = Limited::start("submeter-collector", &arguments, "-S -n 200")?;
    collector.api("collector.addr").await?;
    let (soft, hard) = collector.limits()?;
    ensure!(soft == hard, "{soft} of {hard}");

    let mut collector = Limited::start("submeter-collector", &arguments, "-n 1200")?;
    collector.api("collector.addr").await?;
    let log = collector.process.log();
    ensure!(
        log.contains("may open fewer files than connections_max needs"),
        "{log}"
    );
    Ok(())
}

/// Opens a connection, has it served, and keeps it.
fn asked(api: &Api, limit: Duration) -> Result<TcpStream> {
    let host = api.base().trim_start_matches("http://");
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(limit))?;
    write!(stream, "GET /healthz HTTP/1.1\r\nhost: {host}\r\n\r\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    ensure!(&answer == b"HTTP/1.1 200", "{answer:?}");
    Ok(stream)
}

async fn takes_events(api: &Api) -> Result<()> {
    let event = json!({ "event_id": "e", "customer_id": "c", "event_name": "n" });
    let body = json!({ "events": [event] });
    let reply = api.create("/events/ingest", &body).await?;
    ensure!(reply["ingested_count"] == 1, "{reply}");
    Ok(())
}
