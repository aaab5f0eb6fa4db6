//! Opening a state directory: load what is derived, derive the rest from the journal, seal what a previous life left.

mod detect;
mod replay;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use submeter_common::id::AgentId;
use submeter_common::protocol::{LIVES_MAX, Life};
use submeter_common::time::{Clock, Timestamp};
use uuid::Uuid;

use super::aggregator::Aggregator;
use super::committer::{Committer, kept_floor, live_watermark};
use super::compactor::Compactor;
use super::outbox::Frames;
use super::shared::{Parts, Shared, lock};
use super::work::SealOrder;
use super::{OpenError, SealReason, StoreConfig};
use crate::dedup::{Dedup, StoredRun};
use crate::fail_point::fail_point;
use crate::store::directory::Directory;
use crate::store::meta::{Deltas, Progress, Resume, StoredIdentity};
use crate::store::{Durability, Store, StoreError, rebuild};

/// Recoveries from damage in one start. What is still damaged then is not damage of the directory.
const MENDS_MAX: u32 = 3;

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
    let directory = rebuild::hold(&config.data_dir).map_err(open_error)?;
    fail_point!(RecoveryDirectoryMade);
    if let Some(damage) = detect::before_opening(&directory).map_err(open_error)? {
        mend(&directory, &damage, clock.now()).map_err(open_error)?;
    }
    let mut times = 0;
    loop {
        match open(&directory, &config, &clock) {
            // A second damage may show only when the first is out of the way.
            Err(StoreError::Corrupt(damage)) if times < MENDS_MAX => {
                mend(&directory, &damage, clock.now()).map_err(open_error)?;
                times += 1;
            }
            opened => return opened.map_err(open_error),
        }
    }
}

fn open(
    directory: &Arc<Directory>,
    config: &StoreConfig,
    clock: &Arc<dyn Clock>,
) -> Result<Recovered, StoreError> {
    let store = Store::open_in(Arc::clone(directory))?;
    fail_point!(RecoveryStoreOpened);
    detect::after_opening(&store)?;
    load_and_replay(store, config, Arc::clone(clock))
}

/// Puts a sound database in the place of the damaged one, and says once what is affected.
fn mend(directory: &Directory, damage: &str, at: Timestamp) -> Result<(), StoreError> {
    tracing::error!(
        damage,
        "the state directory is damaged; recovering what reads"
    );
    let report = rebuild::rebuild(directory, damage, at)?;
    for finding in &report.findings {
        let (area, message) = (finding.area.as_str(), &finding.message);
        if finding.lost {
            tracing::error!(area, "{message}");
        } else {
            tracing::warn!(area, "{message}");
        }
    }
    tracing::error!(
        events_lost = report.events_lost,
        kept_in = report.kept_in,
        "recovered from damage; the account stays in the status until it is acknowledged"
    );
    Ok(())
}

fn load_and_replay(
    store: Store,
    config: &StoreConfig,
    clock: Arc<dyn Clock>,
) -> Result<Recovered, StoreError> {
    let now = clock.now();
    let identity = load_identity(&store)?;
    ensure_signing_seed(&store)?;
    let progress = store.progress()?.unwrap_or_else(Progress::new);
    let resume = store.resume()?;
    let sealed = resume.map_or(progress.sealed, |resume| resume.sealed);
    let runs = store.runs()?;
    store.sweep_runs(&runs)?;
    let dedup = load_dedup(&store, config, &runs, now, resume.is_some())?;
    let frames = Frames::new(
        store.frames()?,
        store.acknowledged()?,
        sealed.into(),
        store.epoch()?,
    );
    let reseat = store.reseat()?;
    if reseat.is_none() {
        check_chain(&frames)?;
    }
    let chunks = store.chunks()?;
    let spilled = store.open_partials(progress.open_set).next().is_some();
    let parts = Parts {
        dedup,
        runs_cursor: store.runs_cursor()?,
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
    let last = replay(&shared, &mut aggregator, &mut compactor, resume)?;
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
    if store.progress()?.is_none() {
        batch.put_sealed_progress(0, 0, &Progress::new());
    }
    store.write(batch, Durability::Synced)?;
    fail_point!(RecoveryIdentityWritten);
    Ok(identity)
}

/// Gives the directory the key by which its bundles are known.
fn ensure_signing_seed(store: &Store) -> Result<(), StoreError> {
    if store.snapshot().signing_key()?.is_some() {
        return Ok(());
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| StoreError::Failed(format!("no randomness for a key: {error}")))?;
    let mut batch = store.batch();
    batch.put_signing_seed(&seed);
    store.write(batch, Durability::Synced)
}

fn load_dedup(
    store: &Store,
    config: &StoreConfig,
    runs: &[StoredRun],
    now: Timestamp,
    mended: bool,
) -> Result<Dedup, StoreError> {
    // The ids that are in no run come from the journal, and the first of them is the oldest.
    let first = if mended { 1 } else { store.runs_cursor()? + 1 };
    let opened_at = store.accepted_at(first)?.unwrap_or(now);
    let id = runs.iter().map(|run| run.id).max().unwrap_or_default() + 1;
    let (ids_max, retention) = (config.dedup_generation_ids_max, config.dedup_retention);
    let mut dedup = Dedup::new(id, opened_at, ids_max, retention);
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
fn check_chain(frames: &Frames) -> Result<(), StoreError> {
    let (sealed, held) = (frames.sealed, frames.acknowledged.position.seq);
    let waiting = frames.unacknowledged().count() as u64;
    match frames.newest() {
        Some(newest) if newest != sealed => Err(StoreError::Corrupt(format!(
            "the outbox ends at frame {}, expected frame {}",
            newest.seq, sealed.seq
        ))),
        _ if waiting != sealed.seq.saturating_sub(held) => Err(StoreError::Corrupt(format!(
            "{waiting} frames wait in the outbox, expected those from {} to {}",
            held + 1,
            sealed.seq
        ))),
        _ => Ok(()),
    }
}

/// Counts the records after the cursor again, and remembers the ids of those after the runs' cursor; answers the last
/// record's number. After damage any id may be missing, so each one of the journal is looked up.
fn replay(
    shared: &Arc<Shared>,
    aggregator: &mut Aggregator,
    compactor: &mut Compactor,
    resume: Option<Resume>,
) -> Result<u64, StoreError> {
    let cursor = aggregator.cursor();
    let runs_cursor = shared.runs_cursor.load(Ordering::SeqCst);
    let mut expected = match resume {
        Some(_) => 1,
        None => cursor.min(runs_cursor) + 1,
    };
    let mut missing = 0;
    let mut seal = resume.filter(|resume| !aggregator.has_sealed(resume.sealed));
    shared.store.walk_records(expected, |seq, bytes| {
        if let Some(seal) = seal.take_if(|seal| seq > seal.record) {
            aggregator.adopt_seal(seal.sealed)?;
        }
        if seq != expected && resume.is_none() {
            return Err(StoreError::Corrupt(format!(
                "journal record {expected} is missing, the next one is {seq}"
            )));
        }
        expected = seq + 1;
        if resume.is_some() {
            missing += shared.remember_missing(seq, bytes)?;
        } else if seq > runs_cursor {
            shared.remember(seq, bytes);
        }
        if seq > cursor {
            aggregator.replay(seq, bytes)?;
        }
        shared.close_full_generation();
        compactor.close_waiting()?;
        fail_point!(RecoveryReplaying);
        Ok::<_, StoreError>(ControlFlow::Continue(()))
    })?;
    if missing > 0 {
        tracing::warn!(ids = missing, "took event ids from the journal again");
    }
    if let Some(seal) = seal {
        aggregator.adopt_seal(seal.sealed)?;
    }
    if aggregator.cursor() > cursor {
        tracing::info!(
            records = aggregator.cursor() - cursor,
            "replayed the journal after the last checkpoint"
        );
    }
    fail_point!(RecoveryReplayed);
    // Numbers of records that were lost are not given again.
    aggregator.pass_over(shared.store.mark().record);
    aggregator.checkpoint()?;
    fail_point!(RecoveryCheckpointed);
    if resume.is_some() {
        // What was lost of the journal is not to be missed by the next start.
        shared.close_open_generation();
        compactor.close_waiting()?;
        shared.put_runs_cursor(aggregator.cursor())?;
        let mut batch = shared.store.batch();
        batch.delete_resume();
        shared.write(batch, Durability::Synced)?;
    }
    aggregator.mark();
    Ok(aggregator.cursor())
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
