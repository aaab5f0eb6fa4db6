//! Events that came again with another payload: the last ones, so that whoever sent them can be told.
//!
//! Like the counts of refused events they travel in the deltas of a journal record, and become a list of their own with
//! the checkpoint. The list is a ring: number n takes the place of number n - 1000.

use bincode::{Decode, Encode};
use submeter_common::time::Timestamp;

use super::{Batch, Family, key, meta};

/// Conflicts that are remembered.
pub(crate) const CONFLICTS_MAX: u64 = 1000;
/// Conflicts between two journal records that are listed; further ones are only counted.
pub(crate) const CONFLICTS_AT_ONCE: usize = 100;

/// An event that was not counted, because another one came first under its id.
#[derive(Clone, Eq, PartialEq, Debug, Encode, Decode)]
pub(crate) struct Conflict {
    pub(crate) event_id: String,
    pub(crate) customer_id: String,
    pub(crate) event_name: String,
    /// The refused event's own time.
    pub(crate) timestamp: Timestamp,
    /// When it was refused.
    pub(crate) refused_at: Timestamp,
    /// Where the event stands in the journal that came first.
    pub(crate) first: u64,
}

/// A conflict and its number in the list: the higher, the later.
#[derive(Clone, Eq, PartialEq, Debug, Encode, Decode)]
pub(crate) struct Listed {
    pub(crate) number: u64,
    pub(crate) conflict: Conflict,
}

impl Batch<'_> {
    /// Adds a conflict to the list; the one it takes the place of is no more.
    pub(crate) fn put_conflict(&mut self, listed: &Listed) {
        self.put(
            Family::Meta,
            &key::conflict(listed.number),
            &meta::encode(listed),
        );
        if let Some(old) = listed.number.checked_sub(CONFLICTS_MAX) {
            self.delete(Family::Meta, &key::conflict(old));
        }
    }
}
