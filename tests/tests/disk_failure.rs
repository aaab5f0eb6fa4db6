//! What becomes of acknowledged events when the disk fails: an fsync or a write returns an error, at any of many calls.
//!
//! Each time: what waited for the failed call is not acknowledged, the agent ends with its own exit code and says why,
//! and the next start finds everything that was acknowledged, once.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use submeter_tests::faulty_disk::{Call, EIO, ENOSPC, EROFS, Fault, FaultyDisk, Rule, Target};
use submeter_tests::system::{Agent, Outcome, PATIENCE, System};
use submeter_tests::workload::bulk::{Bulk, BulkMeters};

/// Exit code of an agent whose store failed.
const STORE_FAILED: i32 = 4;

const SETTINGS: &str = "flush_interval = \"100ms\"\ncheckpoint_interval = \"50ms\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_fsync_ends_the_agent_without_acknowledging_what_it_should_have_kept() -> Result<()>
{
    let mut faults = Vec::new();
    for after in [0, 1, 6, 17] {
        for fault in [Fault::Fail(EIO), Fault::Lose(EIO)] {
            faults.push(Rule::once(Call::Sync, Target::Log, fault, after));
        }
    }
    let beyond = Rule::once(Call::Sync, Target::All, Fault::Fail(EIO), 3);
    faults.push(beyond);
    fail_in_the_middle_of_work(&faults).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_write_ends_the_agent_without_acknowledging_what_was_in_it() -> Result<()> {
    let mut faults = Vec::new();
    for (after, fault) in [
        (0, Fault::Fail(EIO)),
        (5, Fault::Torn(EIO)),
        (1, Fault::Fail(ENOSPC)),
        (11, Fault::Torn(ENOSPC)),
        (3, Fault::Fail(EROFS)),
    ] {
        faults.push(Rule::once(Call::Write, Target::Log, fault, after));
    }
    // From here on nothing can be written any more, as on a disk that was made read-only under the agent.
    let read_only = Rule::always(Call::Write, Target::All, Fault::Fail(EROFS));
    faults.push(read_only);
    fail_in_the_middle_of_work(&faults).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_takes_less_at_a_time_than_it_is_given_is_no_failure() -> Result<()> {
    let story = Story::begin().await?;
    let mut agent = story.agent;
    story
        .disk
        .set(&[Rule::always(Call::Write, Target::All, Fault::Short)])?;
    for _ in 0..10 {
        story.bulk.deliver(agent.api()).await?;
    }
    ensure!(story.disk.struck()? > 0, "no write came up short");
    story.disk.set(&[])?;
    agent.crash_and_start().await?;
    ensure!(agent.drain().await? == Outcome::Drained);
    let collector = story.system.collector.api();
    story.meters.audit(collector, &story.bulk).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_during_a_start_fails_the_start_and_nothing_else() -> Result<()> {
    let story = Story::begin().await?;
    let mut agent = story.agent;
    let mut failed = 0;
    for call in [Call::Sync, Call::Write, Call::Open] {
        // Doubling, so that early and late steps of a start are met.
        for after in [0, 1, 2, 4, 8, 16] {
            story.bulk.deliver(agent.api()).await?;
            agent.kill()?;
            let rule = Rule::once(call, Target::All, Fault::Fail(EIO), after);
            story.disk.set(&[rule])?;
            agent.spawn_again()?;
            if let Err(error) = agent.ready().await {
                failed += 1;
                let status = agent.process().ended(PATIENCE).await?;
                let log = agent.process().log_tail();
                let context = || format!("{rule:?}: {status}: {log}: {error}");
                ensure!(status.code() == Some(STORE_FAILED), context());
                ensure!(log.contains("nput/output error"), context());
                ensure!(story.disk.struck()? == 1, context());
            }
            story.disk.set(&[])?;
            if agent.process().is_over() {
                agent.start_again().await?;
            }
        }
    }
    ensure!(failed >= 6, "only {failed} starts failed");
    ensure!(agent.drain().await? == Outcome::Drained);
    let collector = story.system.collector.api();
    story.meters.audit(collector, &story.bulk).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_finds_the_disk_full_waits_for_room() -> Result<()> {
    let story = Story::begin().await?;
    let mut agent = story.agent;
    story.bulk.deliver(agent.api()).await?;
    agent.kill()?;
    let full = Rule::once(Call::Sync, Target::All, Fault::Fail(ENOSPC), 1);
    story.disk.set(&[full])?;
    agent.start_again().await?;
    ensure!(story.disk.struck()? == 1, "the disk was not full");
    let log = agent.process().log_tail();
    ensure!(log.contains("the disk is full"), "{log}");
    ensure!(agent.drain().await? == Outcome::Drained);
    let collector = story.system.collector.api();
    story.meters.audit(collector, &story.bulk).await
}

/// An agent on a disk that can fail, events for it, and what they must add up to.
struct Story {
    system: System,
    meters: BulkMeters,
    bulk: Arc<Bulk>,
    disk: FaultyDisk,
    agent: Agent,
}

impl Story {
    async fn begin() -> Result<Self> {
        let system = System::start("").await?;
        let meters = BulkMeters::create(system.collector.api()).await?;
        let disk = FaultyDisk::around(&system.root().join("agent"))?;
        let mut agent = system.spawn_agent("agent", SETTINGS, disk.environment())?;
        agent.ready().await?;
        // The catalog is there before the first event.
        agent.flush().await?;
        Ok(Self {
            system,
            meters,
            bulk: Arc::default(),
            disk,
            agent,
        })
    }
}

/// Lets the disk fail in each of these ways while several clients send, and starts the agent again on a good disk.
async fn fail_in_the_middle_of_work(faults: &[Rule]) -> Result<()> {
    let story = Story::begin().await?;
    let mut agent = story.agent;
    for rule in faults {
        story.disk.set(&[*rule])?;
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (bulk, api) = (Arc::clone(&story.bulk), agent.api().clone());
            clients.spawn(async move {
                // Until nobody answers any more.
                while bulk.send_again(&api).await.is_ok() {}
            });
        }
        let status = agent
            .process()
            .ended(PATIENCE)
            .await
            .with_context(|| format!("{rule:?}"))?;
        while let Some(client) = clients.join_next().await {
            client?;
        }
        let log = agent.process().log_tail();
        ensure!(
            status.code() == Some(STORE_FAILED),
            "{rule:?}: {status}: {log}"
        );
        ensure!(log.contains("the store failed"), "{rule:?}: {log}");
        ensure!(story.disk.struck()? > 0, "{rule:?} did not strike: {log}");
        story.disk.set(&[])?;
        agent.start_again().await?;
        story.bulk.deliver(agent.api()).await?;
    }
    story.bulk.deliver_refused(agent.api()).await?;
    ensure!(agent.drain().await? == Outcome::Drained);
    let collector = story.system.collector.api();
    story.meters.audit(collector, &story.bulk).await
}
