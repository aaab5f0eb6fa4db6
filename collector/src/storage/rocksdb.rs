//! The embedded engine: RocksDB in the collector's data directory.
//!
//! **Constraints.** One process at a time (a lock file says who came second). What returns `Ok` survives
//! `kill -9` and power loss. Each operation is all there or not there at all. Memory is bounded: one
//! block cache and one budget of write buffers, whatever is stored.
//!
//! **Layout.** Five column families over one write-ahead log, so that one `WriteBatch` spans them all:
//! `documents` (everything a person could read, as JSON), `indexes` (orders and look-ups over them),
//! `usage` (cells), `frames` (the digests of each agent's last frames) and `meta` (format version,
//! counters). All keys are in [`key`], all values in [`codec`].
//!
//! **Writing.** One mutex: whoever holds it reads, decides, and commits one batch with `sync = true`
//! ([`transaction`]). Decisions (compare-and-set, meter in use, next invoice number, sequence of a
//! frame) therefore see the state they are committed onto. Frames go through a thread of their own
//! ([`frames`]), which takes all that wait and commits them as one batch: under load one sync serves many
//! agents, and a day's cell that twenty frames touch is read and written once.
//!
//! **Reading.** No lock. A document and its index entries appear in one batch, documents that an index names are never
//! deleted, and usage is read from a snapshot, so that a frame is in a total whole or not at all.
//!
//! **Blocking.** RocksDB blocks; everything but reads from memory runs on tokio's blocking pool or the
//! frames' thread, never on a worker that serves requests. A caller that goes away does not stop a write
//! that began.
//!
//! **After a crash** RocksDB replays its log. A torn tail (a write that never returned) is cut; damage
//! before the tail is refused at the start, because acknowledged usage would be missing.
//!
//! **A full disk** ([`disk`]) is waited for: frames are refused while there is still room, everything when there
//! is nearly none, and a write that fails all the same is refused until there is room again, by itself. Any other
//! failed write is left: RocksDB refuses all further ones, and the process is to end ([`transaction`]).
//!
//! **Not promised.** Several processes over one directory; reading an older format than was ever
//! released; bringing the minute cells of old periods out of the way.

mod agent;
mod alert;
mod api_key;
mod apply;
mod audit;
mod catalog;
mod cells;
mod change;
mod codec;
mod customer;
mod database;
mod disk;
#[cfg(test)]
mod doom;
mod draft;
mod frames;
mod health;
mod invoice;
mod job;
mod key;
mod ledger;
mod ledger_audit;
mod open;
mod outbox;
mod payment;
mod roster;
mod settle;
mod still;
mod subscription;
mod test_clock;
mod transaction;
mod trust;
mod usage;
mod watch;

use std::path::Path;
use std::sync::Arc;

use tokio::runtime::{Handle, RuntimeFlavor};

use self::database::Database;
#[cfg(test)]
pub(crate) use self::doom::Death;
use self::frames::FrameQueue;
pub(crate) use self::open::FILES_OPEN_MAX;
pub use self::open::OpenError;
use super::StorageError;

/// The embedded engine. Implements every trait of [`super`].
#[derive(Debug)]
pub struct RocksStore {
    // Dropped first: its thread finishes what it has taken, and lets go of the database.
    frames: FrameQueue,
    database: Arc<Database>,
}

impl RocksStore {
    /// Opens the store under `data_dir`, creating both where they are missing. Blocks while RocksDB
    /// replays its log.
    ///
    /// # Errors
    /// When another process has it, when a newer version wrote it, or when it cannot be read.
    pub fn open(data_dir: &Path) -> Result<Self, OpenError> {
        Self::open_with_reserve(data_dir, 0)
    }

    /// Opens it as [`RocksStore::open`] does, to refuse frames when less than `reserve` bytes of disk are free, and
    /// everything when it is less than a quarter of that.
    ///
    /// # Errors
    /// As [`RocksStore::open`], and when the disk is that short already.
    pub fn open_with_reserve(data_dir: &Path, reserve: u64) -> Result<Self, OpenError> {
        let database = Arc::new(Database::open(data_dir, reserve)?);
        let frames = FrameQueue::start(Arc::clone(&database)).map_err(OpenError::Thread)?;
        Ok(Self { frames, database })
    }

    /// Runs `act` where it may block.
    async fn blocking<T, F>(&self, act: F) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: FnOnce(&Database) -> Result<T, StorageError> + Send + 'static,
    {
        // Who has a runtime of one thread has it for himself, as billing does: there is nobody else to keep waiting, and
        // handing each read to another thread would cost more than the read.
        if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
            return act(&self.database);
        }
        let database = Arc::clone(&self.database);
        match tokio::task::spawn_blocking(move || act(&database)).await {
            Ok(answer) => answer,
            Err(stopped) => Err(StorageError::Unavailable(format!(
                "a storage task ended early: {stopped}"
            ))),
        }
    }
}
