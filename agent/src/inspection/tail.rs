//! Follows accepted events: reads the journal behind the hot path, and says what it had to leave out.
//!
//! A follower has no buffer. It is asked for a bounded piece when its reader has taken the last one; when the journal has
//! run too far ahead meanwhile, it goes on at its end and names the number of events between.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::events::{Context, EventItem, EventsQuery};
use super::{InspectError, Inspection};
use crate::store::record::Record;

/// Events that a reader may be behind; beyond it they are skipped.
const BEHIND_MAX: u64 = 20_000;

/// Journal bytes of one piece.
const PIECE_BYTES_MAX: usize = 256 * 1024;

/// Where a reader stands in the journal.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    query: EventsQuery,
    /// The last record looked at.
    record: u64,
    /// Events accepted up to it.
    accepted: u64,
}

/// One line of what is followed.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Followed {
    /// Events that the reader was too slow for.
    Skipped(Skipped),
    /// An event.
    Event(Box<EventItem>),
}

/// A hole in what is followed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Skipped {
    /// Accepted events that are not shown, wanted or not.
    pub(crate) skipped: u64,
}

impl Follower {
    /// Follows from behind record `record`, up to which `accepted` events were accepted.
    pub(crate) fn new(query: EventsQuery, (record, accepted): (u64, u64)) -> Self {
        Self {
            query,
            record,
            accepted,
        }
    }

    /// Whether there is anything up to record `newest` to look at.
    pub(crate) fn is_behind(&self, newest: u64) -> bool {
        self.record < newest
    }

    /// The next piece, when the journal ends at record `newest` and holds `accepted` events up to there.
    pub(crate) fn next(
        &mut self,
        inspection: &Inspection<'_>,
        (newest, accepted): (u64, u64),
    ) -> Result<Vec<Followed>, InspectError> {
        let behind = accepted.saturating_sub(self.accepted);
        if behind > BEHIND_MAX {
            return Ok(self.skip(newest, accepted));
        }
        let snapshot = inspection.store.snapshot();
        let context = Context::new(&snapshot)?;
        let mut piece = Vec::new();
        let (mut bytes_read, mut holed) = (0, false);
        let Self {
            query,
            record: last,
            accepted: seen,
        } = self;
        snapshot.walk_records(*last + 1, |seq, bytes| {
            if seq > newest {
                return Ok(ControlFlow::Break(()));
            }
            holed = seq != *last + 1;
            if holed {
                return Ok(ControlFlow::Break(()));
            }
            *last = seq;
            bytes_read += bytes.len();
            if let Ok(record) = Record::decode(bytes) {
                *seen += u64::from(record.event_count);
                for (index, event) in (0..).zip(record.events()) {
                    let item = context.item(query, seq, index, &record, event)?;
                    piece.extend(item.map(|item| Followed::Event(Box::new(item))));
                }
            }
            Ok(if bytes_read < PIECE_BYTES_MAX {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        })?;
        if holed {
            // The records were reclaimed before they could be read.
            piece.extend(self.skip(newest, accepted));
        }
        Ok(piece)
    }

    fn skip(&mut self, newest: u64, accepted: u64) -> Vec<Followed> {
        let skipped = accepted.saturating_sub(self.accepted);
        (self.record, self.accepted) = (newest, accepted);
        vec![Followed::Skipped(Skipped { skipped })]
    }
}
