//! The checkpoint: everything derived, and the cursor that says from which records, in one atomic write.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use submeter_common::aggregate::Partial;

use super::{Aggregator, OPEN_HEAP_BYTES_MAX};
use crate::aggregate::OpenPartial;
use crate::dedup::Filter;
use crate::fail_point::fail_point;
use crate::pipeline::shared::lock;
use crate::store::key::OpenKey;
use crate::store::{Batch, Durability, Store, StoreError};

/// A stored partial that would grow past this goes on as a further part.
const STORED_PARTIAL_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Ids between two checkpoints for which memory is kept.
const TAIL_KEPT: usize = 64 * 1024;

/// Generations whose ids a batch puts on disk, and the filters that replace their maps once it is written.
#[must_use]
#[derive(Default)]
pub(super) struct Closed(Vec<(u32, Filter)>);

impl Aggregator {
    /// Says whether time, bytes or memory ask for a checkpoint.
    pub(in crate::pipeline) fn is_checkpoint_due(&self) -> bool {
        let config = &self.shared.config;
        self.changed
            && (self.checkpointed.elapsed() >= config.checkpoint_interval
                || self.bytes_since_checkpoint >= config.checkpoint_bytes_max
                || !self.closing.is_empty()
                || self.is_memory_full())
    }

    fn is_memory_full(&self) -> bool {
        self.open.len() > self.shared.config.open_partials_in_memory_max
            || self.open.heap_bytes() > OPEN_HEAP_BYTES_MAX
    }

    /// Writes a checkpoint if anything changed.
    pub(in crate::pipeline) fn checkpoint(&mut self) -> Result<(), StoreError> {
        if !self.changed {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        fail_point!(CheckpointBegun);
        let mut batch = shared.store.batch();
        let new = self.stage_open(&shared.store, &mut batch)?;
        fail_point!(CheckpointPartialsStaged);
        let closed = self.stage(&mut batch);
        fail_point!(CheckpointStaged);
        shared.write(batch, Durability::Synced)?;
        fail_point!(CheckpointWritten);
        self.settle(closed);
        fail_point!(CheckpointHalfSettled);
        self.settle_open(new);
        Ok(())
    }

    /// Adds all derived state but the open partials to the batch.
    pub(super) fn stage(&mut self, batch: &mut Batch<'_>) -> Closed {
        let mut closed = Closed::default();
        for generation in &self.closing {
            let entries = generation.sorted();
            let filter = Filter::build(&entries);
            batch.close_generation(generation.id, &entries, &filter);
            closed.0.push((generation.id, filter));
        }
        for expired in self.expired_generations() {
            batch.delete_generation(expired);
            self.progress
                .generations
                .retain(|generation| generation.id != expired);
        }
        if !closed.0.is_empty() {
            fail_point!(CheckpointGenerationsStaged);
        }
        if let Some(open) = self.progress.generations.last_mut()
            && !self.tail.is_empty()
        {
            open.ids += self.tail.len() as u64;
            batch.put_tail(open.id, self.progress.cursor, &self.tail);
        }
        for chunk in self.chunks.changed_since(self.durable_cursor) {
            batch.put_chunk(chunk);
        }
        for quarantined in &self.quarantine {
            batch.put_quarantined(quarantined);
        }
        batch.put_progress(&self.progress);
        closed
    }

    /// Takes note that what was staged is durable.
    pub(super) fn settle(&mut self, closed: Closed) {
        {
            let mut dedup = lock(&self.shared.dedup);
            for (id, filter) in closed.0 {
                dedup.closed(id, filter);
            }
            let kept = &self.progress.generations;
            dedup.retain_closed(|id| kept.iter().any(|generation| generation.id == id));
        }
        self.closing.clear();
        self.tail.clear();
        // After a burst its memory is given back.
        self.tail.shrink_to(TAIL_KEPT);
        self.quarantine.clear();
        self.durable_cursor = self.progress.cursor;
        self.bytes_since_checkpoint = 0;
        self.checkpointed = Instant::now();
        self.changed = false;
    }

    /// Adds the changed partials to the batch: as they are while all of the open set is in memory, else added to what
    /// is on disk. Answers how many partials the disk did not have before, when memory does not hold them all.
    pub(super) fn stage_open(
        &self,
        store: &Store,
        batch: &mut Batch<'_>,
    ) -> Result<u64, StoreError> {
        let set = self.progress.open_set;
        if !self.spilled {
            for open in self.open.dirty() {
                batch.put_open(set, &self.key_of(open), &open.partial)?;
            }
            return Ok(0);
        }
        // The batch is not readable yet, so two parts of one key must not choose the same place.
        let mut taken = HashSet::new();
        let mut new = 0;
        for open in self.open.dirty() {
            let mut key = self.key_of(open);
            let stored = self.stored_part(store, &mut key, &open.partial, &taken)?;
            new += u64::from(stored.is_none());
            batch.put_open(set, &key, stored.as_ref().unwrap_or(&open.partial))?;
            taken.insert(key);
        }
        Ok(new)
    }

    /// Takes note that the staged partials are durable, and lets go of them when memory is short.
    pub(super) fn settle_open(&mut self, new: u64) {
        self.open.mark_clean();
        if self.spilled {
            self.spilled_partials = self.spilled_partials.saturating_add(new);
            self.open.evict();
        } else if self.is_memory_full() {
            self.spilled_partials = self.open.len() as u64;
            self.spilled = true;
            self.open.evict();
            fail_point!(CheckpointSpilled);
        }
    }

    /// Finds the first stored part of the key that can take the partial and adds it; none when a new part is due.
    fn stored_part(
        &self,
        store: &Store,
        key: &mut OpenKey,
        addend: &Partial,
        taken: &HashSet<OpenKey>,
    ) -> Result<Option<Partial>, StoreError> {
        for part in 0..=u16::MAX {
            key.part = part;
            if taken.contains(key) {
                continue;
            }
            let Some(mut stored) = store.open_partial(self.progress.open_set, key)? else {
                return Ok(None);
            };
            let fits = stored.heap_bytes() + addend.heap_bytes() <= STORED_PARTIAL_BYTES_MAX;
            if fits && stored.merge(addend).is_ok() {
                return Ok(Some(stored));
            }
        }
        Err(StoreError::Failed(
            "a partial has more than 65536 parts".into(),
        ))
    }

    pub(super) fn key_of(&self, open: &OpenPartial) -> OpenKey {
        OpenKey {
            part: open.part,
            customer: open.customer.to_string(),
            meter: self.meters.id(open.meter).to_string(),
            window: open.window,
            group: open.group.clone(),
        }
    }
}
