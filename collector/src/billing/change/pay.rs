//! Getting paid: by hand, or by a gateway that is asked and answers now or later.

use super::{ChangeError, InvoiceChange, PaymentChange};
use crate::{
    billing::{Invoice, InvoiceStatus, messages},
    bookkeeping::Book,
    id::PaymentId,
    payment::{Payment, PaymentStatus},
};
use submeter_common::Timestamp;

/// Takes money that was received by hand: `amount`, or all that is due. `key` names the receipt.
///
/// # Errors
/// When nothing is owed, or less than `amount`.
pub fn receive(
    invoice: &Invoice,
    amount: Option<i64>,
    reference: Option<String>,
    key: &str,
    at: Timestamp,
) -> Result<InvoiceChange, ChangeError> {
    let due = owed(invoice)?;
    let amount = amount.unwrap_or(due);
    if !(1..=due).contains(&amount) {
        let message = format!("expected 1 to {due}, what is due in minor units, found {amount}");
        return Err(ChangeError::invalid("amount", message));
    }
    let payment = Payment {
        payment_id: PaymentId::derived(&[invoice.invoice_id.as_str(), "hand", key]),
        amount,
        gateway: "manual".to_owned(),
        status: PaymentStatus::Succeeded,
        reference,
        answered_at: Some(at),
        ..asked_for(invoice, at)
    };
    Ok(received(invoice, None, payment, at))
}

/// Asks `gateway` for what is due, as the next try; it is asked again at `again_at` while it has not answered.
///
/// # Errors
/// When nothing is owed.
pub fn ask(
    invoice: &Invoice,
    gateway: &str,
    at: Timestamp,
    again_at: Timestamp,
) -> Result<InvoiceChange, ChangeError> {
    let amount = owed(invoice)?;
    let attempt = invoice.collection.attempts.saturating_add(1);
    let cause = [invoice.invoice_id.as_str(), "try", &attempt.to_string()];
    let payment = Payment {
        payment_id: PaymentId::derived(&cause),
        amount,
        gateway: gateway.to_owned(),
        attempt,
        asked: 1,
        ..asked_for(invoice, at)
    };
    let mut change = InvoiceChange::of(invoice);
    let collection = &mut change.after.collection;
    collection.attempts = attempt;
    collection.open_payment = Some(payment.payment_id.clone());
    collection.next_attempt_at = Some(again_at);
    change.payment = Some(PaymentChange {
        before: None,
        after: payment,
    });
    Ok(change)
}

/// Notes that a pending payment is to be asked about again at `again_at`.
#[must_use]
pub fn recheck(invoice: &Invoice, payment: &Payment, again_at: Timestamp) -> InvoiceChange {
    let mut change = InvoiceChange::of(invoice);
    change.after.collection.next_attempt_at = Some(again_at);
    let after = Payment {
        asked: payment.asked.saturating_add(1),
        ..payment.clone()
    };
    change.payment = Some(PaymentChange {
        before: Some(payment.clone()),
        after,
    });
    change
}

/// Takes the word that `payment` succeeded. Money is money: it is booked even for an invoice that is not owed any more, in
/// the customer's favour.
///
/// # Errors
/// When it was answered otherwise before.
pub fn succeed(
    invoice: &Invoice,
    payment: &Payment,
    reference: Option<String>,
    at: Timestamp,
) -> Result<InvoiceChange, ChangeError> {
    match payment.status {
        PaymentStatus::Pending | PaymentStatus::Cancelled => {}
        PaymentStatus::Failed => return Err(ChangeError::Answered("failed")),
        PaymentStatus::Succeeded => return Err(ChangeError::Answered("succeeded")),
    }
    let after = Payment {
        status: PaymentStatus::Succeeded,
        reference,
        answered_at: Some(at),
        ..payment.clone()
    };
    Ok(received(invoice, Some(payment.clone()), after, at))
}

/// Takes the word that `payment` was refused; the next try is at `next_attempt_at`, or never. The invoice is past due now.
///
/// # Errors
/// When it was answered otherwise before.
pub fn fail(
    invoice: &Invoice,
    payment: &Payment,
    failure: String,
    next_attempt_at: Option<Timestamp>,
    at: Timestamp,
) -> Result<InvoiceChange, ChangeError> {
    match payment.status {
        PaymentStatus::Pending | PaymentStatus::Cancelled => {}
        PaymentStatus::Failed => return Err(ChangeError::Answered("failed")),
        PaymentStatus::Succeeded => return Err(ChangeError::Answered("succeeded")),
    }
    let after = Payment {
        status: PaymentStatus::Failed,
        failure: Some(failure),
        answered_at: Some(at),
        ..payment.clone()
    };
    let mut change = InvoiceChange::of(invoice);
    if invoice.collection.open_payment.as_ref() == Some(&payment.payment_id) {
        let collection = &mut change.after.collection;
        collection.open_payment = None;
        collection.next_attempt_at = next_attempt_at;
        collection.past_due_since.get_or_insert(at);
    }
    let message = messages::payment_failed(&change.after, &after, at);
    change.messages.push(message);
    change.payment = Some(PaymentChange {
        before: Some(payment.clone()),
        after,
    });
    Ok(change)
}

/// Notes that an invoice that is paid by hand should have been paid by now.
#[must_use]
pub fn overdue(invoice: &Invoice, at: Timestamp) -> InvoiceChange {
    let mut change = InvoiceChange::of(invoice);
    let collection = &mut change.after.collection;
    collection.next_attempt_at = None;
    collection.past_due_since.get_or_insert(at);
    change
}

fn received(
    invoice: &Invoice,
    before: Option<Payment>,
    payment: Payment,
    at: Timestamp,
) -> InvoiceChange {
    let mut change = InvoiceChange::of(invoice);
    let mut book = Book::new(invoice.customer_id.clone(), at);
    book.paid(&payment.payment_id, payment.amount, payment.currency);
    change.transfers = book.into_transfers();
    let collection = &mut change.after.collection;
    collection.paid = collection.paid.saturating_add(payment.amount);
    if collection.open_payment.as_ref() == Some(&payment.payment_id) {
        collection.open_payment = None;
    }
    change
        .messages
        .push(messages::payment_succeeded(&payment, at));
    change.payment = Some(PaymentChange {
        before,
        after: payment,
    });
    change.close_if_settled(at)
}

fn owed(invoice: &Invoice) -> Result<i64, ChangeError> {
    match invoice.status {
        InvoiceStatus::Issued => Ok(invoice.amount_due()),
        status => Err(ChangeError::Status {
            status,
            expected: "nothing is owed on it",
        }),
    }
}

fn asked_for(invoice: &Invoice, at: Timestamp) -> Payment {
    Payment {
        payment_id: PaymentId::derived(&[invoice.invoice_id.as_str()]),
        invoice_id: invoice.invoice_id.clone(),
        customer_id: invoice.customer_id.clone(),
        subscription_id: invoice.subscription_id.clone(),
        amount: 0,
        currency: invoice.currency,
        gateway: String::new(),
        attempt: 0,
        status: PaymentStatus::Pending,
        failure: None,
        reference: None,
        asked: 0,
        requested_at: at,
        answered_at: None,
    }
}
