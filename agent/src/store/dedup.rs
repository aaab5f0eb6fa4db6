//! Event ids on disk, in sorted runs. Those of younger records are in the journal alone, and in memory.
//!
//! A run's entries lie in the family `dedup`, slice by slice:
//!
//! - run u32, first fingerprint u128: a block of up to 128 entries sorted by fingerprint, none of another slice;
//! - run u32, last fingerprint of the slice u128, `f`: the slice's filter, behind its blocks.
//!
//! They are written as finished files that the database takes in (`ingest`): no log, no memtable, no compaction of the
//! database's own, and a run is deleted by dropping its files. Files come before the value under `run/` that names what
//! is in them; what no such value names is swept away at the next start.

use std::ops::Range;

use rocksdb::{IngestExternalFileOptions, ReadOptions, SstFileWriter};

use super::{Batch, Family, Store, StoreError, key, meta, options};
use crate::dedup::{Entry, Filter, Fingerprint, Run, RunIds, StoredRun, block};

const FILTER: u8 = b'f';
/// Read ahead of a merge, from each of its runs.
const READAHEAD_BYTES: usize = 256 * 1024;
/// Where finished files wait to be taken in, within the database's directory.
const INGEST_DIRECTORY: &str = "ingest";

impl Batch<'_> {
    /// Says that runs hold the ids of all records up to this one.
    pub(crate) fn put_runs_cursor(&mut self, record: u64) {
        self.put(Family::Meta, key::RUNS_CURSOR, &record.to_be_bytes());
    }

    /// Says how a run stands.
    pub(crate) fn put_run(&mut self, run: &StoredRun) {
        self.put(Family::Meta, &key::run(run.id), &meta::encode(run));
        self.count_naming();
    }

    /// Takes a run's name away; what it held is deleted by [`Store::delete_runs`].
    pub(crate) fn forget_run(&mut self, run: u32) {
        self.delete(Family::Meta, &key::run(run));
        self.count_naming();
    }

    /// What runs hold is deleted as soon as their names are gone, and that deletion is not in the log. A log that lost its
    /// end would bring the names back alone: the number tells.
    fn count_naming(&mut self) {
        if self.essence().runs.is_none() {
            let revision = self.next_runs_revision();
            self.put(Family::Meta, key::RUNS_REVISION, &revision.to_be_bytes());
            self.essence().runs = Some(revision);
        }
    }
}

/// What a write of slices brought.
pub(crate) struct Written {
    pub(crate) ids: u64,
    pub(crate) filters: Vec<Filter>,
}

impl Store {
    /// The last record of those whose ids are in runs; a start takes the others' from the journal.
    pub(crate) fn runs_cursor(&self) -> Result<u64, StoreError> {
        self.snapshot().runs_cursor()
    }

    /// How often runs were named or lost their names; 0 before the first time.
    pub(crate) fn runs_revision(&self) -> Result<u64, StoreError> {
        self.get(Family::Meta, key::RUNS_REVISION)?
            .map_or(Ok(0), |bytes| key::trailing_u64(&bytes))
    }

    /// All runs that have a name, oldest first.
    pub(crate) fn runs(&self) -> Result<Vec<StoredRun>, StoreError> {
        self.snapshot().runs()
    }

    /// Writes slices of a run, from entries sorted by fingerprint. They are readable when this returns.
    pub(crate) fn write_slices(
        &self,
        run: &StoredRun,
        slices: Range<u32>,
        entries: impl Iterator<Item = Result<Entry, StoreError>>,
    ) -> Result<Written, StoreError> {
        let directory = self.db.path().join(INGEST_DIRECTORY);
        std::fs::create_dir_all(&directory).map_err(failed)?;
        let path = directory.join(format!("{}-{}.sst", run.id, slices.start));
        let options = options::ingested();
        let mut file = SstFileWriter::create(&options);
        file.open(&path)?;
        let mut entries = entries.peekable();
        let mut written = Written {
            ids: 0,
            filters: Vec::new(),
        };
        for slice in slices {
            let (ids, filter) = write_slice(&mut file, run, slice, &mut entries)?;
            written.ids += ids;
            written.filters.push(filter);
        }
        file.finish()?;
        self.ingest(&path)?;
        Ok(written)
    }

    /// Takes in a copy of a file of ids that another database had taken in.
    pub(super) fn take_in(&self, path: &std::path::Path) -> Result<(), StoreError> {
        let family = self.family(Family::Dedup);
        let options = IngestExternalFileOptions::default();
        Ok(self
            .db
            .ingest_external_file_cf_opts(family, &options, vec![path])?)
    }

    fn ingest(&self, path: &std::path::Path) -> Result<(), StoreError> {
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        let ingest = || {
            let family = self.family(Family::Dedup);
            Ok(self
                .db
                .ingest_external_file_cf_opts(family, &options, vec![path])?)
        };
        #[cfg(test)]
        return self.crash.write(ingest);
        #[cfg(not(test))]
        ingest()
    }

    /// A run as memory knows it: the filters of `slices`.
    pub(crate) fn load_run(&self, run: &StoredRun, slices: Range<u32>) -> Result<Run, StoreError> {
        let mut loaded = Run::empty(run.id, u32::from(run.slices_log2));
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        for slice in slices {
            let stored = self.db.get_pinned_cf_opt(
                self.family(Family::Dedup),
                filter_key(run, slice),
                &options,
            )?;
            let filter = match stored.and_then(|bytes| Filter::from_bytes(&bytes)) {
                Some(filter) => filter,
                None => self.rebuild_filter(run, slice)?,
            };
            loaded.put(slice, filter);
        }
        Ok(loaded)
    }

    /// Builds a slice's filter again from its blocks, when it does not read back.
    fn rebuild_filter(&self, run: &StoredRun, slice: u32) -> Result<Filter, StoreError> {
        let log2 = u32::from(run.slices_log2);
        let (from, to) = (
            Fingerprint::first_of(slice, log2),
            Fingerprint::last_of(slice, log2),
        );
        let entries = self.entries(run.id, from.unwrap_or(to), to);
        let ids = entries.map(|entry| Ok(entry?.fingerprint.low()));
        let ids: Result<Vec<u64>, StoreError> = ids.collect();
        Ok(Filter::build(ids?, run.filter_bits()))
    }

    /// The entries of a run from one fingerprint to another, inclusive.
    pub(crate) fn entries(&self, run: u32, from: Fingerprint, to: Fingerprint) -> Entries<'_> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_readahead_size(READAHEAD_BYTES);
        options.set_iterate_upper_bound(key::dedup(run.saturating_add(1), &[]));
        let mut blocks = self
            .db
            .raw_iterator_cf_opt(self.family(Family::Dedup), options);
        let first = key::dedup(run, &from.to_be_bytes());
        // The block before may reach beyond where it begins.
        blocks.seek_for_prev(&first);
        if !blocks.key().is_some_and(|key| is_block(key, &first)) {
            blocks.seek(&first);
        }
        Entries {
            blocks,
            block: Vec::new().into_iter(),
            from,
            to,
        }
    }

    /// Deletes everything of runs whose names are gone.
    pub(crate) fn delete_runs(&self, runs: &[u32]) -> Result<(), StoreError> {
        for run in runs {
            let (from, to) = (
                key::dedup(*run, &[]),
                key::dedup(run.saturating_add(1), &[]),
            );
            self.delete_entries(&from, &to)?;
        }
        Ok(())
    }

    /// Deletes what no name covers: runs without one, and slices behind those that their run says are there.
    pub(crate) fn sweep_runs(&self, runs: &[StoredRun]) -> Result<(), StoreError> {
        let directory = self.db.path().join(INGEST_DIRECTORY);
        if directory.exists() {
            std::fs::remove_dir_all(&directory).map_err(failed)?;
        }
        let mut keys = self.db.raw_iterator_cf(self.family(Family::Dedup));
        keys.seek_to_first();
        while let Some(found) = keys.key().and_then(|key| key.first_chunk::<4>()) {
            let id = u32::from_be_bytes(*found);
            let end = key::dedup(id.saturating_add(1), &[]);
            let sound = match runs.iter().find(|run| run.id == id) {
                None => Some(key::dedup(id, &[])),
                Some(run) => Fingerprint::first_of(run.slices_done, u32::from(run.slices_log2))
                    .map(|first| key::dedup(id, &first.to_be_bytes())),
            };
            if let Some(from) = sound {
                self.delete_entries(&from, &end)?;
            }
            keys.seek(&end);
        }
        Ok(keys.status()?)
    }

    fn delete_entries(&self, from: &[u8], to: &[u8]) -> Result<(), StoreError> {
        // Whole files go at once; the range deletion takes what shares a file with others, of which there is none but
        // at the boundary of a slice.
        self.db
            .delete_file_in_range_cf(self.family(Family::Dedup), from, to)?;
        let mut keys = self.db.raw_iterator_cf(self.family(Family::Dedup));
        keys.seek(from);
        if keys.key().is_none_or(|key| key >= to) {
            return Ok(keys.status()?);
        }
        let mut batch = self.batch();
        batch.delete_range(Family::Dedup, from, to);
        self.write(batch, super::Durability::Buffered)
    }
}

fn write_slice(
    file: &mut SstFileWriter<'_>,
    run: &StoredRun,
    slice: u32,
    entries: &mut std::iter::Peekable<impl Iterator<Item = Result<Entry, StoreError>>>,
) -> Result<(u64, Filter), StoreError> {
    let last = Fingerprint::last_of(slice, u32::from(run.slices_log2));
    let mut ids = Vec::new();
    let mut waiting = Vec::with_capacity(block::ENTRIES);
    let here = |entry: &Result<Entry, StoreError>| {
        entry
            .as_ref()
            .map_or(true, |entry| entry.fingerprint <= last)
    };
    while let Some(entry) = entries.next_if(here) {
        let entry = entry?;
        ids.push(entry.fingerprint.low());
        waiting.push(entry);
        if waiting.len() == block::ENTRIES {
            put_block(file, run.id, &mut waiting)?;
        }
    }
    put_block(file, run.id, &mut waiting)?;
    let count = ids.len() as u64;
    let filter = Filter::build(ids, run.filter_bits());
    file.put(filter_key(run, slice), filter.to_bytes())?;
    Ok((count, filter))
}

fn put_block(
    file: &mut SstFileWriter<'_>,
    run: u32,
    entries: &mut Vec<Entry>,
) -> Result<(), StoreError> {
    if let Some(first) = entries.first() {
        let key = key::dedup(run, &first.fingerprint.to_be_bytes());
        file.put(key, block::encode(entries))?;
        entries.clear();
    }
    Ok(())
}

fn filter_key(run: &StoredRun, slice: u32) -> Vec<u8> {
    let last = Fingerprint::last_of(slice, u32::from(run.slices_log2));
    let mut key = key::dedup(run.id, &last.to_be_bytes());
    key.push(FILTER);
    key
}

/// Says whether `key` is a block of the same run as `other`.
fn is_block(key: &[u8], other: &[u8]) -> bool {
    key.len() == key::DEDUP_BLOCK_BYTES && key.get(..4) == other.get(..4)
}

/// Walks a run's entries.
pub(crate) struct Entries<'a> {
    blocks: rocksdb::DBRawIterator<'a>,
    block: std::vec::IntoIter<Entry>,
    from: Fingerprint,
    to: Fingerprint,
}

impl Entries<'_> {
    /// Reads the next block; false at the end.
    fn read_block(&mut self) -> Result<bool, StoreError> {
        loop {
            let (Some(key), Some(value)) = (self.blocks.key(), self.blocks.value()) else {
                self.blocks.status()?;
                return Ok(false);
            };
            let entries = (key.len() == key::DEDUP_BLOCK_BYTES)
                .then(|| block::decode(value).ok_or_else(damaged))
                .transpose()?;
            self.blocks.next();
            if let Some(entries) = entries {
                self.block = entries.into_iter();
                return Ok(true);
            }
        }
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let from = self.from;
            if let Some(entry) = self.block.find(|entry| entry.fingerprint >= from) {
                return (entry.fingerprint <= self.to).then_some(Ok(entry));
            }
            match self.read_block() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl RunIds for Store {
    type Error = StoreError;

    fn find(&self, run: u32, fingerprint: Fingerprint) -> Result<Option<Entry>, StoreError> {
        let wanted = key::dedup(run, &fingerprint.to_be_bytes());
        let mut blocks = self.db.raw_iterator_cf(self.family(Family::Dedup));
        blocks.seek_for_prev(&wanted);
        blocks.status()?;
        match (blocks.key(), blocks.value()) {
            (Some(found), Some(value)) if is_block(found, &wanted) => {
                block::find(value, fingerprint).ok_or_else(damaged)
            }
            _ => Ok(None),
        }
    }
}

fn damaged() -> StoreError {
    StoreError::Corrupt("a block of dedup ids does not read back".into())
}

fn failed(error: std::io::Error) -> StoreError {
    StoreError::Failed(format!("{INGEST_DIRECTORY}: {error}"))
}
