//! Everything that one decision about a customer's credits and money writes.

use crate::{
    credits::{Grant, Reservation},
    ledger::Transfer,
    outbox::NewMessage,
};
use submeter_common::id::CustomerId;

/// Transfers of one customer, and the documents that they change. An engine writes all of it or nothing.
///
/// The engine's part: compare `expected_entries` with the customer's books, and each [`GrantChange::before`] with the stored
/// grant; any difference is *stale*, and nothing is written. No transfer may have a key that is taken.
#[derive(Clone, PartialEq, Debug)]
pub struct Posting {
    /// Whose.
    pub customer_id: CustomerId,
    /// Entries that the customer's ledger must still have: as many as were there when the decision was made. None for what
    /// is right whatever happened meanwhile.
    pub expected_entries: Option<u64>,
    /// Grants that give or get.
    pub grants_changed: Vec<GrantChange>,
    /// Grants made.
    pub grants_new: Vec<Grant>,
    /// A reservation as it is afterwards. It is held to be current when the ledger has the expected entries.
    pub reservation: Option<Reservation>,
    /// The ledger's side of all of it.
    pub transfers: Vec<Transfer>,
    /// What the world is told of it.
    pub messages: Vec<NewMessage>,
}

impl Posting {
    /// Makes a posting that changes nothing.
    #[must_use]
    pub const fn empty(customer_id: CustomerId) -> Self {
        Self {
            customer_id,
            expected_entries: None,
            grants_changed: Vec::new(),
            grants_new: Vec::new(),
            reservation: None,
            transfers: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.grants_changed.is_empty()
            && self.grants_new.is_empty()
            && self.reservation.is_none()
            && self.transfers.is_empty()
            && self.messages.is_empty()
    }
}

/// A grant before and after; the write happens only over `before`.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct GrantChange {
    /// The grant the decision was made on.
    pub before: Grant,
    /// The grant to store.
    pub after: Grant,
}
