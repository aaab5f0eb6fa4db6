//! Payments: what was asked for and received, and which invoices are to be asked for.

use async_trait::async_trait;
use submeter_common::time::Timestamp;

use super::StorageError;
use crate::billing::Invoice;
use crate::id::{InvoiceId, PaymentId, SubscriptionId};
use crate::payment::Payment;

/// Keeps payments. They are written with the invoice that they change.
#[async_trait]
pub trait PaymentStore: Send + Sync + 'static {
    /// Returns a payment.
    async fn payment(&self, id: &PaymentId) -> Result<Option<Payment>, StorageError>;

    /// Returns the payments of an invoice, oldest first.
    async fn payments(&self, invoice: &InvoiceId) -> Result<Vec<Payment>, StorageError>;

    /// Returns up to `limit` owed invoices whose next payment was to be asked for by `until`, the longest waiting first.
    async fn collectable(
        &self,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<Invoice>, StorageError>;

    /// Returns since when an invoice of a subscription should have been paid; none when there is no such invoice.
    async fn past_due_since(
        &self,
        subscription: &SubscriptionId,
    ) -> Result<Option<Timestamp>, StorageError>;
}
