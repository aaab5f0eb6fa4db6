//! Money paid in advance: the customer's wallet pays for an invoice before anybody is asked to.

use super::{InvoiceStatus, Settlement};
use crate::{
    bookkeeping::{Book, wallet},
    ledger::Books,
};

/// Lets the customer's wallet pay what it can of the settlement's invoice. `books` are the customer's as they were read before
/// anything else: when they change meanwhile, the settlement is stale.
#[must_use]
pub fn pay_from_wallet(mut settlement: Settlement, books: &Books) -> Settlement {
    let Some(invoice) = &mut settlement.invoice else {
        return settlement;
    };
    let paid = invoice.total.min(wallet::balance(books, invoice.currency));
    if paid <= 0 {
        return settlement;
    }
    invoice.wallet_applied = paid;
    if paid == invoice.total {
        invoice.status = InvoiceStatus::Paid;
    }
    let mut book = Book::new(invoice.customer_id.clone(), invoice.issued_at);
    book.wallet_applied(&invoice.invoice_id, paid, invoice.currency);
    settlement.posting.transfers.extend(book.into_transfers());
    settlement.posting.expected_entries = Some(books.entries);
    settlement
}
