//! Named places at which the process dies on request, as by `kill -9`: one on each side of every step that must survive
//! it, and within those that are several writes.
//!
//! They exist only with the feature `fail-points`, in a binary of its own, `submeter-agent-fail-points`; in the shipped
//! one [`fail_point!`] is no code at all. The environment variable `FAIL_POINT` chooses one: `SealWritten` dies the first
//! time it is reached, `SealWritten:3` the third time. A line on standard error says where it died, so that a test can
//! tell this death from any other. The list below is the only one: the system's tests ask the binary for it
//! (`submeter-agent-fail-points fail-points`) and demand a story for each name in it.
//!
//! Beside it there is `store::crash`, which fails a write inside a test's own process: it is for what follows a *failed*
//! write (nothing is acknowledged any more), and for hundreds of random lives a second.

/// Dies here when the test asked for it.
macro_rules! fail_point {
    ($point:ident) => {
        #[cfg(feature = "fail-points")]
        $crate::fail_point::reach($crate::fail_point::FailPoint::$point);
    };
}
pub(crate) use fail_point;

/// A program that dies at fail points lives on small budgets, so that it comes by every one of them within seconds.
pub(crate) const fn squeezed(budget: usize, small: usize) -> usize {
    if cfg!(feature = "fail-points") {
        small
    } else {
        budget
    }
}

#[cfg(feature = "fail-points")]
pub(crate) use enabled::{FailPoint, check, reach};

#[cfg(feature = "fail-points")]
mod enabled {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    /// Chooses where to die.
    const VARIABLE: &str = "FAIL_POINT";

    macro_rules! fail_points {
        ($($(#[$meta:meta])* $name:ident,)*) => {
            /// Where the process can die.
            #[derive(Copy, Clone, Eq, PartialEq, Debug)]
            pub(crate) enum FailPoint {
                $($(#[$meta])* $name,)*
            }

            impl FailPoint {
                pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

                pub(crate) const fn name(self) -> &'static str {
                    match self {
                        $(Self::$name => stringify!($name),)*
                    }
                }
            }
        };
    }

    fail_points! {
        // The journal.
        /// It is decided what becomes of each event; nothing is on disk.
        CommitDecided,
        /// The journal record is durable, nobody knows.
        CommitWritten,
        /// The callers have their answers, the aggregator has nothing.
        CommitAnswered,
        /// The record is counted in memory: between journal and checkpoint.
        RecordCounted,

        // The checkpoint.
        /// A dedup generation is full; its ids are in memory only.
        GenerationClosed,
        CheckpointBegun,
        /// The partials are in the batch, cursor and ids are not.
        CheckpointPartialsStaged,
        /// All of it is in the batch, nothing on disk.
        CheckpointStaged,
        /// Durable; memory does not know.
        CheckpointWritten,
        /// Memory takes half of it for written.
        CheckpointHalfSettled,
        /// The open set has outgrown memory and left it.
        CheckpointSpilled,

        // Event ids on disk.
        /// A full generation's ids are readable, but have no name.
        GenerationWritten,
        /// They are named; memory still has the generation.
        GenerationNamed,
        /// A run to merge into is named; nothing is in it.
        MergeBegun,
        /// Merged slices are readable, but not named.
        MergeWritten,
        /// Some slices of a merge are named; memory asks for them where they were.
        MergeAdvanced,
        /// The last slices are named and the inputs no more; memory still asks for them.
        MergeNamed,
        /// Memory follows; the inputs are still on disk.
        MergeDone,

        // The seal.
        /// Some frames are frozen, in the batch only.
        SealFrameFrozen,
        /// All of the seal is in the batch, nothing on disk.
        SealStaged,
        /// Frames durable, open set empty; memory does not know.
        SealWritten,
        /// Sealed, not sent.
        SealDone,
        /// A seal from disk has checkpointed, and frozen nothing.
        SealFromDiskBegun,
        /// One frame of a seal from disk is durable, the rest is still open.
        SealFromDiskBetweenFrames,

        // The way to the collector.
        RegisterBegun,
        /// The collector has a new epoch, the agent has not heard it.
        RegisterAnswered,
        /// The outbox stands where the collector does; the epoch is not written.
        RegisterPlaced,
        RegisterDone,
        /// A frame is read, not sent.
        SendBegun,
        /// The collector has it, the answer is not carried out.
        SendAnswered,
        AcknowledgeStaged,
        /// Written, not in memory.
        AcknowledgeWritten,
        /// Acknowledged, still in the outbox.
        AcknowledgeDone,

        // Reclaim.
        JournalReclaimStaged,
        /// Records are deleted, their files are not.
        JournalReclaimWritten,
        JournalReclaimDone,
        FramesReclaimStaged,
        /// Deleted on disk, still listed in memory.
        FramesReclaimWritten,

        // The catalog and the past of new meters.
        /// The collector has answered, nothing is changed.
        CatalogRead,
        /// The duty to backfill is noted in memory.
        CatalogNoted,
        CatalogStaged,
        /// Durable with the duty to backfill; not in force.
        CatalogWritten,
        CatalogDone,
        /// Records of a step are counted in memory, the gap is as before.
        BackfillCounted,
        /// The gap has moved on in memory.
        BackfillStepped,
        /// The last gap is gone, in memory only.
        BackfillDone,

        // Imports.
        ImportBeginStaged,
        ImportBeginWritten,
        /// A record is durable together with the line it brings its import to.
        ImportAdvanced,
        ImportCompleteStaged,
        ImportCompleteWritten,
        ImportAbandonStaged,
        ImportAbandonWritten,

        // A new place in the chain: another identity, or behind a collector that is ahead.
        /// Frames that were never applied are open again, in memory.
        ReseatReopened,
        ReseatStaged,
        /// Durable; memory does not know.
        ReseatWritten,
        ReseatDone,

        // Starting.
        RecoveryDirectoryMade,
        RecoveryStoreOpened,
        RecoveryIdentityWritten,
        RecoveryLoaded,
        /// A record of the journal is counted again.
        RecoveryReplaying,
        /// All records are counted again, nothing of it is written.
        RecoveryReplayed,
        RecoveryCheckpointed,
        /// What a previous life left open is in the outbox.
        RecoverySealed,
        RecoveryDone,

        // Stopping.
        StopDoorClosed,
        StopFarewellSealed,
        /// All is sent, the store is open.
        StopDrained,
        StopCheckpointed,
    }

    struct Armed {
        point: FailPoint,
        hits_left: AtomicU64,
    }

    fn armed() -> Option<&'static Armed> {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        ARMED
            .get_or_init(|| {
                let text = std::env::var(VARIABLE).ok()?;
                Some(parse(&text).unwrap_or_else(|| panic!("{VARIABLE} is {text:?}, expected NAME or NAME:HIT, of the names that `fail-points` lists")))
            })
            .as_ref()
    }

    fn parse(text: &str) -> Option<Armed> {
        let (name, hit) = text.split_once(':').unwrap_or((text, "1"));
        let point = *FailPoint::ALL.iter().find(|point| point.name() == name)?;
        let hit: u64 = hit.parse().ok().filter(|hit| *hit > 0)?;
        Some(Armed {
            point,
            hits_left: AtomicU64::new(hit),
        })
    }

    /// Reads the choice, so that a wrong one is known before anything is done.
    pub(crate) fn check() {
        armed();
    }

    /// Dies if this is the place and the time.
    pub(crate) fn reach(point: FailPoint) {
        let Some(armed) = armed().filter(|armed| armed.point == point) else {
            return;
        };
        if armed.hits_left.fetch_sub(1, Ordering::SeqCst) == 1 {
            eprintln!("died at fail point {}", point.name());
            // The kernel's own end: no destructor runs, no buffer is flushed. A signal to oneself arrives before the
            // call returns to this thread, but others may go on for a moment, as they may in any crash.
            let _ = kill_process(getpid(), Signal::KILL);
            std::process::abort();
        }
    }
}
