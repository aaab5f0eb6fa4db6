//! The compactor thread: makes runs of full dedup generations, merges runs, drops expired ids. Nobody waits for it.
//!
//! Every step is the same in form: entries are written where no name covers them yet, then one atomic write names them
//! and takes the names of what they replace away, then memory follows, and last what has no name is deleted. Death in
//! between leaves nameless entries, which the next start sweeps away.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use submeter_common::time::Timestamp;

use super::queue::Popped;
use super::shared::{Shared, lock};
use crate::dedup::merge::{Merge, Source};
use crate::dedup::plan::{self, Mark, Next};
use crate::dedup::{Filter, Fingerprint, Generation, Run, StoredRun};
use crate::fail_point::fail_point;
use crate::store::{Durability, Store, StoreError};

/// How often an idle compactor looks for expired ids.
const TICK: Duration = Duration::from_secs(1);
/// Slices merged in one step: so much of the filters exists twice for a moment, so long may a full
/// generation wait, and so large are the files: the fewer, the more of them are open. Few generations come to a merge of
/// several steps in a program that dies at fail points.
const STEP_SLICES: u32 = if cfg!(feature = "fail-points") { 2 } else { 16 };
/// A finer cut costs 2 % of the filters' bytes, and saves half of the memory that making one takes.
const SLICES_PER_GENERATION: u64 = 2;

/// A generation that takes no more ids since this time.
pub(super) struct Closing {
    pub(super) generation: Arc<Generation>,
    pub(super) at: Timestamp,
}

/// The state of the compactor thread.
pub(super) struct Compactor {
    shared: Arc<Shared>,
    /// As they are named on disk, oldest first.
    runs: Vec<StoredRun>,
}

impl Compactor {
    pub(super) fn new(shared: Arc<Shared>, runs: Vec<StoredRun>) -> Self {
        let compactor = Self { shared, runs };
        compactor.publish();
        compactor
    }

    /// Works until its queue is closed.
    pub(super) fn run(mut self) -> Result<(), StoreError> {
        let mut wait = Duration::ZERO;
        loop {
            match self.shared.closings.pop(wait) {
                Popped::Closed => return Ok(()),
                Popped::Item(closing) => self.close(&closing)?,
                Popped::TimedOut => {}
            }
            wait = if self.step()? { Duration::ZERO } else { TICK };
        }
    }

    /// Closes what waits to be closed; a start does so before the thread runs.
    pub(super) fn close_waiting(&mut self) -> Result<(), StoreError> {
        while let Popped::Item(closing) = self.shared.closings.pop(Duration::ZERO) {
            self.close(&closing)?;
        }
        Ok(())
    }

    /// Makes a run of a full generation.
    fn close(&mut self, closing: &Closing) -> Result<(), StoreError> {
        let generation = &closing.generation;
        let (ids, record) = (generation.len() as u64, generation.last_record());
        let mut run = StoredRun {
            id: generation.id,
            level: 0,
            ids,
            slices_log2: plan::slices_log2(ids, self.slice_ids()),
            slices_done: 0,
            inputs: Vec::new(),
            opened_at: generation.opened_at,
            marks: vec![Mark {
                record,
                at: closing.at,
            }],
        };
        let slices = 0..run.slices();
        let store = &self.shared.store;
        let written = store.write_slices(&run, slices.clone(), generation.sorted().map(Ok))?;
        run.slices_done = slices.end;
        fail_point!(GenerationWritten);
        // After damage, ids of old records may come to a run late.
        let cursor = record.max(self.shared.runs_cursor.load(Ordering::SeqCst));
        let mut batch = store.batch();
        batch.put_run(&run);
        batch.put_runs_cursor(cursor);
        self.shared.write(batch, Durability::Synced)?;
        fail_point!(GenerationNamed);
        self.shared.runs_cursor.store(cursor, Ordering::SeqCst);
        let mut known = Run::empty(run.id, u32::from(run.slices_log2));
        known.ids = run.ids;
        slices
            .zip(written.filters)
            .for_each(|(slice, filter)| known.put(slice, filter));
        lock(&self.shared.dedup).closed(known);
        self.add(run);
        Ok(())
    }

    /// Does one piece of background work; says whether there may be more.
    pub(super) fn step(&mut self) -> Result<bool, StoreError> {
        let now = self.shared.clock.now();
        match plan::next(&self.runs, now, self.shared.config.dedup_retention) {
            Next::Rest => return Ok(false),
            Next::Forget(runs) => self.forget(&runs)?,
            Next::Continue(output) => self.merge_step(output, now)?,
            Next::Begin { inputs, level } => return self.begin_merge(&inputs, level, now),
        }
        Ok(true)
    }

    /// Drops runs of which every id has passed the retention.
    fn forget(&mut self, forgotten: &[u32]) -> Result<(), StoreError> {
        let mut batch = self.shared.store.batch();
        forgotten.iter().for_each(|run| batch.forget_run(*run));
        // Memory forgets first: an id that disk no longer has must not be asked for there.
        lock(&self.shared.dedup).forget(forgotten);
        self.shared.write(batch, Durability::Synced)?;
        self.runs.retain(|run| !forgotten.contains(&run.id));
        self.shared.store.delete_runs(forgotten)?;
        self.publish();
        Ok(())
    }

    /// Names the run that the inputs will become. It needs no entries on disk for that. False: there is no room for it.
    fn begin_merge(
        &mut self,
        inputs: &[u32],
        level: u8,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let from: Vec<&StoredRun> = self
            .runs
            .iter()
            .filter(|run| inputs.contains(&run.id))
            .collect();
        let bytes: u64 = from
            .iter()
            .map(|run| run.ids * crate::dedup::block::ENTRY_BYTES as u64)
            .sum();
        if !self.shared.disk.has_room_for(bytes) {
            // Runs stay many and answers exact; flushing frees the disk.
            return Ok(false);
        }
        let id = lock(&self.shared.dedup).new_id();
        let retention = self.shared.config.dedup_retention;
        let output = plan::output(id, level, &from, self.slice_ids(), now, retention);
        let mut batch = self.shared.store.batch();
        batch.put_run(&output);
        self.shared.write(batch, Durability::Synced)?;
        fail_point!(MergeBegun);
        let empty = Run::empty(id, u32::from(output.slices_log2));
        lock(&self.shared.dedup).begin_merge(empty, inputs);
        self.add(output);
        Ok(true)
    }

    /// Merges the next slices; with the last ones the inputs are no more.
    fn merge_step(&mut self, output: u32, now: Timestamp) -> Result<(), StoreError> {
        let Some(place) = self.runs.iter().position(|run| run.id == output) else {
            return Ok(());
        };
        let before = &self.runs[place];
        let end = before
            .slices_done
            .saturating_add(STEP_SLICES)
            .min(before.slices());
        let slices = before.slices_done..end;
        let inputs: Vec<&StoredRun> = self.inputs_of(before);
        let oldest = now.saturating_sub(self.shared.config.dedup_retention);
        let store = &self.shared.store;
        let sources = sources(store, before, &slices, &inputs, oldest);
        let written = store.write_slices(before, slices.clone(), Merge::new(sources))?;
        fail_point!(MergeWritten);
        let mut after = before.clone();
        after.slices_done = end;
        after.ids += written.ids;
        let moved = inputs
            .iter()
            .map(|run| (run.id, run.moved_to(&after)))
            .collect();
        if end == after.slices() {
            self.end_merge(place, after, written.filters, slices)
        } else {
            self.advance(place, after, written.filters, slices, moved)
        }
    }

    fn advance(
        &mut self,
        place: usize,
        after: StoredRun,
        filters: Vec<Filter>,
        slices: Range<u32>,
        moved: Vec<(u32, u32)>,
    ) -> Result<(), StoreError> {
        let mut batch = self.shared.store.batch();
        batch.put_run(&after);
        self.shared.write(batch, Durability::Synced)?;
        fail_point!(MergeAdvanced);
        lock(&self.shared.dedup).merged(after.id, slices, filters, &moved);
        self.runs[place] = after;
        self.publish();
        Ok(())
    }

    fn end_merge(
        &mut self,
        place: usize,
        mut after: StoredRun,
        filters: Vec<Filter>,
        slices: Range<u32>,
    ) -> Result<(), StoreError> {
        let inputs = std::mem::take(&mut after.inputs);
        let mut batch = self.shared.store.batch();
        batch.put_run(&after);
        inputs.iter().for_each(|run| batch.forget_run(*run));
        self.shared.write(batch, Durability::Synced)?;
        fail_point!(MergeNamed);
        {
            let mut dedup = lock(&self.shared.dedup);
            dedup.merged(after.id, slices, filters, &[]);
            dedup.end_merge(after.id, after.ids, &inputs);
        }
        fail_point!(MergeDone);
        self.runs[place] = after;
        self.runs.retain(|run| !inputs.contains(&run.id));
        self.shared.store.delete_runs(&inputs)?;
        self.publish();
        Ok(())
    }

    fn inputs_of(&self, output: &StoredRun) -> Vec<&StoredRun> {
        let inputs = self
            .runs
            .iter()
            .filter(|run| output.inputs.contains(&run.id));
        inputs.collect()
    }

    fn add(&mut self, run: StoredRun) {
        self.runs.push(run);
        self.runs.sort_by_key(StoredRun::last_record);
        self.publish();
    }

    fn publish(&self) {
        lock(&self.shared.runs).clone_from(&self.runs);
        self.shared.measure_dedup(&lock(&self.shared.dedup));
    }

    /// A slice holds a part of a generation's ids, so that the working memory of its filter is small.
    fn slice_ids(&self) -> u64 {
        let generation = self.shared.config.dedup_generation_ids_max as u64;
        (generation / SLICES_PER_GENERATION).max(1)
    }
}

/// The inputs' entries in the slices of `output`, each without what has expired.
fn sources<'a>(
    store: &'a Store,
    output: &StoredRun,
    slices: &Range<u32>,
    inputs: &[&StoredRun],
    oldest: Timestamp,
) -> Vec<Source<impl Iterator<Item = Result<crate::dedup::Entry, StoreError>> + use<'a>>> {
    let log2 = u32::from(output.slices_log2);
    let to = Fingerprint::last_of(slices.end.saturating_sub(1), log2);
    let from = Fingerprint::first_of(slices.start, log2).unwrap_or(to);
    inputs
        .iter()
        .map(|run| Source {
            entries: store.entries(run.id, from, to),
            first_record: run.first_record(oldest),
        })
        .collect()
}
