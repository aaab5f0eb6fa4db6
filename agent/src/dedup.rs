//! Which event ids were seen: exact for the retention, bounded in memory, no disk read for a new id.
//!
//! New ids go to the **open** generation, an exact map in memory. A full or old one becomes **closing**: still the same
//! map, until its sorted ids are on disk. Then it is a **run**: exact on disk, and in memory a filter that says "surely
//! new" or "look it up"; only the latter reads the disk. Runs are merged in the background, four of a level into one of
//! the next ([`plan`]), slice by slice: a slice of the merged run is asked from the moment it is readable, and the same
//! slice of those it came from is let go of, so that filters never exist twice and each id is asked about once a run.
//!
//! What that costs at 10^8 ids in generations of 100 000: mostly seven or eight filters asked for a new id, fifteen at the
//! most; one new id in 200 reads the disk (never more than one in 100: one in 2^9 for each of the two or three largest
//! runs, ever fewer for the small ones); 1.3 bytes an id in filters and 0.1 in the maps.
//!
//! The room is pure: what is on disk is asked through [`RunIds`], and time is handed in.

pub(crate) mod block;
mod filter;
mod fingerprint;
mod generation;
pub(crate) mod merge;
pub(crate) mod plan;
mod run;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use submeter_common::time::Timestamp;

pub(crate) use filter::Filter;
pub(crate) use fingerprint::{Fingerprint, Fingerprinter};
pub(crate) use generation::{Entry, Generation};
pub(crate) use plan::StoredRun;
pub(crate) use run::Run;

/// A generation is closed after this part of the retention at the latest, so that expiry is never much too late.
const GENERATIONS_PER_RETENTION: u32 = 24;

/// Looks ids up on disk.
pub(crate) trait RunIds {
    /// Why a look-up failed.
    type Error;

    /// The entry of `fingerprint` in a run, if it is there.
    fn find(&self, run: u32, fingerprint: Fingerprint) -> Result<Option<Entry>, Self::Error>;
}

/// The runs that may have an id, as far as their filters know.
#[derive(Copy, Clone, Default, Debug)]
pub(crate) struct Suspects(u64);

impl Suspects {
    /// The bit of the run at `place`. Those beyond the last bit share it; there are never so many but in a jam.
    fn bit(place: usize) -> u32 {
        u32::try_from(place).map_or(63, |place| place.min(63))
    }
}

/// All ids within the retention.
#[derive(Debug)]
pub(crate) struct Dedup {
    open: Generation,
    /// Oldest first.
    closing: VecDeque<Arc<Generation>>,
    /// Oldest first.
    runs: Vec<Run>,
    /// Bytes of all runs' filters.
    run_bytes: usize,
    next_id: u32,
    ids_max: usize,
    age_max: Duration,
    /// Look-ups on disk since the start.
    pub(crate) disk_reads: u64,
}

impl Dedup {
    /// Starts with an empty open generation `id`. `ids_max` ids or a 24th of `retention` fill a generation.
    pub(crate) fn new(id: u32, opened_at: Timestamp, ids_max: usize, retention: Duration) -> Self {
        Self {
            open: Generation::new(id, opened_at),
            closing: VecDeque::new(),
            runs: Vec::new(),
            run_bytes: 0,
            next_id: id.saturating_add(1),
            ids_max,
            age_max: retention / GENERATIONS_PER_RETENTION,
            disk_reads: 0,
        }
    }

    /// A number that no generation and no run has had.
    pub(crate) fn new_id(&mut self) -> u32 {
        let id = self.next_id;
        self.next_id = id.saturating_add(1);
        id
    }

    /// Adds a run that is younger than those before.
    pub(crate) fn add_run(&mut self, run: Run) {
        self.next_id = self.next_id.max(run.id.saturating_add(1));
        self.run_bytes += run.bytes();
        self.runs.push(run);
    }

    /// Finds an id wherever it is.
    pub(crate) fn find<D: RunIds>(
        &mut self,
        fingerprint: Fingerprint,
        disk: &D,
    ) -> Result<Option<Entry>, D::Error> {
        let suspects = self.screen(std::iter::once(fingerprint));
        let suspects = suspects.first().copied().unwrap_or_default();
        self.find_among(fingerprint, suspects, disk)
    }

    /// Asks the filters of all runs about many ids at once. A filter is mostly a miss of the cache; run by run, without
    /// a decision between two ids, the misses of many ids overlap.
    pub(crate) fn screen(&self, ids: impl Iterator<Item = Fingerprint> + Clone) -> Vec<Suspects> {
        let mut suspects: Vec<Suspects> = ids.clone().map(|_| Suspects(0)).collect();
        for (place, run) in self.runs.iter().enumerate() {
            for (suspects, id) in suspects.iter_mut().zip(ids.clone()) {
                suspects.0 |= u64::from(run.may_contain(id)) << Suspects::bit(place);
            }
        }
        suspects
    }

    /// Finds an id in memory, or in one of the runs that may have it. They are as [`Dedup::screen`] has just said.
    pub(crate) fn find_among<D: RunIds>(
        &mut self,
        fingerprint: Fingerprint,
        suspects: Suspects,
        disk: &D,
    ) -> Result<Option<Entry>, D::Error> {
        let closing = || {
            self.closing
                .iter()
                .rev()
                .find_map(|full| full.get(fingerprint))
        };
        let in_memory = self.open.get(fingerprint).or_else(closing);
        if let Some(entry) = in_memory {
            return Ok(Some(*entry));
        }
        if suspects.0 == 0 {
            return Ok(None);
        }
        // Youngest first: a retry mostly comes soon.
        for (place, run) in self.runs.iter().enumerate().rev() {
            if suspects.0 >> Suspects::bit(place) & 1 == 0 || !run.may_contain(fingerprint) {
                continue;
            }
            self.disk_reads += 1;
            if let Some(entry) = disk.find(run.id, fingerprint)? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Notes a new id. The caller has made sure with [`Dedup::find`] that it is new.
    pub(crate) fn insert(&mut self, entry: Entry) {
        self.open.insert(entry);
    }

    /// Notes an id again that a start finds in the journal; it may be there already.
    pub(crate) fn remember(&mut self, entry: Entry) {
        if self.open.get(entry.fingerprint).is_none() {
            self.open.insert(entry);
        }
    }

    /// Begins a new generation when the open one is full or old; answers the one to be closed.
    pub(crate) fn rotate(&mut self, now: Timestamp) -> Option<Arc<Generation>> {
        let due = self.open.len() >= self.ids_max
            || (self.open.len() > 0 && self.open.opened_at.saturating_add(self.age_max) <= now);
        due.then(|| self.renew(now))
    }

    /// The same whether it is full or not, if it holds any id.
    pub(crate) fn close_open(&mut self, now: Timestamp) -> Option<Arc<Generation>> {
        (self.open.len() > 0).then(|| self.renew(now))
    }

    fn renew(&mut self, now: Timestamp) -> Arc<Generation> {
        let next = Generation::sized(self.new_id(), now, self.open.len().min(self.ids_max));
        let full = Arc::new(std::mem::replace(&mut self.open, next));
        self.closing.push_back(Arc::clone(&full));
        full
    }

    /// Says whether all ids are in runs.
    pub(crate) fn is_all_in_runs(&self) -> bool {
        self.hot_ids() == 0
    }

    /// Replaces a closing generation's map by the run that it has become.
    pub(crate) fn closed(&mut self, run: Run) {
        self.closing.retain(|closing| closing.id != run.id);
        self.add_run(run);
    }

    /// Puts an empty run, to be merged into, behind the youngest of its inputs.
    pub(crate) fn begin_merge(&mut self, run: Run, inputs: &[u32]) {
        let youngest = self.runs.iter().rposition(|run| inputs.contains(&run.id));
        self.run_bytes += run.bytes();
        self.runs.insert(youngest.map_or(0, |place| place + 1), run);
    }

    /// Moves slices: `filters` are those of `slices` of `output`; each input is let go of up to the slice beside it.
    pub(crate) fn merged(
        &mut self,
        output: u32,
        slices: Range<u32>,
        filters: Vec<Filter>,
        inputs: &[(u32, u32)],
    ) {
        let mut filters = Some(filters);
        for run in &mut self.runs {
            let before = run.bytes();
            if run.id == output {
                let new = slices.clone().zip(filters.take().unwrap_or_default());
                new.for_each(|(slice, filter)| run.put(slice, filter));
            }
            if let Some((_, moved)) = inputs.iter().find(|(id, _)| *id == run.id) {
                run.release(*moved);
            }
            self.run_bytes = self.run_bytes - before + run.bytes();
        }
    }

    /// Ends a merge: the output's ids are counted there from now on, and its inputs are no more.
    pub(crate) fn end_merge(&mut self, output: u32, ids: u64, inputs: &[u32]) {
        if let Some(run) = self.runs.iter_mut().find(|run| run.id == output) {
            run.ids = ids;
        }
        self.forget(inputs);
    }

    /// Forgets whole runs.
    pub(crate) fn forget(&mut self, runs: &[u32]) {
        self.runs.retain(|run| !runs.contains(&run.id));
        self.run_bytes = self.runs.iter().map(Run::bytes).sum();
    }

    /// Ids in the exact maps in memory.
    fn hot_ids(&self) -> u64 {
        let closing: usize = self.closing.iter().map(|full| full.len()).sum();
        (self.open.len() + closing) as u64
    }

    /// Ids remembered.
    pub(crate) fn ids(&self) -> u64 {
        let on_disk: u64 = self.runs.iter().map(|run| run.ids).sum();
        self.hot_ids().saturating_add(on_disk)
    }

    /// Bytes of memory in use.
    pub(crate) fn bytes(&self) -> u64 {
        let closing: usize = self.closing.iter().map(|full| full.bytes()).sum();
        (self.open.bytes() + closing + self.run_bytes) as u64
    }

    /// Runs that may be asked about an id.
    pub(crate) fn run_count(&self) -> usize {
        self.runs.len()
    }
}

#[cfg(test)]
mod tests;
