//! Request bodies of the collector's API, with what every test has in common filled in.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::system::Api;

/// Calendar unit of a billing period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Every {
    /// A period is a day.
    Day,
    /// A period is a month.
    Month,
}

impl Every {
    fn name(self) -> &'static str {
        match self {
            Self::Day => "Day",
            Self::Month => "Month",
        }
    }
}

/// A meter: `aggregation` is its type, `key` the metadata key it reads, empty for `count`.
#[must_use]
pub fn meter(name: &str, event_name: &str, aggregation: &str, key: &str, unit: &str) -> Value {
    let key = if key.is_empty() {
        Value::Null
    } else {
        json!(key)
    };
    json!({
        "name": name,
        "event_name": event_name,
        "measurement_unit": unit,
        "aggregation": {"type": aggregation, "key": key},
    })
}

/// The same meter for events that meet one condition.
#[must_use]
pub fn filtered(mut meter: Value, key: &str, operator: &str, value: Value) -> Value {
    meter["filter"] = json!({
        "conjunction": "and",
        "clauses": [{"key": key, "operator": operator, "value": value}],
    });
    meter
}

/// The same meter, with one quantity for each value of `key`.
#[must_use]
pub fn grouped(mut meter: Value, key: &str) -> Value {
    meter["group_by"] = json!([key]);
    meter
}

/// A meter in a price, paid with money: `price_per_unit` in minor units.
#[must_use]
pub fn paid(meter_id: &str, price_per_unit: &str, free_threshold: i64) -> Value {
    json!({
        "meter_id": meter_id,
        "price_per_unit": price_per_unit,
        "free_threshold": free_threshold,
    })
}

/// A meter in a price, paid with credits.
#[must_use]
pub fn credited(
    meter_id: &str,
    entitlement_id: &str,
    units_per_credit: &str,
    free_threshold: i64,
) -> Value {
    json!({
        "meter_id": meter_id,
        "credit_entitlement_id": entitlement_id,
        "meter_units_per_credit": units_per_credit,
        "free_threshold": free_threshold,
    })
}

/// A product in US dollars: `fixed_price` in cents each period, plus metered usage.
#[must_use]
pub fn product(name: &str, every: Every, fixed_price: i64, meters: &[Value]) -> Value {
    json!({
        "name": name,
        "tax_category": "saas",
        "price": {
            "type": "usage_based_price",
            "currency": "USD",
            "fixed_price": fixed_price,
            "discount": 0,
            "purchasing_power_parity": false,
            "payment_frequency_count": 1,
            "payment_frequency_interval": every.name(),
            "subscription_period_count": 10,
            "subscription_period_interval": "Year",
            "meters": meters,
        },
    })
}

/// The same product with `amount` credits granted each period; credits beyond are invoiced at
/// `price_per_credit` minor units.
#[must_use]
pub fn with_credits(
    mut product: Value,
    entitlement_id: &str,
    amount: &str,
    price_per_credit: &str,
) -> Value {
    product["credit_entitlements"] = json!([{
        "credit_entitlement_id": entitlement_id,
        "credits_amount": amount,
        "overage_enabled": true,
        "overage_behavior": "invoice_at_billing",
        "price_per_unit": price_per_credit,
        "currency": "USD",
    }]);
    product
}

/// A kind of credits with `precision` digits after the point.
#[must_use]
pub fn credits(name: &str, unit: &str, precision: u8) -> Value {
    json!({
        "name": name,
        "unit": unit,
        "precision": precision,
        "overage_enabled": true,
        "overage_behavior": "invoice_at_billing",
        "rollover_enabled": false,
    })
}

/// A customer under an id of the application's own.
#[must_use]
pub fn customer(customer_id: &str, name: &str) -> Value {
    json!({
        "customer_id": customer_id,
        "name": name,
        "email": format!("{customer_id}@example.com"),
    })
}

/// A subscription from `start` (RFC 3339), which may lie in the past.
#[must_use]
pub fn subscription(customer_id: &str, product_id: &str, start: &str) -> Value {
    json!({
        "billing": {"country": "US"},
        "customer": {"customer_id": customer_id},
        "product_id": product_id,
        "quantity": 1,
        "start_date": start,
    })
}

/// Creates a meter; its id.
///
/// # Errors
/// When the collector refuses it.
pub async fn create_meter(api: &Api, meter: &Value) -> Result<String> {
    created(api, "/meters", meter, "id").await
}

/// Creates a product; its id.
///
/// # Errors
/// When the collector refuses it.
pub async fn create_product(api: &Api, product: &Value) -> Result<String> {
    created(api, "/products", product, "product_id").await
}

/// Creates a kind of credits; its id.
///
/// # Errors
/// When the collector refuses it.
pub async fn create_credits(api: &Api, credits: &Value) -> Result<String> {
    created(api, "/credit-entitlements", credits, "id").await
}

/// Creates a customer; its id.
///
/// # Errors
/// When the collector refuses it.
pub async fn create_customer(api: &Api, customer: &Value) -> Result<String> {
    created(api, "/customers", customer, "customer_id").await
}

/// Creates a subscription; its id.
///
/// # Errors
/// When the collector refuses it.
pub async fn subscribe(api: &Api, subscription: &Value) -> Result<String> {
    created(api, "/subscriptions", subscription, "subscription_id").await
}

async fn created(api: &Api, path: &str, body: &Value, id: &str) -> Result<String> {
    let answer = api.create(path, body).await?;
    let id = answer[id]
        .as_str()
        .with_context(|| format!("{id} in the answer {answer}"))?;
    Ok(id.to_owned())
}
