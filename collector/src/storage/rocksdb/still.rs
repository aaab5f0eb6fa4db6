//! What the database held at one instant, whatever is written meanwhile: for readings that take long.

use ::rocksdb::{IteratorMode, ReadOptions, Snapshot};
use serde::de::DeserializeOwned;

use super::codec;
use super::database::{Database, Entry, Family, failed};
use super::key::{self, Key, Kind};
use crate::storage::StorageError;

/// The database as it was when this was made.
pub(super) struct Still<'a> {
    database: &'a Database,
    snapshot: Snapshot<'a>,
}

impl<'a> Still<'a> {
    pub(super) fn of(database: &'a Database) -> Self {
        let snapshot = database.db.snapshot();
        Self { database, snapshot }
    }

    /// Reads the document under an id.
    pub(super) fn document<T: DeserializeOwned>(
        &self,
        kind: Kind,
        id: &str,
    ) -> Result<Option<T>, StorageError> {
        let key = Key::of_document(kind, id);
        let family = self.database.family(Family::Documents);
        let found = self.snapshot.get_pinned_cf(family, key).map_err(failed)?;
        found
            .map(|bytes| codec::decode_document(format_args!("{kind:?} {id}"), &bytes))
            .transpose()
    }

    /// Walks all entries whose key begins with `prefix`, from `start` on.
    pub(super) fn walk_from<'b>(
        &'b self,
        family: Family,
        prefix: &[u8],
        start: Vec<u8>,
    ) -> impl Iterator<Item = Result<Entry, StorageError>> + use<'a, 'b> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(start);
        if let Some(bound) = key::behind(prefix) {
            options.set_iterate_upper_bound(bound);
        }
        let family = self.database.family(family);
        let entries = self
            .snapshot
            .iterator_cf_opt(family, options, IteratorMode::Start);
        entries.map(|entry| entry.map_err(failed))
    }
}
