//! What happens when a state directory is copied, set back or lost, on either side: is every event counted once, and is it
//! said what happened?
//!
//! Event number `n` is worth 2^n, so a sum says which events are in it and a count whether one is in it twice.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use submeter_tests::builders;
use submeter_tests::system::{Agent, Api, PATIENCE, System, eventually};

/// Nothing is sealed or sent but when the test says so.
const BY_HAND: &str = "flush_interval = \"1h\"\nheartbeat_interval = \"1h\"";

/// The same, and nothing is kept for a collector that asks again.
const FORGETFUL: &str =
    "flush_interval = \"1h\"\nheartbeat_interval = \"1h\"\nacknowledged_bytes_max = \"0\"";

/// A collector with two meters that count what [`event`] makes.
struct World {
    system: System,
    count: String,
    sum: String,
}

impl World {
    async fn begin() -> Result<Self> {
        let system = System::start("").await?;
        let (count, sum) = meters(system.collector.api()).await?;
        Ok(Self { system, count, sum })
    }

    fn api(&self) -> &Api {
        self.system.collector.api()
    }

    fn directory(&self, name: &str) -> PathBuf {
        self.system.root().join(name)
    }

    /// Copies a directory that no process holds open.
    fn copy(&self, from: &str, to: &str) -> Result<()> {
        copy(&self.directory(from), &self.directory(to))
    }

    /// The collector's events, each of which is there once.
    async fn counted(&self) -> Result<BTreeSet<u64>> {
        let sum = quantity(self.api(), &self.sum).await?;
        let events: BTreeSet<u64> = (0..63).filter(|number| sum >> number & 1 == 1).collect();
        let count = quantity(self.api(), &self.count).await?;
        ensure!(
            count == events.len() as u64,
            "{count} events make up the sum of {events:?}"
        );
        Ok(events)
    }

    async fn expect(&self, ranges: &[Range<u64>]) -> Result<()> {
        let expected: BTreeSet<u64> = ranges.iter().cloned().flatten().collect();
        let counted = self.counted().await?;
        ensure!(counted == expected, "counted {counted:?}, not {expected:?}");
        Ok(())
    }

    async fn agents(&self) -> Result<Vec<Value>> {
        self.api().list("/v1/agents").await
    }

    /// An agent as the collector shows it.
    async fn known(&self, agent_id: &Value) -> Result<Value> {
        let agents = self.agents().await?;
        let found = agents
            .into_iter()
            .find(|agent| agent["agent_id"] == *agent_id);
        found.with_context(|| format!("the collector does not know agent {agent_id}"))
    }

    /// The audit log's entries of one action, newest first.
    async fn audited(&self, action: &str) -> Result<Vec<Value>> {
        let entries = self.api().list("/v1/audit").await?;
        let ours = entries
            .into_iter()
            .filter(|entry| entry["action"] == action);
        Ok(ours.collect())
    }
}

async fn meters(api: &Api) -> Result<(String, String)> {
    let count = builders::meter("Events", "call", "count", "", "event");
    let sum = builders::meter("Numbers", "call", "sum", "n", "number");
    let count = builders::create_meter(api, &count).await?;
    Ok((count, builders::create_meter(api, &sum).await?))
}

async fn quantity(api: &Api, meter: &str) -> Result<u64> {
    let path = format!("/v1/usage?customer_id=acme&meter_id={meter}");
    let usage = api.fetch(&path).await?;
    let quantity = usage["items"][0]["quantity"].as_str().unwrap_or("0");
    quantity.parse().with_context(|| usage.to_string())
}

async fn ingest(agent: &Agent, numbers: Range<u64>) -> Result<()> {
    for number in numbers {
        let event = json!({
            "event_id": format!("e{number}"),
            "customer_id": "acme",
            "event_name": "call",
            "metadata": {"n": 1_u64 << number},
        });
        let body = json!({"events": [event]});
        let answer = agent.api().create("/events/ingest", &body).await?;
        ensure!(answer["ingested_count"] == 1, "{answer}");
    }
    Ok(())
}

/// Freezes what is open, whether or not anybody takes it.
async fn seal(agent: &Agent) -> Result<()> {
    agent.api().create("/v1/flush", &Value::Null).await?;
    Ok(())
}

async fn id(agent: &Agent) -> Result<Value> {
    Ok(agent.status().await?["agent_id"].clone())
}

/// The incidents of one kind that the agent shows.
async fn incidents(agent: &Agent, kind: &str) -> Result<Vec<Value>> {
    let status = agent.status().await?;
    let all = status["incidents"].as_array().context("incidents")?;
    let ours = all.iter().filter(|incident| incident["kind"] == kind);
    Ok(ours.cloned().collect())
}

fn has_alarm(agent: &Value, alarm: &str) -> bool {
    let alarms = agent["alarms"].as_array();
    alarms.is_some_and(|alarms| alarms.iter().any(|known| known == alarm))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_copies_that_both_run_count_what_they_share_once_and_what_is_their_own_too()
-> Result<()> {
    let mut world = World::begin().await?;
    let mut original = world.system.agent("original", BY_HAND).await?;
    ingest(&original, 0..2).await?;
    original.flush().await?;
    // What both will have: a frame that nobody took, and open partials behind it.
    world.system.collector.kill()?;
    ingest(&original, 2..4).await?;
    seal(&original).await?;
    ingest(&original, 4..6).await?;
    original.kill()?;
    world.copy("original", "copy")?;
    world.system.collector.start_again().await?;
    original.start_again().await?;
    let copy = world.system.agent("copy", BY_HAND).await?;
    let both = id(&original).await?;
    ensure!(id(&copy).await? == both);

    // Both go on, and take turns in every way.
    ingest(&original, 10..12).await?;
    ingest(&copy, 20..22).await?;
    for turn in 0..3 {
        copy.flush().await?;
        original.flush().await?;
        ingest(&original, 12 + turn..13 + turn).await?;
        ingest(&copy, 22 + turn..23 + turn).await?;
    }
    original.flush().await?;
    copy.flush().await?;
    world.expect(&[0..6, 10..15, 20..25]).await?;

    // One of them has become another agent, and everybody says so.
    let renamed = if id(&original).await? == both {
        &copy
    } else {
        &original
    };
    let new = id(renamed).await?;
    ensure!(new != both, "both still go by one name");
    let told = incidents(renamed, "forked").await?;
    ensure!(told.len() == 1, "{told:?}");
    ensure!(told[0]["former_agent_id"] == both, "{told:?}");
    ensure!(
        told[0]["missing"].is_null() && told[0]["repeated"].is_null(),
        "{told:?}"
    );
    ensure!(world.agents().await?.len() == 2);
    let old = world.known(&both).await?;
    ensure!(has_alarm(&old, "forked"), "{old}");
    let new = world.known(&new).await?;
    ensure!(!has_alarm(&old, "lost_state"), "{old}");
    ensure!(new["live"] == true, "{new}");
    let forks = world.audited("agent.forked").await?;
    ensure!(forks.len() == 1 && forks[0]["subject"] == both, "{forks:?}");
    let reported = world.audited("agent.reported").await?;
    ensure!(
        reported
            .iter()
            .any(|entry| entry["detail"]["kind"] == "forked"),
        "{reported:?}"
    );
    let metrics = renamed.api().get("/metrics").await?.body;
    ensure!(metrics.contains("submeter_agent_incidents{kind=\"forked\"} 1"));

    // A person has looked.
    let path = format!("/v1/agents/{}/acknowledge", both.as_str().context("an id")?);
    let quiet = world.api().create(&path, &json!({})).await?;
    ensure!(quiet["alarms"] == json!([]), "{quiet}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_copies_of_one_directory_count_what_they_share_once() -> Result<()> {
    let world = World::begin().await?;
    let mut first = world.system.agent("first", BY_HAND).await?;
    ingest(&first, 0..3).await?;
    first.kill()?;
    let mut copies = Vec::new();
    for number in 0..4 {
        let name = format!("copy-{number}");
        world.copy("first", &name)?;
        copies.push(world.system.agent(&name, BY_HAND).await?);
    }
    for round in 0..3 {
        for (place, agent) in (0..).zip(&copies) {
            let number = 10 + 4 * round + place;
            ingest(agent, number..number + 1).await?;
            agent.flush().await?;
        }
    }
    world.expect(&[0..3, 10..22]).await?;
    let mut names = BTreeSet::new();
    for agent in &copies {
        names.insert(id(agent).await?.to_string());
    }
    ensure!(names.len() == 4, "{names:?}");
    Ok(())
}

/// What happens between the copy and the loss of the original.
struct Story {
    name: &'static str,
    /// The copy holds frames that nobody had taken, and partials that nobody had sealed.
    unsent: bool,
    /// Frames delivered after the copy was made.
    frames: u64,
    /// The copy is first run twice without a collector, and seals frames of its own.
    offline: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_goes_on_behind_what_was_delivered() -> Result<()> {
    let stories = [
        Story {
            name: "one frame behind",
            unsent: false,
            frames: 1,
            offline: false,
        },
        Story {
            name: "several frames behind, with open and unsent data",
            unsent: true,
            frames: 3,
            offline: false,
        },
        Story {
            name: "one frame behind, with frames of its own beyond it",
            unsent: true,
            frames: 1,
            offline: true,
        },
    ];
    for story in stories {
        restored(&story).await.context(story.name)?;
    }
    Ok(())
}

async fn restored(story: &Story) -> Result<()> {
    let mut world = World::begin().await?;
    let mut agent = world.system.agent("agent", BY_HAND).await?;
    ingest(&agent, 0..2).await?;
    agent.flush().await?;
    if story.unsent {
        world.system.collector.kill()?;
        ingest(&agent, 2..4).await?;
        seal(&agent).await?;
        ingest(&agent, 4..6).await?;
    }
    agent.kill()?;
    world.copy("agent", "backup")?;
    if story.unsent {
        world.system.collector.start_again().await?;
    }
    agent.start_again().await?;
    for number in 10..10 + story.frames {
        ingest(&agent, number..number + 1).await?;
        agent.flush().await?;
    }
    let before = id(&agent).await?;
    agent.kill()?;
    std::fs::remove_dir_all(world.directory("agent"))?;
    world.copy("backup", "agent")?;

    if story.offline {
        world.system.collector.kill()?;
        for number in 20..22 {
            agent.start_again().await?;
            ingest(&agent, number..number + 1).await?;
            seal(&agent).await?;
            agent.kill()?;
        }
        world.system.collector.start_again().await?;
    }
    agent.start_again().await?;
    // What the copy remembers it does not take twice.
    let again = json!({"events": [{
        "event_id": "e0", "customer_id": "acme", "event_name": "call", "metadata": {"n": 1},
    }]});
    let answer = agent.api().create("/events/ingest", &again).await?;
    ensure!(answer["duplicate_count"] == 1, "{answer}");
    ingest(&agent, 22..24).await?;
    agent.flush().await?;

    let shared = if story.unsent { 0..6 } else { 0..2 };
    let own = if story.offline { 20..24 } else { 22..24 };
    world.expect(&[shared, 10..10 + story.frames, own]).await?;
    ensure!(id(&agent).await? == before, "it keeps its name");
    let told = incidents(&agent, "rolled_back").await?;
    ensure!(told.len() == 1 && told[0]["missing"].is_null(), "{told:?}");
    let known = world.known(&before).await?;
    ensure!(has_alarm(&known, "rolled_back"), "{known}");
    ensure!(!has_alarm(&known, "unconserved"), "{known}");
    let audited = world.audited("agent.rolled_back").await?;
    ensure!(audited.len() == 1, "{audited:?}");
    ensure!(world.audited("agent.forked").await?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_directory_is_missed_and_its_successor_counts() -> Result<()> {
    let world = World::begin().await?;
    let mut agent = world.system.agent("agent", BY_HAND).await?;
    ingest(&agent, 0..2).await?;
    agent.flush().await?;
    // This event is gone with the directory.
    ingest(&agent, 2..3).await?;
    let lost = id(&agent).await?;
    agent.kill()?;
    std::fs::remove_dir_all(world.directory("agent"))?;
    std::fs::create_dir(world.directory("agent"))?;
    agent.start_again().await?;
    ingest(&agent, 10..12).await?;
    agent.flush().await?;

    world.expect(&[0..2, 10..12]).await?;
    let told = incidents(&agent, "lost_state").await?;
    ensure!(
        told.len() == 1 && told[0]["former_agent_id"] == lost,
        "{told:?}"
    );
    let known = world.known(&lost).await?;
    ensure!(
        has_alarm(&known, "lost_state") && known["live"] == true,
        "{known}"
    );
    let audited = world.audited("agent.lost_state").await?;
    ensure!(audited.len() == 1, "{audited:?}");
    ensure!(audited[0]["detail"]["replaced_by"] == id(&agent).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_set_back_gets_what_it_lost_again() -> Result<()> {
    for settings in [BY_HAND, FORGETFUL] {
        let mut world = World::begin().await?;
        let agent = world.system.agent("agent", settings).await?;
        ingest(&agent, 0..2).await?;
        agent.flush().await?;
        world.system.collector.kill()?;
        world.copy("collector", "backup")?;
        world.system.collector.start_again().await?;
        for number in 2..5 {
            ingest(&agent, number..number + 1).await?;
            agent.flush().await?;
        }
        if settings == FORGETFUL {
            forgotten(&agent).await?;
        }
        world.system.collector.kill()?;
        std::fs::remove_dir_all(world.directory("collector"))?;
        world.copy("backup", "collector")?;
        world.system.collector.start_again().await?;
        ingest(&agent, 5..7).await?;
        agent.flush().await?;
        eventually("all of it", PATIENCE, || async {
            agent.flush().await?;
            world.expect(&[0..5, 5..7]).await
        })
        .await
        .with_context(|| settings.to_owned())?;

        let told = incidents(&agent, "collector_behind").await?;
        ensure!(told.len() == 1, "{told:?}");
        ensure!(told.iter().all(|one| one["missing"].is_null()), "{told:?}");
        let known = world.known(&id(&agent).await?).await?;
        ensure!(has_alarm(&known, "collector_behind"), "{known}");
        ensure!(world.audited("agent.ahead_of_collector").await?.len() == 1);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_collector_gets_what_the_agent_still_has() -> Result<()> {
    for settings in [BY_HAND, FORGETFUL] {
        let mut world = World::begin().await?;
        let agent = world.system.agent("agent", settings).await?;
        for number in 0..3 {
            ingest(&agent, number..number + 1).await?;
            agent.flush().await?;
        }
        if settings == FORGETFUL {
            forgotten(&agent).await?;
        }
        world.system.collector.kill()?;
        std::fs::remove_dir_all(world.directory("collector"))?;
        std::fs::create_dir(world.directory("collector"))?;
        world.system.collector.start_again().await?;
        (world.count, world.sum) = meters(world.system.collector.api()).await?;
        ingest(&agent, 3..5).await?;
        eventually("all of it", PATIENCE, || async {
            agent.flush().await?;
            world.expect(&[0..3, 3..5]).await
        })
        .await
        .with_context(|| settings.to_owned())?;
        ensure!(agent.status().await?["flush"]["state"] == "flowing");
        let known = world.known(&id(&agent).await?).await?;
        ensure!(has_alarm(&known, "collector_behind"), "{known}");
        ensure!(world.audited("agent.ahead_of_collector").await?.len() == 1);
    }
    Ok(())
}

/// Waits until no acknowledged frame is kept.
async fn forgotten(agent: &Agent) -> Result<()> {
    eventually(
        "the acknowledged frames to be reclaimed",
        PATIENCE,
        || async {
            let kept = agent.api().fetch("/v1/inspect/outbox").await?;
            let items = kept["items"].as_array().with_context(|| kept.to_string())?;
            ensure!(items.is_empty(), "{kept}");
            Ok(())
        },
    )
    .await
}
