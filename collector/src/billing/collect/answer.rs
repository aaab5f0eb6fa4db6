//! Taking the word of a gateway, at once or later, from the run or through the API: the same answer twice is one.

use crate::{
    billing::{
        ChangeError, InvoiceChange, SubscriptionChange,
        change::{self, Refusal},
    },
    id::{PaymentId, SubscriptionId},
    payment::{Exhausted, Payment, PaymentStatus, Terms},
    storage::{AuditEntry, ChangeOutcome, Storage, StorageError},
    subscription::{
        SubscriptionStatus,
        change::{CancelRequest, Effective, cancel},
        plan::UnusedTime,
    },
};
use submeter_common::Timestamp;

/// How often is decided anew when something else changes the invoice meanwhile.
const DECISIONS_MAX: u32 = 5;

/// What subscriptions say that end because nobody pays; a word of the API.
const CANCEL_REASON: &str = "cancelled_by_merchant_grace_period_expired";

/// How a payment ended.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum Outcome {
    /// The money came.
    Succeeded {
        /// What the gateway calls it.
        reference: Option<String>,
    },
    /// Refused.
    Failed {
        /// Why.
        reason: String,
        /// What the gateway calls it.
        reference: Option<String>,
    },
}

/// Why an answer is not taken; nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// There is no such payment.
    #[error("there is no payment `{0}`")]
    Unknown(PaymentId),
    /// It was answered otherwise before.
    #[error(transparent)]
    Refused(#[from] ChangeError),
    /// Something else changed the invoice each time.
    #[error("the invoice of payment `{0}` is being changed by others: try again")]
    Busy(PaymentId),
}

/// Takes how a payment ended, once; returns the payment as it stands then.
///
/// # Errors
/// As [`AnswerError`] says.
pub async fn answer<S: Storage + ?Sized>(
    storage: &S,
    terms: &Terms,
    id: &PaymentId,
    outcome: &Outcome,
    entry: Option<&AuditEntry>,
    at: Timestamp,
) -> Result<Payment, AnswerError> {
    for _ in 0..DECISIONS_MAX {
        let unknown = || AnswerError::Unknown(id.clone());
        let payment = storage.payment(id).await?.ok_or_else(unknown)?;
        if outcome.is_that_of(&payment) {
            return Ok(payment);
        }
        let change = decide(storage, terms, &payment, outcome, at).await?;
        let after = change.payment.as_ref().map(|change| change.after.clone());
        let change = match entry {
            Some(entry) => change.by(entry.clone()),
            None => change,
        };
        if matches!(
            storage.change_invoice(change).await?,
            ChangeOutcome::Changed(_)
        ) {
            return Ok(after.unwrap_or(payment));
        }
    }
    Err(AnswerError::Busy(id.clone()))
}

impl Outcome {
    /// Whether the payment has ended so already.
    fn is_that_of(&self, payment: &Payment) -> bool {
        matches!(
            (self, payment.status),
            (Self::Succeeded { .. }, PaymentStatus::Succeeded)
                | (Self::Failed { .. }, PaymentStatus::Failed)
        )
    }
}

async fn decide<S: Storage + ?Sized>(
    storage: &S,
    terms: &Terms,
    payment: &Payment,
    outcome: &Outcome,
    at: Timestamp,
) -> Result<InvoiceChange, AnswerError> {
    let unknown = || AnswerError::Unknown(payment.payment_id.clone());
    let invoice = storage.invoice(&payment.invoice_id).await?;
    let invoice = invoice.ok_or_else(unknown)?;
    match outcome {
        Outcome::Succeeded { reference } => {
            Ok(change::succeed(&invoice, payment, reference.clone(), at)?)
        }
        Outcome::Failed { reason, reference } => {
            let refusal = Refusal {
                reason: reason.clone(),
                reference: reference.clone(),
                next_attempt_at: terms.retry_at(payment.attempt, at),
            };
            let is_last = refusal.next_attempt_at.is_none();
            let ends = match terms.exhausted {
                Exhausted::Cancel if is_last => end(storage, &payment.subscription_id, at).await?,
                Exhausted::Cancel | Exhausted::PastDue => None,
            };
            Ok(change::fail(&invoice, payment, refusal, ends, at)?)
        }
    }
}

/// Ends a subscription at once, if it has not ended: what of the running period was not served is not asked for.
async fn end<S: Storage + ?Sized>(
    storage: &S,
    id: &SubscriptionId,
    at: Timestamp,
) -> Result<Option<SubscriptionChange>, StorageError> {
    let stored = storage.subscription(id).await?;
    let Some(before) = stored.filter(|stored| stored.status == SubscriptionStatus::Active) else {
        return Ok(None);
    };
    let request = CancelRequest {
        effective: Effective::Now,
        unused_time: UnusedTime::Credited,
        reason: Some(CANCEL_REASON.to_owned()),
        feedback: None,
        comment: None,
    };
    // Refused: it ends already.
    let ended = cancel(&before, request, at).ok();
    Ok(ended.map(|after| SubscriptionChange { before, after }))
}
