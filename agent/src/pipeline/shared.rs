//! What the pipeline's handles and threads share. Locks are held for moments, never across another lock's wait.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use submeter_common::protocol::{Catalog, Life, Receipts};
use submeter_common::time::{Clock, Timestamp};

use super::compactor::Closing;
use super::disk::Disk;
use super::import::Imports;
use super::outbox::Frames;
use super::poison::Poison;
use super::queue::Queue;
use super::work::{Job, Work};
use super::{DamageReport, ImportState, PipelineError, StoreConfig};
use crate::dedup::{Dedup, Fingerprinter, Generation, StoredRun};
use crate::fail_point::fail_point;
use crate::store::lineage::StoredIncident;
use crate::store::meta::{Deltas, StoredIdentity};
use crate::store::{Batch, Durability, Store, StoreError};
use crate::telemetry::names;

/// Journal bytes that may be on their way from the committer to the aggregator; when they are, the committer waits.
const WORK_BYTES_MAX: usize = 4 * 1024 * 1024;
const WORK_ITEMS_MAX: usize = 1024;

/// What the aggregator publishes after each piece of work.
#[derive(Clone, Default, Debug)]
pub(super) struct View {
    /// The last journal record it has counted.
    pub(super) counted: u64,
    pub(super) receipts: Receipts,
    pub(super) open_partials: u64,
    pub(super) journal_bytes: u64,
    pub(super) journal_oldest_at: Option<Timestamp>,
    pub(super) groups_of_one_meter: u64,
    pub(super) folded: u64,
    pub(super) seals_by_size: u64,
    pub(super) quarantined: u64,
    pub(super) backfilling: bool,
    pub(super) watermark: Option<Timestamp>,
    /// Memory and disk that the open partials take.
    pub(super) open_bytes: u64,
}

/// The shared state.
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) config: StoreConfig,
    pub(super) fingerprinter: Fingerprinter,
    pub(super) poison: Poison,
    pub(super) requests: Queue<Job>,
    pub(super) work: Queue<Work>,
    pub(super) dedup: Mutex<Dedup>,
    /// Bytes of memory that the ids take.
    pub(super) dedup_bytes: AtomicU64,
    /// The runs of ids on disk, oldest first.
    pub(super) runs: Mutex<Vec<StoredRun>>,
    /// Full dedup generations on their way to disk.
    pub(super) closings: Queue<Closing>,
    /// The last record of those whose ids are in runs on disk.
    pub(super) runs_cursor: AtomicU64,
    pub(super) frames: Mutex<Frames>,
    pub(super) catalog: Mutex<Arc<Catalog>>,
    pub(super) identity: Mutex<StoredIdentity>,
    pub(super) imports: Mutex<Imports>,
    /// What befell this directory; taken before `frames` where both are.
    pub(super) incidents: Mutex<Vec<StoredIncident>>,
    /// Who wrote the journal; the last one is this process.
    pub(super) lives: Mutex<Vec<Life>>,
    /// Counts that are in no journal record yet.
    pub(super) pending: Mutex<Deltas>,
    pub(super) view: Mutex<View>,
    pub(super) viewed: Condvar,
    /// The last journal record that is durable.
    pub(super) committed: AtomicU64,
    pub(super) disk: Disk,
    /// How often the clock was set back so far that a claim had to be taken back.
    pub(super) clock_set_back: AtomicU64,
    /// Accounts of damage that nobody has taken note of.
    pub(super) damage: Mutex<Vec<DamageReport>>,
    pub(super) stopping: AtomicBool,
    /// Nothing is accepted any more, but what was accepted is still sealed.
    pub(super) door_closed: AtomicBool,
    /// The process has no time left.
    pub(super) hurrying: AtomicBool,
}

/// What recovery found, for the threads to go on with.
pub(super) struct Parts {
    pub(super) store: Store,
    pub(super) dedup: Dedup,
    pub(super) runs_cursor: u64,
    pub(super) frames: Frames,
    pub(super) catalog: Catalog,
    pub(super) identity: StoredIdentity,
    pub(super) imports: Vec<ImportState>,
    pub(super) incidents: Vec<StoredIncident>,
    pub(super) lives: Vec<Life>,
}

impl Shared {
    pub(super) fn new(config: StoreConfig, clock: Arc<dyn Clock>, parts: Parts) -> Self {
        Self {
            damage: Mutex::new(parts.store.directory().new_damage()),
            store: parts.store,
            clock,
            fingerprinter: Fingerprinter::new(&parts.identity.fingerprint_key),
            poison: Poison::default(),
            requests: Queue::new(config.queue_requests_max, config.queue_bytes_max),
            work: Queue::new(WORK_ITEMS_MAX, WORK_BYTES_MAX),
            dedup_bytes: AtomicU64::new(parts.dedup.bytes()),
            dedup: Mutex::new(parts.dedup),
            runs: Mutex::default(),
            // Of generations there are few, and memory is what limits them.
            closings: Queue::new(1, 0),
            runs_cursor: AtomicU64::new(parts.runs_cursor),
            frames: Mutex::new(parts.frames),
            catalog: Mutex::new(Arc::new(parts.catalog)),
            identity: Mutex::new(parts.identity),
            imports: Mutex::new(Imports::new(parts.imports)),
            incidents: Mutex::new(parts.incidents),
            lives: Mutex::new(parts.lives),
            pending: Mutex::default(),
            view: Mutex::default(),
            viewed: Condvar::new(),
            committed: AtomicU64::new(0),
            disk: Disk::new(&config.data_dir, config.disk_free_bytes_min),
            clock_set_back: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            door_closed: AtomicBool::new(false),
            hurrying: AtomicBool::new(false),
            config,
        }
    }

    /// Hands a full dedup generation to the compactor. All records so far have their ids in it or in what was closed before.
    pub(super) fn close_full_generation(&self) {
        let now = self.clock.now();
        let full = {
            let mut dedup = lock(&self.dedup);
            let full = dedup.rotate(now);
            self.measure_dedup(&dedup);
            full
        };
        if let Some(full) = full {
            self.close(full, now);
        }
    }

    /// The same with an open generation that is not full; false when it is empty.
    pub(super) fn close_open_generation(&self) -> bool {
        let now = self.clock.now();
        let open = lock(&self.dedup).close_open(now);
        open.map(|open| self.close(open, now)).is_some()
    }

    fn close(&self, generation: Arc<Generation>, at: Timestamp) {
        // Closed only when the pipeline ends: the next start takes these ids from the journal.
        let _ = self.closings.push_command(Closing { generation, at });
        fail_point!(GenerationClosed);
    }

    /// Notes durably that runs hold the ids of all records up to this one.
    pub(super) fn put_runs_cursor(&self, record: u64) -> Result<(), StoreError> {
        let mut batch = self.store.batch();
        batch.put_runs_cursor(record);
        self.write(batch, Durability::Synced)?;
        self.runs_cursor.store(record, Ordering::SeqCst);
        Ok(())
    }

    /// Notes how much memory the ids take.
    pub(super) fn measure_dedup(&self, dedup: &Dedup) {
        self.dedup_bytes.store(dedup.bytes(), Ordering::Relaxed);
    }

    /// The view, as soon as it holds everything that is durable now, but after `wait` at the latest.
    pub(super) fn view_within(&self, wait: Duration) -> View {
        let committed = self.committed.load(Ordering::SeqCst);
        let view = lock(&self.view);
        let current = self
            .viewed
            .wait_timeout_while(view, wait, |view| view.counted < committed);
        current.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Writes, or poisons the pipeline before anybody can hear that the write failed.
    pub(super) fn write(&self, batch: Batch<'_>, durability: Durability) -> Result<(), StoreError> {
        self.disk.brace();
        let began = Instant::now();
        let written = self
            .store
            .write(batch, durability)
            .inspect_err(|error| self.fail(error.to_string()));
        if durability == Durability::Synced {
            metrics::histogram!(names::FSYNC_SECONDS).record(began.elapsed().as_secs_f64());
        }
        written
    }

    /// Poisons: nothing is acknowledged any more, and whoever waits hears why.
    pub(super) fn fail(&self, reason: String) {
        // Whatever it was, the next start reads everything before it trusts any of it.
        self.store.directory().suspect_damage(&reason);
        self.poison.throw(reason);
        self.requests.close();
        // Whoever failed may be none of the threads: all must end.
        self.work.close();
        self.closings.close();
    }

    /// Why an operation found the threads gone.
    pub(super) fn gone(&self) -> PipelineError {
        match self.poison.reason() {
            Some(reason) => PipelineError::Failed(reason.to_owned()),
            None if self.stopping.load(Ordering::SeqCst) => PipelineError::Stopping,
            // A thread is dying and has not said why yet.
            None => PipelineError::Failed("a worker ended".to_owned()),
        }
    }
}

/// Locks. A worker that panicked has poisoned the pipeline already, so the mutex's own poison says nothing new.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
