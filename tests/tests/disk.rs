//! What happens when the agent's disk gets full, is slow, or cannot be written?

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use submeter_tests::faulty_disk::{Call, Fault, FaultyDisk, Rule, Target};
use submeter_tests::small_disk::{self, SmallDisk};
use submeter_tests::system::{Agent, Api, Outcome, PATIENCE, Reply, System, eventually};
use submeter_tests::workload::bulk::{Bulk, BulkMeters};

/// A disk and the reserve an agent keeps on it.
const DISK_MEBIBYTES: u64 = 80;
const RESERVE: u64 = 16 << 20;
const SETTINGS: &str =
    "flush_interval = \"200ms\"\ncheckpoint_interval = \"500ms\"\ndisk_free_bytes_min = \"16 MiB\"";

#[test]
fn a_disk_that_fills_up_refuses_events_before_it_is_full_and_takes_them_again_when_flushed()
-> Result<()> {
    let name =
        "a_disk_that_fills_up_refuses_events_before_it_is_full_and_takes_them_again_when_flushed";
    small_disk::run(name, async || {
        let mut system = System::start("").await?;
        let disk = SmallDisk::mount(&system.root().join("agent"), DISK_MEBIBYTES)?;
        let meters = BulkMeters::create(system.collector.api()).await?;
        let mut agent = system.agent("agent", SETTINGS).await?;
        agent.flush().await?;
        system.collector.kill()?;

        // Every event is a group of its own, which nothing but the collector can take off the disk.
        let bulk = Bulk::default();
        let mut least = u64::MAX;
        let mut refused = 0;
        // At first it gives back what it only keeps for convenience, and takes events again.
        while refused < 15 {
            let reply = bulk.send_again(agent.api()).await;
            let reply = reply.with_context(|| agent.process().log_tail())?;
            least = least.min(disk.free()?);
            if reply.status == 200 {
                refused = 0;
                continue;
            }
            tells_want_of_disk(&reply)?;
            refused += 1;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        ensure!(bulk.acknowledged() > 20, "refused at once");
        ensure!(least > 0, "the disk was full");
        ensure!(!agent.process().is_over(), "{}", agent.process().log_tail());

        system.collector.start_again().await?;
        let accepted = eventually("events to be taken again", PATIENCE, || async {
            bulk.send_again(agent.api()).await?.success()
        });
        accepted.await.with_context(|| agent.process().log_tail())?;
        for _ in 0..5 {
            bulk.deliver(agent.api()).await?;
        }
        ensure!(agent.drain().await? == Outcome::Drained);
        meters.audit(system.collector.api(), &bulk).await
    })
}

#[test]
fn a_disk_that_somebody_else_fills_refuses_events_until_there_is_room_again() -> Result<()> {
    let name = "a_disk_that_somebody_else_fills_refuses_events_until_there_is_room_again";
    small_disk::run(name, async || {
        let system = System::start("").await?;
        let disk = SmallDisk::mount(&system.root().join("agent"), DISK_MEBIBYTES)?;
        let meters = BulkMeters::create(system.collector.api()).await?;
        let mut agent = system.agent("agent", SETTINGS).await?;
        let bulk = Bulk::default();
        for _ in 0..2 {
            bulk.deliver(agent.api()).await?;
            disk.fill(RESERVE / 3)?;
            let refusal = bulk.send(agent.api()).await?;
            is_for_want_of_disk(&refusal, &agent).await?;
            // What was taken before still gets to the collector.
            agent
                .flush()
                .await
                .with_context(|| agent.process().log_tail())?;
            disk.clear()?;
            bulk.deliver(agent.api()).await?;
        }
        ensure!(agent.drain().await? == Outcome::Drained);
        meters.audit(system.collector.api(), &bulk).await
    })
}

#[test]
fn a_disk_filled_to_the_last_byte_under_a_working_agent_loses_nothing() -> Result<()> {
    let name = "a_disk_filled_to_the_last_byte_under_a_working_agent_loses_nothing";
    small_disk::run(name, async || {
        let system = System::start("").await?;
        let disk = SmallDisk::mount(&system.root().join("agent"), DISK_MEBIBYTES)?;
        let meters = BulkMeters::create(system.collector.api()).await?;
        let mut agent = system.agent("agent", SETTINGS).await?;
        let bulk = Bulk::default();
        for _ in 0..3 {
            bulk.deliver(agent.api()).await?;
            disk.fill(0)?;
            if let Ok(refusal) = bulk.send(agent.api()).await {
                ensure!(
                    refusal.status == 503,
                    "{}: {}",
                    refusal.status,
                    refusal.body
                );
            }
            disk.clear()?;
            // It takes events again; or a write of its own came too late for the ballast, and it has ended.
            let works = works_again(&mut agent, &bulk);
            tokio::time::timeout(PATIENCE, works).await??;
        }
        bulk.deliver_refused(agent.api()).await?;
        ensure!(agent.drain().await? == Outcome::Drained);
        meters.audit(system.collector.api(), &bulk).await
    })
}

#[test]
fn an_agent_starts_on_a_full_disk_with_what_it_kept_back_for_that_and_else_waits() -> Result<()> {
    let name = "an_agent_starts_on_a_full_disk_with_what_it_kept_back_for_that_and_else_waits";
    small_disk::run(name, async || {
        let mut system = System::start("").await?;
        let disk = SmallDisk::mount(&system.root().join("agent"), DISK_MEBIBYTES)?;
        let meters = BulkMeters::create(system.collector.api()).await?;
        let settings = format!("{SETTINGS}\nshutdown_grace = \"1s\"");
        let mut agent = system.agent("agent", &settings).await?;
        agent.flush().await?;
        let ballast = agent.directory().join("ballast");
        eventually("the ballast", PATIENCE, || async {
            ensure!(ballast.exists(), "no {}", ballast.display());
            Ok(())
        })
        .await?;
        system.collector.kill()?;
        let bulk = Bulk::default();
        bulk.deliver(agent.api()).await?;
        // Killed, it would leave room it had taken ahead, which a start finds again.
        ensure!(agent.drain().await? == Outcome::FramesLeft);
        disk.fill(0)?;

        agent.spawn_again()?;
        agent.listening().await?;
        let refusal = bulk.send(agent.api()).await?;
        is_for_want_of_disk(&refusal, &agent).await?;
        ensure!(!ballast.exists(), "the ballast was not needed");
        system.collector.start_again().await?;
        agent.flush().await?;

        // Without ballast there is nothing to start with.
        ensure!(agent.drain().await? == Outcome::Drained);
        disk.fill(0)?;
        agent.spawn_again()?;
        eventually("the agent to say what it waits for", PATIENCE, || async {
            let log = std::fs::read_to_string(agent.directory().with_extension("log"))?;
            ensure!(log.contains("waiting for room to start"), "{log}");
            Ok(())
        })
        .await?;
        ensure!(!agent.process().is_over(), "it gave up");
        disk.clear()?;
        agent.ready().await?;
        bulk.deliver(agent.api()).await?;
        ensure!(agent.drain().await? == Outcome::Drained);
        meters.audit(system.collector.api(), &bulk).await
    })
}

#[test]
fn an_agent_on_a_read_only_disk_says_so_and_ends() -> Result<()> {
    let name = "an_agent_on_a_read_only_disk_says_so_and_ends";
    small_disk::run(name, async || {
        let system = System::start("").await?;
        let disk = SmallDisk::mount(&system.root().join("agent"), DISK_MEBIBYTES)?;
        let meters = BulkMeters::create(system.collector.api()).await?;
        let mut agent = system.agent("agent", SETTINGS).await?;
        let bulk = Bulk::default();
        bulk.deliver(agent.api()).await?;
        agent.kill()?;
        disk.set_read_only(true)?;
        agent.spawn_again()?;
        let status = agent.process().ended(PATIENCE).await?;
        let log = agent.process().log_tail();
        ensure!(status.code() == Some(4), "{status}: {log}");
        ensure!(log.contains("Read-only file system"), "{log}");

        disk.set_read_only(false)?;
        agent.start_again().await?;
        bulk.deliver(agent.api()).await?;
        ensure!(agent.drain().await? == Outcome::Drained);
        meters.audit(system.collector.api(), &bulk).await
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_disk_makes_events_wait_and_then_refuses_more_than_fit_into_memory() -> Result<()> {
    let system = System::start("").await?;
    let meters = BulkMeters::create(system.collector.api()).await?;
    let disk = FaultyDisk::around(&system.root().join("agent"))?;
    let settings = "request_bytes_max = \"256 KiB\"\nrequests_bytes_max = \"1 MiB\"";
    let mut agent = system.spawn_agent("agent", settings, disk.environment())?;
    agent.ready().await?;
    let delay = Duration::from_millis(400);
    disk.set(&[Rule::always(Call::Sync, Target::Log, Fault::Delay(delay))])?;

    let bulk = Arc::new(Bulk::default());
    let refused = Arc::new(AtomicU64::new(0));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (bulk, refused, api) = (Arc::clone(&bulk), Arc::clone(&refused), agent.api().clone());
        clients.spawn(async move { send_until_refused(&bulk, &refused, &api).await });
    }
    let all = async {
        while let Some(client) = clients.join_next().await {
            client??;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, all)
        .await
        .context("nothing was refused")??;
    ensure!(bulk.acknowledged() > 0, "nothing was acknowledged");

    let metrics = agent.api().get("/metrics").await?.body;
    let name = "submeter_agent_fsync_duration_seconds_bucket{le=\"0.25\"}";
    let (quick, all) = (
        number(&metrics, name)?,
        number(&metrics, "submeter_agent_fsync_duration_seconds_count")?,
    );
    ensure!(
        quick < all,
        "the slow fsyncs are not seen: {quick} of {all}"
    );
    disk.set(&[])?;
    bulk.deliver_refused(agent.api()).await?;
    ensure!(agent.drain().await? == Outcome::Drained);
    meters.audit(system.collector.api(), &bulk).await
}

/// Sends until all clients together were refused a few times, and meanwhile waits as told.
async fn send_until_refused(bulk: &Bulk, refused: &AtomicU64, agent: &Api) -> Result<()> {
    while refused.load(Ordering::Relaxed) < 20 {
        let reply = bulk.send(agent).await?;
        if reply.status == 200 {
            continue;
        }
        ensure!(reply.status == 503, "{}: {}", reply.status, reply.body);
        let wait = reply.retry_after.context("no Retry-After")?;
        refused.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(wait * 10)).await;
    }
    Ok(())
}

/// Waits until events are taken, by this process or, if it ends, by the next.
async fn works_again(agent: &mut Agent, bulk: &Bulk) -> Result<()> {
    loop {
        if agent.process().is_over() {
            let status = agent.process().ended(PATIENCE).await?;
            ensure!(status.code() == Some(4), "{status}");
            agent.start_again().await?;
        }
        let reply = bulk.send_again(agent.api()).await;
        if reply.is_ok_and(|reply| reply.status == 200) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The refusal says when to come back, and the agent says why to those who look after it.
async fn is_for_want_of_disk(refusal: &Reply, agent: &Agent) -> Result<()> {
    tells_want_of_disk(refusal)?;
    let ready = agent.api().get("/readyz").await?;
    ensure!(
        ready.status == 503 && ready.body.contains("disk_free_bytes_min"),
        "{}: {}",
        ready.status,
        ready.body
    );
    // Starting it again would not help.
    agent.api().get("/healthz").await?.success()
}

fn tells_want_of_disk(refusal: &Reply) -> Result<()> {
    let told = refusal.status == 503 && refusal.body.contains("too little free disk");
    ensure!(
        told && refusal.retry_after.is_some(),
        "{}, Retry-After {:?}: {}",
        refusal.status,
        refusal.retry_after,
        refusal.body
    );
    Ok(())
}

/// The value of one line of `/metrics`.
fn number(metrics: &str, name: &str) -> Result<u64> {
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .with_context(|| format!("{name} is not in {metrics}"))?;
    Ok(line.trim().parse()?)
}
