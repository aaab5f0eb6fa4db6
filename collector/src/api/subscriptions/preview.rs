//! What a change or a cancellation would lead to: the invoice that closes the period it cuts, by what is known now.

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use submeter_common::time::Timestamp;

use super::super::body::JsonBody;
use super::super::error::ApiError;
use super::super::invoices::LineReply;
use super::super::state::ApiState;
use super::reply::{Details, SubscriptionReply};
use super::{customer_of, find};
use crate::billing::{self, InvoiceLine, LineKind, NewInvoice};
use crate::customer::Customer;
use crate::id::ProductId;
use crate::money::{Currency, Decimal};
use crate::subscription::change::{CancelRequest, Effective, cancel};
use crate::subscription::plan::UnusedTime;
use crate::subscription::{Plan, Subscription};

/// Digits of a proration factor, which is for people; what is billed is computed from the exact share.
const FACTOR_DIGITS: u8 = 12;

/// The answer to a preview of a change of plan, as compatible clients know it; `lines` are ours.
#[derive(Serialize)]
pub(in super::super) struct ChangePreview {
    immediate_charge: Charge,
    new_plan: SubscriptionReply,
}

/// The answer to a preview of a cancellation.
#[derive(Serialize)]
pub(in super::super) struct CancelPreview {
    final_charge: Charge,
}

#[derive(Serialize)]
struct Charge {
    effective_at: Timestamp,
    line_items: Vec<LineItem>,
    summary: Summary,
    /// Every line of the invoice with its derivation.
    lines: Vec<LineReply>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum LineItem {
    Subscription {
        id: ProductId,
        product_id: ProductId,
        name: String,
        description: String,
        currency: Currency,
        quantity: u32,
        unit_price: i64,
        /// Of a period's fee; negative for a credit.
        proration_factor: f64,
        tax_inclusive: bool,
        tax: i64,
    },
    Meter {
        id: String,
        name: String,
        description: String,
        currency: Currency,
        units_consumed: Decimal,
        free_threshold: i64,
        chargeable_units: Decimal,
        price_per_unit: Decimal,
        subtotal: i64,
        tax_inclusive: bool,
        tax_rate: f64,
        tax: i64,
    },
}

#[derive(Serialize)]
struct Summary {
    currency: Currency,
    /// Below zero when more is credited than charged: then nothing is owed.
    total_amount: i64,
    tax: i64,
    settlement_amount: i64,
    settlement_currency: Currency,
    settlement_tax: i64,
    customer_credits: i64,
    customer_credits_currency: Currency,
}

/// What a cancellation is asked to be, as in `PATCH /subscriptions/{id}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct CancelPreviewRequest {
    cancel_at_next_billing_date: Option<bool>,
    credit_unused_time: Option<bool>,
}

/// `POST /v1/subscriptions/{id}/cancel/preview`.
pub(in super::super) async fn of_cancel(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<CancelPreviewRequest>,
) -> Result<Json<CancelPreview>, ApiError> {
    let before = find(&state, &id).await?;
    let now = state.now_under(before.test_clock.as_ref()).await?;
    let _ = customer_of(&state, &before).await?;
    let at_end = request.cancel_at_next_billing_date.unwrap_or(false);
    let wanted = CancelRequest {
        effective: if at_end {
            Effective::PeriodEnd
        } else {
            Effective::Now
        },
        unused_time: unused_time(request.credit_unused_time),
        reason: None,
        feedback: None,
        comment: None,
    };
    let after = cancel(&before, wanted, now)?;
    let effective_at = after.ends_at();
    let invoice = of_end(&state, &before, &after, now).await?;
    let final_charge = Charge::new(&before, effective_at, invoice)?;
    Ok(Json(CancelPreview { final_charge }))
}

/// What the caller says about the fee of the rest of a period. Money that was paid stays paid when nothing is said.
pub(super) fn unused_time(credit: Option<bool>) -> UnusedTime {
    match credit {
        Some(true) => UnusedTime::Credited,
        Some(false) | None => UnusedTime::Kept,
    }
}

/// Computes the invoice that closes the period that runs, as it is cut in `after`.
pub(super) async fn of_end(
    state: &ApiState,
    before: &Subscription,
    after: &Subscription,
    now: Timestamp,
) -> Result<NewInvoice, ApiError> {
    let running = before.running(now).map_err(ApiError::internal)?;
    let n = running.map_or(before.next_period, |(n, _)| n);
    let mut closing = after.clone();
    while closing.next_period < n {
        closing.advance().map_err(ApiError::internal)?;
    }
    Ok(billing::preview(&*state.storage, &closing, now).await?)
}

impl ChangePreview {
    /// Writes a preview; `after` is the subscription as it would be.
    pub(super) fn new(
        after: Subscription,
        (customer, details): (Customer, Details),
        effective_at: Timestamp,
        invoice: NewInvoice,
    ) -> Result<Self, ApiError> {
        let immediate_charge = Charge::new(&after, effective_at, invoice)?;
        let new_plan = SubscriptionReply::new(after, customer, Some(details), None, effective_at)?;
        Ok(Self {
            immediate_charge,
            new_plan,
        })
    }
}

impl Charge {
    fn new(
        subscription: &Subscription,
        effective_at: Timestamp,
        invoice: NewInvoice,
    ) -> Result<Self, ApiError> {
        let currency = invoice.currency;
        let items = invoice.lines.iter();
        Ok(Self {
            effective_at,
            line_items: items
                .map(|line| LineItem::new(subscription, currency, line))
                .collect::<Result<_, _>>()?,
            summary: Summary {
                currency,
                total_amount: invoice.total,
                tax: 0,
                settlement_amount: invoice.total,
                settlement_currency: currency,
                settlement_tax: 0,
                customer_credits: 0,
                customer_credits_currency: currency,
            },
            lines: invoice.lines.into_iter().map(LineReply::from).collect(),
        })
    }
}

impl LineItem {
    fn new(
        subscription: &Subscription,
        currency: Currency,
        line: &InvoiceLine,
    ) -> Result<Self, ApiError> {
        let plan = plan_at(subscription, line.service_period.start);
        let price = plan.price.usage_based();
        let tax_inclusive = price.tax_inclusive;
        if line.kind == LineKind::BaseFee {
            return Ok(Self::Subscription {
                id: plan.product_id.clone(),
                product_id: plan.product_id.clone(),
                name: plan.product_name.clone(),
                description: line.description.clone(),
                currency,
                quantity: plan.quantity,
                unit_price: price.fixed_price,
                proration_factor: factor(plan, line)?,
                tax_inclusive,
                tax: 0,
            });
        }
        let priced = price
            .meters
            .iter()
            .find(|priced| Some(&priced.meter_id) == line.meter_id.as_ref());
        Ok(Self::Meter {
            id: line
                .meter_id
                .as_ref()
                .map_or_else(String::new, ToString::to_string),
            name: line.meter_name.clone().unwrap_or_default(),
            description: line.description.clone(),
            currency,
            units_consumed: line.quantity.clone(),
            free_threshold: priced.map_or(0, |priced| priced.free_threshold),
            chargeable_units: line.billed_quantity.clone(),
            price_per_unit: line.unit_price.clone().unwrap_or_default(),
            subtotal: line.amount,
            tax_inclusive,
            tax_rate: 0.0,
            tax: 0,
        })
    }
}

/// The plan that is in force at an instant.
fn plan_at(subscription: &Subscription, at: Timestamp) -> &Plan {
    let begun = subscription.plans().rev().find(|plan| plan.starts_at <= at);
    begun.unwrap_or(&subscription.plan)
}

/// The share of a whole period's fee that a line comes to.
fn factor(plan: &Plan, line: &InvoiceLine) -> Result<f64, ApiError> {
    let fee = Decimal::from(plan.price.usage_based().fixed_price);
    let whole = &fee * &Decimal::from(u64::from(plan.quantity));
    let share = line.amount_exact.divided_rounded(&whole, FACTOR_DIGITS);
    let text = share.unwrap_or_default().to_string();
    text.parse().map_err(ApiError::internal)
}
