//! Wallets: money that a customer paid in advance, in one currency each. It pays for invoices before anybody is asked to.

use super::{Book, Posting};
use crate::{
    ledger::{Account, Books, LedgerUnit, Note},
    money::Currency,
};
use submeter_common::{CustomerId, Timestamp};

/// Money to be put into a wallet, or taken out of it.
#[derive(Clone, Debug)]
pub struct Adjustment<'a> {
    /// Whose wallet.
    pub customer_id: CustomerId,
    /// Which wallet.
    pub currency: Currency,
    /// Minor units: above zero to put in, below to take out.
    pub amount: i64,
    /// Names the request: the same key is the same request.
    pub key: &'a str,
    /// What is to be remembered.
    pub note: Note,
    /// Now.
    pub at: Timestamp,
}

/// Why a wallet is not changed.
#[derive(Clone, Eq, PartialEq, Debug, thiserror::Error)]
pub enum WalletRefusal {
    /// There is not as much in it.
    #[error("expected at most {available} minor units, which is what is in the wallet")]
    Insufficient {
        /// What there is.
        available: i64,
    },
    /// It would hold more than can be told.
    #[error("expected a wallet of at most {} minor units", i64::MAX)]
    Full,
}

/// Returns the minor units in a wallet.
#[must_use]
pub fn balance(books: &Books, currency: Currency) -> i64 {
    // Every posting keeps it within the range.
    books
        .balance(&LedgerUnit::Money(currency), Account::Wallet)
        .to_i64()
        .unwrap_or(i64::MAX)
}

/// Returns the key under which a request is booked.
#[must_use]
pub fn transfer_key(request_key: &str) -> String {
    format!("api:wallet:{request_key}")
}

/// Puts money into a wallet, or takes it out.
///
/// # Errors
/// As [`WalletRefusal`] says.
pub fn adjust(books: &Books, adjustment: Adjustment<'_>) -> Result<Posting, WalletRefusal> {
    let available = balance(books, adjustment.currency);
    let after = available
        .checked_add(adjustment.amount)
        .ok_or(WalletRefusal::Full)?;
    if after < 0 {
        return Err(WalletRefusal::Insufficient { available });
    }
    let mut book =
        Book::new(adjustment.customer_id.clone(), adjustment.at).with_note(adjustment.note);
    let key = transfer_key(adjustment.key);
    book.wallet_adjusted(adjustment.amount, adjustment.currency, key);
    Ok(Posting {
        expected_entries: Some(books.entries),
        transfers: book.into_transfers(),
        ..Posting::empty(adjustment.customer_id)
    })
}
