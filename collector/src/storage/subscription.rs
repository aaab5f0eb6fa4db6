//! Subscriptions, and which of them are due.

use async_trait::async_trait;
use submeter_common::id::{CustomerId, MeterId};
use submeter_common::time::Timestamp;

use super::{Page, StorageError};
use crate::billing::{Invoice, Settlement};
use crate::id::{SubscriptionId, TestClockId};
use crate::outbox::NewMessage;
use crate::subscription::Subscription;

/// What became of a new subscription.
#[derive(Debug, Clone)]
#[must_use]
pub enum CreateOutcome {
    /// Written, with its opening invoice where there was one to issue.
    Created(Option<Box<Invoice>>),
    /// Another subscription of the customer bills this meter in a time that the new one would bill, too.
    /// Nothing was written.
    MeterInUse {
        /// The meter that both name.
        meter_id: MeterId,
        /// The subscription that has it.
        subscription_id: SubscriptionId,
    },
    /// The id is taken, or a grant of the opening changed meanwhile; nothing was written.
    Conflict,
}

/// What became of a change of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum SubscriptionOutcome {
    /// Written.
    Changed,
    /// Another subscription of the customer bills this meter in a time that the changed one would bill, too. Nothing was
    /// written.
    MeterInUse {
        /// The meter that both name.
        meter_id: MeterId,
        /// The subscription that has it.
        subscription_id: SubscriptionId,
    },
    /// What is stored is not what the author had read; nothing was written.
    Conflict,
}

/// Which subscriptions to list; all conditions hold together.
#[derive(Debug, Clone, Default)]
pub struct SubscriptionFilter {
    /// Only this customer's.
    pub customer_id: Option<CustomerId>,
}

/// Keeps subscriptions.
#[async_trait]
pub trait SubscriptionStore: Send + Sync + 'static {
    /// Writes a new subscription with what its opening settles (invoice, grants, transfers), all or
    /// nothing, after checking in the same critical section that no meter would be billed twice.
    /// `opening.expected_next_period` is not looked at.
    async fn create_subscription(&self, opening: Settlement)
    -> Result<CreateOutcome, StorageError>;

    /// Writes a subscription and the message of its change over the one that was read before, after checking in the same critical section that no meter
    /// would be billed twice. Periods are closed by a settlement, not by this.
    async fn change_subscription(
        &self,
        before: &Subscription,
        after: &Subscription,
        message: NewMessage,
    ) -> Result<SubscriptionOutcome, StorageError>;

    /// Returns a subscription.
    async fn subscription(&self, id: &SubscriptionId)
    -> Result<Option<Subscription>, StorageError>;

    /// Lists subscriptions, newest first.
    async fn subscriptions(
        &self,
        filter: &SubscriptionFilter,
        page: Page,
    ) -> Result<Vec<Subscription>, StorageError>;

    /// Returns up to `limit` active subscriptions that live by the test clock `timeline` (by none of their own, when it is
    /// `None`) and whose open period has ended at `now`, the longest overdue first. Costs what it returns, not what is stored. `after` continues behind an entry
    /// of the answer before, so that periods that have to wait do not hide those behind them.
    async fn due(
        &self,
        timeline: Option<&TestClockId>,
        now: Timestamp,
        after: Option<&DueCursor>,
        limit: usize,
    ) -> Result<Vec<Subscription>, StorageError>;

    /// Returns when, after `after`, the next open period ends, the next reservation is over, the next grant expires or the next
    /// invoice is to be collected, of those who live by `timeline`.
    async fn next_due(
        &self,
        timeline: Option<&TestClockId>,
        after: Timestamp,
    ) -> Result<Option<Timestamp>, StorageError>;
}

/// Names a place in the list of what is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueCursor {
    /// The end of the last returned subscription's open period.
    pub period_end: Timestamp,
    /// The last returned subscription.
    pub subscription_id: SubscriptionId,
}
