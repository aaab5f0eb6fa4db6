//! The checkpoint: everything derived, and the cursor that says from which records, in one atomic write.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use submeter_common::aggregate::Partial;

use super::{Aggregator, OPEN_HEAP_BYTES_MAX};
use crate::aggregate::OpenPartial;
use crate::fail_point::fail_point;
use crate::store::key::OpenKey;
use crate::store::{Batch, Durability, Store, StoreError};

/// A stored partial that would grow past this goes on as a further part.
const STORED_PARTIAL_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What a checkpoint adds to the part of the open set that is on disk only.
#[must_use]
#[derive(Default)]
pub(super) struct Spilled {
    partials: u64,
    bytes: u64,
}

impl Aggregator {
    /// Says whether time, bytes or memory ask for a checkpoint.
    pub(in crate::pipeline) fn is_checkpoint_due(&self) -> bool {
        let config = &self.shared.config;
        self.changed
            && (self.checkpointed.elapsed() >= config.checkpoint_interval
                || self.bytes_since_checkpoint >= config.checkpoint_bytes_max
                || self.is_memory_full())
    }

    pub(super) fn is_memory_full(&self) -> bool {
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
        self.stage(&mut batch);
        fail_point!(CheckpointStaged);
        shared.write(batch, Durability::Synced)?;
        fail_point!(CheckpointWritten);
        self.settle();
        fail_point!(CheckpointHalfSettled);
        self.settle_open(new);
        Ok(())
    }

    /// Adds all derived state but the open partials to the batch.
    pub(super) fn stage(&mut self, batch: &mut Batch<'_>) {
        for chunk in self.chunks.changed_since(self.durable_cursor) {
            batch.put_chunk(chunk);
        }
        for quarantined in &self.quarantine {
            batch.put_quarantined(quarantined);
        }
        for conflict in &self.conflicts {
            batch.put_conflict(conflict);
        }
        batch.put_progress(&self.progress);
    }

    /// Takes note that what was staged is durable.
    pub(super) fn settle(&mut self) {
        self.quarantine.clear();
        self.conflicts.clear();
        self.durable_cursor = self.progress.cursor;
        self.bytes_since_checkpoint = 0;
        self.checkpointed = Instant::now();
        self.changed = false;
    }

    /// Adds the changed partials to the batch: as they are while all of the open set is in memory, else added to what
    /// is on disk. Answers what the disk did not have before, when memory does not hold it all.
    pub(super) fn stage_open(
        &self,
        store: &Store,
        batch: &mut Batch<'_>,
    ) -> Result<Spilled, StoreError> {
        let set = self.progress.open_set;
        if !self.spilled {
            for open in self.open.dirty() {
                batch.put_open(set, &self.key_of(open), &open.partial)?;
            }
            return Ok(Spilled::default());
        }
        // The batch is not readable yet, so two parts of one key must not choose the same place.
        let mut taken = HashSet::new();
        let mut new = Spilled::default();
        for open in self.open.dirty() {
            let mut key = self.key_of(open);
            let stored = self.stored_part(store, &mut key, &open.partial, &taken)?;
            let merged = match &stored {
                Some((merged, grown)) => {
                    new.bytes += grown;
                    merged
                }
                None => {
                    new.partials += 1;
                    new.bytes += open.bytes();
                    &open.partial
                }
            };
            batch.put_open(set, &key, merged)?;
            taken.insert(key);
        }
        Ok(new)
    }

    /// Takes note that the staged partials are durable, and lets go of them when memory is short.
    pub(super) fn settle_open(&mut self, new: Spilled) {
        self.open.mark_clean();
        if self.spilled {
            self.spilled_partials = self.spilled_partials.saturating_add(new.partials);
            self.spilled_bytes = self.spilled_bytes.saturating_add(new.bytes);
            self.open.evict();
        } else if self.is_memory_full() {
            self.spilled_partials = self.open.len() as u64;
            self.spilled_bytes = self.open.bytes();
            self.spilled = true;
            self.open.evict();
            fail_point!(CheckpointSpilled);
        }
    }

    /// Finds the first stored part of the key that can take the partial and adds it, and says by how many bytes it has grown;
    /// none when a new part is due.
    fn stored_part(
        &self,
        store: &Store,
        key: &mut OpenKey,
        addend: &Partial,
        taken: &HashSet<OpenKey>,
    ) -> Result<Option<(Partial, u64)>, StoreError> {
        for part in 0..=u16::MAX {
            key.part = part;
            if taken.contains(key) {
                continue;
            }
            let Some(mut stored) = store.open_partial(self.progress.open_set, key)? else {
                return Ok(None);
            };
            let before = stored.heap_bytes();
            let fits = before + addend.heap_bytes() <= STORED_PARTIAL_BYTES_MAX;
            if fits && stored.merge(addend).is_ok() {
                let grown = stored.heap_bytes().saturating_sub(before) as u64;
                return Ok(Some((stored, grown)));
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
