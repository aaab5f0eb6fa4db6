//! What an operator sees of the pipeline at one glance.

use serde::{Deserialize, Serialize};
use submeter_common::id::AgentId;
use submeter_common::protocol::{Position, Receipts};
use submeter_common::time::Timestamp;

use super::ImportState;

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
    /// Events an aggregation refused (overflow) and that were put into quarantine.
    pub quarantined: u64,
    /// Says whether a new meter is still being backfilled.
    pub backfilling: bool,
    /// Imports this state directory remembers.
    pub imports: Vec<ImportState>,
    /// Free bytes on the state directory's disk.
    pub disk_free_bytes: u64,
    /// Whether new events are taken.
    pub health: Health,
}
