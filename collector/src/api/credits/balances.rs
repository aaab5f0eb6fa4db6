//! `/credit-entitlements/{id}/balances`: what customers hold, what open periods have used deducted.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use submeter_common::id::CustomerId;
use submeter_common::time::Timestamp;

use super::super::error::ApiError;
use super::super::query::Query;
use super::super::reply::Items;
use super::super::state::ApiState;
use super::super::{credit_entitlements, customers};
use super::{Place, unit_of};
use crate::bookkeeping::Holdings;
use crate::id::{BalanceId, EntitlementId};
use crate::money::Decimal;
use crate::storage::{EntryFilter, Page};

/// A customer's balance in replies.
#[derive(Serialize)]
pub(in super::super) struct BalanceReply {
    id: BalanceId,
    credit_entitlement_id: EntitlementId,
    customer_id: CustomerId,
    balance: Decimal,
    overage: Decimal,
    created_at: Timestamp,
    updated_at: Timestamp,
    last_transaction_at: Option<Timestamp>,
}

/// `GET /credit-entitlements/{id}/balances`: of everybody who was ever given such credits, or of `customer_id`.
pub(in super::super) async fn list(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    mut query: Query,
) -> Result<Json<Items<BalanceReply>>, ApiError> {
    let page = query.page()?;
    let customer = query.text("customer_id")?;
    query.finish()?;
    let entitlement = credit_entitlements::find(&state, &id).await?;
    let holders = match customer {
        Some(customer) if page.skip() == 0 => {
            vec![customers::find(&state, &customer).await?.customer_id]
        }
        Some(_) => Vec::new(),
        None => state.storage.holders(&entitlement.id, page).await?,
    };
    let mut balances = Vec::with_capacity(holders.len());
    for customer_id in holders {
        let place = Place {
            customer_id,
            entitlement: entitlement.clone(),
        };
        let told = state.clone().in_time_of(place.customer_id.as_str()).await?;
        balances.push(balance(&told, &place).await?);
    }
    Ok(Json(Items::new(balances)))
}

/// `GET /credit-entitlements/{id}/balances/{customer}`.
pub(in super::super) async fn get(
    State(state): State<ApiState>,
    Path((id, customer)): Path<(String, String)>,
    query: Query,
) -> Result<Json<BalanceReply>, ApiError> {
    query.finish()?;
    let state = state.in_time_of(&customer).await?;
    let place = Place::find(&state, &id, &customer).await?;
    Ok(Json(balance(&state, &place).await?))
}

async fn balance(state: &ApiState, place: &Place) -> Result<BalanceReply, ApiError> {
    let holdings = place.holdings(state).await?;
    let filter = EntryFilter {
        unit: Some(unit_of(&place.entitlement.id)),
        ..EntryFilter::default()
    };
    let newest = Page::new(0, 1);
    let last = state
        .storage
        .entries(&place.customer_id, &filter, newest)
        .await?;
    let last = last.first().map(|entry| entry.transfer.at);
    Ok(reply(place, &holdings, last, state.now()))
}

fn reply(
    place: &Place,
    holdings: &Holdings,
    last_transaction_at: Option<Timestamp>,
    now: Timestamp,
) -> BalanceReply {
    let (entitlement, customer) = (&place.entitlement.id, &place.customer_id);
    let born = holdings.booked.iter().map(|grant| grant.created_at).min();
    let created_at = born.unwrap_or(place.entitlement.created_at);
    BalanceReply {
        id: BalanceId::derived(&[entitlement.as_str(), customer.as_str()]),
        credit_entitlement_id: entitlement.clone(),
        customer_id: customer.clone(),
        balance: holdings.available(now),
        overage: holdings.overage(),
        created_at,
        updated_at: last_transaction_at.unwrap_or(created_at),
        last_transaction_at,
    }
}
