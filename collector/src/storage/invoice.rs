//! Invoices, credit grants and the ledger: what a settlement writes.

use async_trait::async_trait;
use submeter_common::id::CustomerId;

use super::{Page, StorageError};
use crate::billing::{Invoice, Settlement};
use crate::credits::Grant;
use crate::id::{EntitlementId, InvoiceId, SubscriptionId};
use crate::ledger::Transfer;

/// What became of a settlement.
#[derive(Debug, Clone)]
#[must_use]
pub enum SettleOutcome {
    /// Written, with the invoice as issued (numbered) where there is one.
    Settled(Option<Box<Invoice>>),
    /// The subscription is no longer at the expected period, or a grant no longer at the amount it was
    /// read at: somebody settled first. Nothing was written; read again.
    Stale,
}

/// Which invoices to list; all conditions hold together.
#[derive(Debug, Clone, Default)]
pub struct InvoiceFilter {
    /// Only this customer's.
    pub customer_id: Option<CustomerId>,
    /// Only this subscription's.
    pub subscription_id: Option<SubscriptionId>,
}

/// Keeps invoices, grants and transfers. An issued invoice never changes but for its status.
#[async_trait]
pub trait InvoiceStore: Send + Sync + 'static {
    /// Writes a period's settlement whole: subscription, invoice with the next number of its year,
    /// grants and transfers. Compare-and-set on `expected_next_period` and on each changed grant, so that
    /// running it twice, or from two places, settles once. A transfer whose idempotency key is known
    /// is skipped: it was posted before.
    async fn settle(&self, settlement: Settlement) -> Result<SettleOutcome, StorageError>;

    /// Returns an invoice.
    async fn invoice(&self, id: &InvoiceId) -> Result<Option<Invoice>, StorageError>;

    /// Lists invoices, newest first.
    async fn invoices(
        &self,
        filter: &InvoiceFilter,
        page: Page,
    ) -> Result<Vec<Invoice>, StorageError>;

    /// Returns a customer's grants, of one entitlement or of all, oldest first.
    async fn grants(
        &self,
        customer: &CustomerId,
        entitlement: Option<&EntitlementId>,
    ) -> Result<Vec<Grant>, StorageError>;

    /// Lists a customer's transfers, newest first.
    async fn transfers(
        &self,
        customer: &CustomerId,
        page: Page,
    ) -> Result<Vec<Transfer>, StorageError>;
}
