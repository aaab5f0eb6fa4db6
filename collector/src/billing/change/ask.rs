//! Asking a gateway for what is due. Each step is written before anybody is asked, so that no crash asks for it anew.

use super::{ChangeError, InvoiceChange, PaymentChange, expect_settled, owed};
use crate::{
    billing::{Invoice, messages},
    id::PaymentId,
    payment::{Payment, PaymentStatus},
};
use submeter_common::Timestamp;

/// Asks `gateway` for what is due, as the next try; it is asked again at `again_at` while it has not answered.
///
/// # Errors
/// When nothing is owed, or a payment is under way.
pub fn ask(
    invoice: &Invoice,
    gateway: &str,
    at: Timestamp,
    again_at: Timestamp,
) -> Result<InvoiceChange, ChangeError> {
    let amount = owed(invoice)?;
    expect_settled(invoice)?;
    let attempt = invoice.collection.attempts.saturating_add(1);
    let cause = [invoice.invoice_id.as_str(), "try", &attempt.to_string()];
    let payment = Payment {
        payment_id: PaymentId::derived(&cause),
        invoice_id: invoice.invoice_id.clone(),
        customer_id: invoice.customer_id.clone(),
        subscription_id: invoice.subscription_id.clone(),
        amount,
        currency: invoice.currency,
        gateway: gateway.to_owned(),
        attempt,
        status: PaymentStatus::Processing,
        failure: None,
        reference: None,
        asked: 1,
        requested_at: at,
        answered_at: None,
    };
    let mut change = InvoiceChange::of(invoice);
    let collection = &mut change.after.collection;
    collection.attempts = attempt;
    collection.open_payment = Some(payment.payment_id.clone());
    collection.next_attempt_at = Some(again_at);
    change
        .messages
        .push(messages::payment_processing(&payment, at));
    change.payment = Some(PaymentChange {
        before: None,
        after: payment,
    });
    Ok(change)
}

/// Asks once more about a payment without an answer, and again at `again_at`. When it has been without one for too long,
/// the invoice `is_overdue`: past due, though nobody refused.
#[must_use]
pub fn recheck(
    invoice: &Invoice,
    payment: &Payment,
    is_overdue: bool,
    at: Timestamp,
    again_at: Timestamp,
) -> InvoiceChange {
    let mut change = InvoiceChange::of(invoice);
    let collection = &mut change.after.collection;
    collection.next_attempt_at = Some(again_at);
    if is_overdue {
        collection.past_due_since.get_or_insert(at);
    }
    let asked = payment.asked.saturating_add(1);
    change.payment = Some(PaymentChange {
        before: Some(payment.clone()),
        after: Payment {
            asked,
            ..payment.clone()
        },
    });
    change
}

/// Notes that the gateway is at it: it will say what became of the payment, and is asked at `again_at` if it has not.
#[must_use]
pub fn processing(
    invoice: &Invoice,
    payment: &Payment,
    reference: Option<String>,
    again_at: Timestamp,
) -> InvoiceChange {
    let mut change = InvoiceChange::of(invoice);
    change.after.collection.next_attempt_at = Some(again_at);
    let reference = reference.or_else(|| payment.reference.clone());
    change.payment = Some(PaymentChange {
        before: Some(payment.clone()),
        after: Payment {
            reference,
            ..payment.clone()
        },
    });
    change
}

/// Notes that an invoice for which nobody can be asked should have been paid by now.
#[must_use]
pub fn overdue(invoice: &Invoice, at: Timestamp) -> InvoiceChange {
    let mut change = InvoiceChange::of(invoice);
    let collection = &mut change.after.collection;
    collection.next_attempt_at = None;
    collection.past_due_since.get_or_insert(at);
    change
}

/// Lets the invoice be collected at `at`, whatever was planned: the customer has another card, or money again.
///
/// # Errors
/// When nothing is owed.
pub fn collect_at(invoice: &Invoice, at: Timestamp) -> Result<InvoiceChange, ChangeError> {
    owed(invoice)?;
    let mut change = InvoiceChange::of(invoice);
    change.after.collection.next_attempt_at = Some(at);
    Ok(change)
}
