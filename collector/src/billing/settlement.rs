//! What closing a period (or opening a subscription) writes, as one value for one atomic write.

use super::NewInvoice;
use crate::{credits::Grant, ledger::Transfer, outbox::NewMessage, subscription::Subscription};

/// Everything one step of billing changes. The engine writes all of it or nothing.
///
/// The engine's part: compare `expected_next_period` with the stored subscription's `next_period`, its version with the one before, and each
/// [`GrantChange::before`] with the stored grant; any difference is *stale* and nothing is written. Otherwise it gives the
/// invoice its number ([`super::number`]) and writes subscription, invoice, grants and transfers together. A transfer whose
/// idempotency key is already known is skipped.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// The subscription as it is afterwards.
    pub subscription: Subscription,
    /// `next_period` that the stored subscription must still have.
    pub expected_next_period: u32,
    /// The invoice to issue, when there is anything to say.
    pub invoice: Option<NewInvoice>,
    /// Grants burned or expired.
    pub grants_changed: Vec<GrantChange>,
    /// Grants made, for the period that opens.
    pub grants_new: Vec<Grant>,
    /// The ledger's side of all of it.
    pub transfers: Vec<Transfer>,
    /// What the world is told of it, beside the invoice's own message.
    pub messages: Vec<NewMessage>,
}

/// A grant before and after; the write happens only over `before`.
#[derive(Clone, Debug)]
pub struct GrantChange {
    /// The grant the computation read.
    pub before: Grant,
    /// The grant to store.
    pub after: Grant,
}
