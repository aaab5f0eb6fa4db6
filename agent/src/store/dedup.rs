//! Event ids on disk: tails of the open generation, sorted blocks and a filter for each closed one.

use rocksdb::{Direction, IteratorMode};

use super::{Batch, Family, Store, StoreError, key};
use crate::dedup::{ClosedIds, Entry, Filter, Fingerprint, block};

const TAIL: u8 = b't';
const BLOCK: u8 = b'b';
const FILTER: u8 = b'f';

/// Where a tag's values live.
fn family(tag: u8) -> Family {
    if tag == BLOCK {
        Family::Dedup
    } else {
        Family::DedupBulk
    }
}

impl Batch<'_> {
    /// Adds ids of the open generation that are new since the last checkpoint.
    pub(crate) fn put_tail(&mut self, generation: u32, cursor: u64, entries: &[Entry]) {
        self.put(
            family(TAIL),
            &key::dedup(TAIL, generation, &cursor.to_be_bytes()),
            &block::encode(entries),
        );
    }

    /// Replaces a generation's tails by sorted blocks and a filter. `entries` are sorted by fingerprint.
    pub(crate) fn close_generation(&mut self, generation: u32, entries: &[Entry], filter: &Filter) {
        for entries in entries.chunks(block::ENTRIES) {
            if let Some(first) = entries.first() {
                let key = key::dedup(BLOCK, generation, &first.fingerprint.to_be_bytes());
                self.put(family(BLOCK), &key, &block::encode(entries));
            }
        }
        self.put(
            family(FILTER),
            &key::dedup(FILTER, generation, &[]),
            &filter.to_bytes(),
        );
        self.delete_tagged(TAIL, generation);
    }

    /// Forgets a generation wholly.
    pub(crate) fn delete_generation(&mut self, generation: u32) {
        self.delete_tagged(TAIL, generation);
        self.delete_tagged(BLOCK, generation);
        self.delete_tagged(FILTER, generation);
    }

    fn delete_tagged(&mut self, tag: u8, generation: u32) {
        let from = key::dedup(tag, generation, &[]);
        let to = key::dedup(tag, generation.saturating_add(1), &[]);
        self.delete_range(family(tag), &from, &to);
    }
}

impl Store {
    /// The ids of an open generation as of the last checkpoint.
    pub(crate) fn tail(&self, generation: u32) -> Result<Vec<Entry>, StoreError> {
        self.dedup_entries(TAIL, generation)
    }

    /// A closed generation's filter, built again from its blocks when it does not read back.
    pub(crate) fn filter(&self, generation: u32) -> Result<Filter, StoreError> {
        let stored = self.get(family(FILTER), &key::dedup(FILTER, generation, &[]))?;
        match stored.and_then(|bytes| Filter::from_bytes(&bytes)) {
            Some(filter) => Ok(filter),
            None => Ok(Filter::build(&self.dedup_entries(BLOCK, generation)?)),
        }
    }

    fn dedup_entries(&self, tag: u8, generation: u32) -> Result<Vec<Entry>, StoreError> {
        let prefix = key::dedup(tag, generation, &[]);
        let mut entries = Vec::new();
        let mode = IteratorMode::From(&prefix, Direction::Forward);
        for entry in self.db.iterator_cf(self.family(family(tag)), mode) {
            let (key, value) = entry?;
            if !key.starts_with(&prefix) {
                break;
            }
            entries.extend(block::decode(&value).ok_or_else(damaged)?);
        }
        Ok(entries)
    }
}

impl ClosedIds for Store {
    type Error = StoreError;

    fn find(&self, generation: u32, fingerprint: Fingerprint) -> Result<Option<Entry>, StoreError> {
        let wanted = key::dedup(BLOCK, generation, &fingerprint.to_be_bytes());
        let mut blocks = self.db.raw_iterator_cf(self.family(family(BLOCK)));
        blocks.seek_for_prev(&wanted);
        blocks.status()?;
        let (Some(found), Some(value)) = (blocks.key(), blocks.value()) else {
            return Ok(None);
        };
        if !found.starts_with(&wanted[..5]) {
            return Ok(None);
        }
        block::find(value, fingerprint).ok_or_else(damaged)
    }
}

fn damaged() -> StoreError {
    StoreError::Corrupt("a block of dedup ids does not read back".into())
}
