//! Invoices, and the settlements that issue them.

use async_trait::async_trait;
use submeter_common::id::CustomerId;

use super::{Page, StorageError};
use crate::billing::{BlockedDraft, CreditNote, Invoice, InvoiceChange, InvoiceStatus, Settlement};
use crate::id::{CreditNoteId, InvoiceId, SubscriptionId};

/// What became of a settlement.
#[derive(Debug, Clone)]
#[must_use]
pub enum SettleOutcome {
    /// Written, with the invoice as issued (numbered) where there is one.
    Settled(Option<Box<Invoice>>),
    /// The subscription is no longer at the expected period, or the customer's ledger or a grant not as it
    /// was read: somebody was first. Nothing was written; read again.
    Stale,
}

/// What became of a change to an issued invoice.
#[derive(Debug, Clone)]
#[must_use]
pub enum ChangeOutcome {
    /// Written, with the credit note as issued (numbered) where there is one.
    Changed(Option<Box<CreditNote>>),
    /// The invoice or the payment is not as it was read. Nothing was written; read again.
    Stale,
}

/// Which credit notes to list; all conditions hold together.
#[derive(Debug, Clone, Default)]
pub struct CreditNoteFilter {
    /// Only this customer's.
    pub customer_id: Option<CustomerId>,
    /// Only of this invoice.
    pub invoice_id: Option<InvoiceId>,
}

/// Which invoices to list; all conditions hold together.
#[derive(Debug, Clone, Default)]
pub struct InvoiceFilter {
    /// Only this customer's.
    pub customer_id: Option<CustomerId>,
    /// Only this subscription's.
    pub subscription_id: Option<SubscriptionId>,
    /// Only those that stand so. Looks at every invoice that the other conditions leave.
    pub status: Option<InvoiceStatus>,
}

/// Keeps invoices and credit notes. The paper of an issued invoice never changes.
#[async_trait]
pub trait InvoiceStore: Send + Sync + 'static {
    /// Writes a period's settlement whole: subscription, invoice with the next number of its year, and
    /// posting. Compare-and-set on `expected_next_period`, on the subscription's version, and on what the posting expects, so
    /// that running it twice, or from two places, settles once.
    async fn settle(&self, settlement: Settlement) -> Result<SettleOutcome, StorageError>;

    /// Writes many settlements, in their order and each whole or not at all, in as few durable writes as can be. One that is
    /// stale or refused takes no other with it.
    ///
    /// # Errors
    /// When the storage is unavailable: which of them were written is unknown.
    async fn settle_all(
        &self,
        settlements: Vec<Settlement>,
    ) -> Result<Vec<Result<SettleOutcome, StorageError>>, StorageError>;

    /// Returns an invoice.
    async fn invoice(&self, id: &InvoiceId) -> Result<Option<Invoice>, StorageError>;

    /// Lists invoices, newest first.
    async fn invoices(
        &self,
        filter: &InvoiceFilter,
        page: Page,
    ) -> Result<Vec<Invoice>, StorageError>;

    /// Changes where an issued invoice stands: its payment, credit note, transfers and messages with it, in one write.
    /// Compare-and-set on the invoice and the payment. A change of the paper itself is refused.
    async fn change_invoice(&self, change: InvoiceChange) -> Result<ChangeOutcome, StorageError>;

    /// Returns a credit note.
    async fn credit_note(&self, id: &CreditNoteId) -> Result<Option<CreditNote>, StorageError>;

    /// Lists credit notes, newest first.
    async fn credit_notes(
        &self,
        filter: &CreditNoteFilter,
        page: Page,
    ) -> Result<Vec<CreditNote>, StorageError>;

    /// Keeps the draft of a period that cannot be billed, and tells of it, when the reason is not the one that is kept
    /// already. It is gone with the settlement of its period.
    async fn block_draft(&self, draft: BlockedDraft) -> Result<(), StorageError>;

    /// Lists the drafts that cannot be issued, by subscription. The filter's status is not looked at.
    async fn blocked_drafts(
        &self,
        filter: &InvoiceFilter,
        page: Page,
    ) -> Result<Vec<BlockedDraft>, StorageError>;
}
