//! The committer thread: everything that waits becomes one journal record with one fsync, and only then is answered.

mod group;
mod imports;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use submeter_common::time::Timestamp;

use super::shared::{Shared, lock};
use super::work::{Command, Job, SealOrder, SubmitReply, Work};
use super::{SealReason, Submission};
use crate::fail_point::fail_point;
use crate::store::{Durability, StoreError, record};
use group::Group;

/// The watermark stays this much further behind the clock than the horizon, so that an event that was admitted just
/// inside the horizon is not refused while it waits for its group commit.
const GRACE: Duration = Duration::from_secs(60);

/// The state of the committer thread.
pub(super) struct Committer {
    shared: Arc<Shared>,
    /// The number of the next journal record.
    next_record: u64,
    /// Events older than this are refused, but for imports.
    floor: Timestamp,
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>, next_record: u64, floor: Timestamp) -> Self {
        Self {
            shared,
            next_record,
            floor,
        }
    }

    /// Works until a stop command or until the queue is closed.
    pub(super) fn run(mut self) -> Result<(), StoreError> {
        let mut jobs = Vec::new();
        let mut group = Vec::new();
        while self
            .shared
            .requests
            .take(self.shared.config.commit_bytes_max, &mut jobs)
        {
            for job in jobs.drain(..) {
                match job {
                    Job::Submit(submission, reply) => group.push((submission, reply)),
                    Job::Command(command) => {
                        // What came before the command is committed before it.
                        self.commit(&mut group)?;
                        let stop = matches!(command, Command::Stop(_));
                        self.command(command)?;
                        if stop {
                            self.shared.requests.close();
                            return Ok(());
                        }
                    }
                }
            }
            self.commit(&mut group)?;
        }
        Ok(())
    }

    /// Commits a group: decide, write, answer, hand on.
    fn commit(&mut self, waiting: &mut Vec<(Submission, SubmitReply)>) -> Result<(), StoreError> {
        if waiting.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        if let Some(refusal) = shared.late_refusal() {
            for (_, reply) in waiting.drain(..) {
                let _ = reply.send(Err(refusal.clone()));
            }
            return Ok(());
        }
        self.follow_clock();
        let mut group = Group::new(&shared.store, self.next_record, shared.clock.now());
        let mut answers = Vec::with_capacity(waiting.len());
        {
            let mut dedup = lock(&shared.dedup);
            for (submission, reply) in waiting.drain(..) {
                let answer = match self.oldest_allowed(&group, &submission) {
                    Ok(oldest) => group.decide(&mut dedup, &submission, oldest)?,
                    Err(mismatch) => Err(mismatch),
                };
                answers.push((answer, reply));
            }
        }
        lock(&shared.pending).add(std::mem::take(&mut group.deltas));
        let written = if group.must_be_written() {
            Some(self.write(&group)?)
        } else {
            None
        };
        for (answer, reply) in answers {
            // A caller that has gone away does not need its answer; its events count all the same.
            let _ = reply.send(answer);
        }
        fail_point!(CommitAnswered);
        if let Some(record) = written {
            self.hand_on(group, record);
        }
        Ok(())
    }

    /// Makes the group durable: its journal record and the import cursors it advances.
    fn write(&mut self, group: &Group<'_>) -> Result<Vec<u8>, StoreError> {
        let deltas = std::mem::take(&mut *lock(&self.shared.pending));
        let record = record::encode(
            self.shared.clock.now(),
            group.accepted(),
            &deltas,
            group.body(),
        );
        let mut batch = self.shared.store.batch();
        batch.put_record(self.next_record, &record);
        let imports = self.advanced(group);
        for import in &imports {
            batch.put_import(import);
        }
        fail_point!(CommitDecided);
        self.shared.write(batch, Durability::Synced)?;
        fail_point!(CommitWritten);
        if !imports.is_empty() {
            fail_point!(ImportAdvanced);
        }
        self.shared
            .committed
            .store(self.next_record, Ordering::SeqCst);
        self.next_record += 1;
        let mut known = lock(&self.shared.imports);
        imports.into_iter().for_each(|import| known.put(import));
        Ok(record)
    }

    /// Hands the record to the aggregator, and the dedup generation that it filled to the compactor.
    fn hand_on(&self, group: Group<'_>, record: Vec<u8>) {
        let bytes = record.len();
        self.forward(Work::Record(group.into_committed(record)), bytes);
        self.shared.close_full_generation();
    }

    /// Has the ids of all records so far brought to disk.
    fn close_generation(&self) -> Result<(), StoreError> {
        if !self.shared.close_open_generation() && lock(&self.shared.dedup).is_all_in_runs() {
            // The last records brought no ids.
            self.shared.put_runs_cursor(self.next_record - 1)?;
        }
        Ok(())
    }

    fn command(&mut self, command: Command) -> Result<(), StoreError> {
        let work = match command {
            Command::BeginImport(request, reply) => return self.begin_import(request, reply),
            Command::CompleteImport(id, reply) => return self.complete_import(&id, reply),
            Command::AbandonImport(id, reply) => return self.abandon_import(&id, reply),
            Command::CloseGeneration => return self.close_generation(),
            Command::Seal(reason, reply) => Work::Seal(self.seal_order(reason), reply),
            Command::Catalog(catalog, reply) => Work::Catalog(catalog, reply),
            Command::Rebase(rebase, reply) => Work::Rebase(rebase, reply),
            Command::RecountLost(reply) => Work::RecountLost(reply),
            Command::Stop(reply) => Work::Stop(reply),
        };
        self.forward(work, 0);
        Ok(())
    }

    /// Fixes the watermark between two records. From here on nothing older than the floor is accepted, and everything
    /// accepted before reaches the aggregator before this order does.
    fn seal_order(&mut self, reason: SealReason) -> SealOrder {
        self.follow_clock();
        let at = self.shared.clock.now();
        let live = live_watermark(at, self.shared.config.horizon_past);
        self.floor = self.floor.max(live);
        // A farewell claims everything: this process accepts no more. The floor stays behind, for the next one.
        let claimed = if reason == SealReason::Farewell {
            self.floor.max(at.truncate_to_minute())
        } else {
            self.floor
        };
        let oldest = lock(&self.shared.imports).oldest_open();
        let watermark = oldest.map_or(claimed, |oldest| claimed.min(oldest));
        let deltas = std::mem::take(&mut *lock(&self.shared.pending));
        SealOrder {
            reason,
            at,
            watermark,
            floor: self.floor,
            deltas,
        }
    }

    /// Takes back what was claimed by a clock that has been set back since: otherwise events of now would be refused until it
    /// is there again. The next frame's watermark says so; what a period was closed without comes as late usage.
    fn follow_clock(&mut self) {
        let now = self.shared.clock.now();
        let floor = kept_floor(self.floor, now, self.shared.config.horizon_past);
        if floor < self.floor {
            tracing::warn!(
                was = %self.floor,
                now = %floor,
                "the clock was set back: events as old as the horizon are taken again, and the watermark goes back with it"
            );
            self.shared.clock_set_back.fetch_add(1, Ordering::Relaxed);
            self.floor = floor;
        }
    }

    /// Hands work to the aggregator, waiting for room. When its queue is closed, so is this thread's own, and the loop
    /// ends with the next look at it.
    fn forward(&self, work: Work, bytes: usize) {
        let _ = self.shared.work.push(work, bytes);
    }
}

/// What is left of a floor at `now`: all of it, unless it refuses events within the horizon. Only a clock that is set back by
/// more than the grace makes it do so.
pub(super) fn kept_floor(floor: Timestamp, now: Timestamp, horizon_past: Duration) -> Timestamp {
    if now.saturating_sub(horizon_past) < floor {
        floor.min(live_watermark(now, horizon_past))
    } else {
        floor
    }
}

/// How far the watermark follows the clock: behind everything that admission still lets in.
pub(super) fn live_watermark(now: Timestamp, horizon_past: Duration) -> Timestamp {
    now.saturating_sub(horizon_past)
        .saturating_sub(GRACE)
        .truncate_to_minute()
        .max(Timestamp::from_micros(0))
}
