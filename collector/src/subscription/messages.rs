//! What the world is told of subscriptions.

use super::{Cancellation, Plan, Subscription};
use crate::outbox::{NewMessage, Topic};
use serde_json::{Value, json};
use submeter_common::time::Timestamp;

/// A change of plan was agreed on; it comes at its time.
#[must_use]
pub fn plan_changed(subscription: &Subscription, plan: &Plan, at: Timestamp) -> NewMessage {
    let change = plan.change.as_ref();
    let more = json!({
        "plan_change_id": change.map(|change| &change.plan_change_id),
        "product_id": plan.product_id,
        "quantity": plan.quantity,
        "effective_at": plan.starts_at,
    });
    of(Topic::SubscriptionPlanChanged, subscription, at, more)
}

/// An end was agreed on; it comes at its time.
#[must_use]
pub fn cancelled(
    subscription: &Subscription,
    cancellation: &Cancellation,
    at: Timestamp,
) -> NewMessage {
    let more = json!({
        "product_id": subscription.plan.product_id,
        "effective_at": cancellation.effective_at,
        "cancel_at_next_billing_date": cancellation.at_period_end,
        "reason": cancellation.reason,
    });
    of(Topic::SubscriptionCancelled, subscription, at, more)
}

/// Something that was agreed on was taken back, or what is attached to the subscription was changed.
#[must_use]
pub fn updated(subscription: &Subscription, at: Timestamp) -> NewMessage {
    let more = json!({ "product_id": subscription.plan.product_id });
    of(Topic::SubscriptionUpdated, subscription, at, more)
}

fn of(topic: Topic, subscription: &Subscription, at: Timestamp, more: Value) -> NewMessage {
    let mut data = json!({
        "subscription_id": subscription.subscription_id,
        "customer_id": subscription.customer_id,
    });
    if let (Value::Object(data), Value::Object(more)) = (&mut data, more) {
        data.extend(more);
    }
    let cause = [
        subscription.subscription_id.as_str(),
        &subscription.version.to_string(),
    ];
    let customer = Some(subscription.customer_id.clone());
    NewMessage::new(topic, &cause, at, customer, data)
}
