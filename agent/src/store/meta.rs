//! The small facts of the state directory: identity, progress, catalog, imports, journal accounting.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use rocksdb::{Direction, IteratorMode};
use submeter_common::id::{AgentId, Digest, MeterId};
use submeter_common::protocol::{Catalog, Position, Receipts};
use submeter_common::signature::PublicKey;
use submeter_common::time::Timestamp;
use uuid::Uuid;

use super::conflicts::{CONFLICTS_AT_ONCE, Conflict};
use super::{Batch, Family, Store, StoreError, key};
use crate::pipeline::ImportState;

/// A run of accepted events in one record that an import brought.
#[derive(Clone, Eq, PartialEq, Debug, Encode, Decode)]
pub(crate) struct Imported {
    pub(crate) import: String,
    /// Index of the first one in the record.
    pub(crate) from: u32,
    /// Index behind the last one.
    pub(crate) to: u32,
}

/// What is known beside the accepted events, since the record before: counts of those that were not accepted, and which
/// of the accepted ones an import brought.
#[derive(Clone, Default, Eq, PartialEq, Debug, Encode, Decode)]
pub(crate) struct Deltas {
    pub(crate) duplicate: u64,
    pub(crate) conflict: u64,
    pub(crate) rejected: BTreeMap<String, u64>,
    pub(crate) imported: Vec<Imported>,
    /// The first of the conflicts counted above.
    pub(crate) conflicts: Vec<Conflict>,
}

impl Deltas {
    /// Adds `other` to this.
    pub(crate) fn add(&mut self, other: Deltas) {
        self.duplicate = self.duplicate.saturating_add(other.duplicate);
        self.conflict = self.conflict.saturating_add(other.conflict);
        for (reason, events) in other.rejected {
            let count = self.rejected.entry(reason).or_default();
            *count = count.saturating_add(events);
        }
        self.imported.extend(other.imported);
        other.conflicts.into_iter().for_each(|one| self.list(one));
    }

    /// Lists a conflict, unless a flood of them fills the list.
    pub(crate) fn list(&mut self, conflict: Conflict) {
        if self.conflicts.len() < CONFLICTS_AT_ONCE {
            self.conflicts.push(conflict);
        }
    }

    /// The import that brought the accepted event of this index.
    pub(crate) fn import_of(&self, index: u32) -> Option<&str> {
        let run = self
            .imported
            .iter()
            .find(|run| (run.from..run.to).contains(&index))?;
        Some(&run.import)
    }

    /// Carries these counts into the receipts; `received` grows with them, so that conservation holds.
    pub(crate) fn apply(&self, receipts: &mut Receipts) {
        receipts.duplicate = receipts.duplicate.saturating_add(self.duplicate);
        receipts.conflict = receipts.conflict.saturating_add(self.conflict);
        let mut total = self.duplicate.saturating_add(self.conflict);
        for (reason, events) in &self.rejected {
            let count = receipts.rejected.entry(reason.clone()).or_default();
            *count = count.saturating_add(*events);
            total = total.saturating_add(*events);
        }
        receipts.received = receipts.received.saturating_add(total);
    }
}

/// Who the directory is, and the secret of its fingerprints; never changes but by a new identity.
#[derive(Clone, Eq, PartialEq, Debug, Encode, Decode)]
pub(crate) struct StoredIdentity {
    pub(crate) agent_id: AgentId,
    pub(crate) state_nonce: [u8; 16],
    pub(crate) fingerprint_key: [u8; 16],
}

impl StoredIdentity {
    pub(crate) fn nonce(&self) -> Uuid {
        Uuid::from_bytes(self.state_nonce)
    }
}

/// A frame's place in the chain, as stored.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Encode, Decode)]
pub(crate) struct StoredPosition {
    pub(crate) seq: u64,
    pub(crate) digest: Digest,
}

impl From<StoredPosition> for Position {
    fn from(stored: StoredPosition) -> Self {
        Position {
            seq: stored.seq,
            digest: stored.digest,
        }
    }
}

impl From<Position> for StoredPosition {
    fn from(position: Position) -> Self {
        Self {
            seq: position.seq,
            digest: position.digest,
        }
    }
}

/// What the collector holds: its newest frame, and how many accepted events that covers.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Encode, Decode)]
pub(crate) struct Acknowledged {
    pub(crate) position: StoredPosition,
    pub(crate) accepted: u64,
}

impl Default for Acknowledged {
    fn default() -> Self {
        Self {
            position: StoredPosition {
                seq: 0,
                digest: Digest::ZERO,
            },
            accepted: 0,
        }
    }
}

/// Journal records a meter has not counted although they are older than its first live one, inclusive.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Encode, Decode)]
pub(crate) struct Gap {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// Which journal records a meter has counted: all but its gaps and those of its archived times, up to where it vanished
/// from the catalog.
#[derive(Clone, Default, Eq, PartialEq, Debug, Encode, Decode)]
pub(crate) struct Coverage {
    pub(crate) gaps: Vec<Gap>,
    /// The last record it counted before a catalog came without it; none while it is in the catalog.
    pub(crate) vanished_after: Option<u64>,
    /// Events that it has counted in sealed frames.
    pub(crate) sealed_events: u64,
    /// When the oldest event was accepted that it counts or will count, if the journal no longer held older ones when it
    /// came.
    pub(crate) counts_since: Option<Timestamp>,
    /// Records of the times in which it was archived, which it does not count; the last stretch is open while it is.
    pub(crate) archived: Vec<Gap>,
}

impl Coverage {
    /// Notes that the records `from..=to` are not counted.
    pub(crate) fn miss(&mut self, from: u64, to: u64) {
        if from <= to {
            self.gaps.push(Gap { from, to });
        }
    }

    /// Gives up what is missing before the record `first`, the oldest that is retained; says whether anything was.
    pub(crate) fn is_cut_off_before(&mut self, first: u64) -> bool {
        let cut = self.gaps.iter().any(|gap| gap.from < first);
        for gap in &mut self.gaps {
            gap.from = gap.from.max(first);
        }
        self.gaps.retain(|gap| gap.from <= gap.to);
        cut
    }

    /// Makes it miss the records `from..=to` and no others, but for those of its archived times.
    pub(crate) fn miss_again(&mut self, from: u64, to: u64) {
        let to = self.vanished_after.map_or(to, |last| last.min(to));
        self.gaps.clear();
        let mut next = from;
        for archived in &self.archived {
            let before = archived.from.saturating_sub(1).min(to);
            if next <= before {
                self.gaps.push(Gap {
                    from: next,
                    to: before,
                });
            }
            next = next.max(archived.to.saturating_add(1));
        }
        if next <= to {
            self.gaps.push(Gap { from: next, to });
        }
    }
}

/// Everything that must agree with the cursor; written as one value in the same batch as what it describes.
#[derive(Clone, Eq, PartialEq, Debug, Encode, Decode)]
pub(crate) struct Progress {
    /// The last journal record contained in the derived state.
    pub(crate) cursor: u64,
    /// Counts as of the cursor.
    pub(crate) receipts: Receipts,
    /// The open set's number.
    pub(crate) open_set: u64,
    /// The oldest record whose events the open set may hold.
    pub(crate) open_oldest: u64,
    /// Records before this one were delivered by another state: no new meter counts them from here.
    pub(crate) backfill_from: u64,
    /// The newest frame frozen.
    pub(crate) sealed: StoredPosition,
    /// When it was frozen; none before the first.
    pub(crate) sealed_at: Option<Timestamp>,
    /// Its watermark; none before the first.
    pub(crate) watermark: Option<Timestamp>,
    /// Its receipts.
    pub(crate) sealed_receipts: Receipts,
    /// The catalog it vouches for.
    pub(crate) sealed_catalog: u64,
    /// Says whether it was a farewell.
    pub(crate) farewell: bool,
    /// No event older than this is accepted outside an import; never goes back.
    pub(crate) floor: Timestamp,
    /// What each meter ever seen has counted.
    pub(crate) coverage: BTreeMap<MeterId, Coverage>,
    /// Events put into quarantine since the directory was born.
    pub(crate) quarantined: u64,
    /// Conflicts listed since the directory was born.
    pub(crate) conflicts: u64,
}

impl Progress {
    /// The progress of a directory in which nothing happened yet.
    pub(crate) fn new() -> Self {
        Self {
            cursor: 0,
            receipts: Receipts::default(),
            open_set: 1,
            open_oldest: 1,
            backfill_from: 1,
            sealed: StoredPosition {
                seq: 0,
                digest: Digest::ZERO,
            },
            sealed_at: None,
            watermark: None,
            sealed_receipts: Receipts::default(),
            sealed_catalog: 0,
            farewell: false,
            floor: Timestamp::from_micros(0),
            coverage: BTreeMap::new(),
            quarantined: 0,
            conflicts: 0,
        }
    }
}

/// What a start after a recovery from damage has still to do.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Encode, Decode)]
pub(crate) struct Resume {
    /// The newest frame frozen; progress may be of before it.
    pub(crate) sealed: StoredPosition,
    /// The last journal record that the frames up to it hold.
    pub(crate) record: u64,
}

/// A run of journal records, the unit of reclaim.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Encode, Decode)]
pub(crate) struct Chunk {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) bytes: u64,
    pub(crate) newest_at: Timestamp,
}

pub(super) fn encode<T: Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, bincode::config::standard())
        .expect("plain stored values always encode")
}

pub(super) fn decode<T: Decode<()>>(what: &str, bytes: &[u8]) -> Result<T, StoreError> {
    match bincode::decode_from_slice(bytes, bincode::config::standard()) {
        Ok((value, read)) if read == bytes.len() => Ok(value),
        Ok(_) => Err(StoreError::Corrupt(format!(
            "{what} is followed by bytes that do not belong to it"
        ))),
        Err(error) => Err(StoreError::Corrupt(format!(
            "{what} does not read back: {error}"
        ))),
    }
}

impl Batch<'_> {
    pub(super) fn put_layout(&mut self, layout: u32) {
        self.put(Family::Meta, key::LAYOUT, &layout.to_be_bytes());
    }

    pub(crate) fn put_identity(&mut self, identity: &StoredIdentity) {
        self.put(Family::Meta, key::IDENTITY, &encode(identity));
        self.essence().identity = Some(identity.clone());
    }

    pub(crate) fn put_progress(&mut self, progress: &Progress) {
        self.put(Family::Meta, key::PROGRESS, &encode(progress));
        let revision = self.next_revision();
        self.put(Family::Meta, key::REVISION, &revision.to_be_bytes());
        self.essence().progress = Some((revision, progress.sealed, progress.cursor));
    }

    pub(crate) fn put_resume(&mut self, resume: &Resume) {
        self.put(Family::Meta, key::RESUME, &encode(resume));
    }

    pub(crate) fn delete_resume(&mut self) {
        self.delete(Family::Meta, key::RESUME);
    }

    pub(crate) fn put_catalog(&mut self, catalog: &Catalog) -> Result<(), StoreError> {
        let json = serde_json::to_vec(catalog)
            .map_err(|error| StoreError::Corrupt(format!("catalog: {error}")))?;
        self.put(Family::Meta, key::CATALOG, &json);
        Ok(())
    }

    pub(crate) fn put_acknowledged(&mut self, acknowledged: &Acknowledged) {
        self.put(Family::Meta, key::ACKNOWLEDGED, &encode(acknowledged));
    }

    pub(crate) fn put_epoch(&mut self, epoch: u64) {
        self.put(Family::Meta, key::EPOCH, &epoch.to_be_bytes());
    }

    pub(crate) fn put_signing_seed(&mut self, seed: &[u8; 32]) {
        self.put(Family::Meta, key::SIGNING_SEED, seed);
    }

    pub(crate) fn put_collector_key(&mut self, key: &PublicKey) {
        self.put(Family::Meta, key::COLLECTOR_KEY, key.to_string().as_bytes());
    }

    pub(crate) fn put_import(&mut self, import: &ImportState) {
        self.put(Family::Meta, &key::import(&import.id), &encode(import));
    }

    pub(crate) fn delete_import(&mut self, id: &str) {
        self.delete(Family::Meta, &key::import(id));
    }

    pub(crate) fn put_chunk(&mut self, chunk: &Chunk) {
        self.put(Family::Meta, &key::chunk(chunk.first), &encode(chunk));
    }

    pub(crate) fn delete_chunk(&mut self, first: u64) {
        self.delete(Family::Meta, &key::chunk(first));
    }
}

impl Store {
    pub(super) fn layout(&self) -> Result<Option<u32>, StoreError> {
        match self.get(Family::Meta, key::LAYOUT)? {
            None => Ok(None),
            Some(bytes) => <[u8; 4]>::try_from(&*bytes)
                .map(|bytes| Some(u32::from_be_bytes(bytes)))
                .map_err(|_| StoreError::Corrupt("the layout number does not read back".into())),
        }
    }

    pub(crate) fn identity(&self) -> Result<Option<StoredIdentity>, StoreError> {
        self.meta("identity", key::IDENTITY)
    }

    pub(crate) fn progress(&self) -> Result<Option<Progress>, StoreError> {
        self.meta("progress", key::PROGRESS)
    }

    /// How often progress was written; 0 before the first time.
    pub(crate) fn revision(&self) -> Result<u64, StoreError> {
        self.get(Family::Meta, key::REVISION)?
            .map_or(Ok(0), |bytes| key::trailing_u64(&bytes))
    }

    pub(crate) fn resume(&self) -> Result<Option<Resume>, StoreError> {
        self.meta("resume", key::RESUME)
    }

    pub(crate) fn acknowledged(&self) -> Result<Acknowledged, StoreError> {
        Ok(self
            .meta("acknowledged", key::ACKNOWLEDGED)?
            .unwrap_or_default())
    }

    pub(crate) fn catalog(&self) -> Result<Option<Catalog>, StoreError> {
        match self.get(Family::Meta, key::CATALOG)? {
            None => Ok(None),
            Some(json) => serde_json::from_slice(&json).map(Some).map_err(|error| {
                StoreError::Corrupt(format!("the catalog does not read back: {error}"))
            }),
        }
    }

    pub(crate) fn epoch(&self) -> Result<u64, StoreError> {
        self.get(Family::Meta, key::EPOCH)?
            .map_or(Ok(0), |bytes| key::trailing_u64(&bytes))
    }

    pub(crate) fn import(&self, id: &str) -> Result<Option<ImportState>, StoreError> {
        self.meta("import", &key::import(id))
    }

    pub(crate) fn imports(&self) -> Result<Vec<ImportState>, StoreError> {
        self.listed("import", key::IMPORT_PREFIX)
    }

    pub(crate) fn chunks(&self) -> Result<Vec<Chunk>, StoreError> {
        self.listed("journal chunk", key::CHUNK_PREFIX)
    }

    fn meta<T: Decode<()>>(&self, what: &str, key: &[u8]) -> Result<Option<T>, StoreError> {
        self.get(Family::Meta, key)?
            .map(|bytes| decode(what, &bytes))
            .transpose()
    }

    fn listed<T: Decode<()>>(&self, what: &str, prefix: &[u8]) -> Result<Vec<T>, StoreError> {
        let mut values = Vec::new();
        let from = IteratorMode::From(prefix, Direction::Forward);
        for entry in self.db.iterator_cf(self.family(Family::Meta), from) {
            let (key, value) = entry?;
            if !key.starts_with(prefix) {
                break;
            }
            values.push(decode(what, &value)?);
        }
        Ok(values)
    }
}
