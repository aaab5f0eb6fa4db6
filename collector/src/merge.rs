//! The way of a frame into the totals: exactly once, in order, whatever the network does.
//!
//! [`sequence`] decides what a frame is, looking only at its header and the agent's stored position; the engine applies
//! the decision in the same atomic write as the rows. [`conservation`] checks the receipts that each frame carries; what
//! it finds is recorded and never a reason to refuse usage.

pub mod conservation;
pub mod sequence;

use submeter_common::protocol::Position;

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum FrameOutcome {
    /// Merged; the agent's position is now at this frame.
    Applied {
        /// The agent's new position.
        applied: Position,
        /// Rows merged.
        rows: u64,
        /// Rows set aside because they do not fit what is stored.
        quarantined: u64,
        /// Whether the agent's receipts contradict themselves or those before; it is on the audit log.
        unconserved: bool,
    },
    /// This frame was applied before: nothing to do, and a success for the sender.
    Duplicate {
        /// The agent's position.
        applied: Position,
    },
    /// Frames are missing before this one: the agent sends again from `expected`.
    Gap {
        /// The agent's position.
        applied: Position,
        /// The sequence number to send next.
        expected: u64,
    },
    /// The session's epoch is not the agent's current one (somebody registered since, or the agent was retired), or the
    /// frame is older than any whose digest is kept: the agent registers again.
    Fenced {
        /// The agent's position.
        applied: Position,
        /// The current epoch.
        epoch: u64,
    },
    /// The frame does not continue the chain that was applied: two states share one identity.
    Fork {
        /// The agent's position.
        applied: Position,
    },
    /// No agent of this id ever registered.
    UnknownAgent,
}
