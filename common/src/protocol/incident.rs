//! What befell an agent's identity or state, and what it means for the usage: told by the agent, kept by the collector.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{id::AgentId, time::Timestamp};

/// Most incidents in one register; an agent that has more to tell registers again.
pub const INCIDENTS_PER_REGISTER_MAX: usize = 16;

/// Longest text of an incident, in characters.
pub const INCIDENT_MESSAGE_CHARS_MAX: usize = 1000;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentKind {
    /// The state is an older one than the collector has seen; the agent went on behind the collector's position.
    RolledBack,
    /// Another process runs with a copy of the state; this one took a new identity.
    Forked,
    /// The state is not the one the collector knows under this id or name.
    LostState,
    /// The collector lacks frames that it had acknowledged, and not all of them could be sent again as they were.
    CollectorBehind,
    /// Parts of the state directory were damaged and set aside.
    Damaged,
}

impl IncidentKind {
    /// As in JSON, metrics and audit actions.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RolledBack => "rolled_back",
            Self::Forked => "forked",
            Self::LostState => "lost_state",
            Self::CollectorBehind => "collector_behind",
            Self::Damaged => "damaged",
        }
    }
}

/// Journal records by number, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// The first record.
    pub first: u64,
    /// The last record.
    pub last: u64,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Random, so that it is recorded once however often it is told.
    pub id: Uuid,
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: IncidentKind,
    /// Under which identity.
    pub former_agent_id: AgentId,
    /// The identity since then; mostly the same.
    pub agent_id: AgentId,
    /// Records whose events may be missing from the usage. None: none are.
    pub missing: Option<Stretch>,
    /// Records whose events may be counted twice. None: none are.
    pub repeated: Option<Stretch>,
    /// For people.
    pub message: String,
}
