//! What happens when the collector's disk gets full, or fails?
//!
//! Usage waits at the agents: what they were refused they keep and send again, so that in the end every event counts once.

use anyhow::{Context, Result, ensure};
use submeter_common::time::{Clock, SystemClock};
use submeter_tests::builders;
use submeter_tests::faulty_disk::{Call, EDQUOT, EIO, ENOSPC, Fault, FaultyDisk, Rule, Target};
use submeter_tests::network::fleet::Fleet;
use submeter_tests::small_disk::{self, SmallDisk};
use submeter_tests::system::{Agent, Api, Collector, Outcome, PATIENCE, System, eventually};
use submeter_tests::workload::bulk::{self, Bulk, BulkMeters};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// A disk, and the reserve a collector keeps on it.
const DISK_MEBIBYTES: u64 = 256;
const RESERVE: u64 = 32 << 20;
const SETTINGS: &str = "disk_free_bytes_min = \"32MiB\"";
const AGENT: &str = "flush_interval = \"100ms\"\ncheckpoint_interval = \"100ms\"";

/// Exit code of a collector of which a part died.
const DIED: i32 = 4;

#[test]
fn a_collector_short_of_disk_refuses_frames_and_takes_them_when_there_is_room() -> Result<()> {
    let name = "a_collector_short_of_disk_refuses_frames_and_takes_them_when_there_is_room";
    small_disk::run(name, async || {
        let story = Story::begin(SETTINGS, None).await?;
        let api = story.system.collector.api().clone();
        let calls = builders::meter("Calls", "call", "count", "", "call");
        let meter = builders::create_meter(&api, &calls).await?;
        story.bulk.deliver(story.agent.api()).await?;
        story.agent.flush().await?;
        let mut fleet = Fleet::new(10, 1, &meter, 3)?;
        fleet.seal(1, SystemClock.now().truncate_to_minute())?;

        story.disk.fill(RESERVE / 2)?;
        // Other agents come, too; they insist on a `Retry-After`.
        let others = tokio::spawn({
            let api = api.clone();
            async move { fleet.come_back(&api).await.map(|report| (fleet, report)) }
        });
        for _ in 0..3 {
            story.bulk.deliver(story.agent.api()).await?;
        }
        keeps_what_was_refused(&story.agent).await?;
        is_not_ready(&api).await?;
        eventually("refusals to be counted", PATIENCE, || hits(&api)).await?;
        // What little else is written is still taken, and what is there is shown.
        builders::create_meter(&api, &builders::meter("More", "more", "count", "", "unit")).await?;
        story.counted(1).await?;
        ensure!(events(&api, &meter).await? == 0, "a frame was applied");

        // With next to nothing left, nothing is written any more.
        story.disk.fill(RESERVE / 8)?;
        let meter_refused = builders::meter("No more", "no_more", "count", "", "unit");
        let reply = api.post("/meters", &meter_refused).await?;
        ensure!(
            reply.status == 503 && reply.code() == "DISK_LOW" && reply.retry_after.is_some(),
            "{}: {}",
            reply.status,
            reply.body
        );

        story.disk.clear()?;
        let (fleet, report) = others.await??;
        ensure!(report.refusals > 0, "{report:?}");
        ensure!(
            events(&api, &meter).await? == fleet.accepted(),
            "{report:?}"
        );
        story.end().await
    })
}

#[test]
fn a_collector_whose_disk_was_filled_to_the_last_byte_goes_on_by_itself() -> Result<()> {
    let name = "a_collector_whose_disk_was_filled_to_the_last_byte_goes_on_by_itself";
    small_disk::run(name, async || {
        // Without a reserve it is the store that fails; and without room at its start it takes no room ahead.
        let mut story = Story::begin("disk_free_bytes_min = \"0B\"", Some(4 << 20)).await?;
        let api = story.system.collector.api().clone();
        story.bulk.deliver(story.agent.api()).await?;
        story.agent.flush().await?;
        story.disk.fill(0)?;
        eventually("the store to be full", PATIENCE, || async {
            story.bulk.deliver(story.agent.api()).await?;
            is_not_ready(&api).await
        })
        .await?;
        keeps_what_was_refused(&story.agent).await?;
        story.disk.clear()?;
        let ready = eventually("the collector to be ready", PATIENCE, || async {
            api.get("/readyz").await?.success()
        });
        let log = || story.system.collector.process().log_tail();
        ready.await.with_context(log)?;
        story.end().await
    })
}

#[test]
fn a_collector_that_starts_on_a_full_disk_waits_for_room() -> Result<()> {
    let name = "a_collector_that_starts_on_a_full_disk_waits_for_room";
    small_disk::run(name, async || {
        let mut story = Story::begin(SETTINGS, None).await?;
        story.bulk.deliver(story.agent.api()).await?;
        story.agent.flush().await?;
        story.system.collector.kill()?;
        story.disk.fill(0)?;
        story.bulk.deliver(story.agent.api()).await?;

        story.system.collector.spawn_again()?;
        waits_for_room(&mut story.system.collector, 1).await?;
        let status = story.system.collector.terminate().await?;
        ensure!(status.success(), "told to stop while it waited: {status}");

        story.system.collector.spawn_again()?;
        waits_for_room(&mut story.system.collector, 2).await?;
        story.disk.clear()?;
        story.system.collector.ready().await?;
        story.end().await
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_and_a_crash_on_the_way_back_apply_no_half_of_a_frame() -> Result<()> {
    // The log takes a frame, and then its fsync finds no room. While the store writes out what it has, to go on without
    // that log, it dies: at any of the fsyncs that takes.
    let mut stories = JoinSet::new();
    for after in 0..CRASHES {
        stories.spawn(async move {
            let full = Rule::once(Call::Sync, Target::Log, Fault::Fail(ENOSPC), 0);
            let dead = Rule::once(Call::Sync, Target::All, Fault::Fail(EIO), after);
            let died = fail_under_a_frame(&[full, dead]).await;
            died.with_context(|| format!("after {after} fsyncs"))
        });
    }
    let mut died = 0;
    while let Some(story) = stories.join_next().await {
        died += u64::from(story??);
    }
    ensure!(died >= CRASHES / 2, "only {died} of {CRASHES} died");
    Ok(())
}

/// More fsyncs than a recovery takes.
const CRASHES: u64 = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_whose_disk_fails_ends_and_says_why() -> Result<()> {
    for call in [Call::Sync, Call::Write] {
        let rule = Rule::once(call, Target::Log, Fault::Fail(EIO), 0);
        ensure!(fail_under_a_frame(&[rule]).await?, "{rule:?}: it lived on");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_over_its_quota_ends_and_its_next_start_waits_for_room() -> Result<()> {
    // RocksDB does not go on by itself, as it does when the whole disk is full: a start has to.
    let mut frail = Frail::begin().await?;
    let over = Rule::once(Call::Write, Target::Log, Fault::Fail(EDQUOT), 0);
    ensure!(frail.fail_under_a_frame(&[over]).await?, "it lived on");

    let still_over = Rule::always(Call::Write, Target::All, Fault::Fail(EDQUOT));
    frail.disk.set(&[still_over])?;
    frail.system.collector.spawn_again()?;
    waits_for_room(&mut frail.system.collector, 1).await?;
    frail.disk.set(&[])?;
    frail.system.collector.ready().await?;
    frail.end().await
}

/// Lets the disk fail as told while frames come; says whether that ended the collector. Either way all usage arrives, once.
async fn fail_under_a_frame(rules: &[Rule]) -> Result<bool> {
    let mut frail = Frail::begin().await?;
    let has_died = frail.fail_under_a_frame(rules).await?;
    if has_died {
        frail.system.collector.start_again().await?;
    }
    frail.end().await?;
    Ok(has_died)
}

/// A collector on a disk that can fail, and an agent that has brought it something already.
struct Frail {
    system: System,
    disk: FaultyDisk,
    agent: Agent,
    meters: BulkMeters,
    bulk: Bulk,
    _root: TempDir,
}

impl Frail {
    async fn begin() -> Result<Self> {
        let root = tempfile::Builder::new().prefix("submeter-").tempdir()?;
        let disk = FaultyDisk::around(&root.path().join("collector"))?;
        let system = System::start_with(root.path(), "", disk.environment()).await?;
        let meters = BulkMeters::create(system.collector.api()).await?;
        let agent = system.agent("agent", AGENT).await?;
        let bulk = Bulk::default();
        bulk.deliver(agent.api()).await?;
        agent.flush().await?;
        Ok(Self {
            system,
            disk,
            agent,
            meters,
            bulk,
            _root: root,
        })
    }

    /// Says whether the collector has ended; then it has said why.
    async fn fail_under_a_frame(&mut self, rules: &[Rule]) -> Result<bool> {
        self.disk.set(rules)?;
        self.bulk.deliver(self.agent.api()).await?;
        let process = self.system.collector.process();
        let has_died = tokio::select! {
            brought = self.agent.flush() => brought.map(|()| false)?,
            ended = process.ended(PATIENCE) => {
                let (status, log) = (ended?, process.log_tail());
                ensure!(status.code() == Some(DIED), "{status}: {log}");
                ensure!(log.contains("the store ended by itself"), "{log}");
                true
            }
        };
        ensure!(self.disk.struck()? > 0, "the disk did not fail");
        self.disk.set(&[])?;
        Ok(has_died)
    }

    async fn end(mut self) -> Result<()> {
        self.bulk.deliver(self.agent.api()).await?;
        ensure!(self.agent.drain().await? == Outcome::Drained);
        let api = self.system.collector.api();
        self.meters.audit(api, &self.bulk).await
    }
}

/// A collector on a small disk of its own, an agent on this machine's, and events for it.
struct Story {
    system: System,
    disk: SmallDisk,
    agent: Agent,
    meters: BulkMeters,
    bulk: Bulk,
    _root: TempDir,
}

impl Story {
    /// Starts the collector with no more than `left` bytes free, where that is said.
    async fn begin(settings: &str, left: Option<u64>) -> Result<Self> {
        let root = tempfile::Builder::new().prefix("submeter-").tempdir()?;
        let disk = SmallDisk::mount(&root.path().join("collector"), DISK_MEBIBYTES)?;
        if let Some(left) = left {
            disk.fill(left)?;
        }
        let system = System::start_in(root.path(), settings).await?;
        let meters = BulkMeters::create(system.collector.api()).await?;
        let agent = system.agent("agent", AGENT).await?;
        Ok(Self {
            system,
            disk,
            agent,
            meters,
            bulk: Bulk::default(),
            _root: root,
        })
    }

    /// The collector counts this many batches and no part of any other.
    async fn counted(&self, batches: u64) -> Result<()> {
        let counted = self.meters.events(self.system.collector.api()).await?;
        ensure!(counted == batches * bulk::EVENTS, "{counted} events");
        Ok(())
    }

    /// All that was acknowledged arrives without anybody's help, and counts once.
    async fn end(mut self) -> Result<()> {
        self.bulk.deliver(self.agent.api()).await?;
        self.agent.flush().await?;
        ensure!(self.agent.drain().await? == Outcome::Drained);
        let api = self.system.collector.api();
        self.meters.audit(api, &self.bulk).await
    }
}

/// The agent has sealed, was told to come back, keeps its frame, and takes events all the same.
async fn keeps_what_was_refused(agent: &Agent) -> Result<()> {
    eventually("the agent to be refused", PATIENCE, || async {
        let status = agent.status().await?;
        let refused = status["flush"]["state"] == "retrying"
            && status["flush"]["message"]
                .as_str()
                .is_some_and(|message| message.contains("disk"));
        let frames = status["outbox_frames"].as_u64();
        ensure!(refused && frames > Some(0), "{status}");
        agent.api().get("/readyz").await?.success()
    })
    .await
}

/// It says so itself, and why; and that starting it again would not help.
async fn is_not_ready(api: &Api) -> Result<()> {
    let ready = api.get("/readyz").await?;
    ensure!(
        ready.status == 503 && ready.code() == "DISK_LOW" && ready.body.contains("disk"),
        "{}: {}",
        ready.status,
        ready.body
    );
    api.get("/healthz").await?.success()
}

async fn hits(api: &Api) -> Result<()> {
    let metrics = api.get("/metrics").await?.body;
    let ours = "submeter_collector_budget_hits_total{budget=\"disk_free_bytes_min\"} ";
    let hits = metrics.lines().find_map(|line| line.strip_prefix(ours));
    ensure!(hits.is_some_and(|hits| hits != "0"), "{metrics}");
    Ok(())
}

async fn events(api: &Api, meter: &str) -> Result<u64> {
    let path = format!("/v1/usage?customer_id=c0&meter_id={meter}");
    let usage = api.fetch(&path).await?;
    Ok(usage["items"][0]["events"].as_u64().unwrap_or_default())
}

async fn waits_for_room(collector: &mut Collector, times: usize) -> Result<()> {
    let waited = eventually("the collector to say what it waits for", PATIENCE, || {
        let log = collector.process().log();
        let told = log.matches("waiting for room to start").count();
        async move {
            ensure!(told == times, "{log}");
            Ok(())
        }
    });
    waited.await?;
    ensure!(!collector.process().is_over(), "it gave up");
    Ok(())
}
