//! Payments: what was asked of a gateway for an invoice, or received by hand.

use crate::{
    id::{InvoiceId, PaymentId, SubscriptionId},
    money::Currency,
};
use serde::{Deserialize, Serialize};
use submeter_common::{CustomerId, Timestamp};

/// One try to get an invoice paid. Its id is the key by which a gateway knows a repetition.
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
    /// Who was asked: a gateway's name, or `manual` for money received by hand.
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
    Pending,
    /// The money came.
    Succeeded,
    /// Refused.
    Failed,
    /// Not wanted any more: the invoice was paid otherwise, or withdrawn.
    Cancelled,
}
