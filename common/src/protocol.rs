//! What agent and collector say to each other: frames in one direction, replies in the other.
//!
//! A frame is frozen before its first send and re-sent unchanged, so it holds nothing that depends
//! on the session: the epoch that fences old sessions travels beside it. Its digest and its
//! predecessor's form a hash chain.
//!
//! ```text
//! "SMTR" · version u8 · header length u32 LE · header · zstd(payload) · BLAKE3 of all before (32 bytes)
//! ```
//! Sizes are checked before anything is allocated, and the digest before anything is read.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    aggregate::{Group, Partial},
    id::{AgentId, CustomerId, Digest, MeterId},
    time::{Timestamp, Window},
};

mod codec;
mod frame;
mod incident;
mod lineage;
mod reply;

pub use frame::{decode_frame, encode_frame, events_by_meter};
pub use incident::{
    INCIDENT_MESSAGE_CHARS_MAX, INCIDENTS_PER_REGISTER_MAX, Incident, IncidentKind, Stretch,
};
pub use lineage::{LIVES_MAX, Life, Lineage};
pub use reply::{
    Catalog, FrameReply, FrameResult, Position, RegisterReply, RegisterRequest, RegisterStatus,
};

/// The header in which an agent names each of its calls, and in which the collector's answer names it back.
///
/// A proxy or a connection out of step can hand the answer of one call to another; an old acknowledgement must not be taken
/// for a new one.
pub const CALL_HEADER: &str = "submeter-call";

/// The version of frames that this build writes. It reads this one and every earlier one.
pub const FRAME_VERSION: u8 = 1;

/// Why bytes are not a frame, or a frame cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The frame, or a part of it, is larger than its limit.
    #[error("{what} must be at most {max} bytes or rows, but has {found}")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its limit.
        max: usize,
        /// Its size, as far as it was looked at.
        found: usize,
    },
    /// The bytes are something else.
    #[error("not a frame: expected it to begin with \"SMTR\"")]
    NotAFrame,
    /// A newer agent wrote it.
    #[error(
        "frame version {found} is not supported; this build reads up to version {FRAME_VERSION}"
    )]
    UnsupportedVersion {
        /// The version it has.
        found: u8,
    },
    /// The bytes were damaged or cut.
    #[error("the frame is corrupt: {0}")]
    Corrupt(String),
    /// The frame is whole, but its parts contradict each other.
    #[error("the frame contradicts itself: {0}")]
    Inconsistent(String),
}

/// The partial of one customer, meter, group and window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Whose usage.
    pub customer_id: CustomerId,
    /// Which meter's.
    pub meter_id: MeterId,
    /// Of which values of the meter's group keys.
    pub group: Group,
    /// In which minute of event time.
    pub window: Window,
    /// The usage.
    pub partial: Partial,
}

/// What a frame says about itself and its agent.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FrameHeader {
    /// Who sealed it.
    pub agent_id: AgentId,
    /// The agent's epoch at that time; for information, as the session's epoch travels beside the
    /// frame.
    pub epoch: u64,
    /// Its place in the agent's chain, from 1, without gaps.
    pub seq: u64,
    /// The digest of the frame before; [`Digest::ZERO`] for the first.
    pub previous: Digest,
    /// When it was sealed.
    pub sealed_at: Timestamp,
    /// Every acknowledged event before this time is in this frame or an earlier one, and no older
    /// one will come.
    pub watermark: Timestamp,
    /// Whether the agent has drained and left for good.
    pub farewell: bool,
    /// The catalog by which it counted.
    pub catalog_version: u64,
    /// The agent's counts so far.
    pub receipts: Receipts,
    /// How much of the agent's journal has gone into frames.
    pub reach: Reach,
    /// Events per meter in this frame's rows, sorted by meter; see [`events_by_meter`].
    pub meter_events: Vec<(MeterId, u64)>,
}

/// How much of its agent's journal a frame and those before it hold. A copy of the state directory learns from it which of
/// its events were delivered by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Reach {
    /// The last journal record of the seal that this frame belongs to.
    pub record: u64,
    /// Whether this is the last frame of its seal: all events up to `record` are in. The others hold a part of them.
    pub whole: bool,
    /// Whether a meter still lacks older records, which later frames will bring.
    pub backfilling: bool,
}

/// An agent's counts since its state directory was born.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode, Serialize, Deserialize)]
pub struct Receipts {
    /// Events received.
    pub received: u64,
    /// Events that count.
    pub accepted: u64,
    /// Repetitions of an accepted event.
    pub duplicate: u64,
    /// Repetitions of an accepted event's id with another payload.
    pub conflict: u64,
    /// Accepted events that at least one meter matched.
    pub matched: u64,
    /// Accepted events that no meter matched.
    pub unmatched: u64,
    /// Refused events by their code.
    pub rejected: BTreeMap<String, u64>,
}

impl Receipts {
    /// Tells whether nothing was lost or invented on the way: received = accepted + duplicate +
    /// conflict + rejected, and accepted = matched + unmatched.
    #[must_use]
    pub fn is_conserved(&self) -> bool {
        let answered = [self.accepted, self.duplicate, self.conflict]
            .into_iter()
            .chain(self.rejected.values().copied());
        let received = answered.into_iter().try_fold(0, u64::checked_add);
        received == Some(self.received)
            && self.matched.checked_add(self.unmatched) == Some(self.accepted)
    }
}

/// One frame: at most 100 000 rows, sorted and unique by customer, meter, group and window once
/// encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it says about itself.
    pub header: FrameHeader,
    /// The usage; empty in a heartbeat.
    pub rows: Vec<Row>,
}

#[cfg(test)]
mod tests;
