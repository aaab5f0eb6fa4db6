//! The journal: append, walk in either direction, reclaim from the old end.

use std::ops::ControlFlow;

use rocksdb::{Direction, IteratorMode, ReadOptions};
use submeter_common::time::Timestamp;

use super::record::{self, Record};
use super::{Batch, Family, Store, StoreError, key};

/// Read ahead of a walk, so that a replay is bound by the disk's speed and not by its latency.
const READAHEAD_BYTES: usize = 1024 * 1024;

impl Batch<'_> {
    pub(crate) fn put_record(&mut self, seq: u64, record: &[u8]) {
        self.put(Family::Journal, &seq.to_be_bytes(), record);
        self.essence().record = Some((seq, record::event_count(record)));
    }

    /// Deletes the records `first..=last`.
    pub(crate) fn delete_records(&mut self, first: u64, last: u64) {
        self.delete_range(
            Family::Journal,
            &first.to_be_bytes(),
            &last.saturating_add(1).to_be_bytes(),
        );
    }
}

impl Store {
    /// One record's bytes, while retained.
    pub(crate) fn record(
        &self,
        seq: u64,
    ) -> Result<Option<rocksdb::DBPinnableSlice<'_>>, StoreError> {
        self.get(Family::Journal, &seq.to_be_bytes())
    }

    /// The newest record's number; none when none is retained.
    pub(crate) fn last_record(&self) -> Result<Option<u64>, StoreError> {
        let mut walk = self.db.raw_iterator_cf(self.family(Family::Journal));
        walk.seek_to_last();
        walk.status()?;
        walk.key().map(key::trailing_u64).transpose()
    }

    /// When the oldest retained record from `from` on was accepted; none when there is none, or its head does not read.
    pub(crate) fn accepted_at(&self, from: u64) -> Result<Option<Timestamp>, StoreError> {
        let mut at = None;
        self.walk_records(from, |_, bytes| {
            at = Record::decode(bytes).ok().map(|record| record.accepted_at);
            Ok::<_, StoreError>(ControlFlow::Break(()))
        })?;
        Ok(at)
    }

    /// Walks the retained records from `from` on, oldest first, until `visit` breaks.
    pub(crate) fn walk_records<E: From<StoreError>>(
        &self,
        from: u64,
        visit: impl FnMut(u64, &[u8]) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        self.walk(from, Direction::Forward, visit)
    }

    /// Walks the retained records from the newest back to the oldest, until `visit` breaks.
    pub(crate) fn walk_records_back<E: From<StoreError>>(
        &self,
        visit: impl FnMut(u64, &[u8]) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        self.walk(u64::MAX, Direction::Reverse, visit)
    }

    fn walk<E: From<StoreError>>(
        &self,
        from: u64,
        direction: Direction,
        mut visit: impl FnMut(u64, &[u8]) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_readahead_size(READAHEAD_BYTES);
        let mode = IteratorMode::From(&from.to_be_bytes(), direction);
        for entry in self
            .db
            .iterator_cf_opt(self.family(Family::Journal), options, mode)
        {
            let (key, record) = entry.map_err(|error| self.noted(error.into()))?;
            if visit(key::trailing_u64(&key)?, &record)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// How many events the retained records from `from` on hold.
    pub(crate) fn events_from(&self, from: u64) -> Result<u64, StoreError> {
        let mut events = 0;
        self.walk_records(from, |_, record| {
            // What does not read back is in quarantine since it was counted.
            events += Record::decode(record).map_or(0, |record| u64::from(record.event_count));
            Ok::<_, StoreError>(ControlFlow::Continue(()))
        })?;
        Ok(events)
    }

    /// Gives whole files of records `..=last` back to the disk at once instead of at the next compaction.
    pub(crate) fn drop_journal_files(&self, last: u64) -> Result<(), StoreError> {
        let (from, to) = (0u64.to_be_bytes(), last.to_be_bytes());
        Ok(self
            .db
            .delete_file_in_range_cf(self.family(Family::Journal), from, to)?)
    }
}
