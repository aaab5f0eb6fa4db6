//! `POST /v1/products/{id}/simulate`: what the last periods of real usage would have cost at another price. Nothing is stored.

mod reply;

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use submeter_common::id::CustomerId;

use super::super::body::JsonBody;
use super::super::error::ApiError;
use super::super::query::Query;
use super::super::state::ApiState;
use super::attachment::AttachmentRequest;
use super::price::PriceRequest;
use super::{attach, find, named};
use crate::billing::simulation::{Proposal, simulate};
use crate::catalog::{Product, ProductUpdate};
use reply::SimulationReply;

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
    let proposal = Proposal {
        product_id: product.product_id.clone(),
        price: candidate.price.usage_based().clone(),
        credit_entitlements: candidate.credit_entitlements,
        customer_id: request.customer_id,
        periods,
    };
    let currency = price.currency();
    let simulation = simulate(&*state.storage, &proposal, page).await?;
    SimulationReply::new(proposal.product_id, simulation, currency, is_one).map(Json)
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
