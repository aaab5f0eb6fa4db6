//! The JSON that goes with frames: registration and the collector's answers.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Incident, Lineage};
use crate::{
    id::{AgentId, Digest},
    meter::Meter,
    time::Timestamp,
};

/// A place in an agent's chain of frames; `seq` 0 with [`Digest::ZERO`] is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The frame's number.
    pub seq: u64,
    /// The frame's digest.
    pub digest: Digest,
}

/// What an agent says when it begins a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterRequest {
    /// Who it is.
    pub agent_id: AgentId,
    /// Born with its state directory: another one under the same id means that the state was lost
    /// or copied.
    pub state_nonce: Uuid,
    /// Born with its process.
    pub boot_id: Uuid,
    /// Its build, for people.
    pub agent_version: String,
    /// The catalog it has; 0 for none.
    pub catalog_version: u64,
    /// The newest frame it knows to be applied.
    pub acknowledged: Position,
    /// The newest frame it has frozen, acknowledged or not.
    pub sealed: Position,
    /// Up to where its frozen frames are complete.
    pub watermark: Timestamp,
    /// Its journal, by the processes that wrote it.
    #[serde(default)]
    pub lineage: Lineage,
    /// What it is called: two agents that call themselves the same are taken for one whose state was lost.
    #[serde(default)]
    pub name: Option<String>,
    /// The collector's position, as told by an earlier answer, when it is none of this agent's history.
    #[serde(default)]
    pub disowned: Option<Position>,
    /// What befell it and was not told yet.
    #[serde(default)]
    pub incidents: Vec<Incident>,
}

/// What the collector found at register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegisterStatus {
    /// An agent not seen before.
    New,
    /// A known agent that goes on where it was.
    Resumed,
    /// The agent's history is not the one that was applied: its state comes from an older backup. It
    /// goes on behind `applied` with what is beyond `delivered`.
    Rollback,
    /// Another process with a copy of this state is running and its history was applied: the agent
    /// takes a new identity for what is beyond `delivered`. No session begins.
    Forked,
    /// A known id with another state: the agent takes a new identity. No session begins.
    LostState,
    /// The agent was retired by a person.
    Retired,
}

/// The collector's answer to a register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterReply {
    /// The session's epoch; frames of an older one are fenced.
    pub epoch: u64,
    /// The newest frame applied.
    pub applied: Position,
    /// What was found.
    pub status: RegisterStatus,
    /// The last record of the agent's own journal that is not its to deliver any more: it was delivered, or another
    /// process with a copy of it delivers it.
    #[serde(default)]
    pub delivered: u64,
    /// After which record the delivery is in part only: of the records from there to `delivered`, some usage may
    /// not have arrived.
    #[serde(default)]
    pub torn_after: Option<u64>,
    /// Whether every meter of the catalog has counted all delivered records. If not, the past of a new meter may be
    /// missing.
    #[serde(default)]
    pub backfilled: bool,
    /// Another agent of the same name that has not left, where there is one: its state is taken for lost.
    #[serde(default)]
    pub replaces: Option<AgentId>,
    /// The meters to count by.
    pub catalog: Catalog,
    /// The collector's clock.
    pub now: Timestamp,
}

/// All meters, archived ones too, at one version.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Catalog {
    /// Grows with every change.
    pub version: u64,
    /// The meters.
    pub meters: Vec<Meter>,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameResult {
    /// Its rows count now.
    Applied,
    /// It was applied before, the very same bytes.
    Duplicate,
    /// Frames between `applied` and it are missing.
    Gap,
    /// This session cannot go on: a newer one exists, or what was sent is too old to be compared. The agent registers
    /// again and is told where it stands.
    Fenced,
    /// Another frame of the same number was applied, or it does not follow the one before.
    Fork,
}

/// The collector's answer to a frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameReply {
    /// What became of it.
    pub result: FrameResult,
    /// The newest frame applied.
    pub applied: Position,
    /// The newest catalog.
    pub catalog_version: u64,
    /// The collector's clock.
    pub now: Timestamp,
    /// More for people, where there is more to say.
    #[serde(default)]
    pub message: Option<String>,
}
