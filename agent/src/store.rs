//! The state directory: everything the agent must not forget, in one RocksDB. The only room that names rocksdb.
//!
//! # What it must survive
//!
//! `kill -9`, power loss and a torn tail at any instruction, without losing an acknowledged event and without counting
//! one twice. A full disk or a failed fsync must stop acknowledgements, never falsify them.
//!
//! # The idea
//!
//! The **journal is the truth**. An event is written once on the hot path: as part of one journal record, which one
//! fsync makes durable together with everything else that waited. All other state is *derived* from journal records in
//! order: open partials, dedup ids, receipts, journal accounting. Derived state is written only by a **checkpoint**, in
//! one atomic batch together with the `cursor`, the number of the last journal record it contains. A start therefore
//! loads the derived state and replays the records after the cursor; whatever was derived but not yet written is
//! derived again, and nothing twice. All column families share one write-ahead log, so a later write never survives
//! without an earlier one.
//!
//! # Keys (integers big-endian, so that keys sort by number)
//!
//! | family       | key                                               | value                                       |
//! |--------------|---------------------------------------------------|---------------------------------------------|
//! | `meta`       | `layout`                                          | u32, the layout below; a newer one is refused |
//! |              | `identity`                                        | agent id, state nonce, fingerprint key      |
//! |              | `progress`                                        | cursor, receipts, sealed position, watermark, open dedup generation, backfill |
//! |              | `catalog`                                         | the catalog in force, JSON                  |
//! |              | `acknowledged`, `epoch`                           | what the collector holds; its last epoch    |
//! |              | `lineage`                                         | which process wrote which records, JSON     |
//! |              | `incidents`                                       | what befell the identity or the state, JSON |
//! |              | `reseat`                                          | an unfinished move to another place, JSON   |
//! |              | `import/` id                                      | one import's state                          |
//! |              | `chunk/` first record                             | last record, bytes and age of a run of journal records |
//! | `journal`    | record u64 (from 1, no holes)                     | see `store::record`                         |
//! |              | `run/` run u32                                    | a run of dedup ids: level, slices done, what it is merged from, times |
//! |              | `conflict/` number u64                             | an event that came again with another payload |
//! |              | `closed_generation`                               | u32, the newest generation that became a run |
//! | `dedup`      | run u32, first fingerprint u128                   | up to 128 sorted ids of one slice           |
//! |              | run u32, last fingerprint of a slice u128, `f`    | the slice's filter                          |
//! | `dedup_tail` | generation u32, record u64                        | ids new since the last checkpoint (generations in memory) |
//! | `open`       | set u64, part u16, customer, meter, window, group | one open partial                            |
//! | `outbox`     | `m` seq u64                                       | digest, times and counts of a frame         |
//! |              | `f` seq u64                                       | the frame's frozen bytes                    |
//! | `quarantine` | record u64, index u32, meter                      | why an event could not be counted           |
//!
//! The open set carries a number; a seal begins the next one and drops the old with one range deletion, so a reader
//! never walks over its tombstones.
//!
//! # Operations, and what each promises
//!
//! - **commit** (synced): one journal record, and the import cursors that advance with it. Events are acknowledged after.
//! - **checkpoint** (synced): changed partials, new ids, receipts and cursor. Changes no answer ever given.
//! - **seal** (synced): frames into the outbox, the open set emptied, receipts, position and cursor.
//! - **catalog** (synced): a checkpoint that also holds the new catalog and which records its new meters still miss.
//! - **reseat** (synced, in steps): the place in the chain of frames changes, and perhaps the identity. The first step says
//!   what is to come and drops what is not this directory's to deliver; each further one moves frames back into the open
//!   set; the last one takes the new place. A start finishes what a death interrupted.
//! - **acknowledge** (not synced): losing it re-sends a frame, which the collector answers with `DUPLICATE`.
//! - **reclaim** (not synced): deletes journal records behind a *synced* cursor, and old acknowledged frames.
//! - **close, merge** (synced): sorted ids are taken in as a finished file that no name covers; then one write names the
//!   run, or its next slices, and takes away the names of tails or runs that it replaces. A start sweeps away what has no
//!   name. A close may come before the checkpoint that moves the cursor past its records: replaying them then finds the
//!   same ids again, and the next merge keeps one of each.
//!
//! # What is not promised
//!
//! Counts of duplicates and refusals since the last journal record are lost in a crash (the events are not: they were
//! counted or refused already); conservation holds all the same. The journal is a bounded window of the past, not an
//! archive. Two processes on *copies* of a directory cannot be told apart here; the collector does that, by the `lineage`:
//! each process writes its records under a random id of its own.

pub(crate) mod batch;
pub(crate) mod conflicts;
#[cfg(test)]
pub(crate) mod crash;
pub(crate) mod dedup;
pub(crate) mod journal;
pub(crate) mod key;
pub(crate) mod lineage;
mod lock;
pub(crate) mod meta;
pub(crate) mod open;
mod options;
pub(crate) mod outbox;
pub(crate) mod quarantine;
pub(crate) mod record;
pub(crate) mod snapshot;
mod space;

use std::path::Path;

use rocksdb::{ColumnFamily, DB, WriteOptions};
use thiserror::Error;

pub(crate) use batch::Batch;
pub(crate) use snapshot::Snapshot;

/// The layout this program writes. A change that an older program would misread raises it.
pub(crate) const LAYOUT: u32 = 1;

/// What can go wrong in the state directory.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    /// Another process holds it.
    #[error("in use by another process")]
    Locked,
    /// There is none at this path.
    #[error("no state directory")]
    Absent,
    /// A newer program wrote it.
    #[error("layout {found} is newer than {LAYOUT}")]
    NewerLayout {
        /// The layout found.
        found: u32,
    },
    /// A value does not read back as what was written.
    #[error("{0}")]
    Corrupt(String),
    /// The disk is full.
    #[error("{0}")]
    NoSpace(String),
    /// Reading or writing failed.
    #[error("{0}")]
    Failed(String),
}

impl From<rocksdb::Error> for StoreError {
    fn from(error: rocksdb::Error) -> Self {
        match error.kind() {
            rocksdb::ErrorKind::Corruption => Self::Corrupt(error.into_string()),
            _ if space::is_lacking(error.as_ref()) => Self::NoSpace(error.into_string()),
            _ => Self::Failed(error.into_string()),
        }
    }
}

/// Says whether a write must be on stable storage before it returns.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Durability {
    /// fsynced.
    Synced,
    /// In the operating system's hands: survives the process, perhaps not the machine.
    Buffered,
}

/// The column families of the state directory.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Family {
    Meta,
    Journal,
    Dedup,
    /// Ids of the generations in memory; gone when their generation has become a run of `Dedup`.
    DedupTail,
    Open,
    Outbox,
    Quarantine,
}

impl Family {
    const ALL: [Self; 7] = [
        Self::Meta,
        Self::Journal,
        Self::Dedup,
        Self::DedupTail,
        Self::Open,
        Self::Outbox,
        Self::Quarantine,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Journal => "journal",
            Self::Dedup => "dedup",
            Self::DedupTail => "dedup_tail",
            Self::Open => "open",
            Self::Outbox => "outbox",
            Self::Quarantine => "quarantine",
        }
    }
}

/// The open state directory.
pub(crate) struct Store {
    db: DB,
    #[cfg(test)]
    pub(crate) crash: crash::Crash,
}

impl Store {
    /// Opens or creates the directory and checks its layout.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let cache = options::cache();
        let options = if space::is_scarce(path) {
            options::frugal_database()?
        } else {
            options::database()
        };
        let families = Family::ALL.map(|family| options::family(family, &cache));
        let db = DB::open_cf_descriptors(&options, path, families).map_err(|error| {
            // RocksDB has no error kind of its own for a lock that somebody else holds.
            if error.as_ref().contains("lock ") {
                StoreError::Locked
            } else {
                error.into()
            }
        })?;
        let store = Self {
            db,
            #[cfg(test)]
            crash: crash::Crash::default(),
        };
        store.check_layout()?;
        Ok(store)
    }

    /// Opens an existing directory that no process holds, for reading only: what is in the log alone is seen, and nothing
    /// on the disk changes.
    pub(crate) fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        if !path.join("CURRENT").exists() {
            return Err(StoreError::Absent);
        }
        if lock::is_held(path).map_err(|error| StoreError::Failed(error.to_string()))? {
            return Err(StoreError::Locked);
        }
        let cache = options::cache();
        let families = Family::ALL.map(|family| options::family(family, &cache));
        let mut database = options::database();
        database.create_if_missing(false);
        database.create_missing_column_families(false);
        let db = DB::open_cf_descriptors_read_only(&database, path, families, false)?;
        let store = Self {
            db,
            #[cfg(test)]
            crash: crash::Crash::default(),
        };
        match store.layout()? {
            Some(LAYOUT) => Ok(store),
            Some(found) if found > LAYOUT => Err(StoreError::NewerLayout { found }),
            _ => Err(StoreError::Corrupt("it has no layout number".into())),
        }
    }

    /// Everything as it is at one instant, for reads that must agree with each other.
    pub(crate) fn snapshot(&self) -> Snapshot<'_> {
        Snapshot::new(self)
    }

    fn check_layout(&self) -> Result<(), StoreError> {
        match self.layout()? {
            None => {
                let mut batch = self.batch();
                batch.put_layout(LAYOUT);
                self.write(batch, Durability::Synced)
            }
            Some(LAYOUT) => Ok(()),
            Some(found) if found > LAYOUT => Err(StoreError::NewerLayout { found }),
            Some(found) => Err(StoreError::Corrupt(format!(
                "layout {found} was never released"
            ))),
        }
    }

    /// Starts an empty atomic write.
    pub(crate) fn batch(&self) -> Batch<'_> {
        Batch::new(self)
    }

    /// Writes the batch, all or nothing.
    pub(crate) fn write(&self, batch: Batch<'_>, durability: Durability) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        let write = || Ok(self.db.write_opt(batch.into_inner(), &options)?);
        #[cfg(test)]
        return self.crash.write(write);
        #[cfg(not(test))]
        write()
    }

    fn family(&self, family: Family) -> &ColumnFamily {
        // Every family was named when the database was opened, which fails if one cannot be had.
        self.db
            .cf_handle(family.name())
            .expect("a column family that was opened exists")
    }

    fn get(
        &self,
        family: Family,
        key: &[u8],
    ) -> Result<Option<rocksdb::DBPinnableSlice<'_>>, StoreError> {
        Ok(self.db.get_pinned_cf(self.family(family), key)?)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.db.path())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
