//! Agents as the collector knows them: identity, session, position, watermark, receipts.
//!
//! The rules of a register are pure and live in [`register`]; the engine runs them inside its write.

pub mod register;

use serde::{Deserialize, Serialize};
use submeter_common::id::AgentId;
use submeter_common::protocol::{Position, Receipts};
use submeter_common::time::Timestamp;
use uuid::Uuid;

/// One agent. Its position never expires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Random id, born with the agent's state directory.
    pub agent_id: AgentId,
    /// Random number of that directory: another one under the same id is a lost state.
    pub state_nonce: Uuid,
    /// Random number of the process that registered last.
    pub boot_id: Uuid,
    /// Its version.
    pub agent_version: String,
    /// The current session. Older ones are fenced.
    pub epoch: u64,
    /// The last applied frame.
    pub applied: Position,
    /// No event older than this comes from this agent any more, by its last frame.
    pub watermark: Timestamp,
    /// The catalog version by which its last frame was counted.
    pub catalog_version: u64,
    /// Its counts, as of its last frame.
    pub receipts: Receipts,
    /// Whether its last frame said that nothing is left and none will follow.
    pub farewell: bool,
    /// Since when it holds no period back, by command.
    pub retired_at: Option<Timestamp>,
    /// When it registered first.
    pub registered_at: Timestamp,
    /// When it was last heard of.
    pub last_seen_at: Timestamp,
    /// When the last applied frame was sealed, by the agent's clock.
    pub sealed_at: Option<Timestamp>,
    /// Rows applied.
    pub rows_applied: u64,
    /// Rows set aside.
    pub rows_quarantined: u64,
    /// What was last found wrong with it; cleared by nothing but a person's retire.
    pub alarm: Option<Alarm>,
}

/// Something about an agent that a person should look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alarm {
    /// It came back with an older state than the collector has seen (a restored backup).
    RolledBack,
    /// It came back with an empty state under a known id.
    LostState,
    /// Two states sent different frames under one id.
    Forked,
    /// Its receipts do not add up, or went backwards.
    Unconserved,
}

impl Agent {
    /// Tells whether a period has to wait for this agent's watermark.
    pub fn is_live(&self) -> bool {
        !self.farewell && self.retired_at.is_none()
    }
}
