//! The outbox: what the world is to be told, written in the same atomic write as what happened.
//!
//! So a message is there exactly when its cause is, whatever dies in between. Who delivers them reads them in order of their
//! sequence; a message's id is derived from its cause, so that a receiver can tell a repetition from a second message.

use crate::id::MessageId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use submeter_common::{CustomerId, Timestamp};

/// Something that happened, as it is written.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NewMessage {
    /// Derived from topic and cause.
    pub message_id: MessageId,
    /// What kind of thing.
    pub topic: Topic,
    /// When.
    pub at: Timestamp,
    /// Whom it concerns; none for what concerns the whole collector.
    pub customer_id: Option<CustomerId>,
    /// What it is about, in the form of the API's replies.
    pub data: Value,
}

/// A message with its place.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Message {
    /// Place in the outbox, from 1, without gaps, in order of the writes.
    pub sequence: u64,
    /// What happened.
    #[serde(flatten)]
    pub message: NewMessage,
}

/// What messages are about.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug, Serialize, Deserialize)]
pub enum Topic {
    /// An invoice got its number.
    #[serde(rename = "invoice.issued")]
    InvoiceIssued,
    /// Nothing is owed on an invoice any more.
    #[serde(rename = "invoice.paid")]
    InvoicePaid,
    /// An invoice was withdrawn.
    #[serde(rename = "invoice.voided")]
    InvoiceVoided,
    /// A period cannot be billed, and a person has to look.
    #[serde(rename = "invoice.draft_blocked")]
    InvoiceDraftBlocked,
    /// Some of an invoice was taken back.
    #[serde(rename = "credit_note.issued")]
    CreditNoteIssued,
    /// A payment was asked for.
    #[serde(rename = "payment.processing")]
    PaymentProcessing,
    /// Money came in.
    #[serde(rename = "payment.succeeded")]
    PaymentSucceeded,
    /// A payment was refused.
    #[serde(rename = "payment.failed")]
    PaymentFailed,
    /// The first of a subscription's invoices should have been paid.
    #[serde(rename = "subscription.past_due")]
    SubscriptionPastDue,
    /// What was past due is settled.
    #[serde(rename = "subscription.active")]
    SubscriptionActive,
    /// A change of plan was agreed on.
    #[serde(rename = "subscription.plan_changed")]
    SubscriptionPlanChanged,
    /// An end was agreed on.
    #[serde(rename = "subscription.cancelled")]
    SubscriptionCancelled,
    /// Something agreed on was taken back, or what is attached was changed.
    #[serde(rename = "subscription.updated")]
    SubscriptionUpdated,
    /// Usage or spend of a period reached a mark.
    #[serde(rename = "usage.threshold_reached")]
    ThresholdReached,
    /// Credits were given.
    #[serde(rename = "credit.added")]
    CreditAdded,
    /// Credits were used, or set aside.
    #[serde(rename = "credit.deducted")]
    CreditDeducted,
    /// The rest of a grant was forfeited at its expiry.
    #[serde(rename = "credit.expired")]
    CreditExpired,
    /// The rest of a grant went over into a new one.
    #[serde(rename = "credit.rolled_over")]
    CreditRolledOver,
    /// What of a rest did not go over.
    #[serde(rename = "credit.rollover_forfeited")]
    CreditRolloverForfeited,
    /// Usage went beyond the credits.
    #[serde(rename = "credit.overage_charged")]
    CreditOverageCharged,
    /// Overage was invoiced, forgiven or repaid.
    #[serde(rename = "credit.overage_reset")]
    CreditOverageReset,
    /// Credits were taken back.
    #[serde(rename = "credit.manual_adjustment")]
    CreditManualAdjustment,
    /// Credits came back: by a correction, or out of a reservation.
    #[serde(rename = "credit.refunded")]
    CreditRefunded,
    /// Credits that a customer can use have become few.
    #[serde(rename = "credit.balance_low")]
    CreditBalanceLow,
    /// An agent has not been heard of for too long.
    #[serde(rename = "agent.silent")]
    AgentSilent,
}

impl NewMessage {
    /// Makes the message about `topic` that `cause` brought about; the same cause makes the same id.
    #[must_use]
    pub fn new(
        topic: Topic,
        cause: &[&str],
        at: Timestamp,
        customer_id: Option<CustomerId>,
        data: Value,
    ) -> Self {
        let name = topic.name();
        let parts: Vec<&str> = [name].into_iter().chain(cause.iter().copied()).collect();
        Self {
            message_id: MessageId::derived(&parts),
            topic,
            at,
            customer_id,
            data,
        }
    }
}

impl Topic {
    /// The topic's name, as receivers see it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvoiceIssued => "invoice.issued",
            Self::InvoicePaid => "invoice.paid",
            Self::InvoiceVoided => "invoice.voided",
            Self::InvoiceDraftBlocked => "invoice.draft_blocked",
            Self::CreditNoteIssued => "credit_note.issued",
            Self::PaymentProcessing => "payment.processing",
            Self::PaymentSucceeded => "payment.succeeded",
            Self::PaymentFailed => "payment.failed",
            Self::SubscriptionPastDue => "subscription.past_due",
            Self::SubscriptionActive => "subscription.active",
            Self::SubscriptionPlanChanged => "subscription.plan_changed",
            Self::SubscriptionCancelled => "subscription.cancelled",
            Self::SubscriptionUpdated => "subscription.updated",
            Self::ThresholdReached => "usage.threshold_reached",
            Self::CreditAdded => "credit.added",
            Self::CreditDeducted => "credit.deducted",
            Self::CreditExpired => "credit.expired",
            Self::CreditRolledOver => "credit.rolled_over",
            Self::CreditRolloverForfeited => "credit.rollover_forfeited",
            Self::CreditOverageCharged => "credit.overage_charged",
            Self::CreditOverageReset => "credit.overage_reset",
            Self::CreditManualAdjustment => "credit.manual_adjustment",
            Self::CreditRefunded => "credit.refunded",
            Self::CreditBalanceLow => "credit.balance_low",
            Self::AgentSilent => "agent.silent",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_topic_is_stored_under_the_name_that_receivers_see() {
        for topic in [
            Topic::SubscriptionPlanChanged,
            Topic::SubscriptionCancelled,
            Topic::SubscriptionUpdated,
            Topic::InvoiceIssued,
            Topic::InvoicePaid,
            Topic::InvoiceVoided,
            Topic::InvoiceDraftBlocked,
            Topic::CreditNoteIssued,
            Topic::PaymentProcessing,
            Topic::PaymentSucceeded,
            Topic::PaymentFailed,
            Topic::SubscriptionPastDue,
            Topic::SubscriptionActive,
            Topic::ThresholdReached,
            Topic::CreditAdded,
            Topic::CreditDeducted,
            Topic::CreditExpired,
            Topic::CreditRolledOver,
            Topic::CreditRolloverForfeited,
            Topic::CreditOverageCharged,
            Topic::CreditOverageReset,
            Topic::CreditManualAdjustment,
            Topic::CreditRefunded,
            Topic::CreditBalanceLow,
            Topic::AgentSilent,
        ] {
            let stored = serde_json::to_value(topic).unwrap();
            assert_eq!(stored, topic.name());
        }
    }

    #[test]
    fn one_cause_makes_one_id_for_each_topic() {
        let at = Timestamp::from_micros(0);
        let message = |topic, cause: &[&str]| NewMessage::new(topic, cause, at, None, Value::Null);
        let paid = message(Topic::InvoicePaid, &["inv_1"]);
        assert_eq!(
            paid.message_id,
            message(Topic::InvoicePaid, &["inv_1"]).message_id
        );
        assert_ne!(
            paid.message_id,
            message(Topic::InvoicePaid, &["inv_2"]).message_id
        );
        assert_ne!(
            paid.message_id,
            message(Topic::InvoiceVoided, &["inv_1"]).message_id
        );
    }
}
