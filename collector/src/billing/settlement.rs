//! What closing a period (or opening a subscription) writes, as one value for one atomic write.

use super::NewInvoice;
use crate::{bookkeeping::Posting, subscription::Subscription};
use std::time::Duration;

/// Everything one step of billing changes. The engine writes all of it or nothing.
///
/// The engine's part: compare `expected_next_period` with the stored subscription's `next_period`, its version with the one
/// before, and the posting as it says; any difference is *stale* and nothing is written. Otherwise it gives the invoice its
/// number ([`super::number`]) and writes all together.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// The subscription as it is afterwards.
    pub subscription: Subscription,
    /// `next_period` that the stored subscription must still have.
    pub expected_next_period: u32,
    /// The invoice to issue, when there is anything to say.
    pub invoice: Option<NewInvoice>,
    /// What it does to the customer's credits and money.
    pub posting: Posting,
}

impl Settlement {
    /// Lets the invoice be paid within `due_after` of its issue.
    #[must_use]
    pub fn due_after(mut self, due_after: Duration) -> Self {
        if let Some(invoice) = &mut self.invoice {
            invoice.due_at = invoice.issued_at.saturating_add(due_after);
        }
        self
    }
}
