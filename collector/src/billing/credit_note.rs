//! Credit notes: what was taken back of an issued invoice, which itself never changes.

use crate::{
    id::{CreditNoteId, InvoiceId, SubscriptionId},
    money::Currency,
};
use serde::{Deserialize, Serialize};
use submeter_common::{CustomerId, Timestamp};

/// An issued credit note. It never changes.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct CreditNote {
    /// Gapless per year, in a series of its own.
    pub number: String,
    /// What it says.
    #[serde(flatten)]
    pub note: NewCreditNote,
}

/// A credit note before the engine gives it its number.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct NewCreditNote {
    /// Derived from the invoice and the caller's idempotency key.
    pub credit_note_id: CreditNoteId,
    /// Of which invoice something is taken back.
    pub invoice_id: InvoiceId,
    /// Its number, which the paper has to name.
    pub invoice_number: String,
    /// Whose invoice.
    pub customer_id: CustomerId,
    /// For which subscription.
    pub subscription_id: SubscriptionId,
    /// What amounts are in.
    pub currency: Currency,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// Why, for people.
    pub reason: String,
    /// What is taken back, line by line.
    pub lines: Vec<CreditedLine>,
    /// Sum of the lines, in minor units; always above zero.
    pub total: i64,
}

/// What is taken back of one line of the invoice.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct CreditedLine {
    /// The invoice's line, from 1.
    pub line: u32,
    /// Its text.
    pub description: String,
    /// Minor units; always above zero.
    pub amount: i64,
}
