//! Withdrawing an invoice: nothing is owed on it, and its number stays taken.
//!
//! What it billed counts as billed: late usage of its periods is adjusted against it, and its credits stay burned. Whoever
//! wants the usage charged otherwise issues a credit note instead and lets the next invoice correct it.

use super::{ChangeError, InvoiceChange, expect_settled};
use crate::{
    billing::{Invoice, InvoiceStatus, messages},
    bookkeeping::Book,
};
use submeter_common::Timestamp;

/// Withdraws `invoice`.
///
/// # Errors
/// When it is not owed, money came in for it, or a payment is under way.
pub fn void(invoice: &Invoice, at: Timestamp) -> Result<InvoiceChange, ChangeError> {
    if invoice.status != InvoiceStatus::Issued {
        return Err(ChangeError::Status {
            status: invoice.status,
            expected: "only what is owed can be withdrawn",
        });
    }
    if invoice.collection.paid > 0 {
        return Err(ChangeError::PartlyPaid(invoice.collection.paid));
    }
    expect_settled(invoice)?;
    let mut change = InvoiceChange::of(invoice);
    let mut book = Book::new(invoice.customer_id.clone(), at);
    // What the wallet paid goes back into it.
    let back = invoice.from_wallet();
    let claim = invoice.receivable().saturating_add(back);
    book.withdrawn(&invoice.invoice_id, claim, invoice.currency);
    book.wallet_returned(&invoice.invoice_id, back, invoice.currency);
    change.transfers = book.into_transfers();
    change.after.status = InvoiceStatus::Void;
    change.after.close(at);
    change.messages.push(messages::voided(&change.after, at));
    Ok(change)
}
