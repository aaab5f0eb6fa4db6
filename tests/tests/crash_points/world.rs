//! The stories: each brings its agent to a fail point, revives it, and has the end audited.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use submeter_tests::auditor::{BatchMeters, Counted};
use submeter_tests::system::{Agent, Outcome, PATIENCE, System, eventually};
use submeter_tests::workload::batches::{BATCH_EVENTS, Batches};

use crate::imports::{abandon, begin, complete, import_until_done, send_lines};
use crate::{Story, name_of};

/// Batches that must be acknowledged before and after the death.
const ENOUGH: usize = 8;

/// Takes every path often: checkpoints, seals, flushes, frames of few rows, small budgets of journal and outbox.
const OFTEN: &str = r#"
checkpoint_interval = "40ms"
flush_interval = "60ms"
frame_rows_max = 10
journal_bytes_max = "64KiB"
acknowledged_bytes_max = "4KiB"
"#;

/// Seals so seldom that the open partials outgrow memory.
const SELDOM: &str = r#"
checkpoint_interval = "40ms"
flush_interval = "1s"
frame_rows_max = 10
"#;

/// One collector for all stories; each has an agent, a customer and, where it makes meters, an event name of its own.
pub(crate) struct World {
    system: System,
    meters: BatchMeters,
}

impl World {
    pub(crate) async fn new() -> Result<Self> {
        let system = System::start("").await?;
        let meters = BatchMeters::create(system.collector.api(), "call").await?;
        Ok(Self { system, meters })
    }

    pub(crate) async fn tell(&self, point: &str, story: Story) -> Result<Counted> {
        match story {
            Story::Load => self.load(point, OFTEN).await,
            Story::Spill => self.load(point, SELDOM).await,
            Story::FirstStart => self.first_start(point).await,
            Story::Restart => self.restart(point).await,
            Story::NewMeter => self.new_meter(point).await,
            Story::LateMeter => self.late_meter(point).await,
            Story::Import => self.import(point).await,
            Story::AbandonedImport => self.abandoned_import(point).await,
            Story::Drain => self.drain(point).await,
            Story::OldCopy => self.old_copy(point).await,
        }
    }

    async fn load(&self, point: &str, settings: &str) -> Result<Counted> {
        let (mut agent, batches) = self.birth(point, settings, "call").await?;
        under_load(&mut agent, &batches, async |agent| {
            agent.kill()?;
            agent.spawn_doomed(point)?;
            agent.dead_at(point).await
        })
        .await?;
        self.end(agent, &batches, &self.meters).await
    }

    async fn first_start(&self, point: &str) -> Result<Counted> {
        let batches = Batches::new(name_of(point), "call");
        let mut agent = self
            .system
            .stillborn_agent(name_of(point), OFTEN, point)
            .await?;
        agent.start_again().await?;
        under_load(&mut agent, &batches, async |agent| agent.kill()).await?;
        self.end(agent, &batches, &self.meters).await
    }

    async fn restart(&self, point: &str) -> Result<Counted> {
        // Nothing is checkpointed or sealed by itself: the next start has all of it to do.
        let settings = "checkpoint_interval = \"1h\"\nflush_interval = \"1h\"";
        let (mut agent, batches) = self.birth(point, settings, "call").await?;
        under_load(&mut agent, &batches, async |agent| {
            agent.kill()?;
            agent.spawn_doomed(point)?;
            agent.dead_at(point).await
        })
        .await?;
        self.end(agent, &batches, &self.meters).await
    }

    async fn new_meter(&self, point: &str) -> Result<Counted> {
        let event_name = name_of(point);
        let (mut agent, batches) = self.birth(point, OFTEN, event_name).await?;
        let api = self.system.collector.api();
        let mut meters = None;
        under_load(&mut agent, &batches, async |agent| {
            agent.kill()?;
            agent.spawn_doomed(point)?;
            let (made, dead) =
                tokio::join!(BatchMeters::create(api, event_name), agent.dead_at(point));
            meters = Some(made?);
            dead
        })
        .await?;
        let meters = meters.context("meters")?;
        self.end(agent, &batches, &meters).await
    }

    async fn late_meter(&self, point: &str) -> Result<Counted> {
        let event_name = name_of(point);
        let (mut agent, batches) = self.birth(point, OFTEN, event_name).await?;
        for _ in 0..ENOUGH {
            batches.send(agent.api()).await?;
        }
        agent.flush().await?;
        agent.kill()?;
        let api = self.system.collector.api();
        let meters = BatchMeters::create(api, event_name).await?;
        agent.spawn_doomed(point)?;
        agent.dead_at(point).await?;
        agent.start_again().await?;
        self.end(agent, &batches, &meters).await
    }

    async fn import(&self, point: &str) -> Result<Counted> {
        let (mut agent, batches) = self.birth(point, OFTEN, "call").await?;
        let file = agent.directory().with_extension("ndjson");
        std::fs::write(&file, batches.lines(150))?;
        agent.kill()?;
        agent.spawn_doomed(point)?;
        let importing = import_until_done(&agent, &file)?;
        agent.dead_at(point).await?;
        agent.start_again().await?;
        importing.await?;
        batches.note_acknowledged();
        self.end(agent, &batches, &self.meters).await
    }

    async fn abandoned_import(&self, point: &str) -> Result<Counted> {
        let (mut agent, batches) = self.birth(point, OFTEN, "call").await?;
        let (first, rest) = (batches.lines(5), batches.lines(5));
        begin(&agent, "past").await?;
        send_lines(&agent, "past", 0, &first).await?;
        agent.kill()?;
        agent.spawn_doomed(point)?;
        agent.ready().await?;
        // The answer is lost with the agent.
        let _ = abandon(&agent, "past").await;
        agent.dead_at(point).await?;
        agent.start_again().await?;
        abandon(&agent, "past").await?;
        // Taken up again, from its first line: what was taken before is not taken again.
        let state = begin(&agent, "past").await?;
        ensure!(state["lines_done"] == 5 * BATCH_EVENTS, "{state}");
        send_lines(&agent, "past", 0, &format!("{first}{rest}")).await?;
        complete(&agent, "past").await?;
        batches.note_acknowledged();
        self.end(agent, &batches, &self.meters).await
    }

    async fn drain(&self, point: &str) -> Result<Counted> {
        let (mut agent, batches) = self.birth(point, OFTEN, "call").await?;
        under_load(&mut agent, &batches, async |agent| {
            agent.kill()?;
            agent.spawn_doomed(point)?;
            agent.ready().await?;
            agent.process().signal(Signal::TERM)?;
            agent.dead_at(point).await
        })
        .await?;
        self.end(agent, &batches, &self.meters).await
    }

    async fn old_copy(&self, point: &str) -> Result<Counted> {
        let (mut agent, batches) = self.birth(point, OFTEN, "call").await?;
        batches.send(agent.api()).await?;
        agent.flush().await?;
        agent.kill()?;
        let copy = agent.directory().with_extension("copy");
        copy_files(agent.directory(), &copy)?;
        agent.start_again().await?;
        batches.send(agent.api()).await?;
        agent.flush().await?;
        agent.kill()?;
        std::fs::remove_dir_all(agent.directory())?;
        std::fs::rename(&copy, agent.directory())?;
        agent.spawn_doomed(point)?;
        agent.dead_at(point).await?;
        agent.start_again().await?;
        batches.send(agent.api()).await?;
        agent.flush().await?;
        self.end(agent, &batches, &self.meters).await
    }

    /// A new agent that counts already, and batches for it that were not sent yet.
    async fn birth(
        &self,
        point: &str,
        settings: &str,
        event_name: &str,
    ) -> Result<(Agent, Batches)> {
        let name = name_of(point);
        let agent = self.system.agent(name, settings).await?;
        agent.flush().await?;
        Ok((agent, Batches::new(name, event_name)))
    }

    /// Everything arrives, and the auditor looks at it.
    async fn end(
        &self,
        mut agent: Agent,
        batches: &Batches,
        meters: &BatchMeters,
    ) -> Result<Counted> {
        ensure!(agent.drain().await? == Outcome::Drained);
        meters.audit(self.system.collector.api(), batches).await
    }
}

/// Sends batches from three clients, one of which never tries twice, while `death` kills the agent; then starts it again and
/// goes on until enough was acknowledged by the new life, too.
async fn under_load(
    agent: &mut Agent,
    batches: &Batches,
    death: impl AsyncFnOnce(&mut Agent) -> Result<()>,
) -> Result<()> {
    let api = agent.api().clone();
    let pause = Duration::from_millis(5);
    let story = async {
        acknowledged(batches, ENOUGH).await?;
        death(agent).await?;
        agent.start_again().await?;
        acknowledged(batches, batches.acknowledged() + ENOUGH).await?;
        batches.stop();
        anyhow::Ok(())
    };
    tokio::try_join!(
        story,
        batches.send_patiently(&api, pause),
        batches.send_patiently(&api, pause),
        batches.send_impatiently(&api, pause),
    )?;
    Ok(())
}

/// Waits until that many batches were acknowledged.
async fn acknowledged(batches: &Batches, enough: usize) -> Result<()> {
    eventually("acknowledgements", PATIENCE, || async {
        let acknowledged = batches.acknowledged();
        ensure!(acknowledged >= enough, "{acknowledged} of {enough}");
        Ok(())
    })
    .await
}

/// Copies a directory with all that is in it.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_files(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
