//! `/v1/thresholds`: limits on what periods may come to, with marks at which the world is told.

mod standing;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use submeter_common::id::{CustomerId, MeterId};
use submeter_common::time::Timestamp;

pub(super) use self::standing::of_customer;
use super::access::Caller;
use super::body::JsonBody;
use super::error::ApiError;
use super::field::{Exact, check_metadata, check_name, patch};
use super::query::Query;
use super::reply::Items;
use super::state::ApiState;
use crate::alerts::{InvalidThreshold, Measure, NewThreshold, Scope, Threshold, ThresholdUpdate};
use crate::id::{ProductId, ThresholdId};
use crate::metadata::Metadata;
use crate::money::{Currency, Decimal};
use crate::storage::{AddOutcome, PutOutcome, ThresholdFilter};

/// Ways of measuring.
#[derive(Copy, Clone, Eq, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum MeasureName {
    Quantity,
    Spend,
}

/// What makes a threshold.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateRequest {
    name: Option<String>,
    customer_id: Option<String>,
    product_id: Option<String>,
    meter_id: Option<String>,
    measure: MeasureName,
    currency: Option<Currency>,
    limit: Exact,
    marks: Option<Vec<u32>>,
    cap: Option<bool>,
    metadata: Option<Metadata>,
}

/// What changes a threshold.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateRequest {
    #[serde(default, deserialize_with = "patch")]
    name: Option<Option<String>>,
    limit: Option<Exact>,
    marks: Option<Vec<u32>>,
    cap: Option<bool>,
    #[serde(default, deserialize_with = "patch")]
    metadata: Option<Option<Metadata>>,
}

/// A threshold in replies.
#[derive(Serialize)]
pub(super) struct ThresholdReply {
    threshold_id: ThresholdId,
    name: Option<String>,
    customer_id: Option<CustomerId>,
    product_id: Option<ProductId>,
    meter_id: Option<MeterId>,
    measure: &'static str,
    currency: Option<Currency>,
    limit: Decimal,
    marks: Vec<u32>,
    cap: bool,
    metadata: Metadata,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<Threshold> for ThresholdReply {
    fn from(threshold: Threshold) -> Self {
        Self {
            threshold_id: threshold.threshold_id,
            name: threshold.name,
            customer_id: threshold.scope.customer_id,
            product_id: threshold.scope.product_id,
            meter_id: threshold.scope.meter_id,
            measure: threshold.measure.name(),
            currency: threshold.measure.currency(),
            limit: threshold.limit,
            marks: threshold.marks,
            cap: threshold.cap,
            metadata: threshold.metadata,
            created_at: threshold.created_at,
            updated_at: threshold.updated_at,
        }
    }
}

/// `POST /v1/thresholds`. What its customer has used already is looked at at once; of a threshold for everybody, a customer's
/// with the next usage.
pub(super) async fn create(
    State(state): State<ApiState>,
    Caller(key): Caller,
    JsonBody(request): JsonBody<CreateRequest>,
) -> Result<(StatusCode, Json<ThresholdReply>), ApiError> {
    check_texts(request.name.as_deref(), request.metadata.as_ref())?;
    let new = NewThreshold {
        scope: scope(&state, &request).await?,
        measure: measure(&request)?,
        name: request.name,
        limit: request.limit.into(),
        marks: request.marks,
        cap: request.cap.unwrap_or(false),
        metadata: request.metadata.unwrap_or_default(),
    };
    let threshold = Threshold::new(new, state.machine_now())?;
    if let AddOutcome::TooMany(most) = state.storage.add_threshold(&threshold).await? {
        let message = format!("there are {most} such thresholds, as many as there may be");
        return Err(ApiError::conflict("TOO_MANY_THRESHOLDS", message));
    }
    let id = threshold.threshold_id.as_str();
    state.audit(&key, "threshold.created", id).await?;
    Ok((StatusCode::CREATED, Json(threshold.into())))
}

/// `GET /v1/thresholds`, newest first.
pub(super) async fn list(
    State(state): State<ApiState>,
    mut query: Query,
) -> Result<Json<Items<ThresholdReply>>, ApiError> {
    let page = query.page()?;
    let customer_id = query.text("customer_id")?;
    query.finish()?;
    let filter = ThresholdFilter {
        customer_id: customer_id.map(CustomerId::new).transpose()?,
    };
    let thresholds = state.storage.thresholds(&filter, page).await?;
    Ok(Json(
        thresholds.into_iter().map(ThresholdReply::from).collect(),
    ))
}

/// `GET /v1/thresholds/{id}`.
pub(super) async fn get(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<Json<ThresholdReply>, ApiError> {
    Ok(Json(find(&state, &id).await?.into()))
}

/// `PATCH /v1/thresholds/{id}`. Another limit has new marks, which are told although the old ones were.
pub(super) async fn update(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<UpdateRequest>,
) -> Result<Json<ThresholdReply>, ApiError> {
    let name = request.name.as_ref().and_then(Option::as_deref);
    let metadata = request.metadata.map(Option::unwrap_or_default);
    check_texts(name, metadata.as_ref())?;
    let before = find(&state, &id).await?;
    let update = ThresholdUpdate {
        name: request.name,
        limit: request.limit.map(Decimal::from),
        marks: request.marks,
        cap: request.cap,
        metadata,
    };
    let after = before.updated(update, state.machine_now())?;
    expect_written(state.storage.put_threshold(&before, &after).await?, &id)?;
    state.audit(&key, "threshold.updated", &id).await?;
    Ok(Json(after.into()))
}

/// `DELETE /v1/thresholds/{id}`. What was told stays told.
pub(super) async fn delete(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let threshold = find(&state, &id).await?;
    expect_written(state.storage.remove_threshold(&threshold).await?, &id)?;
    state.audit(&key, "threshold.deleted", &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn check_texts(name: Option<&str>, metadata: Option<&Metadata>) -> Result<(), ApiError> {
    name.map_or(Ok(()), |name| check_name("name", name))?;
    metadata.map_or(Ok(()), check_metadata)
}

/// Reads whose usage is to be watched; everything that is named has to be there.
async fn scope(state: &ApiState, request: &CreateRequest) -> Result<Scope, ApiError> {
    let catalog = state.storage.catalog().await?;
    let mut scope = Scope::default();
    if let Some(id) = &request.customer_id {
        let id = CustomerId::new(id)?;
        if state.storage.customer(&id).await?.is_none() {
            let expected = format!("expected a customer; there is none with the id `{id}`");
            return Err(ApiError::field("customer_id", expected));
        }
        scope.customer_id = Some(id);
    }
    if let Some(id) = &request.product_id {
        let id = ProductId::from_text(id);
        if !catalog.products.contains_key(&id) {
            let expected = format!("expected a product; there is none with the id `{id}`");
            return Err(ApiError::field("product_id", expected));
        }
        scope.product_id = Some(id);
    }
    if let Some(id) = &request.meter_id {
        let known = MeterId::new(id).ok();
        let known = known.filter(|id| catalog.meters.contains_key(id));
        let expected = || format!("expected a meter; there is none with the id `{id}`");
        let known = known.ok_or_else(|| ApiError::field("meter_id", expected()))?;
        scope.meter_id = Some(known);
    }
    Ok(scope)
}

fn measure(request: &CreateRequest) -> Result<Measure, ApiError> {
    match (request.measure, request.currency) {
        (MeasureName::Quantity, None) => Ok(Measure::Quantity),
        (MeasureName::Spend, Some(currency)) => Ok(Measure::Spend { currency }),
        (MeasureName::Quantity, Some(_)) => Err(ApiError::field(
            "currency",
            "expected none, because measure is quantity",
        )),
        (MeasureName::Spend, None) => Err(ApiError::field(
            "currency",
            "expected the currency of the limit, because measure is spend",
        )),
    }
}

async fn find(state: &ApiState, id: &str) -> Result<Threshold, ApiError> {
    let found = state.storage.threshold(&ThresholdId::from_text(id)).await?;
    found.ok_or_else(|| ApiError::not_found("THRESHOLD_NOT_FOUND", "threshold", id))
}

fn expect_written(outcome: PutOutcome, id: &str) -> Result<(), ApiError> {
    match outcome {
        PutOutcome::Written => Ok(()),
        PutOutcome::Conflict => Err(ApiError::concurrent_change("threshold", id)),
    }
}

impl From<InvalidThreshold> for ApiError {
    fn from(error: InvalidThreshold) -> Self {
        ApiError::field(error.field, error.message)
    }
}
