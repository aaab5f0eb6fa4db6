//! Drafts that cannot be issued: a period has ended, but its usage cannot be rated, and a person has to look.
//!
//! Each run tries again. The draft is gone with the settlement that closes its period.

use super::BillingError;
use crate::{
    id::{InvoiceId, SubscriptionId},
    subscription::Subscription,
};
use serde::{Deserialize, Serialize};
use submeter_common::{CustomerId, Period, Timestamp};

/// The invoice of a period that could not be billed.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct BlockedDraft {
    /// The id that the invoice will have.
    pub invoice_id: InvoiceId,
    /// Whose.
    pub customer_id: CustomerId,
    /// Of which subscription.
    pub subscription_id: SubscriptionId,
    /// The period that cannot be billed.
    pub period: Period,
    /// Its index.
    pub closes_period: u32,
    /// Why, for people.
    pub reason: String,
    /// When that was found first.
    pub since: Timestamp,
}

impl BlockedDraft {
    /// Says why the open period of `subscription` cannot be billed.
    #[must_use]
    pub fn new(subscription: &Subscription, error: &BillingError, since: Timestamp) -> Self {
        Self {
            invoice_id: invoice_id(subscription),
            customer_id: subscription.customer_id.clone(),
            subscription_id: subscription.subscription_id.clone(),
            period: subscription.current_period,
            closes_period: subscription.next_period,
            reason: error.to_string(),
            since,
        }
    }
}

/// Returns the id of the invoice that closes the open period of `subscription`.
pub(super) fn invoice_id(subscription: &Subscription) -> InvoiceId {
    let n = subscription.next_period.to_string();
    InvoiceId::derived(&[subscription.subscription_id.as_str(), &n])
}
