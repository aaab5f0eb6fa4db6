//! One atomic write, built from the typed puts that each part of the room adds.

use rocksdb::WriteBatch;

use super::mark::Mark;
use super::meta::{StoredIdentity, StoredPosition};
use super::{Family, Store};

/// A write that happens wholly or not at all.
pub(crate) struct Batch<'a> {
    store: &'a Store,
    inner: WriteBatch,
    essence: Essence,
}

/// What of a write goes into the mark.
#[derive(Default)]
pub(super) struct Essence {
    pub(super) identity: Option<StoredIdentity>,
    /// The journal record's number and its events.
    pub(super) record: Option<(u64, u32)>,
    /// How often progress was written, the newest frame frozen, and the cursor.
    pub(super) progress: Option<(u64, StoredPosition, u64)>,
    /// How often the runs of ids were named.
    pub(super) runs: Option<u64>,
}

impl Essence {
    pub(super) fn is_empty(&self) -> bool {
        self.identity.is_none()
            && self.record.is_none()
            && self.progress.is_none()
            && self.runs.is_none()
    }

    pub(super) fn note(self, mark: &mut Mark) {
        if let Some(identity) = self.identity {
            mark.identity = Some(identity);
        }
        if let Some((record, events)) = self.record {
            mark.record = record;
            mark.accepted = mark.accepted.saturating_add(events.into());
        }
        if let Some((revision, sealed, cursor)) = self.progress {
            mark.revision = revision;
            if mark.sealed != sealed {
                (mark.sealed, mark.sealed_record) = (sealed, cursor);
            }
        }
        if let Some(revision) = self.runs {
            mark.runs_revision = revision;
        }
    }
}

impl<'a> Batch<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self {
            store,
            inner: WriteBatch::default(),
            essence: Essence::default(),
        }
    }

    pub(super) fn into_parts(self) -> (WriteBatch, Essence) {
        (self.inner, self.essence)
    }

    /// The number of the next writing of progress.
    pub(super) fn next_revision(&self) -> u64 {
        self.store.marker().mark().revision + 1
    }

    /// The number of the next naming of runs.
    pub(super) fn next_runs_revision(&self) -> u64 {
        self.store.marker().mark().runs_revision + 1
    }

    /// What the mark is to know of this write.
    pub(super) fn essence(&mut self) -> &mut Essence {
        &mut self.essence
    }

    pub(super) fn put(&mut self, family: Family, key: &[u8], value: &[u8]) {
        self.inner.put_cf(self.store.family(family), key, value);
    }

    pub(super) fn delete(&mut self, family: Family, key: &[u8]) {
        self.inner.delete_cf(self.store.family(family), key);
    }

    /// Deletes `from` up to but not including `to`.
    pub(super) fn delete_range(&mut self, family: Family, from: &[u8], to: &[u8]) {
        self.inner
            .delete_range_cf(self.store.family(family), from, to);
    }
}
