//! What time and budgets take back: journal records and acknowledged frames; also when nothing new arrives.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Aggregator;
use crate::fail_point::fail_point;
use crate::pipeline::shared::lock;
use crate::pipeline::work::{Command, Job};
use crate::store::{Durability, StoreError};

impl Aggregator {
    /// Looks after everything that depends on time.
    pub(super) fn tick(&mut self) -> Result<(), StoreError> {
        self.ticked = Instant::now();
        let (journal, frames) = {
            let config = &self.shared.config;
            (config.journal_bytes_max, config.acknowledged_bytes_max)
        };
        self.reclaim_journal(journal)?;
        self.reclaim_frames(frames)?;
        self.make_room()
    }

    /// Deletes journal records beyond `bytes_max` and the budget of age, oldest first, but none that a durable checkpoint
    /// does not contain, none whose ids are in no run, and none that a backfill still needs. Answers the last one deleted.
    pub(super) fn reclaim_journal(&mut self, bytes_max: u64) -> Result<Option<u64>, StoreError> {
        let shared = Arc::clone(&self.shared);
        let age_max = shared.config.journal_age_max;
        let older_than = shared.clock.now().saturating_sub(age_max);
        let needed_from = self.first_gap().unwrap_or(u64::MAX);
        let counted = self.durable_cursor.min(needed_from - 1);
        let runs_cursor = shared.runs_cursor.load(Ordering::SeqCst);
        let covered = counted.min(runs_cursor);
        let mut batch = shared.store.batch();
        let mut last = None;
        while let Some(chunk) = self.chunks.disposable(bytes_max, older_than, covered) {
            batch.delete_records(chunk.first, chunk.last);
            batch.delete_chunk(chunk.first);
            self.chunks.forget_oldest();
            last = Some(chunk.last);
        }
        if self.chunks.is_disposable(bytes_max, older_than, counted) {
            self.ask_for_closing(runs_cursor);
        }
        let Some(last) = last else { return Ok(None) };
        fail_point!(JournalReclaimStaged);
        shared.write(batch, Durability::Buffered)?;
        fail_point!(JournalReclaimWritten);
        shared.store.drop_journal_files(last)?;
        fail_point!(JournalReclaimDone);
        Ok(Some(last))
    }

    /// Has ids brought to disk that only the journal holds. Once is enough, until some have come there.
    fn ask_for_closing(&mut self, runs_cursor: u64) {
        if self.closing_is_asked != Some(runs_cursor) {
            let closing = Job::Command(Command::CloseGeneration);
            // A closed queue takes no more events either.
            let asked = self.shared.requests.push_command(closing);
            self.closing_is_asked = asked.ok().map(|()| runs_cursor);
        }
    }

    /// Deletes acknowledged frames beyond `bytes_max` and their budget of age. Answers the last one deleted.
    pub(super) fn reclaim_frames(&mut self, bytes_max: u64) -> Result<Option<u64>, StoreError> {
        let config = &self.shared.config;
        let older_than = self
            .shared
            .clock
            .now()
            .saturating_sub(config.acknowledged_age_max);
        let mut frames = lock(&self.shared.frames);
        let Some((first, _)) = frames.range() else {
            return Ok(None);
        };
        let Some(last) = frames.disposable(bytes_max, older_than) else {
            return Ok(None);
        };
        let mut batch = self.shared.store.batch();
        batch.delete_frames(first, last);
        fail_point!(FramesReclaimStaged);
        self.shared.write(batch, Durability::Buffered)?;
        fail_point!(FramesReclaimWritten);
        frames.forget(last);
        Ok(Some(last))
    }
}
