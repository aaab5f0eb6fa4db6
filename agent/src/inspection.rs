//! What an operator looks at: events and why they count, open partials, frames, remembered ids, meters, quarantine.
//!
//! Every answer is read from the state directory at one instant, and from nothing else. So the same code answers for a
//! running agent and for a stopped one, no lock of the hot path is taken, and what is shown is what a restart would find:
//! the last checkpoint, and on top of it the journal records since, counted once more for the answer alone ([`Replayed`]).
//!
//! Each call does a bounded amount of work. A list that has looked at enough without filling its page ends early with the
//! cursor to go on from, so a page may be short and still not be the last.

mod conflicts;
mod dedup;
mod events;
mod meters;
mod outbox;
mod page;
mod partials;
mod quarantine;
mod question;
mod replay;
mod status;
mod stopped;
mod tail;

use thiserror::Error;

pub(crate) use conflicts::{ConflictItem, ConflictsQuery};
pub(crate) use dedup::{DedupQuery, IdQuery, IdReply};
pub(crate) use events::{EventItem, EventsQuery, MatchState};
pub(crate) use meters::{MeterItem, MetersQuery};
pub(crate) use outbox::{FrameContent, FrameItem, FrameQuery, FrameState, OutboxQuery, RowItem};
pub(crate) use page::{Page, Paging};
pub(crate) use partials::{PartialItem, PartialsQuery};
pub(crate) use quarantine::{QuarantineItem, QuarantineQuery};
pub(crate) use question::{LIMIT_MAX, Parameters, Question};
pub(crate) use replay::Replayed;
pub(crate) use stopped::{Stopped, StoppedError};
pub(crate) use tail::{Follower, Skipped};

use crate::store::{Store, StoreError};

/// Why a question was not answered.
#[derive(Debug, Error)]
pub(crate) enum InspectError {
    /// The question is malformed; the message names the parameter.
    #[error("{0}")]
    Question(String),
    /// What was asked for is not there.
    #[error("{0}")]
    NotFound(String),
    /// The state directory cannot be read.
    #[error("the state directory cannot be read: {0}")]
    Store(#[from] StoreError),
}

/// Answers questions about one state directory.
pub(crate) struct Inspection<'a> {
    store: &'a Store,
    /// The newest frame that was handed to the collector in this life.
    sent: u64,
    groups_per_meter_max: usize,
}

impl<'a> Inspection<'a> {
    /// Looks at `store`. Frames up to `sent` are on their way.
    pub(crate) fn new(store: &'a Store, sent: u64, groups_per_meter_max: usize) -> Self {
        Self {
            store,
            sent,
            groups_per_meter_max,
        }
    }
}
