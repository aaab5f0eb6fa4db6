//! Where a cell's events came from: agents, and their frames.
//!
//! The law: the events of a cell's sources add up to the events of its partial. An invoice line can therefore be
//! followed back to agents and frame ranges without a remainder.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use submeter_common::id::AgentId;

/// Sources that one cell names at most. A cell is read, merged and written again with every frame that touches it, so
/// its size has to have an end; beyond it, further agents are added up under [`Source::OTHERS`].
pub const SOURCES_MAX: usize = 256;

/// Events that one agent contributed to a cell, and the range of its frames that carried them (frames in between may
/// have carried nothing for this cell).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Source {
    /// The agent.
    pub agent_id: AgentId,
    /// Its first contributing frame.
    pub first_seq: u64,
    /// Its last contributing frame.
    pub last_seq: u64,
    /// Events in those frames' rows.
    pub events: u64,
}
