//! When the disk gets short: what is kept for convenience is given back early, before new events are refused for it.
//!
//! That is the journal behind the last checkpoint (look-ups, backfill of meters made later), acknowledged frames (for a
//! collector restored from a backup), what open sets that are sealed still take up, and the logs that seldom written
//! families pin. Frames the collector does not hold, open partials and event ids are no convenience and stay.

use std::time::{Duration, Instant};

use super::Aggregator;
use crate::pipeline::shared::lock;
use crate::store::StoreError;

/// Giving back takes reading and writing: time in between belongs to the events.
const PAUSE: Duration = Duration::from_secs(2);

/// When room was made last, and whether the disk is tight since.
#[derive(Debug, Default)]
pub(super) struct Room {
    made: Option<Instant>,
    tight: bool,
}

impl Aggregator {
    /// Looks after the disk: measures it, tends the ballast, and gives back while it is tight.
    pub(super) fn make_room(&mut self) -> Result<(), StoreError> {
        // A seal writes frames of about that size, and compaction may write the open set itself once more.
        let open = self.shared.store.open_bytes()?;
        self.shared.disk.claim(open.saturating_mul(2));
        self.shared.foresee_seal();
        self.shared.disk.brace();
        self.shared.disk.lay_ballast();
        let tight = self.shared.disk.is_tight();
        self.tell_room(tight);
        if !tight || self.room.made.is_some_and(|made| made.elapsed() < PAUSE) {
            return Ok(());
        }
        // What a checkpoint covers is no longer needed to recover.
        self.checkpoint()?;
        let records = self.reclaim_journal(self.journal_bytes_kept())?;
        let frames = lock(&self.shared.frames).acknowledged_bytes() / 4 * 3;
        let frames = self.reclaim_frames(frames)?;
        let open_set = self.progress.open_set;
        self.shared.store.give_back(records, frames, open_set)?;
        self.shared.disk.measure();
        self.room.made = Some(Instant::now());
        Ok(())
    }

    /// Makes room in the middle of a seal that takes many writes, so that their logs do not pile up.
    pub(super) fn make_room_between_frames(&self) -> Result<(), StoreError> {
        self.shared.disk.measure();
        if self.shared.disk.is_tight() {
            let open_set = self.progress.open_set;
            self.shared.store.give_back(None, None, open_set)?;
        }
        Ok(())
    }

    /// A quarter less each time: half a minute after the disk got tight nothing is left to give.
    fn journal_bytes_kept(&self) -> u64 {
        if lock(&self.shared.catalog).version == 0 {
            // No meter has counted these events yet: they are usage, not history.
            return u64::MAX;
        }
        self.chunks.bytes() / 4 * 3
    }

    fn tell_room(&mut self, tight: bool) {
        if tight == self.room.tight {
            return;
        }
        self.room.tight = tight;
        let free = self.shared.disk.free();
        if tight {
            tracing::warn!(
                free,
                "the disk gets short: journal and acknowledged frames are given back early"
            );
        } else {
            tracing::info!(free, "the disk has room again");
        }
    }
}
