//! The JSON that goes with frames: registration and the collector's answers.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

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
}

/// What the collector found at register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegisterStatus {
    /// An agent not seen before.
    New,
    /// A known agent that goes on where it was.
    Resumed,
    /// The agent is behind what it once sent: its state comes from an older backup. It skips to
    /// `applied`.
    Rollback,
    /// A known id with another state: the agent takes a new identity.
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
    /// A newer session of the agent exists.
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
