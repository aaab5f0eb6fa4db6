//! What the world is told of open periods.

use super::{Balance, Standing};
use crate::{
    id::BRAND_ID,
    money::Decimal,
    outbox::{NewMessage, Topic},
};
use serde_json::json;
use submeter_common::Timestamp;

/// A period has come to a mark of a threshold.
#[must_use]
pub fn threshold_reached(standing: &Standing, mark: u32, at: Timestamp) -> NewMessage {
    let threshold = &standing.threshold;
    let (scope, place) = (&threshold.scope, &standing.place);
    let data = json!({
        "threshold_id": threshold.threshold_id,
        "name": threshold.name,
        "mark": mark,
        "limit": threshold.limit,
        "used": standing.used,
        "measure": threshold.measure.name(),
        "currency": threshold.measure.currency(),
        "meter_id": scope.meter_id,
        "cap": threshold.cap,
        "capped": standing.is_capped(),
        "customer_id": standing.customer_id,
        "subscription_id": place.subscription_id,
        "product_id": standing.product_id,
        "period": {"start": standing.period.start, "end": standing.period.end},
        "metadata": threshold.metadata,
    });
    let cause = [
        threshold.threshold_id.as_str(),
        &threshold.revision.to_string(),
        place.subscription_id.as_str(),
        &place.period.to_string(),
        &mark.to_string(),
    ];
    let customer = Some(standing.customer_id.clone());
    NewMessage::new(Topic::ThresholdReached, &cause, at, customer, data)
}

/// A balance of credits has become low in a period, the `times`-th time.
#[must_use]
pub fn balance_low(balance: &Balance, times: u32, at: Timestamp) -> NewMessage {
    let place = &balance.place;
    let hundred = Decimal::from(100_i64);
    let percent = (&balance.threshold * &hundred).divided_rounded(&balance.granted, 0);
    let data = json!({
        "brand_id": BRAND_ID,
        "customer_id": balance.customer_id,
        "subscription_id": place.subscription_id,
        "credit_entitlement_id": balance.credit_entitlement_id,
        "credit_entitlement_name": balance.credit_entitlement_name,
        "available_balance": balance.available,
        "subscription_credits_amount": balance.granted,
        "threshold_percent": percent.and_then(|percent| percent.to_i64()),
        "threshold_amount": balance.threshold,
    });
    let cause = [
        place.subscription_id.as_str(),
        &place.period.to_string(),
        balance.credit_entitlement_id.as_str(),
        &times.to_string(),
    ];
    let customer = Some(balance.customer_id.clone());
    NewMessage::new(Topic::CreditBalanceLow, &cause, at, customer, data)
}
