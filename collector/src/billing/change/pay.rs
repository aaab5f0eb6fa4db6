//! Money that comes in without anybody being asked: received by hand, or out of the customer's wallet.

use super::{ChangeError, InvoiceChange, PaymentChange, expect_settled, owed};
use crate::{
    billing::{Invoice, messages},
    bookkeeping::{Book, wallet},
    id::PaymentId,
    ledger::Books,
    payment::{BY_HAND, Payment, PaymentStatus},
};
use submeter_common::Timestamp;

/// Takes money that was received by hand: `amount`, or all that is due. `key` names the receipt.
///
/// # Errors
/// When nothing is owed, or less than `amount`, or a payment is under way.
pub fn receive(
    invoice: &Invoice,
    amount: Option<i64>,
    reference: Option<String>,
    key: &str,
    at: Timestamp,
) -> Result<InvoiceChange, ChangeError> {
    let due = owed(invoice)?;
    expect_settled(invoice)?;
    let amount = amount.unwrap_or(due);
    if !(1..=due).contains(&amount) {
        let message = format!("expected 1 to {due}, what is due in minor units, found {amount}");
        return Err(ChangeError::invalid("amount", message));
    }
    let payment = Payment {
        payment_id: PaymentId::derived(&[invoice.invoice_id.as_str(), "hand", key]),
        invoice_id: invoice.invoice_id.clone(),
        customer_id: invoice.customer_id.clone(),
        subscription_id: invoice.subscription_id.clone(),
        amount,
        currency: invoice.currency,
        gateway: BY_HAND.to_owned(),
        attempt: 0,
        status: PaymentStatus::Succeeded,
        failure: None,
        reference,
        asked: 0,
        requested_at: at,
        answered_at: Some(at),
    };
    Ok(received(invoice, None, payment, at))
}

/// Lets the customer's wallet pay what it can of what is due; none when it is empty. `books` are the customer's as they were
/// read before: when they change meanwhile, the change is stale.
#[must_use]
pub fn pay_from_wallet(invoice: &Invoice, books: &Books, at: Timestamp) -> Option<InvoiceChange> {
    let paid = invoice
        .amount_due()
        .min(wallet::balance(books, invoice.currency));
    if paid <= 0 || invoice.collection.open_payment.is_some() {
        return None;
    }
    let mut change = InvoiceChange::of(invoice);
    let before = invoice.collection.from_wallet;
    let mut book = Book::new(invoice.customer_id.clone(), at);
    book.wallet_applied_later(&invoice.invoice_id, before, paid, invoice.currency);
    change.transfers = book.into_transfers();
    change.expected_entries = Some(books.entries);
    change.after.collection.from_wallet = before.saturating_add(paid);
    Some(change.close_if_settled(at))
}

/// Books a payment's money.
pub(super) fn received(
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
