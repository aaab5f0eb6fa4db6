//! The aggregator: journal records in order, into open partials; owner of checkpoint, seal, backfill and reclaim.
//!
//! Recovery runs the same code over the records after the cursor, before the thread starts.

mod backfill;
mod catalog;
mod checkpoint;
mod chunks;
mod frames;
mod reclaim;
mod reseat;
mod room;
mod seal;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use submeter_common::event::{Event, Value};
use submeter_common::time::Timestamp;
use tokio::sync::oneshot;

use super::SealReason;
use super::queue::Popped;
use super::shared::{Shared, View, lock};
use super::work::{Command, Committed, Job, Work};
use crate::aggregate::{Account, MeterIndex, Metered, OpenPartials};
use crate::fail_point::fail_point;
use crate::store::conflicts::Listed;
use crate::store::meta::{Chunk, Deltas, Progress, StoredPosition};
use crate::store::quarantine::Quarantined;
use crate::store::record::Record;
use crate::store::{Durability, StoreError};
use chunks::Chunks;
use room::Room;

/// How often an idle aggregator looks after time: heartbeat of reclaim, expiry and the disk's measure.
const TICK: Duration = Duration::from_secs(1);
/// Bytes that open partials may hold beyond their fixed size before they spill (sets of `unique_count`).
const OPEN_HEAP_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The state of the aggregator.
pub(super) struct Aggregator {
    shared: Arc<Shared>,
    meters: MeterIndex,
    open: OpenPartials,
    /// The open set has partials on disk that are not in memory: those in memory are to be added to them.
    spilled: bool,
    /// How many partials are on disk only.
    spilled_partials: u64,
    /// What those take there.
    spilled_bytes: u64,
    /// The open set has passed its budget and a seal is on its way.
    seal_is_asked: bool,
    /// How often that happened.
    seals_by_size: u64,
    /// The runs' cursor for which a dedup generation was asked to be closed.
    closing_is_asked: Option<u64>,
    /// As it will be written at the next checkpoint.
    progress: Progress,
    /// The cursor of the last checkpoint: nothing after it may be reclaimed.
    durable_cursor: u64,
    quarantine: Vec<Quarantined>,
    /// Conflicts that are not on disk yet.
    conflicts: Vec<Listed>,
    chunks: Chunks,
    /// Journal bytes counted (or backfilled) since the last checkpoint.
    bytes_since_checkpoint: u64,
    checkpointed: Instant,
    ticked: Instant,
    room: Room,
    changed: bool,
    /// Frames before this one were sealed from what a previous life had accepted.
    life_first_seq: u64,
}

impl Aggregator {
    pub(super) fn new(
        shared: Arc<Shared>,
        progress: Progress,
        chunks: Vec<Chunk>,
        spilled: bool,
    ) -> Self {
        let config = &shared.config;
        let chunks = Chunks::new(chunks, config.journal_bytes_max, config.journal_age_max);
        let open = OpenPartials::new(config.groups_per_meter_max);
        let mut meters = MeterIndex::default();
        meters.replace(&lock(&shared.catalog).meters);
        Self {
            meters,
            open,
            spilled,
            spilled_partials: 0,
            spilled_bytes: 0,
            seal_is_asked: false,
            seals_by_size: 0,
            closing_is_asked: None,
            durable_cursor: progress.cursor,
            life_first_seq: progress.sealed.seq + 1,
            progress,
            quarantine: Vec::new(),
            conflicts: Vec::new(),
            chunks,
            bytes_since_checkpoint: 0,
            checkpointed: Instant::now(),
            ticked: Instant::now(),
            room: Room::default(),
            changed: false,
            shared,
        }
    }

    /// Works until a stop or until the queue is closed (which is how a test kills it).
    pub(super) fn run(mut self) -> Result<(), StoreError> {
        loop {
            let wait = if self.is_backfilling() {
                Duration::ZERO
            } else {
                TICK
            };
            match self.shared.work.pop(wait) {
                Popped::Closed => return Ok(()),
                Popped::TimedOut => {}
                Popped::Item(Work::Stop(reply)) => {
                    self.checkpoint()?;
                    fail_point!(StopCheckpointed);
                    let _ = reply.send(Ok(()));
                    return Ok(());
                }
                Popped::Item(work) => self.handle(work)?,
            }
            self.backfill_step()?;
            if self.is_checkpoint_due() {
                self.checkpoint()?;
            }
            if self.ticked.elapsed() >= TICK {
                self.tick()?;
            }
            self.ask_for_seal();
            self.publish();
        }
    }

    /// Has the open set sealed when it has passed its budget, whoever is away: as frames it is a tenth of the size, and the
    /// outbox has a budget of its own.
    fn ask_for_seal(&mut self) {
        if self.seal_is_asked || self.open_bytes() <= self.shared.config.open_bytes_max {
            return;
        }
        let (reply, _nobody_waits) = oneshot::channel();
        let seal = Job::Command(Command::Seal(SealReason::Requested, reply));
        // A closed queue takes no more events either.
        self.seal_is_asked = self.shared.requests.push_command(seal).is_ok();
        self.seals_by_size += u64::from(self.seal_is_asked);
    }

    fn handle(&mut self, work: Work) -> Result<(), StoreError> {
        match work {
            Work::Record(committed) => {
                self.count(&committed);
                Ok(())
            }
            Work::Seal(order, reply) => {
                let position = self.seal(order)?;
                self.publish();
                let _ = reply.send(Ok(position));
                Ok(())
            }
            Work::Catalog(catalog, reply) => {
                self.replace_catalog(catalog)?;
                self.publish();
                let _ = reply.send(Ok(()));
                Ok(())
            }
            Work::Rebase(rebase, reply) => {
                let identity = self.rebase(&rebase)?;
                self.publish();
                let _ = reply.send(Ok(identity));
                Ok(())
            }
            Work::RecountLost(reply) => {
                self.recount_lost()?;
                self.publish();
                let _ = reply.send(Ok(()));
                Ok(())
            }
            // Taken by the loop.
            Work::Stop(_) => Ok(()),
        }
    }

    /// Counts a durable record: its events into the partials, its numbers into the receipts.
    pub(super) fn count(&mut self, committed: &Committed) {
        let bytes = committed.record.len() as u64;
        match Record::decode(&committed.record) {
            Ok(record) => self.count_record(committed.seq, bytes, &record),
            Err(error) => {
                self.quarantine_event(committed.seq, 0, "", error.to_string(), &committed.record);
            }
        }
        self.progress.cursor = committed.seq;
        self.bytes_since_checkpoint += bytes;
        self.changed = true;
        fail_point!(RecordCounted);
    }

    fn count_record(&mut self, seq: u64, bytes: u64, record: &Record<'_>) {
        self.apply(&record.deltas);
        let mut matched = 0;
        let mut room = Vec::new();
        for (index, event) in (0..).zip(record.events()) {
            if self.count_event(seq, index, event, &mut room) {
                matched += 1;
            }
        }
        let receipts = &mut self.progress.receipts;
        let accepted = u64::from(record.event_count);
        receipts.received += accepted;
        receipts.accepted += accepted;
        receipts.matched += matched;
        receipts.unmatched += accepted - matched;
        self.chunks.add(seq, bytes, record.accepted_at);
    }

    /// Counts what was not accepted.
    fn apply(&mut self, deltas: &Deltas) {
        deltas.apply(&mut self.progress.receipts);
        for conflict in &deltas.conflicts {
            self.progress.conflicts += 1;
            self.conflicts.push(Listed {
                number: self.progress.conflicts,
                conflict: conflict.clone(),
            });
        }
    }

    /// Counts one event for every meter that matches it; says whether any does. `room` serves one event after another.
    fn count_event<'a>(
        &mut self,
        seq: u64,
        index: u32,
        bytes: &'a [u8],
        room: &mut Vec<(Cow<'a, str>, Value<'a>)>,
    ) -> bool {
        let event = match Event::decode_into(bytes, std::mem::take(room)) {
            Ok(event) => event,
            Err(error) => {
                self.quarantine_event(seq, index, "", error.to_string(), bytes);
                return false;
            }
        };
        let mut matched = false;
        let mut failed = Vec::new();
        let mut account = Account::default();
        for metered in self.meters.matching(&event) {
            matched = true;
            if let Err(error) = self.open.observe(metered, &event, &mut account) {
                failed.push((metered.clone(), error));
            }
        }
        for (metered, error) in failed {
            self.quarantine_share(seq, index, &metered, error.to_string(), bytes);
        }
        *room = event.into_room();
        matched
    }

    fn quarantine_share(
        &mut self,
        seq: u64,
        index: u32,
        metered: &Metered,
        reason: String,
        bytes: &[u8],
    ) {
        let meter = metered.meter.id.to_string();
        self.quarantine_event(seq, index, &meter, reason, bytes);
    }

    /// Keeps what cannot be counted, so that it is neither lost nor in the way.
    fn quarantine_event(
        &mut self,
        record: u64,
        index: u32,
        meter: &str,
        reason: String,
        event: &[u8],
    ) {
        tracing::error!(
            record,
            index,
            meter,
            reason,
            "an accepted event cannot be counted and is kept in quarantine"
        );
        self.progress.quarantined += 1;
        self.changed = true;
        self.quarantine.push(Quarantined {
            record,
            index,
            meter: meter.to_owned(),
            reason,
            event: event.to_vec(),
        });
    }

    /// Publishes what status shows.
    pub(super) fn publish(&self) {
        let backfilling = self.is_backfilling();
        let mut view = lock(&self.shared.view);
        *view = View {
            counted: self.progress.cursor,
            receipts: self.progress.receipts.clone(),
            open_partials: self.open_partials(),
            journal_bytes: self.chunks.bytes(),
            journal_oldest_at: self.chunks.oldest_at(),
            groups_of_one_meter: self.open.groups_of_one_meter(),
            folded: self.open.folded(),
            seals_by_size: self.seals_by_size,
            quarantined: self.progress.quarantined,
            backfilling,
            watermark: self.watermark(),
            open_bytes: self.open_bytes(),
        };
        drop(view);
        self.shared.viewed.notify_all();
    }

    /// The newest frame's watermark; after a farewell only what this life keeps to.
    fn watermark(&self) -> Option<Timestamp> {
        let sealed = self.progress.watermark?;
        if self.has_returned() {
            Some(sealed.min(self.progress.floor))
        } else {
            Some(sealed)
        }
    }

    /// Says whether the newest frame is a previous life's farewell.
    pub(super) fn has_returned(&self) -> bool {
        self.progress.farewell && self.progress.sealed.seq < self.life_first_seq
    }

    /// Says whether nothing waits to be sealed.
    pub(super) fn is_empty(&self) -> bool {
        self.open.len() == 0 && !self.spilled
    }

    fn open_partials(&self) -> u64 {
        self.open.len() as u64 + self.spilled_partials
    }

    /// What the open partials take, in memory and on disk.
    fn open_bytes(&self) -> u64 {
        self.open.bytes() + self.spilled_bytes
    }

    /// Goes on behind frames that were sealed and are known by number only: what is open is what they held.
    pub(super) fn adopt_seal(&mut self, sealed: StoredPosition) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        self.open.take();
        self.open.forget_groups();
        (self.spilled, self.spilled_partials, self.spilled_bytes) = (false, 0, 0);
        let mut batch = shared.store.batch();
        batch.delete_open_set(self.progress.open_set);
        self.progress.open_set += 1;
        self.progress.open_oldest = self.progress.cursor + 1;
        self.progress.sealed = sealed;
        self.progress.sealed_receipts = self.progress.receipts.clone();
        self.stage(&mut batch);
        batch.put_sealed_progress(sealed.seq, 0, &self.progress);
        shared.write(batch, Durability::Synced)?;
        self.settle();
        Ok(())
    }

    /// Says whether the newest frame frozen is this one.
    pub(super) fn has_sealed(&self, sealed: StoredPosition) -> bool {
        self.progress.sealed == sealed
    }

    /// Goes on behind record `last` although it is not there.
    pub(super) fn pass_over(&mut self, last: u64) {
        if last > self.progress.cursor {
            self.progress.cursor = last;
            self.changed = true;
        }
    }

    /// Brings the mark level with what was recovered.
    pub(super) fn mark(&self) {
        self.shared.store.mark_progress(&self.progress);
    }

    /// The last record counted.
    pub(super) fn cursor(&self) -> u64 {
        self.progress.cursor
    }

    /// Nothing older is accepted outside imports.
    pub(super) fn floor(&self) -> Timestamp {
        self.progress.floor
    }

    /// Notes that everything sealed so far was accepted by previous lives.
    pub(super) fn begin_life(&mut self) {
        self.life_first_seq = self.progress.sealed.seq + 1;
    }
}
