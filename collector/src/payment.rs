//! Payments: what was asked of a gateway for an invoice, or received by hand.
//!
//! A [`Gateway`] takes money when it is asked to; [`endpoint`] is the one that asks the merchant's own service. Without a
//! gateway, money is received by hand. [`Terms`] say when an invoice is due and how often it is tried.
//!
//! A payment is one try to get an invoice paid. It is written before anybody is asked, and its id is the key by which whoever is
//! asked knows a repetition: after a crash, or when no answer came, the same payment is asked about again, never a new one.

pub mod endpoint;
mod gateway;
mod signature;
mod terms;

pub use gateway::{Answer, Charge, Gateway};
pub use signature::{SigningSecret, SigningSecretError};
pub use terms::{Exhausted, Terms};

use crate::{
    id::{InvoiceId, PaymentId, SubscriptionId},
    money::Currency,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use submeter_common::{CustomerId, Timestamp};

/// What payments by hand name as their gateway.
pub const BY_HAND: &str = "manual";

/// One try to get an invoice paid.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Payment {
    /// Derived from the invoice and the try.
    pub payment_id: PaymentId,
    /// What it pays.
    pub invoice_id: InvoiceId,
    /// Who pays.
    pub customer_id: CustomerId,
    /// For which subscription.
    pub subscription_id: SubscriptionId,
    /// Minor units; always above zero.
    pub amount: i64,
    /// What the amount is in.
    pub currency: Currency,
    /// Who was asked: a gateway's name, or [`BY_HAND`].
    pub gateway: String,
    /// Which try it is, from 1; 0 for money received by hand.
    pub attempt: u32,
    /// What became of it.
    pub status: PaymentStatus,
    /// Why it was refused.
    pub failure: Option<String>,
    /// What the gateway, or whoever received the money, calls it.
    pub reference: Option<String>,
    /// How often the gateway was asked about this very payment.
    pub asked: u32,
    /// When it was asked for first.
    pub requested_at: Timestamp,
    /// When it was answered.
    pub answered_at: Option<Timestamp>,
}

/// What became of a payment.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    /// Asked for, not answered.
    Processing,
    /// The money came.
    Succeeded,
    /// Refused.
    Failed,
}

/// How invoices are collected: who is asked, and by which terms.
#[derive(Clone, Debug)]
pub struct Collecting {
    /// Who is asked; nobody when money is received by hand.
    pub gateway: Option<Arc<dyn Gateway>>,
    /// When, and how often.
    pub terms: Terms,
    /// Payments that are asked for at one time.
    pub concurrency: usize,
}
