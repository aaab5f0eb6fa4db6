//! Does usage arrive exactly once where it is carried by hand?

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use submeter_tests::builders;
use submeter_tests::system::{Agent, Collector, Outcome, program};

/// A site without a network, and the collector that its files are carried to.
struct Site {
    directory: tempfile::TempDir,
    collector: Collector,
    agent: Agent,
    meters: [String; 2],
}

impl Site {
    async fn start() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("submeter-").tempdir()?;
        let collector = Collector::start(&directory.path().join("collector"), "").await?;
        let count = builders::meter("Calls", "call", "count", "", "call");
        let sum = builders::meter("Tokens", "call", "sum", "tokens", "token");
        let meters = [
            builders::create_meter(collector.api(), &count).await?,
            builders::create_meter(collector.api(), &sum).await?,
        ];
        // Never read: there is nobody to show it to.
        let key = collector.bootstrap_key_file();
        let agent = Agent::start(&directory.path().join("agent"), "none", &key, "").await?;
        Ok(Self {
            directory,
            collector,
            agent,
            meters,
        })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn ingest(&self, numbers: std::ops::Range<u64>) -> Result<()> {
        let event = |number: u64| {
            json!({
                "event_id": format!("e{number}"),
                "customer_id": "acme",
                "event_name": "call",
                "metadata": { "tokens": number },
            })
        };
        let events: Vec<Value> = numbers.map(event).collect();
        self.agent
            .api()
            .create("/events/ingest", &json!({ "events": events }))
            .await?;
        Ok(())
    }

    fn export(&self, name: &str) -> Result<PathBuf> {
        let file = self.file(name);
        let path = file.to_string_lossy().into_owned();
        succeeded(self.agent.command(&["export", "--output", &path])?)?;
        Ok(file)
    }

    fn collector(&self, arguments: &[&str]) -> Result<Output> {
        Ok(Command::new(program("submeter-collector")?)
            .args(arguments)
            .args(["--collector", self.collector.url(), "--key-file"])
            .arg(self.collector.bootstrap_key_file())
            .output()?)
    }

    fn import(&self, file: &Path) -> Result<Value> {
        let output = self.collector(&["import", &file.to_string_lossy(), "--json"])?;
        Ok(serde_json::from_str(&succeeded(output)?)?)
    }

    fn refused(&self, file: &Path, says: &str) -> Result<()> {
        let output = self.collector(&["import", &file.to_string_lossy()])?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status.code() == Some(65) && text.contains(says),
            "expected {says:?}: {output:?}"
        );
        Ok(())
    }

    /// The agent takes no note of it.
    async fn refuses_receipt(&self, receipt: &str, says: &str) -> Result<()> {
        let file = self.file("bad.receipt");
        std::fs::write(&file, receipt)?;
        let before = self.agent.status().await?["outbox_frames"].take();
        self.refused_receipt(&file, says)?;
        let after = self.agent.status().await?["outbox_frames"].take();
        ensure!(
            before == after && before != 0,
            "{before} frames, then {after}"
        );
        Ok(())
    }

    fn refused_receipt(&self, file: &Path, says: &str) -> Result<()> {
        let file = file.to_string_lossy();
        let output = self.agent.command(&["export", "--acknowledge", &file])?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(65) && text.contains(says),
            "expected {says:?}: {output:?}"
        );
        Ok(())
    }

    fn trust(&self) -> Result<()> {
        let key = succeeded(self.agent.command(&["export", "--public-key"])?)?;
        let trust = ["agents", "trust", key.trim(), "--name", "site 7"];
        succeeded(self.collector(&trust)?)?;
        Ok(())
    }

    fn acknowledge(&self, file: &Path) -> Result<String> {
        let receipt = format!("{}.receipt", file.display());
        succeeded(self.agent.command(&["export", "--acknowledge", &receipt])?)
    }

    /// Calls and tokens of the customer, as the collector has them.
    async fn usage(&self) -> Result<[u64; 2]> {
        let usage = self
            .collector
            .api()
            .fetch("/v1/usage?customer_id=acme")
            .await?;
        let items = usage["items"].as_array().context("items")?;
        let quantity = |meter: &String| {
            let item = items.iter().find(|item| item["meter_id"] == **meter);
            let text = item.and_then(|item| item["quantity"].as_str());
            text.map_or(Ok(0), str::parse)
        };
        Ok([quantity(&self.meters[0])?, quantity(&self.meters[1])?])
    }
}

/// What must come out for the events `0..end`.
fn expected(end: u64) -> [u64; 2] {
    [end, (0..end).sum()]
}

fn succeeded(output: Output) -> Result<String> {
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_that_is_carried_by_hand_counts_exactly_once() -> Result<()> {
    let mut site = Site::start().await?;
    site.ingest(0..100).await?;
    let first = site.export("first.smtb")?;
    site.refused(&first, "not trusted")?;
    site.trust()?;
    let told = site.import(&first)?;
    ensure!(told["applied_frames"] == 1, "{told}");
    // The agent had no meters yet: they come with the receipt, and its past is counted by them.
    ensure!(site.usage().await? == [0, 0]);
    site.acknowledge(&first)?;
    ensure!(site.agent.status().await?["catalog_version"] != 0);
    ensure!(site.agent.status().await?["outbox_frames"] == 0);

    site.ingest(100..250).await?;
    let second = site.export("second.smtb")?;
    site.ingest(250..300).await?;
    let third = site.export("third.smtb")?;
    site.import(&second)?;
    ensure!(
        site.usage().await? == expected(250),
        "{:?}",
        site.usage().await?
    );

    // The third overlaps the second, the second comes again, and so does the first: nothing counts twice.
    let told = site.import(&third)?;
    ensure!(
        told["applied_frames"] == 1 && told["duplicate_frames"] == 1,
        "{told}"
    );
    for again in [&third, &second, &first] {
        let told = site.import(again)?;
        ensure!(told["applied_frames"] == 0, "{told}");
        ensure!(
            site.usage().await? == expected(300),
            "{:?}",
            site.usage().await?
        );
    }
    let agents = site.collector.api().list("/v1/agents").await?;
    ensure!(
        agents.len() == 1 && agents[0]["alarm"].is_null(),
        "{agents:?}"
    );

    // The second's receipt acknowledges what was applied when it was written last: everything.
    site.acknowledge(&second)?;
    let status = site.agent.status().await?;
    ensure!(
        status["outbox_frames"] == 0 && status["at_risk_events"] == 0,
        "{status}"
    );
    let output = site.agent.command(&["export", "--output", "nowhere"])?;
    ensure!(succeeded(output)?.contains("nothing to export"));

    // A stopped agent's directory is exported as it is, and takes a receipt.
    site.ingest(300..400).await?;
    ensure!(site.agent.drain().await? == Outcome::FramesLeft);
    let fourth = site.export("fourth.smtb")?;
    site.import(&fourth)?;
    ensure!(site.usage().await? == expected(400));
    let told = site.acknowledge(&fourth)?;
    ensure!(told.contains("0 are left to carry"), "{told}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_what_was_signed_changes_nothing() -> Result<()> {
    let site = Site::start().await?;
    site.trust()?;
    site.ingest(0..50).await?;
    let file = site.export("frames.smtb")?;
    let bytes = std::fs::read(&file)?;
    let bad = site.file("bad.smtb");
    let check = |bytes: &[u8], says: &str| -> Result<()> {
        std::fs::write(&bad, bytes)?;
        site.refused(&bad, says)
    };
    for at in [60, bytes.len() / 2, bytes.len() - 1] {
        let mut tampered = bytes.clone();
        tampered[at] ^= 1;
        check(&tampered, "nothing of it is applied")?;
    }
    check(&bytes[..bytes.len() - 10], "it ends inside frame")?;
    check(
        &[bytes.as_slice(), b"more"].concat(),
        "bytes follow its last frame",
    )?;
    check(b"SMTB", "not a bundle")?;
    check(b"hello", "not a bundle")?;
    // Where it is the collector that cannot be reached, the file is not to blame.
    let nowhere = ["--collector", "http://127.0.0.1:9", "--key-file"];
    let output = Command::new(program("submeter-collector")?)
        .arg("import")
        .arg(&file)
        .args(nowhere)
        .arg(site.collector.bootstrap_key_file())
        .output()?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(site.collector.api().list("/v1/agents").await?.is_empty());

    // A bundle before which frames are missing names them.
    site.import(&file)?;
    site.acknowledge(&file)?;
    site.ingest(50..60).await?;
    let lost = site.export("lost.smtb")?;
    site.ingest(60..70).await?;
    site.agent.command(&["flush"])?;
    let sealed = site.agent.status().await?["sealed"]["seq"].to_string();
    let late = site.file("late.smtb");
    let late_path = late.to_string_lossy().into_owned();
    let export = ["export", "--from", &sealed, "--output", &late_path];
    succeeded(site.agent.command(&export)?)?;
    site.refused(&late, "frames 2 to 2 are missing")?;
    site.import(&lost)?;
    site.import(&late)?;

    // A receipt that was edited, or that is another agent's, frees nothing.
    let receipt = std::fs::read_to_string(format!("{}.receipt", lost.display()))?;
    ensure!(receipt.contains("\"seq\":2"), "{receipt}");
    let other = Site::start().await?;
    other.trust()?;
    other.ingest(0..5).await?;
    let foreign = other.export("foreign.smtb")?;
    other.import(&foreign)?;
    let foreign = std::fs::read_to_string(format!("{}.receipt", foreign.display()))?;
    for (receipt, says) in [
        (receipt.replace("\"seq\":2", "\"seq\":3"), "signature"),
        (receipt[..receipt.len() / 2].to_owned(), "receipt"),
        (String::new(), "receipt"),
        (foreign, "it is for agent"),
    ] {
        site.refuses_receipt(&receipt, says).await?;
    }
    site.acknowledge(&late)?;
    ensure!(site.agent.status().await?["outbox_frames"] == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_of_another_collector_frees_nothing() -> Result<()> {
    let mut site = Site::start().await?;
    site.trust()?;
    site.ingest(0..50).await?;
    let first = site.export("first.smtb")?;
    site.import(&first)?;
    site.acknowledge(&first)?;

    // Whoever gets hold of the files, or a collector set up anew, may take them, but signs with a key of its own.
    site.ingest(50..60).await?;
    let second = site.export("second.smtb")?;
    let directory = site.file("elsewhere");
    let elsewhere = Collector::start(&directory, "").await?;
    let here = std::mem::replace(&mut site.collector, elsewhere);
    site.trust()?;
    site.refused(&second, "frames 1 to 1 are missing")?;
    site.import(&first)?;
    site.import(&second)?;
    let receipt = std::fs::read_to_string(format!("{}.receipt", second.display()))?;
    for stopped in [false, true] {
        if stopped {
            ensure!(site.agent.drain().await? == Outcome::FramesLeft);
        }
        let file = site.file("elsewhere.receipt");
        std::fs::write(&file, &receipt)?;
        site.refused_receipt(&file, "signed by")?;
    }

    site.agent.start_again().await?;
    ensure!(site.agent.status().await?["outbox_frames"] == 1);
    site.collector = here;
    site.import(&second)?;
    site.acknowledge(&second)?;
    ensure!(site.agent.status().await?["outbox_frames"] == 0);
    ensure!(site.usage().await? == expected(60));
    Ok(())
}
