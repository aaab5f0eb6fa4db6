//! What takes money when it is asked to.

use super::Payment;
use crate::{
    id::{InvoiceId, PaymentId, SubscriptionId},
    money::Currency,
};
use async_trait::async_trait;
use std::time::Duration;
use submeter_common::{CustomerId, Timestamp};

/// Takes money when it is asked to.
#[async_trait]
pub trait Gateway: std::fmt::Debug + Send + Sync + 'static {
    /// What payments name as their gateway.
    fn name(&self) -> &'static str;

    /// Longest time that asking takes.
    fn timeout(&self) -> Duration;

    /// Asks for a payment, or what became of it when it was asked for before: the same `payment_id` never takes money twice.
    async fn ask(&self, charge: &Charge) -> Answer;
}

/// What a gateway is asked for.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Charge {
    /// The key by which a repetition is known.
    pub payment_id: PaymentId,
    /// What is paid.
    pub invoice_id: InvoiceId,
    /// Its number, for people.
    pub invoice_number: String,
    /// Who pays.
    pub customer_id: CustomerId,
    /// For which subscription.
    pub subscription_id: SubscriptionId,
    /// Minor units.
    pub amount: i64,
    /// What the amount is in.
    pub currency: Currency,
    /// Which try it is, from 1.
    pub attempt: u32,
    /// How often this very payment was asked for, this time included.
    pub asked: u32,
    /// When it was asked for first.
    pub requested_at: Timestamp,
}

/// What a gateway says.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum Answer {
    /// The money came.
    Succeeded {
        /// What the gateway calls it.
        reference: Option<String>,
    },
    /// Refused: this payment will never take money.
    Failed {
        /// Why.
        reason: String,
        /// What the gateway calls it.
        reference: Option<String>,
    },
    /// It is at it, and will say.
    Processing {
        /// What the gateway calls it.
        reference: Option<String>,
    },
    /// Nobody knows: not reached, cut off, or answered in no known way. Money may have been taken.
    Unanswered {
        /// What happened, for the log.
        detail: String,
    },
}

impl Charge {
    /// Says what `payment` asks for.
    #[must_use]
    pub fn of(payment: &Payment, invoice_number: &str) -> Self {
        Self {
            payment_id: payment.payment_id.clone(),
            invoice_id: payment.invoice_id.clone(),
            invoice_number: invoice_number.to_owned(),
            customer_id: payment.customer_id.clone(),
            subscription_id: payment.subscription_id.clone(),
            amount: payment.amount,
            currency: payment.currency,
            attempt: payment.attempt,
            asked: payment.asked,
            requested_at: payment.requested_at,
        }
    }
}

impl Answer {
    /// The answer as a metric's label.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Processing { .. } => "processing",
            Self::Unanswered { .. } => "unanswered",
        }
    }
}
