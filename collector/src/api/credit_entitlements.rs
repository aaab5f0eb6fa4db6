//! `/credit-entitlements`: the kinds of credits that products grant.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use submeter_common::time::Timestamp;

use super::access::Caller;
use super::body::JsonBody;
use super::error::ApiError;
use super::field::{Exact, check_text, patch};
use super::query::Query;
use super::reply::{BUSINESS_ID, Items};
use super::state::ApiState;
use crate::catalog::{Frequency, Interval};
use crate::credits::{CreditEntitlement, OverageBehavior, Rollover};
use crate::id::EntitlementId;
use crate::money::{Currency, Decimal};
use crate::storage::PutOutcome;

/// What creates a credit entitlement.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateRequest {
    name: String,
    description: Option<String>,
    unit: String,
    precision: u8,
    overage_enabled: bool,
    rollover_enabled: bool,
    overage_behavior: Option<OverageBehavior>,
    overage_limit: Option<i64>,
    currency: Option<Currency>,
    price_per_unit: Option<Exact>,
    expires_after_days: Option<u32>,
    rollover_percentage: Option<u32>,
    max_rollover_count: Option<u32>,
    rollover_timeframe_count: Option<u32>,
    rollover_timeframe_interval: Option<Interval>,
    rollover_amount_min: Option<Exact>,
    rollover_amount_max: Option<Exact>,
}

/// What changes a credit entitlement, for products that attach it from now on. Its precision never changes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateRequest {
    name: Option<String>,
    #[serde(default, deserialize_with = "patch")]
    description: Option<Option<String>>,
    unit: Option<String>,
    overage_enabled: Option<bool>,
    overage_behavior: Option<OverageBehavior>,
    #[serde(default, deserialize_with = "patch")]
    overage_limit: Option<Option<i64>>,
    #[serde(default, deserialize_with = "patch")]
    currency: Option<Option<Currency>>,
    #[serde(default, deserialize_with = "patch")]
    price_per_unit: Option<Option<Exact>>,
    #[serde(default, deserialize_with = "patch")]
    expires_after_days: Option<Option<u32>>,
    rollover_enabled: Option<bool>,
    #[serde(default, deserialize_with = "patch")]
    rollover_percentage: Option<Option<u32>>,
    #[serde(default, deserialize_with = "patch")]
    max_rollover_count: Option<Option<u32>>,
    #[serde(default, deserialize_with = "patch")]
    rollover_timeframe_count: Option<Option<u32>>,
    #[serde(default, deserialize_with = "patch")]
    rollover_timeframe_interval: Option<Option<Interval>>,
    #[serde(default, deserialize_with = "patch")]
    rollover_amount_min: Option<Option<Exact>>,
    #[serde(default, deserialize_with = "patch")]
    rollover_amount_max: Option<Option<Exact>>,
}

/// A credit entitlement in replies.
#[derive(Serialize)]
pub(super) struct EntitlementReply {
    id: EntitlementId,
    business_id: &'static str,
    name: String,
    description: Option<String>,
    unit: String,
    precision: u8,
    overage_enabled: bool,
    overage_behavior: OverageBehavior,
    overage_limit: Option<i64>,
    currency: Option<Currency>,
    price_per_unit: Option<Decimal>,
    expires_after_days: Option<u32>,
    rollover_enabled: bool,
    rollover_percentage: Option<u32>,
    max_rollover_count: Option<u32>,
    rollover_timeframe_count: Option<u32>,
    rollover_timeframe_interval: Option<Interval>,
    rollover_amount_min: Option<Decimal>,
    rollover_amount_max: Option<Decimal>,
    deleted: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<CreditEntitlement> for EntitlementReply {
    fn from(entitlement: CreditEntitlement) -> Self {
        Self {
            id: entitlement.id,
            business_id: BUSINESS_ID,
            name: entitlement.name,
            description: entitlement.description,
            unit: entitlement.unit,
            precision: entitlement.precision,
            overage_enabled: entitlement.overage_enabled,
            overage_behavior: entitlement.overage_behavior,
            // Requests take whole limits only, so nothing is cut off here.
            overage_limit: entitlement.overage_limit.and_then(|limit| limit.to_i64()),
            currency: entitlement.currency,
            price_per_unit: entitlement.price_per_unit,
            expires_after_days: entitlement.expires_after_days,
            rollover_enabled: entitlement.rollover.enabled,
            rollover_percentage: entitlement.rollover.percentage,
            max_rollover_count: entitlement.rollover.count_max,
            rollover_timeframe_count: entitlement
                .rollover
                .timeframe
                .map(|timeframe| timeframe.count),
            rollover_timeframe_interval: entitlement
                .rollover
                .timeframe
                .map(|timeframe| timeframe.interval),
            rollover_amount_min: entitlement.rollover.amount_min,
            rollover_amount_max: entitlement.rollover.amount_max,
            deleted: entitlement.archived,
            created_at: entitlement.created_at,
            updated_at: entitlement.updated_at,
        }
    }
}

/// `POST /credit-entitlements`.
pub(super) async fn create(
    State(state): State<ApiState>,
    Caller(key): Caller,
    JsonBody(request): JsonBody<CreateRequest>,
) -> Result<Json<EntitlementReply>, ApiError> {
    let now = state.now();
    let entitlement = CreditEntitlement {
        id: EntitlementId::fresh(now),
        name: request.name,
        description: request.description,
        unit: request.unit,
        precision: request.precision,
        expires_after_days: request.expires_after_days,
        rollover: Rollover {
            enabled: request.rollover_enabled,
            percentage: request.rollover_percentage,
            count_max: request.max_rollover_count,
            timeframe: timeframe(
                request.rollover_timeframe_count,
                request.rollover_timeframe_interval,
            )?,
            amount_min: request.rollover_amount_min.map(Decimal::from),
            amount_max: request.rollover_amount_max.map(Decimal::from),
        },
        overage_enabled: request.overage_enabled,
        overage_limit: request.overage_limit.map(Decimal::from),
        overage_behavior: request.overage_behavior.unwrap_or_default(),
        currency: request.currency,
        price_per_unit: request.price_per_unit.map(Decimal::from),
        archived: false,
        created_at: now,
        updated_at: now,
    };
    write(&state, None, &entitlement).await?;
    state
        .audit(&key, "credit_entitlement.created", entitlement.id.as_str())
        .await?;
    Ok(Json(entitlement.into()))
}

/// Reads a span of time that is told as two fields: both or none.
pub(super) fn timeframe(
    count: Option<u32>,
    interval: Option<Interval>,
) -> Result<Option<Frequency>, ApiError> {
    match (count, interval) {
        (None, None) => Ok(None),
        (Some(count), Some(interval)) => Ok(Some(Frequency { count, interval })),
        _ => Err(ApiError::field(
            "rollover_timeframe_count",
            "expected together with rollover_timeframe_interval, or neither",
        )),
    }
}

/// `GET /credit-entitlements`: active ones, or with `deleted=true` the deleted ones.
pub(super) async fn list(
    State(state): State<ApiState>,
    mut query: Query,
) -> Result<Json<Items<EntitlementReply>>, ApiError> {
    let page = query.page()?;
    let deleted = query.flag("deleted")?.unwrap_or(false);
    query.ignore("locale");
    query.finish()?;
    let catalog = state.storage.catalog().await?;
    // Ids sort by their time of birth; lists run from the newest.
    let entitlements = catalog
        .entitlements
        .values()
        .rev()
        .filter(|entitlement| entitlement.archived == deleted);
    Ok(Json(Items::new(
        page.of(entitlements.cloned().map(EntitlementReply::from)),
    )))
}

/// `GET /credit-entitlements/{id}`.
pub(super) async fn get(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<Json<EntitlementReply>, ApiError> {
    Ok(Json(find(&state, &id).await?.into()))
}

/// `PATCH /credit-entitlements/{id}`.
pub(super) async fn update(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<UpdateRequest>,
) -> Result<Json<EntitlementReply>, ApiError> {
    let before = find(&state, &id).await?;
    let after = changed(&before, request, state.now())?;
    write(&state, Some(&before), &after).await?;
    state.audit(&key, "credit_entitlement.updated", &id).await?;
    Ok(Json(after.into()))
}

/// `DELETE /credit-entitlements/{id}`: no product can attach it any more; what is attached stays.
pub(super) async fn delete(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    archive(&state, &id, true).await?;
    state.audit(&key, "credit_entitlement.deleted", &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /credit-entitlements/{id}/undelete`.
pub(super) async fn undelete(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    archive(&state, &id, false).await?;
    state
        .audit(&key, "credit_entitlement.undeleted", &id)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn changed(
    before: &CreditEntitlement,
    request: UpdateRequest,
    now: Timestamp,
) -> Result<CreditEntitlement, ApiError> {
    let was = before.clone();
    let frame = was.rollover.timeframe;
    let count = request
        .rollover_timeframe_count
        .unwrap_or(frame.map(|frame| frame.count));
    let interval = request
        .rollover_timeframe_interval
        .unwrap_or(frame.map(|frame| frame.interval));
    Ok(CreditEntitlement {
        name: request.name.unwrap_or(was.name),
        description: request.description.unwrap_or(was.description),
        unit: request.unit.unwrap_or(was.unit),
        expires_after_days: request.expires_after_days.unwrap_or(was.expires_after_days),
        rollover: Rollover {
            enabled: request.rollover_enabled.unwrap_or(was.rollover.enabled),
            percentage: request
                .rollover_percentage
                .unwrap_or(was.rollover.percentage),
            count_max: request.max_rollover_count.unwrap_or(was.rollover.count_max),
            timeframe: timeframe(count, interval)?,
            amount_min: request
                .rollover_amount_min
                .map_or(was.rollover.amount_min, |told| told.map(Decimal::from)),
            amount_max: request
                .rollover_amount_max
                .map_or(was.rollover.amount_max, |told| told.map(Decimal::from)),
        },
        overage_enabled: request.overage_enabled.unwrap_or(was.overage_enabled),
        overage_limit: request
            .overage_limit
            .map_or(was.overage_limit, |limit| limit.map(Decimal::from)),
        overage_behavior: request.overage_behavior.unwrap_or(was.overage_behavior),
        currency: request.currency.unwrap_or(was.currency),
        price_per_unit: request
            .price_per_unit
            .map_or(was.price_per_unit, |price| price.map(Decimal::from)),
        updated_at: now,
        ..before.clone()
    })
}

async fn archive(state: &ApiState, id: &str, archived: bool) -> Result<(), ApiError> {
    let before = find(state, id).await?;
    if before.archived == archived {
        return Ok(());
    }
    let after = CreditEntitlement {
        archived,
        updated_at: state.now(),
        ..before.clone()
    };
    write(state, Some(&before), &after).await
}

async fn write(
    state: &ApiState,
    before: Option<&CreditEntitlement>,
    after: &CreditEntitlement,
) -> Result<(), ApiError> {
    after.check()?;
    if let Some(description) = &after.description {
        check_text("description", description)?;
    }
    match state.storage.put_entitlement(before, after).await? {
        PutOutcome::Written => Ok(()),
        PutOutcome::Conflict => Err(ApiError::concurrent_change(
            "credit entitlement",
            after.id.as_str(),
        )),
    }
}

pub(super) async fn find(state: &ApiState, id: &str) -> Result<CreditEntitlement, ApiError> {
    let catalog = state.storage.catalog().await?;
    let found = catalog
        .entitlements
        .get(&EntitlementId::from_text(id))
        .cloned();
    found.ok_or_else(|| {
        ApiError::not_found("CREDIT_ENTITLEMENT_NOT_FOUND", "credit entitlement", id)
    })
}
