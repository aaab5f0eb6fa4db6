//! Does a death at each named step of the agent's work end exact?
//!
//! The agent is killed at every fail point it has, under load from clients that retry, and started again. Each point has a
//! story here: what brings the agent to it. The program itself says which points there are, so that a new one without a story
//! fails this test; each story demands that the agent died where it should.

mod imports;
mod world;

use std::collections::BTreeSet;
use std::process::Command;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use submeter_tests::system::program;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};

use world::World;

/// What brings an agent to a fail point.
#[derive(Clone, Copy, Debug)]
enum Story {
    /// Events, all the time; checkpoints, seals and flushes fall between them.
    Load,
    /// The same with seals so rare that the open partials outgrow memory.
    Spill,
    /// The very first start.
    FirstStart,
    /// A start after a crash that left records uncounted and partials open.
    Restart,
    /// A meter is made while events come in.
    NewMeter,
    /// A meter is made whose events are all in the journal.
    LateMeter,
    /// Past events from a file.
    Import,
    /// The same, given up and taken up again.
    AbandonedImport,
    /// SIGTERM under load.
    Drain,
    /// The directory is an older copy of itself.
    OldCopy,
}

/// Every fail point, at which hit it strikes, and its story.
const STORIES: &[(&str, Story)] = &[
    ("CommitDecided:3", Story::Load),
    ("CommitWritten:3", Story::Load),
    ("CommitAnswered:3", Story::Load),
    ("RecordCounted:4", Story::Load),
    ("GenerationClosed", Story::Load),
    ("CheckpointBegun:2", Story::Load),
    ("CheckpointPartialsStaged:3", Story::Load),
    ("CheckpointStaged:3", Story::Load),
    ("CheckpointWritten:3", Story::Load),
    ("CheckpointHalfSettled:2", Story::Load),
    ("CheckpointSpilled", Story::Spill),
    ("GenerationWritten:2", Story::Load),
    ("GenerationNamed:2", Story::Load),
    ("MergeBegun", Story::Load),
    ("MergeWritten", Story::Load),
    ("MergeAdvanced", Story::Load),
    ("MergeNamed", Story::Load),
    ("MergeDone", Story::Load),
    ("SealFrameFrozen:2", Story::Load),
    ("SealStaged:2", Story::Load),
    ("SealWritten:2", Story::Load),
    ("SealDone:2", Story::Load),
    ("SealFromDiskBegun", Story::Spill),
    ("SealFromDiskBetweenFrames:2", Story::Spill),
    ("RegisterBegun", Story::Load),
    ("RegisterAnswered", Story::Load),
    ("RegisterPlaced", Story::Load),
    ("RegisterDone", Story::Load),
    ("SendBegun:2", Story::Load),
    ("SendAnswered:2", Story::Load),
    ("AcknowledgeStaged:2", Story::Load),
    ("AcknowledgeWritten:2", Story::Load),
    ("AcknowledgeDone:2", Story::Load),
    ("JournalReclaimStaged", Story::Load),
    ("JournalReclaimWritten", Story::Load),
    ("JournalReclaimDone", Story::Load),
    ("FramesReclaimStaged", Story::Load),
    ("FramesReclaimWritten", Story::Load),
    ("CatalogRead", Story::NewMeter),
    ("CatalogNoted", Story::NewMeter),
    ("CatalogStaged", Story::NewMeter),
    ("CatalogWritten", Story::NewMeter),
    ("CatalogDone", Story::NewMeter),
    ("BackfillCounted:3", Story::LateMeter),
    ("BackfillStepped:4", Story::LateMeter),
    ("BackfillDone", Story::LateMeter),
    ("ImportBeginStaged", Story::Import),
    ("ImportBeginWritten", Story::Import),
    ("ImportAdvanced:2", Story::Import),
    ("ImportCompleteStaged", Story::Import),
    ("ImportCompleteWritten", Story::Import),
    ("ImportAbandonStaged", Story::AbandonedImport),
    ("ImportAbandonWritten", Story::AbandonedImport),
    ("ReseatReopened", Story::OldCopy),
    ("ReseatStaged", Story::OldCopy),
    ("ReseatWritten", Story::OldCopy),
    ("ReseatDone", Story::OldCopy),
    ("RecoveryDirectoryMade", Story::FirstStart),
    ("RecoveryStoreOpened", Story::FirstStart),
    ("RecoveryIdentityWritten", Story::FirstStart),
    ("RecoveryLoaded", Story::Restart),
    ("RecoveryReplaying:2", Story::Restart),
    ("RecoveryReplayed", Story::Restart),
    ("RecoveryCheckpointed", Story::Restart),
    ("RecoverySealed", Story::Restart),
    ("RecoveryDone", Story::Restart),
    ("StopDoorClosed", Story::Drain),
    ("StopFarewellSealed", Story::Drain),
    ("StopDrained", Story::Drain),
    ("StopCheckpointed", Story::Drain),
];

/// Stories told at one time.
const AT_ONCE: usize = 6;

#[tokio::test]
async fn a_death_at_any_named_step_ends_exact() -> Result<()> {
    LocalSet::new().run_until(tell_all()).await
}

async fn tell_all() -> Result<()> {
    let world = Rc::new(World::new().await?);
    let turns = Rc::new(Semaphore::new(AT_ONCE));
    let mut stories = JoinSet::new();
    for (point, story) in STORIES.iter().filter(|(point, _)| is_chosen(point)) {
        let (world, turns) = (Rc::clone(&world), Rc::clone(&turns));
        stories.spawn_local(async move {
            let _turn = turns.acquire().await?;
            let counted = world.tell(point, *story).await;
            let counted = counted.with_context(|| format!("{point} ({story:?})"))?;
            println!("{point}: {counted:?}");
            anyhow::Ok(())
        });
    }
    let told: Vec<Result<()>> = stories.join_all().await;
    let wrong: Vec<String> = told
        .into_iter()
        .filter_map(|told| Some(format!("{:#}", told.err()?)))
        .collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    Ok(())
}

/// `FAIL_POINT_STORY=Seal` tells only the stories of points whose names begin so.
fn is_chosen(point: &str) -> bool {
    std::env::var("FAIL_POINT_STORY").map_or(true, |chosen| point.starts_with(&chosen))
}

#[test]
fn every_fail_point_has_a_story() -> Result<()> {
    let output = Command::new(program("submeter-agent-fail-points")?)
        .arg("fail-points")
        .output()?;
    let listed = String::from_utf8(output.stdout)?;
    let listed: BTreeSet<&str> = listed.lines().collect();
    let told: BTreeSet<&str> = STORIES.iter().map(|(point, _)| name_of(point)).collect();
    ensure!(!listed.is_empty(), "no fail point is listed");
    ensure!(
        listed == told,
        "without a story: {:?}; without a fail point: {:?}",
        listed.difference(&told).collect::<Vec<_>>(),
        told.difference(&listed).collect::<Vec<_>>(),
    );
    Ok(())
}

#[test]
fn the_shipped_agent_holds_no_fail_point() -> Result<()> {
    let holds = |binary: &str, text: &str| -> Result<bool> {
        let bytes = std::fs::read(program(binary)?)?;
        Ok(bytes.windows(text.len()).any(|at| at == text.as_bytes()))
    };
    for text in ["FAIL_POINT", "died at fail point"] {
        // The other binary shows that the texts would be found.
        ensure!(holds("submeter-agent-fail-points", text)?, "{text}");
        ensure!(!holds("submeter-agent", text)?, "{text}");
    }
    Ok(())
}

fn name_of(point: &str) -> &str {
    point.split(':').next().unwrap_or_default()
}
