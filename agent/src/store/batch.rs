//! One atomic write, built from the typed puts that each part of the room adds.

use rocksdb::WriteBatch;

use super::{Family, Store};

/// A write that happens wholly or not at all.
pub(crate) struct Batch<'a> {
    store: &'a Store,
    inner: WriteBatch,
}

impl<'a> Batch<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self {
            store,
            inner: WriteBatch::default(),
        }
    }

    pub(super) fn into_inner(self) -> WriteBatch {
        self.inner
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
