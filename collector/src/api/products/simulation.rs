//! `POST /v1/products/{id}/simulate`: what the last periods of real usage would have cost at another price. Nothing is stored.

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use submeter_common::id::{CustomerId, MeterId};
use submeter_common::time::Timestamp;

use super::super::body::JsonBody;
use super::super::error::ApiError;
use super::super::query::Query;
use super::super::state::ApiState;
use super::attachment::AttachmentRequest;
use super::price::PriceRequest;
use super::{attach, find, named};
use crate::billing::simulation::{
    ComparedPeriod, Comparison, MeterCost, PricedMeter, PricedPeriod, Trial, simulate,
};
use crate::catalog::{Product, ProductUpdate};
use crate::id::{ProductId, SubscriptionId};
use crate::money::{Currency, Decimal, Money};
use crate::rating::Derivation;

/// Periods of each subscription at most.
const PERIODS_MAX: usize = 24;

/// The other price, and of whom and how much is rated again.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct SimulationRequest {
    price: PriceRequest,
    credit_entitlements: Option<Vec<AttachmentRequest>>,
    customer_id: Option<CustomerId>,
    periods: Option<usize>,
}

/// What the subscriptions of a page cost at both prices.
#[derive(Serialize)]
pub(in super::super) struct SimulationReply {
    product_id: ProductId,
    currency: Currency,
    /// Sums over `items`.
    total: Compared,
    items: Vec<ComparisonReply>,
    skipped: Vec<SkippedReply>,
    /// Whether there is another page.
    more: bool,
}

/// Two amounts in minor units, and for people.
#[derive(Serialize)]
struct Compared {
    current: i64,
    simulated: i64,
    difference: i64,
    current_text: String,
    simulated_text: String,
    difference_text: String,
}

#[derive(Serialize)]
struct ComparisonReply {
    subscription_id: SubscriptionId,
    customer_id: CustomerId,
    total: Compared,
    periods: Vec<PeriodReply>,
}

#[derive(Serialize)]
struct PeriodReply {
    start: Timestamp,
    end: Timestamp,
    total: Compared,
    /// Every number on the way, where one customer was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<PricedReply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    simulated: Option<PricedReply>,
}

#[derive(Serialize)]
struct PricedReply {
    fixed_fee: i64,
    meters: Vec<MeterReply>,
}

/// One meter: fields as on an invoice line.
#[derive(Serialize)]
struct MeterReply {
    meter_id: MeterId,
    meter_name: String,
    quantity: Decimal,
    #[serde(skip_serializing_if = "Option::is_none")]
    free_quantity: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    billed_quantity: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    derivation: Option<Derivation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount_exact: Option<Decimal>,
    amount: i64,
    /// What it costs in credits, where those pay it.
    #[serde(skip_serializing_if = "Option::is_none")]
    credits: Option<Decimal>,
}

#[derive(Serialize)]
struct SkippedReply {
    subscription_id: SubscriptionId,
    reason: String,
}

/// `POST /v1/products/{id}/simulate?page_number&page_size`: pages of subscriptions, newest first.
pub(in super::super) async fn post(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    mut query: Query,
    JsonBody(request): JsonBody<SimulationRequest>,
) -> Result<Json<SimulationReply>, ApiError> {
    let page = query.page()?;
    query.finish()?;
    let is_one = request.customer_id.is_some();
    let catalog = state.storage.catalog().await?;
    let product = find(&catalog, &id)?;
    let now = state.now();
    let periods = request.periods.unwrap_or(1);
    if periods == 0 || periods > PERIODS_MAX {
        let message = format!("expected 1 to {PERIODS_MAX}");
        return Err(ApiError::field("periods", message));
    }
    let price = request.price.into_domain()?;
    let credits = request
        .credit_entitlements
        .map(|credits| attach(credits, &catalog, now))
        .transpose()?;
    let update = ProductUpdate {
        credit_entitlements: credits,
        price: Some(price.clone()),
        ..ProductUpdate::default()
    };
    let attached = update
        .credit_entitlements
        .as_ref()
        .unwrap_or(&product.credit_entitlements);
    let (meters, entitlements) = named(&catalog, &price, attached);
    let candidate = product.updated(update, &meters, &entitlements, now)?;
    expect_comparable(product, &candidate)?;
    let trial = Trial {
        product_id: product.product_id.clone(),
        price: candidate.price.usage_based().clone(),
        credit_entitlements: candidate.credit_entitlements,
        customer_id: request.customer_id,
        periods,
    };
    let currency = price.currency();
    let simulation = simulate(&*state.storage, &trial, page).await?;
    let items = simulation.compared.into_iter();
    let items = items.map(|item| ComparisonReply::new(item, currency, is_one));
    let items = items.collect::<Result<Vec<_>, _>>()?;
    Ok(Json(SimulationReply {
        product_id: trial.product_id,
        currency,
        total: Compared::sum(items.iter().map(|item| &item.total), currency)?,
        items,
        skipped: simulation
            .skipped
            .into_iter()
            .map(|(subscription_id, reason)| SkippedReply {
                subscription_id,
                reason,
            })
            .collect(),
        more: simulation.more,
    }))
}

/// Amounts in two currencies, or of periods of two lengths, have no difference.
fn expect_comparable(product: &Product, candidate: &Product) -> Result<(), ApiError> {
    let (now, then) = (product.price.usage_based(), candidate.price.usage_based());
    if then.currency != now.currency {
        let message = format!("expected the product's currency, {}", now.currency);
        return Err(ApiError::field("price.currency", message));
    }
    if then.payment_frequency != now.payment_frequency {
        let frequency = now.payment_frequency;
        let message = format!(
            "expected the product's periods: {} {}",
            frequency.count,
            frequency.interval.as_str()
        );
        return Err(ApiError::field("price.payment_frequency_count", message));
    }
    Ok(())
}

impl Compared {
    fn new(current: i64, simulated: i64, currency: Currency) -> Result<Self, ApiError> {
        let difference = simulated.checked_sub(current).ok_or_else(too_large)?;
        let text = |minor| Money { minor, currency }.to_string();
        Ok(Self {
            current,
            simulated,
            difference,
            current_text: text(current),
            simulated_text: text(simulated),
            difference_text: text(difference),
        })
    }

    fn sum<'a>(
        parts: impl Iterator<Item = &'a Self>,
        currency: Currency,
    ) -> Result<Self, ApiError> {
        let (mut current, mut simulated) = (0_i64, 0_i64);
        for part in parts {
            current = current.checked_add(part.current).ok_or_else(too_large)?;
            simulated = simulated
                .checked_add(part.simulated)
                .ok_or_else(too_large)?;
        }
        Self::new(current, simulated, currency)
    }
}

fn too_large() -> ApiError {
    let message =
        "the sum is beyond 9223372036854775807 minor units: ask for fewer subscriptions or periods";
    ApiError::field("page_size", message)
}

impl ComparisonReply {
    fn new(comparison: Comparison, currency: Currency, detailed: bool) -> Result<Self, ApiError> {
        let periods = comparison.periods.into_iter();
        let periods = periods.map(|period| PeriodReply::new(period, currency, detailed));
        let periods = periods.collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            subscription_id: comparison.subscription_id,
            customer_id: comparison.customer_id,
            total: Compared::sum(periods.iter().map(|period| &period.total), currency)?,
            periods,
        })
    }
}

impl PeriodReply {
    fn new(compared: ComparedPeriod, currency: Currency, detailed: bool) -> Result<Self, ApiError> {
        let (current, simulated) = (compared.current, compared.simulated);
        Ok(Self {
            start: compared.period.start,
            end: compared.period.end,
            total: Compared::new(current.total, simulated.total, currency)?,
            current: detailed.then(|| current.into()),
            simulated: detailed.then(|| simulated.into()),
        })
    }
}

impl From<PricedPeriod> for PricedReply {
    fn from(priced: PricedPeriod) -> Self {
        Self {
            fixed_fee: priced.fixed_fee,
            meters: priced.meters.into_iter().map(MeterReply::from).collect(),
        }
    }
}

impl From<PricedMeter> for MeterReply {
    fn from(priced: PricedMeter) -> Self {
        let named = Self {
            meter_id: priced.meter_id,
            meter_name: priced.name,
            quantity: Decimal::zero(),
            free_quantity: None,
            billed_quantity: None,
            derivation: None,
            amount_exact: None,
            amount: 0,
            credits: None,
        };
        match priced.cost {
            MeterCost::Money(charge) => Self {
                quantity: charge.quantity,
                free_quantity: Some(charge.free_quantity),
                billed_quantity: Some(charge.billed_quantity),
                derivation: Some(charge.derivation),
                amount_exact: Some(charge.amount_exact),
                amount: charge.amount,
                ..named
            },
            MeterCost::Credits { quantity, credits } => Self {
                quantity,
                credits: Some(credits),
                ..named
            },
        }
    }
}
