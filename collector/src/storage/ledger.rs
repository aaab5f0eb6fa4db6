//! The ledger, grants and reservations: all that a customer's credits and money come to.

use async_trait::async_trait;
use submeter_common::id::CustomerId;
use submeter_common::time::Timestamp;

use super::{Page, StorageError};
use crate::bookkeeping::Posting;
use crate::credits::{Grant, Reservation};
use crate::id::{EntitlementId, GrantId, ReservationId, TestClockId};
use crate::ledger::{Account, Books, Entry, Fault, LedgerUnit, TransactionType};

/// What became of a posting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum PostOutcome {
    /// Written.
    Posted,
    /// The customer's ledger or a grant is no longer as it was read: nothing was written. Read again and decide again.
    Stale,
}

/// Which entries of a customer's ledger to list; all conditions hold together.
#[derive(Debug, Clone, Default)]
pub struct EntryFilter {
    /// Only in this unit.
    pub unit: Option<LedgerUnit>,
    /// Only what moves anything on one of these; everything when there are none.
    pub accounts: Vec<Account>,
    /// Only transactions of this kind.
    pub transaction_type: Option<TransactionType>,
    /// Only booked at or after this.
    pub from: Option<Timestamp>,
    /// Only booked before this.
    pub until: Option<Timestamp>,
}

/// What adding a customer's ledger up again came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RebuildOutcome {
    /// Balances and grants are as stored.
    Unchanged,
    /// Balances or grants were not what the entries come to.
    Rebuilt {
        /// What is now as it should be.
        rebuilt: Vec<Fault>,
        /// Grants whose terms are gone: the entries tell what they held, and not until when.
        lost: Vec<Fault>,
    },
    /// An entry itself is damaged: what can be believed ends there, and nothing was changed.
    Damaged(Box<Fault>),
}

/// Keeps each customer's ledger, and the grants and reservations that it accounts for.
#[async_trait]
pub trait LedgerStore: Send + Sync + 'static {
    /// Writes a posting whole, under the writer's lock: transfers as the next entries of the chain, grants and reservation.
    ///
    /// A posting that contradicts itself, books under a key that is taken, would overdraw what must not be, or unbalance the books, is refused.
    async fn post(&self, posting: Posting) -> Result<PostOutcome, StorageError>;

    /// Returns a customer's balances; empty ones for a customer of whom nothing was ever booked.
    async fn books(&self, customer: &CustomerId) -> Result<Books, StorageError>;

    /// Lists the entries of a customer's ledger, newest first.
    async fn entries(
        &self,
        customer: &CustomerId,
        filter: &EntryFilter,
        page: Page,
    ) -> Result<Vec<Entry>, StorageError>;

    /// Returns the entry that was booked under an idempotency key.
    async fn entry_of_key(
        &self,
        customer: &CustomerId,
        idempotency_key: &str,
    ) -> Result<Option<Entry>, StorageError>;

    /// Adds a customer's entries up again from the first one, and says what is not as it should be.
    async fn audit_ledger(&self, customer: &CustomerId) -> Result<Vec<Fault>, StorageError>;

    /// Writes balances and grants anew from the entries, where they differ.
    async fn rebuild_ledger(&self, customer: &CustomerId) -> Result<RebuildOutcome, StorageError>;

    /// Returns up to `limit` customers that have a ledger, in order of their ids, behind `after`.
    async fn ledgers(
        &self,
        after: Option<&CustomerId>,
        limit: usize,
    ) -> Result<Vec<CustomerId>, StorageError>;

    /// Returns a customer's grants, of one entitlement or of all, oldest first.
    async fn grants(
        &self,
        customer: &CustomerId,
        entitlement: Option<&EntitlementId>,
    ) -> Result<Vec<Grant>, StorageError>;

    /// Returns a grant.
    async fn grant(&self, id: &GrantId) -> Result<Option<Grant>, StorageError>;

    /// Lists the customers that were ever given credits of a kind, in order of their ids.
    async fn holders(
        &self,
        entitlement: &EntitlementId,
        page: Page,
    ) -> Result<Vec<CustomerId>, StorageError>;

    /// Returns a reservation.
    async fn reservation(&self, id: &ReservationId) -> Result<Option<Reservation>, StorageError>;

    /// Lists a customer's reservations, newest first.
    async fn reservations(
        &self,
        customer: &CustomerId,
        page: Page,
    ) -> Result<Vec<Reservation>, StorageError>;

    /// Returns up to `limit` reservations, of those who live by `timeline`, that are still held although their time was over
    /// at `now`, the longest overdue first.
    async fn overdue_reservations(
        &self,
        timeline: Option<&TestClockId>,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Reservation>, StorageError>;

    /// Returns up to `limit` grants, of those who live by `timeline`, that expire by themselves and were over at `now` without
    /// being booked as such, the longest overdue first.
    async fn overdue_grants(
        &self,
        timeline: Option<&TestClockId>,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Grant>, StorageError>;
}
