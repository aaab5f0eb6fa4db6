//! What may happen to an issued invoice: it is asked for and paid, taken back in part, or withdrawn. Its paper stays as it is.
//!
//! Each of these is a pure step from the invoice as it was read to an [`InvoiceChange`], which the engine writes whole, and
//! only over that very invoice.

mod answer;
mod ask;
mod credit;
mod pay;
mod void;

pub use answer::{Refusal, fail, succeed};
pub use ask::{ask, collect_at, overdue, processing, recheck};
pub use credit::{CreditRequest, CreditedAmount, credit};
pub use pay::{pay_from_wallet, receive};
pub use void::void;

use super::{Invoice, InvoiceStatus, NewCreditNote, messages};
use crate::{
    id::PaymentId, ledger::Transfer, outbox::NewMessage, payment::Payment, storage::AuditEntry,
    subscription::Subscription,
};
use submeter_common::Timestamp;

/// Everything one step changes. The engine writes all of it or nothing.
///
/// The engine's part: compare `before`, the payment's and the subscription's `before`, and the expected entries with what is
/// stored; any difference is *stale* and nothing is written. It gives the credit note its number, and tells when the subscription becomes past due or recovers.
#[derive(Clone, Debug)]
pub struct InvoiceChange {
    /// The invoice the step was computed from.
    pub before: Invoice,
    /// The same paper, standing otherwise.
    pub after: Invoice,
    /// The payment it made or answered.
    pub payment: Option<PaymentChange>,
    /// The subscription that it ends.
    pub subscription: Option<SubscriptionChange>,
    /// The credit note it issues.
    pub credit_note: Option<NewCreditNote>,
    /// Entries that the customer's ledger must still have, where the decision was made on them.
    pub expected_entries: Option<u64>,
    /// The ledger's side.
    pub transfers: Vec<Transfer>,
    /// What the world is told, beside the credit note's own message.
    pub messages: Vec<NewMessage>,
    /// Who did it, when a person did.
    pub audit: Option<AuditEntry>,
}

/// A payment before and after; a new one has no before.
#[derive(Clone, Debug)]
pub struct PaymentChange {
    /// As it was read.
    pub before: Option<Payment>,
    /// As it is to be stored.
    pub after: Payment,
}

/// A subscription before and after.
#[derive(Clone, Debug)]
pub struct SubscriptionChange {
    /// As it was read.
    pub before: Subscription,
    /// As it is to be stored.
    pub after: Subscription,
}

/// Why a step cannot be taken; nothing was written.
#[derive(Clone, Eq, PartialEq, Debug, thiserror::Error)]
pub enum ChangeError {
    /// Nothing is owed on it, or it was withdrawn.
    #[error("the invoice is {}: {expected}", status_name(*.status))]
    Status {
        /// Where it stands.
        status: InvoiceStatus,
        /// What would have been needed.
        expected: &'static str,
    },
    /// Money came in for it: withdraw what is left by a credit note.
    #[error("{0} minor units were paid on the invoice: issue a credit note over what is not owed")]
    PartlyPaid(i64),
    /// Money may be on its way for what is owed.
    #[error(
        "the payment {0} of the invoice is being processed: wait for its answer, or tell what became of it (POST /v1/payments/{0}/answer)"
    )]
    Processing(PaymentId),
    /// A payment was answered already, and otherwise.
    #[error("the payment is {0}, which is final")]
    Answered(&'static str),
    /// A field of the request is out of range.
    #[error("{field}: {message}")]
    Invalid {
        /// The field's path.
        field: String,
        /// What was expected.
        message: String,
    },
}

impl ChangeError {
    fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        let (field, message) = (field.into(), message.into());
        Self::Invalid { field, message }
    }
}

impl InvoiceChange {
    fn of(before: &Invoice) -> Self {
        Self {
            before: before.clone(),
            after: before.clone(),
            payment: None,
            subscription: None,
            credit_note: None,
            expected_entries: None,
            transfers: Vec::new(),
            messages: Vec::new(),
            audit: None,
        }
    }

    /// Says who did it.
    #[must_use]
    pub fn by(mut self, entry: AuditEntry) -> Self {
        self.audit = Some(entry);
        self
    }

    /// Closes an issued invoice on which nothing is owed any more.
    fn close_if_settled(mut self, at: Timestamp) -> Self {
        let after = &mut self.after;
        if after.status != InvoiceStatus::Issued || after.receivable() > 0 {
            return self;
        }
        after.status = InvoiceStatus::Paid;
        after.close(at);
        self.messages.push(messages::paid(&self.after, at));
        self
    }
}

impl Invoice {
    /// Notes that nothing is asked for any more.
    fn close(&mut self, at: Timestamp) {
        self.collection.closed_at = Some(at);
        self.collection.open_payment = None;
        self.collection.next_attempt_at = None;
        self.collection.past_due_since = None;
    }
}

/// Returns what is owed.
fn owed(invoice: &Invoice) -> Result<i64, ChangeError> {
    match invoice.status {
        InvoiceStatus::Issued => Ok(invoice.amount_due()),
        status => Err(ChangeError::Status {
            status,
            expected: "nothing is owed on it",
        }),
    }
}

/// Refuses while a payment is under way: what is owed must not change under it, or money would be taken for what is not.
fn expect_settled(invoice: &Invoice) -> Result<(), ChangeError> {
    match &invoice.collection.open_payment {
        None => Ok(()),
        Some(payment) => Err(ChangeError::Processing(payment.clone())),
    }
}

const fn status_name(status: InvoiceStatus) -> &'static str {
    match status {
        InvoiceStatus::Issued => "issued",
        InvoiceStatus::Paid => "paid",
        InvoiceStatus::Void => "void",
    }
}
