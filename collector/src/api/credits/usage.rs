//! `/subscriptions/{id}/credit-usage` and `/customers/{id}/credit-entitlements`: what is left, kind by kind.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;

use super::super::error::ApiError;
use super::super::query::Query;
use super::super::reply::Items;
use super::super::state::ApiState;
use super::super::{customers, subscriptions};
use crate::billing;
use crate::id::{EntitlementId, SubscriptionId};
use crate::money::Decimal;

/// A kind of credits a customer has been given, with the balance.
#[derive(Serialize)]
pub(in super::super) struct KindReply {
    credit_entitlement_id: EntitlementId,
    name: String,
    description: Option<String>,
    unit: String,
    balance: Decimal,
    overage: Decimal,
}

/// `GET /customers/{id}/credit-entitlements`: balances with what open periods have used deducted.
pub(in super::super) async fn of_customer(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Json<Items<KindReply>>, ApiError> {
    query.finish()?;
    let state = state.in_time_of(&id).await?;
    let customer = customers::find(&state, &id).await?.customer_id;
    let catalog = state.storage.catalog().await?;
    let grants = state.storage.grants(&customer, None).await?;
    let given: BTreeSet<EntitlementId> = grants
        .into_iter()
        .map(|grant| grant.credit_entitlement_id)
        .collect();
    let now = state.now();
    let mut kinds = Vec::with_capacity(given.len());
    for entitlement in given.iter().filter_map(|id| catalog.entitlements.get(id)) {
        let holdings = billing::holdings(&*state.storage, &customer, &entitlement.id, now).await?;
        kinds.push(KindReply {
            credit_entitlement_id: entitlement.id.clone(),
            name: entitlement.name.clone(),
            description: entitlement.description.clone(),
            unit: entitlement.unit.clone(),
            balance: holdings.available(now),
            overage: holdings.overage(),
        });
    }
    Ok(Json(Items::new(kinds)))
}

/// How a subscription stands with one kind of credits.
#[derive(Serialize)]
struct UsageReply {
    credit_entitlement_id: EntitlementId,
    credit_entitlement_name: String,
    unit: String,
    balance: Decimal,
    overage: Decimal,
    overage_enabled: bool,
    overage_limit: Option<Decimal>,
    remaining_headroom: Option<Decimal>,
    limit_reached: bool,
}

/// All kinds of credits of a subscription.
#[derive(Serialize)]
pub(in super::super) struct SubscriptionUsage {
    subscription_id: SubscriptionId,
    items: Vec<UsageReply>,
}

/// `GET /subscriptions/{id}/credit-usage`.
pub(in super::super) async fn of_subscription(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Json<SubscriptionUsage>, ApiError> {
    query.finish()?;
    let subscription = subscriptions::find(&state, &id).await?;
    let now = state.now_under(subscription.test_clock.as_ref()).await?;
    let mut items = Vec::new();
    for terms in &subscription.plan.credit_entitlements {
        let (customer, kind) = (&subscription.customer_id, &terms.credit_entitlement_id);
        let holdings = billing::holdings(&*state.storage, customer, kind, now).await?;
        let overage = holdings.overage();
        let limit = terms
            .overage_limit
            .clone()
            .filter(|_| terms.overage_enabled);
        let headroom = limit.as_ref().map(|limit| (limit - &overage).or_zero());
        items.push(UsageReply {
            credit_entitlement_id: kind.clone(),
            credit_entitlement_name: terms.credit_entitlement_name.clone(),
            unit: terms.credit_entitlement_unit.clone(),
            balance: holdings.available(now),
            overage,
            overage_enabled: terms.overage_enabled,
            limit_reached: headroom.as_ref().is_some_and(Decimal::is_zero),
            overage_limit: limit,
            remaining_headroom: headroom,
        });
    }
    Ok(Json(SubscriptionUsage {
        subscription_id: subscription.subscription_id,
        items,
    }))
}
