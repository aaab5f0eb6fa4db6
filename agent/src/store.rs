//! The state directory: everything the agent must not forget, in one RocksDB. The only room that names rocksdb.
//!
//! # What it must survive
//!
//! `kill -9`, power loss and a torn tail at any instruction, without losing an acknowledged event and without counting
//! one twice. A full disk or a failed fsync must stop acknowledgements, never falsify them. Damage to the files
//! themselves (a flipped bit, a cut or missing file) must never be silent and never keep the agent from starting.
//!
//! # The idea
//!
//! The **journal is the truth**. An event is written once on the hot path: as part of one journal record, which one
//! fsync makes durable together with everything else that waited. All other state is *derived* from journal records in
//! order: open partials, receipts, journal accounting, dedup ids. Derived state is written only by a **checkpoint**, in
//! one atomic batch together with the `cursor`, the number of the last journal record it contains. A start therefore
//! loads the derived state and replays the records after the cursor; whatever was derived but not yet written is
//! derived again, and nothing twice. Dedup ids are the exception in pace, not in kind: they are written once, as a sorted
//! run, when there are enough of them, and have a `runs_cursor` of their own, behind which a start reads them from the
//! journal. All column families share one write-ahead log, so a later write never survives without an earlier one.
//!
//! # Files
//!
//! `directory` lists what lies in the state directory: the database in `db/`, the **mark** beside it, which tells what
//! was acknowledged last, and what recovery from damage leaves.
//!
//! # Keys (integers big-endian, so that keys sort by number)
//!
//! | family       | key                                               | value                                       |
//! |--------------|---------------------------------------------------|---------------------------------------------|
//! | `meta`       | `layout`                                          | u32, the layout below; a newer one is refused |
//! |              | `identity`                                        | agent id, state nonce, fingerprint key      |
//! |              | `progress`                                        | cursor, receipts, sealed position, watermark, backfill |
//! |              | `revision`                                        | u64, how often progress was written         |
//! |              | `runs_revision`                                   | u64, how often runs were named or lost their names |
//! |              | `catalog`                                         | the catalog in force, JSON                  |
//! |              | `acknowledged`, `epoch`                           | what the collector holds; its last epoch    |
//! |              | `lineage`                                         | which process wrote which records, JSON     |
//! |              | `incidents`                                       | what befell the identity or the state, JSON |
//! |              | `reseat`                                          | an unfinished move to another place, JSON   |
//! |              | `signing_seed`                                    | 32 random bytes: the key that signs bundles |
//! |              | `collector_key`                                   | whose receipts for bundles are taken, as text |
//! |              | `import/` id                                      | one import's state                          |
//! |              | `chunk/` first record                             | last record, bytes and age of a run of journal records |
//! |              | `resume`                                          | what a start after a recovery from damage has still to do |
//! |              | `@` seq u64                                       | progress as of the seal that ended with this frame |
//! |              | `run/` run u32                                    | a run of dedup ids: level, slices done, what it is merged from, times |
//! |              | `conflict/` number u64                            | an event that came again with another payload |
//! |              | `runs_cursor`                                     | u64, the last record whose ids are in runs  |
//! | `journal`    | record u64 (from 1, no holes)                     | see `store::record`                         |
//! | `dedup`      | run u32, first fingerprint u128                   | up to 128 sorted ids of one slice           |
//! |              | run u32, last fingerprint of a slice u128, `f`    | the slice's filter                          |
//! | `open`       | set u64, part u16, customer, meter, window, group | one open partial                            |
//! | `outbox`     | `m` seq u64                                       | digest, times and counts of a frame         |
//! |              | `f` seq u64                                       | the frame's frozen bytes                    |
//! |              | `@` seq u64                                       | as in `meta`: where one is lost, the other is left |
//! | `quarantine` | record u64, index u32, meter                      | why an event could not be counted           |
//!
//! The open set carries a number; a seal begins the next one and drops the old with one range deletion, so a reader
//! never walks over its tombstones.
//!
//! # Operations, and what each promises
//!
//! - **commit** (synced): one journal record, and the import cursors that advance with it. Events are acknowledged after.
//! - **checkpoint** (synced): changed partials, receipts and cursor. Changes no answer ever given.
//! - **seal** (synced): frames into the outbox, the open set emptied, receipts, position and cursor.
//! - **catalog** (synced): a checkpoint that also holds the new catalog and which records its new meters still miss.
//! - **reseat** (synced, in steps): the place in the chain of frames changes, and perhaps the identity. The first step says
//!   what is to come and drops what is not this directory's to deliver; each further one moves frames back into the open
//!   set; the last one takes the new place. A start finishes what a death interrupted.
//! - **acknowledge** (not synced): losing it re-sends a frame, which the collector answers with `DUPLICATE`.
//! - **reclaim** (not synced): deletes journal records behind both *synced* cursors, and old acknowledged frames. What only
//!   the runs' cursor holds back is closed into a run first.
//! - **close, merge** (synced): sorted ids are taken in as a finished file that no name covers; then one write names the
//!   run and moves the `runs_cursor`, or names its next slices and takes away the names of runs that it replaces. A start
//!   sweeps away what has no name. The cursors pass each other freely: a record's events may be counted before its ids are
//!   in a run, or after.
//! - **mark** (after each synced write, not synced): see `mark`. It may be behind the database, never ahead.
//!
//! # Damage
//!
//! *Noticed* before the database is trusted: the whole write-ahead log is read (`wal`), because RocksDB drops without a
//! word what follows a break; what the mark says must be there; frames must be one chain.
//! Everything else is under a checksum and is noticed when it is read. A read that fails while the agent runs stops it
//! (exit code 4), and the next start reads everything first (`suspect`).
//!
//! *Recovered* by making a new database of what reads (`salvage`, `rebuild`) and putting the old one aside. Derived state
//! comes from the journal again: ids one by one, open partials and lost frames as what was counted between two seals. A
//! lost frame keeps its number until the collector has said whether it holds it; only then is it counted again. So
//! nothing is counted twice, and what is lost is lost only where the journal is.
//!
//! *Accounted for* in `damage`: which areas, which records, how many acknowledged events are gone. The account shows in
//! the status and the metrics until a person takes note of it. Numbers of lost records are not given again.
//!
//! # What is not promised
//!
//! Counts of duplicates and refusals since the last journal record are lost in a crash (the events are not: they were
//! counted or refused already); conservation holds all the same. The journal is a bounded window of the past, not an
//! archive. Two processes on *copies* of a directory cannot be told apart here; the collector does that, by the `lineage`:
//! each process writes its records under a random id of its own.
//!
//! A journal record whose bytes are gone is gone: there is one copy of it. After a power loss the mark may be some seconds
//! old; a tail cut exactly between two of those last records would look whole. Recovery needs as much free disk as the
//! database takes, and says so if that is missing. If neither the database nor the mark tells who the directory is, it
//! goes on as a new agent.

pub(crate) mod batch;
pub(crate) mod conflicts;
#[cfg(test)]
pub(crate) mod crash;
pub(crate) mod damage;
pub(crate) mod dedup;
pub(crate) mod directory;
pub(crate) mod journal;
pub(crate) mod key;
pub(crate) mod lineage;
pub(crate) mod mark;
pub(crate) mod meta;
pub(crate) mod open;
mod options;
pub(crate) mod outbox;
pub(crate) mod quarantine;
pub(crate) mod rebuild;
pub(crate) mod record;
mod salvage;
pub(crate) mod snapshot;
mod space;
pub(crate) mod wal;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rocksdb::{ColumnFamily, DB, ReadOptions, WriteOptions};
use thiserror::Error;

pub(crate) use batch::Batch;
use damage::Area;
use directory::Directory;
use mark::{Found, Mark, Marker};
use meta::Progress;
pub(crate) use options::FILES_OPEN_MAX;
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

impl StoreError {
    /// What the system said about one of the directory's own files.
    fn of_system(message: String) -> Self {
        if space::is_lacking(&message) {
            Self::NoSpace(message)
        } else {
            Self::Failed(message)
        }
    }
}

impl From<rocksdb::Error> for StoreError {
    fn from(error: rocksdb::Error) -> Self {
        match error.kind() {
            rocksdb::ErrorKind::Corruption => Self::Corrupt(error.into_string()),
            _ if space::is_lacking(error.as_ref()) => Self::NoSpace(error.into_string()),
            // One of the database's own files is gone.
            rocksdb::ErrorKind::IOError if error.as_ref().contains("No such file") => {
                Self::Corrupt(error.into_string())
            }
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
    Open,
    Outbox,
    Quarantine,
}

impl Family {
    pub(crate) const ALL: [Self; 6] = [
        Self::Meta,
        Self::Journal,
        Self::Dedup,
        Self::Open,
        Self::Outbox,
        Self::Quarantine,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Journal => "journal",
            Self::Dedup => "dedup",
            Self::Open => "open",
            Self::Outbox => "outbox",
            Self::Quarantine => "quarantine",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }

    /// Where reports say that its damage is.
    pub(crate) const fn area(self) -> Area {
        match self {
            Self::Meta => Area::Meta,
            Self::Journal => Area::Journal,
            Self::Dedup => Area::Dedup,
            Self::Open => Area::Open,
            Self::Outbox => Area::Outbox,
            Self::Quarantine => Area::Quarantine,
        }
    }
}

/// The open state directory.
pub(crate) struct Store {
    db: DB,
    marker: Mutex<Marker>,
    // Let go of last: whoever takes hold of the directory next finds the database closed.
    directory: Arc<Directory>,
    #[cfg(test)]
    pub(crate) crash: crash::Crash,
}

impl Store {
    /// Opens or creates the directory and checks its layout.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_in(Arc::new(Directory::hold(path)?))
    }

    /// Opens or creates the database of a directory that this process holds.
    pub(crate) fn open_in(directory: Arc<Directory>) -> Result<Self, StoreError> {
        let cache = options::cache();
        let options = if space::is_scarce(directory.path()) {
            options::frugal_database()?
        } else {
            options::database()
        };
        let families = Family::ALL.map(|family| options::family(family, &cache));
        let path = directory.database();
        let db = DB::open_cf_descriptors(&options, path, families).map_err(open_error)?;
        let marker = open_marker(&directory)?;
        let store = Self {
            db,
            marker: Mutex::new(marker),
            directory,
            #[cfg(test)]
            crash: crash::Crash::default(),
        };
        store.check_layout()?;
        let (revision, runs_revision) = (store.revision()?, store.runs_revision()?);
        // The process may have ended between a write and its mark.
        store.marker().raise_revisions(revision, runs_revision);
        Ok(store)
    }

    /// Opens an existing directory that no process holds, for reading only: what is in the log alone is seen, and nothing
    /// on the disk changes.
    pub(crate) fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        let directory = Directory::look(path)?;
        if !directory.has_database()? {
            return Err(StoreError::Absent);
        }
        let mark = Marker::read_only(read_mark(&directory)?);
        let cache = options::cache();
        let families = Family::ALL.map(|family| options::family(family, &cache));
        let (options, path) = (options::read_only(), directory.database());
        let db = DB::open_cf_descriptors_read_only(&options, path, families, false)
            .map_err(open_error)?;
        let store = Self {
            db,
            marker: Mutex::new(mark),
            directory: Arc::new(directory),
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

    /// Reads everything once, so that what does not read is known.
    pub(crate) fn read_everything(&self) -> Result<(), StoreError> {
        for family in Family::ALL {
            self.read_family(family)?;
        }
        Ok(())
    }

    /// Reads all of a family; answers how many entries there are.
    pub(crate) fn read_family(&self, family: Family) -> Result<u64, StoreError> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        let mut walk = self.db.raw_iterator_cf_opt(self.family(family), options);
        walk.seek_to_first();
        let mut entries = 0;
        while walk.valid() {
            entries += 1;
            walk.next();
        }
        walk.status()?;
        Ok(entries)
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
        let (inner, essence) = batch.into_parts();
        let write = || Ok::<_, StoreError>(self.db.write_opt(inner, &options)?);
        #[cfg(test)]
        self.crash.write(write)?;
        #[cfg(not(test))]
        write()?;
        if !essence.is_empty() {
            // Files come and go in the background; their list is looked at whenever progress is written.
            let manifest = essence
                .progress
                .is_some()
                .then(|| self.directory.manifest());
            self.marker().set(|mark| {
                essence.note(mark);
                mark.manifest = manifest.flatten().unwrap_or(mark.manifest);
            });
        }
        Ok(())
    }

    /// What was acknowledged last.
    pub(crate) fn mark(&self) -> Mark {
        self.marker().mark().clone()
    }

    /// Brings the mark level with recovered progress, which contains all of the journal.
    pub(crate) fn mark_progress(&self, progress: &Progress) {
        self.change_mark(|mark| {
            mark.record = mark.record.max(progress.cursor);
            mark.accepted = progress.receipts.accepted;
            if mark.sealed != progress.sealed {
                (mark.sealed, mark.sealed_record) = (progress.sealed, progress.cursor);
            }
        });
    }

    fn change_mark(&self, change: impl FnOnce(&mut Mark)) {
        self.marker().set(change);
    }

    fn sync_mark(&self) -> Result<(), StoreError> {
        self.marker()
            .sync()
            .map_err(|error| StoreError::Failed(format!("mark: {error}")))
    }

    fn marker(&self) -> std::sync::MutexGuard<'_, Marker> {
        self.marker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn directory(&self) -> &Arc<Directory> {
        &self.directory
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
        let read = self.db.get_pinned_cf(self.family(family), key);
        read.map_err(|error| self.noted(error.into()))
    }

    /// Has the next start read everything, when what was read just now is damaged.
    fn noted(&self, error: StoreError) -> StoreError {
        if let StoreError::Corrupt(damage) = &error {
            self.directory.suspect_damage(damage);
        }
        error
    }
}

fn open_error(error: rocksdb::Error) -> StoreError {
    use rocksdb::ErrorKind;
    // RocksDB has no error kind of its own for a lock that somebody else holds.
    if error.as_ref().contains("lock file") || error.as_ref().contains("lock hold") {
        return StoreError::Locked;
    }
    match error.kind() {
        // It contradicts itself in one way or another.
        ErrorKind::Corruption
        | ErrorKind::InvalidArgument
        | ErrorKind::NotFound
        | ErrorKind::NotSupported => StoreError::Corrupt(error.into_string()),
        _ => error.into(),
    }
}

fn open_marker(directory: &Directory) -> Result<Marker, StoreError> {
    Marker::open(&directory.mark(), read_mark(directory)?)
        .map_err(|error| StoreError::of_system(format!("mark: {error}")))
}

fn read_mark(directory: &Directory) -> Result<Mark, StoreError> {
    Ok(match directory.read_mark()? {
        Found::Mark(mark) => mark,
        Found::Missing | Found::Damaged => Mark::default(),
    })
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
