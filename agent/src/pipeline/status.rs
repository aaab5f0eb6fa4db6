//! What an operator sees of the pipeline at one glance.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use submeter_common::id::AgentId;
use submeter_common::protocol::{Incident, Position, Receipts};
use submeter_common::time::Timestamp;

use super::shared::{Shared, lock};
use super::{DamageReport, ImportState, Pipeline, RefusalReason};

/// Whether new events are taken.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Health {
    /// Everything is within its budget.
    Ok,
    /// New events are refused or will be soon; each reason is a short sentence.
    Degraded {
        /// Why.
        reasons: Vec<String>,
    },
}

/// What is used of budgets, and how often some were reached since the start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Memory and disk that partials not sealed yet take.
    pub open_bytes: u64,
    /// Requests and commands that wait for the committer.
    pub queue_requests: u64,
    /// Bytes of events that wait for the committer.
    pub queue_bytes: u64,
    /// Bytes of frames that the collector holds and that are kept all the same.
    pub acknowledged_bytes: u64,
    /// When the oldest of those was sealed.
    pub acknowledged_oldest_at: Option<Timestamp>,
    /// When the oldest retained events were accepted, roughly.
    pub journal_oldest_at: Option<Timestamp>,
    /// Groups that the meter with most of them has open.
    pub groups_of_one_meter: u64,
    /// Events that were counted under `__other__` for want of room.
    pub folded: u64,
    /// Seals that were made because the open partials took too much.
    pub seals_by_size: u64,
    /// How often the clock was set back so far that the watermark had to follow it.
    pub clock_set_back: u64,
}

/// A snapshot of the pipeline.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Who this agent is.
    pub agent_id: AgentId,
    /// The last epoch the collector gave; 0 before the first register.
    pub epoch: u64,
    /// The newest frame frozen.
    pub sealed: Position,
    /// The newest frame the collector holds.
    pub acknowledged: Position,
    /// The watermark of the newest frame; none before the first.
    pub watermark: Option<Timestamp>,
    /// The catalog's version in force.
    pub catalog_version: u64,
    /// Counts since the state directory was born.
    pub receipts: Receipts,
    /// Partials not sealed yet (in memory, and spilled ones as of the last checkpoint).
    pub open_partials: u64,
    /// Frames the collector does not hold yet.
    pub outbox_frames: u64,
    /// Their bytes.
    pub outbox_bytes: u64,
    /// Events accepted here but not held by the collector yet.
    pub at_risk_events: u64,
    /// When the oldest frame the collector does not hold was sealed.
    pub oldest_unacknowledged_at: Option<Timestamp>,
    /// Bytes of retained journal records.
    pub journal_bytes: u64,
    /// The newest journal record's number.
    pub journal_seq: u64,
    /// Event ids remembered.
    pub dedup_ids: u64,
    /// Bytes of memory the dedup room uses.
    pub dedup_bytes: u64,
    /// Bytes of memory it may use.
    pub dedup_bytes_max: u64,
    /// Runs of ids on disk; a new id is looked for in the filter of each.
    pub dedup_runs: u64,
    /// Look-ups of ids on disk since the start.
    pub dedup_disk_reads: u64,
    /// Events an aggregation refused (overflow) and that were put into quarantine.
    pub quarantined: u64,
    /// Says whether a new meter is still being backfilled.
    pub backfilling: bool,
    /// What befell this directory's identity or state, oldest first.
    pub incidents: Vec<Incident>,
    /// The open imports and the youngest hundred of the others.
    pub imports: Vec<ImportState>,
    /// What is used of the budgets that have no place above; all nothing while the agent is not running.
    pub usage: Usage,
    /// Free bytes on the state directory's disk.
    pub disk_free_bytes: u64,
    /// Recoveries from damage that nobody has taken note of yet (`submeter-agent verify --acknowledge`).
    #[serde(default)]
    pub damage: Vec<DamageReport>,
    /// Whether new events are taken.
    pub health: Health,
}

/// How long a status waits for the aggregator, so that what was just acknowledged is in it.
const VIEW_WAIT: Duration = Duration::from_millis(100);

impl Pipeline {
    /// Everything an operator asks first; cheap enough for every scrape. Waits up to 100 ms for what was acknowledged
    /// just now to be counted; mostly microseconds.
    #[must_use]
    pub fn status(&self) -> Status {
        let shared = self.shared();
        let view = shared.view_within(VIEW_WAIT);
        let mut receipts = view.receipts.clone();
        lock(&shared.pending).apply(&mut receipts);
        let health = shared.health();
        let dedup = lock(&shared.dedup);
        let (dedup_ids, dedup_bytes) = (dedup.ids(), dedup.bytes());
        let (dedup_runs, dedup_disk_reads) = (dedup.run_count() as u64, dedup.disk_reads);
        drop(dedup);
        let imports = self.imports();
        let (queue_requests, queue_bytes) = shared.requests.waiting();
        let incidents = self.incidents();
        let frames = lock(&shared.frames);
        let oldest = frames.unacknowledged().next();
        Status {
            agent_id: lock(&shared.identity).agent_id,
            epoch: frames.epoch,
            sealed: frames.sealed,
            acknowledged: frames.acknowledged.position.into(),
            watermark: view.watermark,
            catalog_version: lock(&shared.catalog).version,
            at_risk_events: receipts
                .accepted
                .saturating_sub(frames.acknowledged.accepted),
            receipts,
            open_partials: view.open_partials,
            outbox_frames: frames.unacknowledged().count() as u64,
            outbox_bytes: frames.unacknowledged_bytes(),
            oldest_unacknowledged_at: oldest.map(|frame| frame.sealed_at),
            journal_bytes: view.journal_bytes,
            journal_seq: shared.committed.load(Ordering::SeqCst),
            dedup_ids,
            dedup_bytes,
            dedup_bytes_max: shared.config.dedup_bytes_max,
            dedup_runs,
            dedup_disk_reads,
            quarantined: view.quarantined,
            backfilling: view.backfilling,
            incidents,
            imports,
            usage: Usage {
                open_bytes: view.open_bytes,
                queue_requests: queue_requests as u64,
                queue_bytes: queue_bytes as u64,
                acknowledged_bytes: frames.acknowledged_bytes(),
                acknowledged_oldest_at: frames.oldest_acknowledged_at(),
                journal_oldest_at: view.journal_oldest_at,
                groups_of_one_meter: view.groups_of_one_meter,
                folded: view.folded,
                seals_by_size: view.seals_by_size,
                clock_set_back: shared.clock_set_back.load(Ordering::Relaxed),
            },
            disk_free_bytes: shared.disk.free(),
            damage: shared.damage(),
            health,
        }
    }
}

impl Shared {
    /// The accounts of damage that are not acknowledged. Mostly there are none, and then no file is read.
    fn damage(&self) -> Vec<DamageReport> {
        let mut damage = lock(&self.damage);
        if !damage.is_empty() {
            *damage = self.store.directory().new_damage();
        }
        damage.clone()
    }

    fn health(&self) -> Health {
        let mut reasons = Vec::new();
        if let Some(reason) = self.poison.reason() {
            reasons.push(format!("the state directory failed: {reason}"));
        }
        if self.stopping.load(Ordering::SeqCst) {
            reasons.push("the agent is stopping".to_owned());
        }
        if let Some(short) = self.short_of_space() {
            reasons.push(match short {
                RefusalReason::DiskLow => self.disk.shortage(),
                other => other.as_str().to_owned(),
            });
        }
        if reasons.is_empty() {
            Health::Ok
        } else {
            Health::Degraded { reasons }
        }
    }
}
