//! What a gateway says of a payment: it succeeded, or it was refused. Either is final.

use super::{ChangeError, InvoiceChange, PaymentChange, SubscriptionChange, pay::received};
use crate::{
    billing::{Invoice, messages},
    payment::{Payment, PaymentStatus},
    subscription,
};
use submeter_common::Timestamp;

/// Takes the word that `payment` succeeded.
///
/// # Errors
/// When it was answered before.
pub fn succeed(
    invoice: &Invoice,
    payment: &Payment,
    reference: Option<String>,
    at: Timestamp,
) -> Result<InvoiceChange, ChangeError> {
    expect_open(payment)?;
    let after = Payment {
        status: PaymentStatus::Succeeded,
        reference: reference.or_else(|| payment.reference.clone()),
        answered_at: Some(at),
        ..payment.clone()
    };
    Ok(received(invoice, Some(payment.clone()), after, at))
}

/// Why a payment was refused, and when the next one is tried.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Why.
    pub reason: String,
    /// What the gateway calls it.
    pub reference: Option<String>,
    /// The next try; none after the last.
    pub next_attempt_at: Option<Timestamp>,
}

/// Takes the word that `payment` was refused. The invoice is past due now. When that `ends` its subscription, the end is
/// written with it.
///
/// # Errors
/// When it was answered before.
pub fn fail(
    invoice: &Invoice,
    payment: &Payment,
    refusal: Refusal,
    ends: Option<SubscriptionChange>,
    at: Timestamp,
) -> Result<InvoiceChange, ChangeError> {
    expect_open(payment)?;
    let after = Payment {
        status: PaymentStatus::Failed,
        failure: Some(refusal.reason),
        reference: refusal.reference.or_else(|| payment.reference.clone()),
        answered_at: Some(at),
        ..payment.clone()
    };
    let mut change = InvoiceChange::of(invoice);
    let collection = &mut change.after.collection;
    collection.open_payment = None;
    collection.next_attempt_at = refusal.next_attempt_at;
    collection.past_due_since.get_or_insert(at);
    change
        .messages
        .push(messages::payment_failed(&change.after, &after, at));
    let cancelled = ends.as_ref().and_then(|ends| {
        let end = ends.after.cancellation.as_ref()?;
        Some(subscription::messages::cancelled(&ends.after, end, at))
    });
    change.messages.extend(cancelled);
    change.subscription = ends;
    change.payment = Some(PaymentChange {
        before: Some(payment.clone()),
        after,
    });
    Ok(change)
}

fn expect_open(payment: &Payment) -> Result<(), ChangeError> {
    match payment.status {
        PaymentStatus::Processing => Ok(()),
        PaymentStatus::Failed => Err(ChangeError::Answered("failed")),
        PaymentStatus::Succeeded => Err(ChangeError::Answered("succeeded")),
    }
}
