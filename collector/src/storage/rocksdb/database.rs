//! The open database, what is kept in memory of it, and reading.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, RwLock};

use ::rocksdb::{ColumnFamily, DB, DBPinnableSlice, Direction, IteratorMode, ReadOptions};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::codec;
use super::disk::{self, Disk};
use super::job::Held;
use super::key::{self, Key, Kind};
use super::open::{self, OpenError};
use super::roster::Roster;
use super::transaction::Counters;
use super::watch::Watch;
use crate::auth::{ApiKey, KeyHash};
use crate::storage::{CatalogSnapshot, Page, StorageError};

/// The column families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Documents,
    Indexes,
    Usage,
    Frames,
    Meta,
}

impl Family {
    pub(super) const ALL: [Family; 5] = [
        Family::Documents,
        Family::Indexes,
        Family::Usage,
        Family::Frames,
        Family::Meta,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Family::Documents => "documents",
            Family::Indexes => "indexes",
            Family::Usage => "usage",
            Family::Frames => "frames",
            Family::Meta => "meta",
        }
    }

    pub(super) fn of(self, db: &DB) -> &ColumnFamily {
        db.cf_handle(self.name())
            .expect("the database was opened with every family")
    }
}

/// The open database.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) db: DB,
    /// Held by whoever writes, from its first read to its commit.
    pub(super) writer: Mutex<Counters>,
    /// The catalog as committed last.
    pub(super) catalog: RwLock<Arc<CatalogSnapshot>>,
    /// All API keys as committed last: one is looked up with each request.
    pub(super) api_keys: RwLock<HashMap<KeyHash, ApiKey>>,
    /// All agents by number.
    pub(super) roster: RwLock<Roster>,
    /// Who wants to know of whose usage.
    pub(super) watch: RwLock<Watch>,
    /// Who is at which background work.
    pub(super) leases: Mutex<HashMap<String, Held>>,
    /// Whether the last write failed.
    pub(super) write_failed: AtomicBool,
    /// Why only a restart helps, once that is so.
    pub(super) failure: watch::Sender<Option<String>>,
    /// The disk under it.
    pub(super) disk: Disk,
    /// When a test lets the store die.
    #[cfg(test)]
    pub(super) doom: super::doom::Doom,
    // Dropped last, so that nobody else opens a database that is still closing.
    _lock: File,
}

impl Database {
    pub(super) fn open(data_dir: &Path, reserve: u64) -> Result<Self, OpenError> {
        let lock = open::lock(data_dir)?;
        let disk = Disk::new(data_dir, reserve);
        disk.expect_room()?;
        let database = Self {
            db: open::open(data_dir)?,
            writer: Mutex::default(),
            catalog: RwLock::default(),
            api_keys: RwLock::default(),
            roster: RwLock::default(),
            watch: RwLock::default(),
            leases: Mutex::default(),
            write_failed: AtomicBool::new(false),
            failure: watch::Sender::default(),
            disk,
            #[cfg(test)]
            doom: super::doom::Doom::default(),
            _lock: lock,
        };
        let counters: Counters = database.meta(key::COUNTERS)?.unwrap_or_default();
        let catalog = database.read_catalog(counters.catalog_version)?;
        let api_keys = database.read_api_keys()?;
        let roster = database.read_roster()?;
        let watch = database.read_watch()?;
        Ok(Self {
            writer: Mutex::new(counters),
            catalog: RwLock::new(Arc::new(catalog)),
            api_keys: RwLock::new(api_keys),
            roster: RwLock::new(roster),
            watch: RwLock::new(watch),
            ..database
        })
    }

    pub(super) fn family(&self, family: Family) -> &ColumnFamily {
        family.of(&self.db)
    }

    /// Reads the document under an id.
    pub(super) fn document<T: DeserializeOwned>(
        &self,
        kind: Kind,
        id: &str,
    ) -> Result<Option<T>, StorageError> {
        self.document_at(&Key::of_document(kind, id))
    }

    /// Reads the document under a key of [`Family::Documents`].
    pub(super) fn document_at<T: DeserializeOwned>(
        &self,
        key: &[u8],
    ) -> Result<Option<T>, StorageError> {
        let found = self.document_bytes(key)?;
        found
            .map(|bytes| codec::decode_document(Named(key), &bytes))
            .transpose()
    }

    /// Reads the document under a key as it is stored.
    pub(super) fn document_bytes(
        &self,
        key: &[u8],
    ) -> Result<Option<DBPinnableSlice<'_>>, StorageError> {
        self.db
            .get_pinned_cf(self.family(Family::Documents), key)
            .map_err(failed)
    }

    /// Tells whether there is a document under an id.
    pub(super) fn has_document(&self, kind: Kind, id: &str) -> Result<bool, StorageError> {
        Ok(self.document_bytes(&Key::of_document(kind, id))?.is_some())
    }

    /// Reads what an index says under a key: the id of a document.
    pub(super) fn looked_up(&self, key: &[u8]) -> Result<Option<String>, StorageError> {
        let found = self
            .db
            .get_pinned_cf(self.family(Family::Indexes), key)
            .map_err(failed)?;
        found.map(|bytes| text(&bytes)).transpose()
    }

    /// Reads every document of a kind, in order of their keys.
    pub(super) fn documents<T: DeserializeOwned>(
        &self,
        kind: Kind,
    ) -> Result<Vec<T>, StorageError> {
        let prefix = Key::of_kind(kind);
        self.walk(Family::Documents, &prefix, Direction::Forward)
            .map(|entry| entry.and_then(|(key, bytes)| codec::decode_document(Named(&key), &bytes)))
            .collect()
    }

    /// Reads a page of the documents of a numbered kind, newest first.
    pub(super) fn newest_documents<T: DeserializeOwned>(
        &self,
        kind: Kind,
        page: Page,
    ) -> Result<Vec<T>, StorageError> {
        page.of(self.walk(Family::Documents, &Key::of_kind(kind), Direction::Reverse))
            .into_iter()
            .map(|entry| entry.and_then(|(key, bytes)| codec::decode_document(Named(&key), &bytes)))
            .collect()
    }

    /// Walks the documents that an index names under `prefix`, in its order or against it. Documents
    /// are read as they are asked for.
    pub(super) fn indexed<'a, T: DeserializeOwned>(
        &'a self,
        kind: Kind,
        prefix: &[u8],
        direction: Direction,
    ) -> impl Iterator<Item = Result<T, StorageError>> + use<'a, T> {
        self.walk(Family::Indexes, prefix, direction)
            .map(move |entry| {
                let (_, id) = entry?;
                self.named_by(kind, &id)
            })
    }

    /// Cuts a page out of an index before reading any document.
    pub(super) fn indexed_page<T: DeserializeOwned>(
        &self,
        kind: Kind,
        prefix: &[u8],
        page: Page,
    ) -> Result<Vec<T>, StorageError> {
        page.of(self.walk(Family::Indexes, prefix, Direction::Reverse))
            .into_iter()
            .map(|entry| entry.and_then(|(_, id)| self.named_by(kind, &id)))
            .collect()
    }

    /// Reads a document that another record names, and which therefore has to be there.
    pub(super) fn named<T: DeserializeOwned>(
        &self,
        kind: Kind,
        id: &str,
    ) -> Result<T, StorageError> {
        let missing = || {
            codec::corrupt(
                format_args!("{kind:?} {id}"),
                "an index names it, but it is not there",
            )
        };
        self.document(kind, id)?.ok_or_else(missing)
    }

    /// Reads the document that an index entry names.
    pub(super) fn named_by<T: DeserializeOwned>(
        &self,
        kind: Kind,
        entry: &[u8],
    ) -> Result<T, StorageError> {
        self.named(kind, &text(entry)?)
    }

    /// Walks all entries whose key begins with `prefix`.
    pub(super) fn walk<'a>(
        &'a self,
        family: Family,
        prefix: &[u8],
        direction: Direction,
    ) -> impl Iterator<Item = Result<Entry, StorageError>> + use<'a> {
        self.walk_between(family, prefix.to_vec(), key::behind(prefix), direction)
    }

    /// Walks all entries from `start` on whose key is before `bound`.
    pub(super) fn walk_between<'a>(
        &'a self,
        family: Family,
        start: Vec<u8>,
        bound: Option<Vec<u8>>,
        direction: Direction,
    ) -> impl Iterator<Item = Result<Entry, StorageError>> + use<'a> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(start);
        if let Some(bound) = bound {
            options.set_iterate_upper_bound(bound);
        }
        let mode = match direction {
            Direction::Forward => IteratorMode::Start,
            Direction::Reverse => IteratorMode::End,
        };
        let entries = self.db.iterator_cf_opt(self.family(family), options, mode);
        entries.map(|entry| entry.map_err(failed))
    }

    pub(super) fn meta<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StorageError> {
        let found = self
            .db
            .get_pinned_cf(self.family(Family::Meta), key)
            .map_err(failed)?;
        found
            .map(|bytes| codec::decode_document("meta record", &bytes))
            .transpose()
    }

    /// Reads one record that is always there.
    pub(super) fn check_readable(&self) -> Result<(), StorageError> {
        let found: Option<u32> = self.meta(key::FORMAT)?;
        found.map(|_| ()).ok_or_else(|| {
            codec::corrupt(
                "format version",
                "it was written when the store was made, and is gone",
            )
        })
    }

    fn read_api_keys(&self) -> Result<HashMap<KeyHash, ApiKey>, StorageError> {
        let keys: Vec<ApiKey> = self.documents(Kind::ApiKey)?;
        Ok(keys.into_iter().map(|key| (key.hash, key)).collect())
    }
}

/// A key and its value.
pub(super) type Entry = (Box<[u8]>, Box<[u8]>);

/// Tells damage from what may pass.
pub(super) fn failed(error: ::rocksdb::Error) -> StorageError {
    if disk::is_for_want_of_room(&error) {
        return StorageError::DiskFull(format!("the disk is full: {error}"));
    }
    match error.kind() {
        ::rocksdb::ErrorKind::Corruption => codec::corrupt("database", error),
        _ => StorageError::Unavailable(error.to_string()),
    }
}

/// Locks that a panicking thread held may guard half-made decisions: from then on only a restart helps.
pub(super) fn poisoned<T>(_: std::sync::PoisonError<T>) -> StorageError {
    half_way()
}

pub(super) fn half_way() -> StorageError {
    StorageError::Unavailable(
        "an earlier operation failed half-way; restart the collector".to_owned(),
    )
}

fn text(bytes: &[u8]) -> Result<String, StorageError> {
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|error| codec::corrupt("index entry", error))
}

/// What a document is called when it cannot be read.
struct Named<'a>(&'a [u8]);

impl fmt::Display for Named<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "document {}", self.0.escape_ascii())
    }
}
