//! `POST /v1/rate`: what quantities would cost, with every tier and rounding step. Nothing is read or stored.

use axum::Json;
use serde::{Deserialize, Serialize};

use super::body::{JsonBody, parse};
use super::error::ApiError;
use super::field::{Exact, Ignored};
use super::pricing::{self, PricingRequest};
use crate::catalog;
use crate::money::{Currency, Decimal, Money};
use crate::rating::{self, Charge, Derivation, Matrix, Tariff, Usage};

/// Quantities rated at once.
const USAGES_MAX: usize = 1000;

/// A price, and what it is asked about.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RateRequest {
    price: PriceRequest,
    usage: Vec<UsageRequest>,
}

/// An entry of a product's `price.meters`, with the currency; what does not concern the amount is ignored.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceRequest {
    currency: Currency,
    free_threshold: Option<i64>,
    price_per_unit: Option<Exact>,
    pricing: Option<PricingRequest>,
    #[serde(default, rename = "meter_id")]
    _meter_id: Ignored,
    #[serde(default, rename = "name")]
    _name: Ignored,
    #[serde(default, rename = "description")]
    _description: Ignored,
    #[serde(default, rename = "measurement_unit")]
    _measurement_unit: Ignored,
}

/// What was used in a period.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UsageRequest {
    quantity: Option<Exact>,
    groups: Option<Vec<GroupRequest>>,
    events: Option<u64>,
    already_billed: Option<i64>,
}

/// What one group used.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupRequest {
    values: Vec<String>,
    quantity: Exact,
}

/// What each usage costs.
#[derive(Serialize)]
pub(crate) struct RateReply {
    currency: Currency,
    items: Vec<ChargeReply>,
}

/// What one usage costs, with every number on the way; fields as on an invoice line.
#[derive(Serialize)]
struct ChargeReply {
    quantity: Decimal,
    free_quantity: Decimal,
    billed_quantity: Decimal,
    unit_price: Option<Decimal>,
    derivation: Derivation,
    amount_exact: Decimal,
    /// What rounding to the minor unit added.
    rounding: Decimal,
    amount: i64,
    amount_text: String,
    already_billed: i64,
    /// The amount less what was billed already.
    due: i64,
    due_text: String,
}

/// `POST /v1/rate`.
pub(super) async fn rate(
    JsonBody(request): JsonBody<RateRequest>,
) -> Result<Json<RateReply>, ApiError> {
    request.answer().map(Json)
}

/// Rates as `POST /v1/rate` does with this body.
///
/// # Errors
/// What the request would be refused with.
pub(crate) fn rate_json(body: &[u8]) -> Result<RateReply, ApiError> {
    parse::<RateRequest>(body)?.answer()
}

impl RateRequest {
    fn answer(self) -> Result<RateReply, ApiError> {
        let currency = self.price.currency;
        let free_threshold = self.price.free_threshold.unwrap_or(0);
        let tariff = pricing::tariff("price", self.price.price_per_unit, self.price.pricing)?;
        let tariff = tariff.ok_or_else(|| {
            let message = "this field is needed, or pricing";
            ApiError::invalid("MISSING_FIELD", "price.price_per_unit", message)
        })?;
        catalog::check_money_price("price", free_threshold, &tariff, None)?;
        if self.usage.is_empty() || self.usage.len() > USAGES_MAX {
            let message = format!("expected 1 to {USAGES_MAX} usages");
            return Err(ApiError::field("usage", message));
        }
        let usage = self.usage.into_iter().enumerate();
        let items = usage.map(|(index, usage)| {
            let path = format!("usage[{index}]");
            let already_billed = usage.already_billed.unwrap_or(0);
            let usage = usage.into_domain(&path, &tariff)?;
            let overflow = |error| ApiError::field(&*path, error);
            let charge = rating::rate(&tariff, free_threshold, &usage).map_err(overflow)?;
            let due = charge.due(already_billed).map_err(overflow)?;
            Ok(ChargeReply::new(charge, already_billed, due, currency))
        });
        Ok(RateReply {
            currency,
            items: items.collect::<Result<_, ApiError>>()?,
        })
    }
}

impl UsageRequest {
    fn into_domain(self, path: &str, tariff: &Tariff) -> Result<Usage, ApiError> {
        let usage = match (self.quantity, self.groups, &tariff.matrix) {
            (Some(quantity), None, None) => Usage::of(quantity.into()),
            // What names no group has the default price.
            (Some(quantity), None, Some(matrix)) => {
                let mut rows = vec![Decimal::zero(); matrix.rows.len()];
                rows.push(quantity.into());
                Usage::by_row(rows)
            }
            (None, Some(groups), Some(matrix)) => Usage::by_row(rows(path, groups, matrix)?),
            (None, Some(_), None) => {
                let message = "expected only with a price that has groups";
                return Err(ApiError::field(format!("{path}.groups"), message));
            }
            (None, None, _) => {
                return Err(ApiError::invalid(
                    "MISSING_FIELD",
                    format!("{path}.quantity"),
                    "this field is needed, or groups",
                ));
            }
            (Some(_), Some(_), _) => {
                let message = "expected either quantity or groups, not both";
                return Err(ApiError::field(format!("{path}.groups"), message));
            }
        };
        Ok(usage.with_events(self.events.unwrap_or(0)))
    }
}

/// Adds up what each row of the matrix used, and last what has no row.
fn rows(path: &str, groups: Vec<GroupRequest>, matrix: &Matrix) -> Result<Vec<Decimal>, ApiError> {
    let mut rows = vec![Decimal::zero(); matrix.rows.len() + 1];
    for (index, group) in groups.into_iter().enumerate() {
        if group.values.len() != matrix.keys.len() {
            let message = format!(
                "expected {} values, one for each key of groups.by",
                matrix.keys.len()
            );
            return Err(ApiError::field(
                format!("{path}.groups[{index}].values"),
                message,
            ));
        }
        let row = matrix
            .rows
            .iter()
            .position(|row| row.values == group.values);
        rows[row.unwrap_or(matrix.rows.len())] += &group.quantity.into();
    }
    Ok(rows)
}

impl ChargeReply {
    fn new(charge: Charge, already_billed: i64, due: i64, currency: Currency) -> Self {
        let text = |minor| Money { minor, currency }.to_string();
        Self {
            quantity: charge.quantity,
            free_quantity: charge.free_quantity,
            billed_quantity: charge.billed_quantity,
            unit_price: charge.unit_price,
            derivation: charge.derivation,
            rounding: &Decimal::from(charge.amount) - &charge.amount_exact,
            amount_exact: charge.amount_exact,
            amount: charge.amount,
            amount_text: text(charge.amount),
            already_billed,
            due,
            due_text: text(due),
        }
    }
}

#[cfg(test)]
mod tests;
