//! Transfers: the only way a balance changes.

use super::{Account, LedgerUnit};
use crate::{
    id::{CreditNoteId, GrantId, InvoiceId, PaymentId, TransferId},
    money::Decimal,
};
use serde::{Deserialize, Serialize};
use submeter_common::{id::CustomerId, time::Timestamp};

/// One immutable movement of an amount from the credited account to the debited one.
///
/// Accounts that hold something for the customer (`CreditsAvailable`, `Receivable`, …) grow by debits.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Transfer {
    /// The id, derived from the idempotency key.
    pub transfer_id: TransferId,
    /// Whose accounts.
    pub customer_id: CustomerId,
    /// What is moved.
    pub unit: LedgerUnit,
    /// Account that receives the amount.
    pub debit: Account,
    /// Account that gives the amount.
    pub credit: Account,
    /// How much; always above zero.
    pub amount: Decimal,
    /// Names the cause. A second transfer with the same key is the same transfer and is not written again.
    pub idempotency_key: String,
    /// When it was booked.
    pub at: Timestamp,
    /// What it belongs to.
    pub reference: Reference,
}

/// What a transfer belongs to.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// A grant made or expired.
    Grant(GrantId),
    /// Credits burned from a grant for an invoice.
    Burn {
        /// The grant they came from.
        grant_id: GrantId,
        /// The invoice that names them.
        invoice_id: InvoiceId,
    },
    /// The total of an invoice, or its withdrawal.
    Invoice(InvoiceId),
    /// What a credit note took back.
    CreditNote(CreditNoteId),
    /// Money received.
    Payment(PaymentId),
}
