//! Opening a state directory: load what is derived, derive the rest from the journal, seal what a previous life left.

use std::fs::{DirBuilder, File};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use submeter_common::event::Event;
use submeter_common::id::AgentId;
use submeter_common::protocol::{LIVES_MAX, Life, Position};
use submeter_common::time::{Clock, Timestamp};
use uuid::Uuid;

use super::aggregator::Aggregator;
use super::committer::{Committer, kept_floor, live_watermark};
use super::compactor::Compactor;
use super::outbox::Frames;
use super::shared::{Parts, Shared, lock};
use super::work::{Committed, SealOrder};
use super::{OpenError, SealReason, StoreConfig};
use crate::dedup::{Dedup, Entry, StoredRun};
use crate::fail_point::fail_point;
use crate::store::meta::{Deltas, Progress, StoredGeneration, StoredIdentity};
use crate::store::record::{Location, Record};
use crate::store::{Durability, Store, StoreError};

/// An opened state directory, before its threads start.
pub(super) struct Recovered {
    pub(super) shared: Arc<Shared>,
    pub(super) committer: Committer,
    pub(super) aggregator: Aggregator,
    pub(super) compactor: Compactor,
}

/// Opens and recovers. Afterwards every acknowledged event is in a partial or a frame, and its id is remembered.
pub(super) fn recover(config: StoreConfig, clock: Arc<dyn Clock>) -> Result<Recovered, OpenError> {
    config.check()?;
    let open_error = |error| open_error(error, &config);
    create_directory(&config.data_dir)
        .map_err(|error| OpenError::Storage(format!("{}: {error}", config.data_dir.display())))?;
    fail_point!(RecoveryDirectoryMade);
    let store = Store::open(&config.data_dir).map_err(open_error)?;
    fail_point!(RecoveryStoreOpened);
    load_and_replay(store, &config, clock).map_err(open_error)
}

/// Creates the directory for this user only: it holds customers' usage. Its own name is made durable, too.
fn create_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

fn load_and_replay(
    store: Store,
    config: &StoreConfig,
    clock: Arc<dyn Clock>,
) -> Result<Recovered, StoreError> {
    let now = clock.now();
    let identity = load_identity(&store)?;
    let mut progress = store.progress()?.unwrap_or_else(Progress::new);
    let runs = store.runs()?;
    store.sweep_runs(&runs)?;
    let dedup = load_dedup(&store, config, &runs, &mut progress, now)?;
    let frames = Frames::new(
        store.frames()?,
        store.acknowledged()?,
        progress.sealed.into(),
        store.epoch()?,
    );
    let reseat = store.reseat()?;
    if reseat.is_none() {
        check_chain(&frames, &progress)?;
    }
    let chunks = store.chunks()?;
    let spilled = store.open_partials(progress.open_set).next().is_some();
    let parts = Parts {
        dedup,
        closed_generation: store.closed_generation()?,
        frames,
        catalog: store.catalog()?.unwrap_or_default(),
        identity,
        imports: store.imports()?,
        incidents: store.incidents()?,
        lives: store.lineage()?,
        store,
    };
    let floor = progress.floor;
    let shared = Arc::new(Shared::new(config.clone(), clock, parts));
    let mut aggregator = Aggregator::new(Arc::clone(&shared), progress, chunks, spilled);
    fail_point!(RecoveryLoaded);
    let mut compactor = Compactor::new(Arc::clone(&shared), runs);
    let last = replay(&shared, &mut aggregator, &mut compactor)?;
    shared.committed.store(last, Ordering::SeqCst);
    begin_writing(&shared, last)?;
    if let Some(reseat) = reseat {
        aggregator.finish_reseat(&reseat)?;
    }
    seal_previous_life(&shared, &mut aggregator, floor, now)?;
    aggregator.begin_life();
    aggregator.publish();
    let committer = Committer::new(Arc::clone(&shared), last + 1, aggregator.floor());
    fail_point!(RecoveryDone);
    Ok(Recovered {
        shared,
        committer,
        aggregator,
        compactor,
    })
}

fn load_identity(store: &Store) -> Result<StoredIdentity, StoreError> {
    if let Some(identity) = store.identity()? {
        return Ok(identity);
    }
    let identity = StoredIdentity {
        agent_id: AgentId::new(Uuid::now_v7()),
        state_nonce: Uuid::new_v4().into_bytes(),
        fingerprint_key: Uuid::new_v4().into_bytes(),
    };
    let mut batch = store.batch();
    batch.put_identity(&identity);
    store.write(batch, Durability::Synced)?;
    fail_point!(RecoveryIdentityWritten);
    Ok(identity)
}

fn load_dedup(
    store: &Store,
    config: &StoreConfig,
    runs: &[StoredRun],
    progress: &mut Progress,
    now: Timestamp,
) -> Result<Dedup, StoreError> {
    let closed = store.closed_generation()?;
    // The generation may have become a run after the last checkpoint.
    let open = match progress.generation {
        Some(open) if open.id > closed => open,
        _ => StoredGeneration {
            id: runs.iter().map(|run| run.id).fold(closed, u32::max) + 1,
            opened_at: now,
        },
    };
    progress.generation = Some(open);
    let (ids_max, retention) = (config.dedup_generation_ids_max, config.dedup_retention);
    let mut dedup = Dedup::new(open.id, open.opened_at, ids_max, retention);
    for entry in store.tails()? {
        dedup.remember(entry);
    }
    for run in runs {
        let output = runs.iter().find(|output| output.inputs.contains(&run.id));
        let moved = output.map_or(0, |output| run.moved_to(output));
        let mut loaded = store.load_run(run, moved..run.slices_done)?;
        // What is being merged is counted where it comes from.
        loaded.ids = if run.is_complete() { run.ids } else { 0 };
        dedup.add_run(loaded);
    }
    Ok(dedup)
}

/// The outbox and the progress were written together; if they disagree, the directory is damaged.
fn check_chain(frames: &Frames, progress: &Progress) -> Result<(), StoreError> {
    let sealed = Position::from(progress.sealed);
    match frames.newest() {
        Some(newest) if newest != sealed => Err(StoreError::Corrupt(format!(
            "the outbox ends at frame {}, expected frame {}",
            newest.seq, sealed.seq
        ))),
        _ => Ok(()),
    }
}

/// Counts the records after the cursor again; answers the last record's number.
fn replay(
    shared: &Arc<Shared>,
    aggregator: &mut Aggregator,
    compactor: &mut Compactor,
) -> Result<u64, StoreError> {
    let cursor = aggregator.cursor();
    let mut last = cursor;
    shared.store.walk_records(cursor + 1, |seq, bytes| {
        if seq != last + 1 {
            tracing::error!(
                expected = last + 1,
                found = seq,
                "journal records are missing"
            );
        }
        last = seq;
        aggregator.replay(seq, bytes)?;
        compactor.close_waiting()?;
        fail_point!(RecoveryReplaying);
        Ok::<_, StoreError>(ControlFlow::Continue(()))
    })?;
    if last > cursor {
        tracing::info!(
            records = last - cursor,
            "replayed the journal after the last checkpoint"
        );
    }
    fail_point!(RecoveryReplayed);
    aggregator.checkpoint()?;
    fail_point!(RecoveryCheckpointed);
    Ok(last)
}

/// Gives the records that this process will write a name of their own: the directory may be a copy of another one.
fn begin_writing(shared: &Shared, last: u64) -> Result<(), StoreError> {
    let first = last + 1;
    let mut lives = lock(&shared.lives);
    // A life in which nothing was written has nothing to name.
    lives.retain(|life| life.first < first);
    lives.push(Life {
        id: Uuid::new_v4(),
        first,
    });
    let surplus = lives.len().saturating_sub(LIVES_MAX);
    lives.drain(..surplus);
    let mut batch = shared.store.batch();
    batch.put_lineage(&lives);
    shared.write(batch, Durability::Synced)
}

/// A lone agent that comes back late must not keep its old usage until something new arrives.
fn seal_previous_life(
    shared: &Arc<Shared>,
    aggregator: &mut Aggregator,
    floor: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    if aggregator.is_empty() {
        return Ok(());
    }
    let horizon_past = shared.config.horizon_past;
    let floor = kept_floor(floor, now, horizon_past).max(live_watermark(now, horizon_past));
    let oldest = lock(&shared.imports).oldest_open();
    let watermark = oldest.map_or(floor, |oldest| floor.min(oldest));
    let reason = SealReason::Requested;
    let order = SealOrder {
        reason,
        at: now,
        watermark,
        floor,
        deltas: Deltas::default(),
    };
    let position = aggregator.seal(order)?;
    fail_point!(RecoverySealed);
    tracing::info!(seq = position.seq, "sealed what was open before the start");
    Ok(())
}

impl Aggregator {
    /// Counts one record again, as it was counted before the crash or would have been.
    fn replay(&mut self, seq: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let ids = self.remember(seq, bytes);
        self.count(Committed {
            seq,
            record: bytes.to_vec(),
            ids,
        });
        let now = self.shared().clock.now();
        let full = {
            let mut dedup = lock(&self.shared().dedup);
            let full = dedup.rotate(now);
            full.map(|full| (full, dedup.open()))
        };
        if let Some((full, next)) = full {
            self.close_generation(full, next);
        }
        if self.is_checkpoint_due() {
            self.checkpoint()?;
        }
        Ok(())
    }

    /// Puts the record's event ids into the open dedup generation again.
    fn remember(&self, seq: u64, bytes: &[u8]) -> Vec<Entry> {
        let shared = self.shared();
        let Ok(record) = Record::decode(bytes) else {
            return Vec::new();
        };
        let mut dedup = lock(&shared.dedup);
        let mut ids = Vec::new();
        for (index, bytes) in (0..).zip(record.events()) {
            // What does not read back goes to quarantine when it is counted.
            let (Ok(event), Ok(payload)) = (Event::decode(bytes), Event::encoded_payload(bytes))
            else {
                continue;
            };
            let entry = Entry {
                fingerprint: shared.fingerprinter.id(&event.event_id),
                payload: shared.fingerprinter.payload(&event, payload),
                location: Location::new(seq, index).as_u64(),
            };
            dedup.remember(entry);
            ids.push(entry);
        }
        ids
    }
}

fn open_error(error: StoreError, config: &StoreConfig) -> OpenError {
    match error {
        StoreError::Locked => OpenError::Locked {
            path: config.data_dir.clone(),
        },
        StoreError::Absent => OpenError::Storage(error.to_string()),
        StoreError::NewerLayout { found } => OpenError::NewerLayout {
            found,
            known: crate::store::LAYOUT,
        },
        StoreError::Corrupt(message) => OpenError::Corrupt(message),
        StoreError::NoSpace(message) => OpenError::NoSpace(message),
        StoreError::Failed(message) => OpenError::Storage(message),
    }
}
