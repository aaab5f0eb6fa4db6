//! Payments: what was asked for and received, and which invoices are to be asked for.

use async_trait::async_trait;
use submeter_common::time::Timestamp;

use super::StorageError;
use crate::billing::Invoice;
use crate::id::{InvoiceId, PaymentId, SubscriptionId, TestClockId};
use crate::payment::Payment;

/// Keeps payments. They are written with the invoice that they change.
#[async_trait]
pub trait PaymentStore: Send + Sync + 'static {
    /// Returns a payment.
    async fn payment(&self, id: &PaymentId) -> Result<Option<Payment>, StorageError>;

    /// Returns the payments of an invoice, oldest first.
    async fn payments(&self, invoice: &InvoiceId) -> Result<Vec<Payment>, StorageError>;

    /// Returns up to `limit` owed invoices of those who live by the test clock `timeline` (by none of their own, when it is
    /// `None`) that were to be collected by `until`, the longest waiting first. `after` continues behind an entry of the
    /// answer before.
    async fn collectable(
        &self,
        timeline: Option<&TestClockId>,
        until: Timestamp,
        after: Option<&CollectionCursor>,
        limit: usize,
    ) -> Result<Vec<Invoice>, StorageError>;

    /// Returns since when an invoice of a subscription should have been paid; none when there is no such invoice.
    async fn past_due_since(
        &self,
        subscription: &SubscriptionId,
    ) -> Result<Option<Timestamp>, StorageError>;
}

/// Names a place in the list of what is to be collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionCursor {
    /// When the last returned invoice was to be collected.
    pub at: Timestamp,
    /// The last returned invoice.
    pub invoice_id: InvoiceId,
}
