//! What the world is told of invoices and payments.

use super::{BlockedDraft, CreditNote, Invoice};
use crate::{
    outbox::{NewMessage, Topic},
    payment::Payment,
};
use serde_json::{Value, json};
use submeter_common::Timestamp;

/// An invoice got its number.
#[must_use]
pub fn issued(invoice: &Invoice) -> NewMessage {
    of_invoice(Topic::InvoiceIssued, invoice, invoice.issued_at)
}

/// Nothing is owed on an invoice any more.
pub(super) fn paid(invoice: &Invoice, at: Timestamp) -> NewMessage {
    of_invoice(Topic::InvoicePaid, invoice, at)
}

/// An invoice was withdrawn.
pub(super) fn voided(invoice: &Invoice, at: Timestamp) -> NewMessage {
    of_invoice(Topic::InvoiceVoided, invoice, at)
}

/// A subscription's first unpaid invoice became past due, or its last one was settled.
#[must_use]
pub fn standing(topic: Topic, invoice: &Invoice, at: Timestamp) -> NewMessage {
    let data = json!({
        "subscription_id": invoice.subscription_id,
        "customer_id": invoice.customer_id,
        "invoice_id": invoice.invoice_id,
        "amount_due": invoice.amount_due(),
        "currency": invoice.currency,
    });
    let cause = [
        invoice.subscription_id.as_str(),
        invoice.invoice_id.as_str(),
        &at.to_string(),
    ];
    NewMessage::new(topic, &cause, at, Some(invoice.customer_id.clone()), data)
}

/// A credit note got its number.
#[must_use]
pub fn credit_note(note: &CreditNote) -> NewMessage {
    let paper = &note.note;
    let data = json!({
        "credit_note_id": paper.credit_note_id,
        "number": note.number,
        "invoice_id": paper.invoice_id,
        "customer_id": paper.customer_id,
        "total": paper.total,
        "currency": paper.currency,
    });
    let cause = [paper.credit_note_id.as_str()];
    let customer = Some(paper.customer_id.clone());
    NewMessage::new(
        Topic::CreditNoteIssued,
        &cause,
        paper.issued_at,
        customer,
        data,
    )
}

/// A payment was asked for.
pub(super) fn payment_processing(payment: &Payment, at: Timestamp) -> NewMessage {
    of_payment(Topic::PaymentProcessing, payment, at, json!({}))
}

/// Money came in.
pub(super) fn payment_succeeded(payment: &Payment, at: Timestamp) -> NewMessage {
    of_payment(Topic::PaymentSucceeded, payment, at, json!({}))
}

/// A payment was refused.
pub(super) fn payment_failed(invoice: &Invoice, payment: &Payment, at: Timestamp) -> NewMessage {
    let more = json!({
        "failure": payment.failure,
        "next_attempt_at": invoice.collection.next_attempt_at,
    });
    of_payment(Topic::PaymentFailed, payment, at, more)
}

/// A period cannot be billed.
#[must_use]
pub fn draft_blocked(draft: &BlockedDraft) -> NewMessage {
    let data = json!({
        "invoice_id": draft.invoice_id,
        "customer_id": draft.customer_id,
        "subscription_id": draft.subscription_id,
        "period": {"start": draft.period.start, "end": draft.period.end},
        "reason": draft.reason,
    });
    let cause = [draft.invoice_id.as_str(), &draft.reason];
    let customer = Some(draft.customer_id.clone());
    NewMessage::new(
        Topic::InvoiceDraftBlocked,
        &cause,
        draft.since,
        customer,
        data,
    )
}

fn of_invoice(topic: Topic, invoice: &Invoice, at: Timestamp) -> NewMessage {
    let data = json!({
        "invoice_id": invoice.invoice_id,
        "number": invoice.number,
        "customer_id": invoice.customer_id,
        "subscription_id": invoice.subscription_id,
        "status": invoice.status,
        "currency": invoice.currency,
        "total": invoice.total,
        "amount_due": invoice.amount_due(),
        "complete": invoice.complete,
    });
    let cause = [invoice.invoice_id.as_str()];
    NewMessage::new(topic, &cause, at, Some(invoice.customer_id.clone()), data)
}

fn of_payment(topic: Topic, payment: &Payment, at: Timestamp, more: Value) -> NewMessage {
    let mut data = json!({
        "payment_id": payment.payment_id,
        "invoice_id": payment.invoice_id,
        "customer_id": payment.customer_id,
        "subscription_id": payment.subscription_id,
        "amount": payment.amount,
        "currency": payment.currency,
        "gateway": payment.gateway,
        "attempt": payment.attempt,
        "status": payment.status,
    });
    if let (Value::Object(data), Value::Object(more)) = (&mut data, more) {
        data.extend(more);
    }
    let cause = [payment.payment_id.as_str()];
    NewMessage::new(topic, &cause, at, Some(payment.customer_id.clone()), data)
}
