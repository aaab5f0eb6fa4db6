//! Agents as the collector knows them: identity, session, position, watermark, receipts.
//!
//! The rules of a register are pure and live in [`register`]; the engine runs them inside its write.

pub mod history;
pub mod register;

use std::collections::BTreeSet;

use history::History;
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
    /// Random numbers of processes that registered before it and were superseded, oldest first.
    pub former_boots: Vec<Uuid>,
    /// Its version.
    pub agent_version: String,
    /// What it calls itself.
    pub name: Option<String>,
    /// The current session. Older ones are fenced.
    pub epoch: u64,
    /// The last applied frame.
    pub applied: Position,
    /// No event older than this comes from this agent any more, by its last frame.
    pub watermark: Timestamp,
    /// The catalog version by which its last frame was counted.
    pub catalog_version: u64,
    /// Whether a meter of that catalog still lacks some of what was accepted before it.
    pub backfilling: bool,
    /// How far its journals were delivered.
    pub history: History,
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
    /// What was found wrong with it; cleared when a person acknowledges it or retires the agent.
    pub alarms: BTreeSet<Alarm>,
    /// The newest incidents it told, so that one told twice is recorded once.
    pub incidents: Vec<Uuid>,
    /// Which process was last told to roll back, and behind which frame: it asks again when it has not heard the answer.
    pub rolled_back: Option<(Uuid, u64)>,
    /// The frame it remembered as acknowledged when it was last found ahead of the collector.
    pub ahead_at: u64,
}

/// Something about an agent that a person should look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alarm {
    /// It came back with an older state than the collector has seen (a restored backup).
    RolledBack,
    /// Another state came under its id or its name, while it has not left.
    LostState,
    /// Two processes with copies of one state spoke under its id.
    Forked,
    /// It remembers acknowledgements of frames that are not here: the collector was restored or is a new one.
    CollectorBehind,
    /// It told that events may be missing from its usage.
    EventsMissing,
    /// It told that events may be counted twice.
    EventsRepeated,
    /// It told that its state directory was damaged.
    Damaged,
    /// It has not been heard of for too long. Gone by itself when it is heard of again, or with its retirement.
    Silent,
    /// Its receipts do not add up, or went backwards.
    Unconserved,
}

impl Agent {
    /// Tells whether a period has to wait for this agent's watermark.
    pub fn is_live(&self) -> bool {
        !self.farewell && self.retired_at.is_none()
    }
}
