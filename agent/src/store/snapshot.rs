//! Reads that agree with each other: all of the directory as it was at one instant, whatever is written meanwhile.
//!
//! A snapshot pins what it sees, so it is held for one answer and no longer.

use std::ops::ControlFlow;

use bincode::Decode;
use rocksdb::{DBPinnableSlice, Direction, IteratorMode, ReadOptions};
use submeter_common::aggregate::Partial;
use submeter_common::protocol::Catalog;
use submeter_common::signature::{PublicKey, SigningKey};

use super::conflicts::Listed;
use super::key::{self, OpenKey};
use super::meta::{self, Acknowledged, Chunk, Progress, StoredIdentity};
use super::outbox::{self, FrameMeta};
use super::quarantine::Quarantined;
use super::{Family, Store, StoreError};
use crate::dedup::StoredRun;
use crate::pipeline::ImportState;

/// Whether a walk goes on.
pub(crate) type Walk = Result<ControlFlow<()>, StoreError>;

/// The directory at one instant.
pub(crate) struct Snapshot<'a> {
    store: &'a Store,
    inner: rocksdb::Snapshot<'a>,
}

impl<'a> Snapshot<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self {
            store,
            inner: store.db.snapshot(),
        }
    }

    pub(crate) fn identity(&self) -> Result<Option<StoredIdentity>, StoreError> {
        self.meta("identity", key::IDENTITY)
    }

    pub(crate) fn progress(&self) -> Result<Progress, StoreError> {
        let progress = self.meta("progress", key::PROGRESS)?;
        Ok(progress.unwrap_or_else(Progress::new))
    }

    pub(crate) fn acknowledged(&self) -> Result<Acknowledged, StoreError> {
        let acknowledged = self.meta("acknowledged", key::ACKNOWLEDGED)?;
        Ok(acknowledged.unwrap_or_default())
    }

    pub(crate) fn epoch(&self) -> Result<u64, StoreError> {
        self.get(Family::Meta, key::EPOCH)?
            .map_or(Ok(0), |bytes| key::trailing_u64(&bytes))
    }

    pub(crate) fn catalog(&self) -> Result<Catalog, StoreError> {
        match self.get(Family::Meta, key::CATALOG)? {
            None => Ok(Catalog::default()),
            Some(json) => serde_json::from_slice(&json).map_err(|error| {
                StoreError::Corrupt(format!("the catalog does not read back: {error}"))
            }),
        }
    }

    /// The seed of the key that signs bundles; none before a first start.
    pub(crate) fn signing_key(&self) -> Result<Option<SigningKey>, StoreError> {
        let Some(bytes) = self.get(Family::Meta, key::SIGNING_SEED)? else {
            return Ok(None);
        };
        let seed = <[u8; 32]>::try_from(&*bytes)
            .map_err(|_| StoreError::Corrupt("the signing seed is not 32 bytes long".into()))?;
        Ok(Some(SigningKey::from_seed(&seed)))
    }

    /// Whose receipts are taken; none before the first one came.
    pub(crate) fn collector_key(&self) -> Result<Option<PublicKey>, StoreError> {
        let Some(bytes) = self.get(Family::Meta, key::COLLECTOR_KEY)? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let key = text.parse();
        key.map(Some).map_err(|_| {
            StoreError::Corrupt("the collector's public key does not read back".into())
        })
    }

    pub(crate) fn imports(&self) -> Result<Vec<ImportState>, StoreError> {
        self.listed("import", key::IMPORT_PREFIX)
    }

    pub(crate) fn chunks(&self) -> Result<Vec<Chunk>, StoreError> {
        self.listed("journal chunk", key::CHUNK_PREFIX)
    }

    /// The conflicts that are remembered, oldest first.
    pub(crate) fn conflicts(&self) -> Result<Vec<Listed>, StoreError> {
        self.listed("conflict", key::CONFLICT_PREFIX)
    }

    /// All runs of dedup ids that have a name, oldest first.
    pub(crate) fn runs(&self) -> Result<Vec<StoredRun>, StoreError> {
        let mut runs: Vec<StoredRun> = self.listed("run of ids", key::RUN_PREFIX)?;
        runs.sort_by_key(StoredRun::last_record);
        Ok(runs)
    }

    /// The last record of those whose ids are in runs.
    pub(crate) fn runs_cursor(&self) -> Result<u64, StoreError> {
        self.get(Family::Meta, key::RUNS_CURSOR)?
            .map_or(Ok(0), |bytes| key::trailing_u64(&bytes))
    }

    /// Walks the journal from record `from` on.
    pub(crate) fn walk_records(
        &self,
        from: u64,
        mut visit: impl FnMut(u64, &[u8]) -> Walk,
    ) -> Result<(), StoreError> {
        let from = from.to_be_bytes();
        self.walk(Family::Journal, &from, Direction::Forward, |key, value| {
            visit(key::trailing_u64(key)?, value)
        })
    }

    /// Walks the journal from record `from` back to the oldest.
    pub(crate) fn walk_records_back(
        &self,
        from: u64,
        mut visit: impl FnMut(u64, &[u8]) -> Walk,
    ) -> Result<(), StoreError> {
        let from = from.to_be_bytes();
        self.walk(Family::Journal, &from, Direction::Reverse, |key, value| {
            visit(key::trailing_u64(key)?, value)
        })
    }

    /// Walks the open set in key order, from the key that begins with `from` (without the set's number) on.
    pub(crate) fn walk_open(
        &self,
        set: u64,
        from: &[u8],
        mut visit: impl FnMut(&[u8], OpenKey, Partial) -> Walk,
    ) -> Result<(), StoreError> {
        let prefix = set.to_be_bytes();
        let from = [prefix.as_slice(), from].concat();
        self.walk(Family::Open, &from, Direction::Forward, |key, value| {
            let Some(rest) = key.strip_prefix(prefix.as_slice()) else {
                return Ok(ControlFlow::Break(()));
            };
            let partial = meta::decode("an open partial", value)?;
            visit(rest, OpenKey::decode(key)?, partial)
        })
    }

    /// Walks what is known of the frames, from `seq` on.
    pub(crate) fn walk_frames(
        &self,
        seq: u64,
        mut visit: impl FnMut(FrameMeta) -> Walk,
    ) -> Result<(), StoreError> {
        let from = key::tagged(outbox::META, seq);
        self.walk(Family::Outbox, &from, Direction::Forward, |key, value| {
            if key.first() != Some(&outbox::META) {
                return Ok(ControlFlow::Break(()));
            }
            visit(meta::decode("a frame's entry in the outbox", value)?)
        })
    }

    /// The frozen bytes of a frame.
    pub(crate) fn frame(&self, seq: u64) -> Result<Option<DBPinnableSlice<'_>>, StoreError> {
        self.get(Family::Outbox, &key::tagged(outbox::FRAME, seq))
    }

    /// What is in quarantine of one event for one meter.
    pub(crate) fn quarantined(
        &self,
        record: u64,
        index: u32,
        meter: &str,
    ) -> Result<Option<Quarantined>, StoreError> {
        self.get(Family::Quarantine, &key::quarantine(record, index, meter))?
            .map(|bytes| meta::decode("a quarantined event", &bytes))
            .transpose()
    }

    /// Walks the quarantine from a key on.
    pub(crate) fn walk_quarantine(
        &self,
        from: &[u8],
        mut visit: impl FnMut(&[u8], Quarantined) -> Walk,
    ) -> Result<(), StoreError> {
        self.walk(
            Family::Quarantine,
            from,
            Direction::Forward,
            |key, value| visit(key, meta::decode("a quarantined event", value)?),
        )
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>, StoreError> {
        Ok(self.inner.get_pinned_cf(self.store.family(family), key)?)
    }

    fn meta<T: Decode<()>>(&self, what: &str, key: &[u8]) -> Result<Option<T>, StoreError> {
        self.get(Family::Meta, key)?
            .map(|bytes| meta::decode(what, &bytes))
            .transpose()
    }

    fn listed<T: Decode<()>>(&self, what: &str, prefix: &[u8]) -> Result<Vec<T>, StoreError> {
        let mut values = Vec::new();
        self.walk(Family::Meta, prefix, Direction::Forward, |key, value| {
            if !key.starts_with(prefix) {
                return Ok(ControlFlow::Break(()));
            }
            values.push(meta::decode(what, value)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(values)
    }

    fn walk(
        &self,
        family: Family,
        from: &[u8],
        direction: Direction,
        mut visit: impl FnMut(&[u8], &[u8]) -> Walk,
    ) -> Result<(), StoreError> {
        let mut options = ReadOptions::default();
        // What a person looks at once must not push out what the hot path needs.
        options.fill_cache(false);
        let mode = IteratorMode::From(from, direction);
        let family = self.store.family(family);
        for entry in self.inner.iterator_cf_opt(family, options, mode) {
            let (key, value) = entry?;
            if visit(&key, &value)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}
