//! `/meters`: what is measured. Only name, description, unit and the archived flag of a meter ever change.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use submeter_common::filter::Filter;
use submeter_common::id::MeterId;
use submeter_common::meter::{Aggregation, Meter};
use submeter_common::time::Timestamp;

use super::access::Caller;
use super::body::JsonBody;
use super::error::ApiError;
use super::field::{check_text, patch};
use super::query::Query;
use super::reply::{BUSINESS_ID, Items};
use super::state::ApiState;
use crate::id::fresh;
use crate::storage::{CatalogSnapshot, PutOutcome};

/// What creates a meter.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateRequest {
    name: String,
    description: Option<String>,
    event_name: String,
    measurement_unit: String,
    aggregation: Aggregation,
    filter: Option<Box<RawValue>>,
    group_by: Option<Vec<String>>,
}

/// What changes a meter.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateRequest {
    name: Option<String>,
    #[serde(default, deserialize_with = "patch")]
    description: Option<Option<String>>,
    measurement_unit: Option<String>,
}

/// A meter in replies.
#[derive(Serialize)]
pub(super) struct MeterReply {
    id: MeterId,
    business_id: &'static str,
    name: String,
    description: Option<String>,
    event_name: String,
    measurement_unit: String,
    aggregation: Aggregation,
    filter: Option<Filter>,
    group_by: Vec<String>,
    archived: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<Meter> for MeterReply {
    fn from(meter: Meter) -> Self {
        Self {
            id: meter.id,
            business_id: BUSINESS_ID,
            name: meter.name,
            description: meter.description,
            event_name: meter.event_name,
            measurement_unit: meter.measurement_unit,
            aggregation: meter.aggregation,
            filter: meter.filter,
            group_by: meter.group_by,
            archived: meter.archived,
            created_at: meter.created_at,
            updated_at: meter.updated_at,
        }
    }
}

/// `POST /meters`.
pub(super) async fn create(
    State(state): State<ApiState>,
    Caller(key): Caller,
    JsonBody(request): JsonBody<CreateRequest>,
) -> Result<(StatusCode, Json<MeterReply>), ApiError> {
    let now = state.machine_now();
    let filter = request
        .filter
        .map(|filter| Filter::parse(filter.get(), "filter"))
        .transpose()?;
    let meter = Meter {
        id: MeterId::new(fresh("mtr_", now))?,
        name: request.name,
        description: request.description,
        event_name: request.event_name,
        measurement_unit: request.measurement_unit,
        aggregation: request.aggregation,
        filter,
        group_by: request.group_by.unwrap_or_default(),
        archived: false,
        created_at: now,
        updated_at: now,
    };
    write(&state, None, &meter).await?;
    state
        .audit(&key, "meter.created", meter.id.as_str())
        .await?;
    Ok((StatusCode::CREATED, Json(meter.into())))
}

/// `GET /meters`: active ones, or with `archived=true` the archived ones.
pub(super) async fn list(
    State(state): State<ApiState>,
    mut query: Query,
) -> Result<Json<Items<MeterReply>>, ApiError> {
    let page = query.page()?;
    let archived = query.flag("archived")?.unwrap_or(false);
    query.ignore("locale");
    query.finish()?;
    let catalog = state.storage.catalog().await?;
    // Ids sort by their time of birth; lists run from the newest.
    let meters = catalog
        .meters
        .values()
        .rev()
        .filter(|meter| meter.archived == archived);
    Ok(Json(Items::new(
        page.of(meters.cloned().map(MeterReply::from)),
    )))
}

/// `GET /meters/{id}`.
pub(super) async fn get(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<Json<MeterReply>, ApiError> {
    let catalog = state.storage.catalog().await?;
    Ok(Json(find(&catalog, &id)?.clone().into()))
}

/// `PATCH /meters/{id}`.
pub(super) async fn update(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<UpdateRequest>,
) -> Result<Json<MeterReply>, ApiError> {
    let catalog = state.storage.catalog().await?;
    let before = find(&catalog, &id)?;
    let was = before.clone();
    let after = Meter {
        name: request.name.unwrap_or(was.name),
        description: request.description.unwrap_or(was.description),
        measurement_unit: request.measurement_unit.unwrap_or(was.measurement_unit),
        updated_at: state.machine_now(),
        ..before.clone()
    };
    write(&state, Some(before), &after).await?;
    state.audit(&key, "meter.updated", &id).await?;
    Ok(Json(after.into()))
}

/// `DELETE /meters/{id}`: it counts no new events any more; what it counted stays.
pub(super) async fn archive(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    set_archived(&state, &id, true).await?;
    state.audit(&key, "meter.archived", &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /meters/{id}/unarchive`.
pub(super) async fn unarchive(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    set_archived(&state, &id, false).await?;
    state.audit(&key, "meter.unarchived", &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn set_archived(state: &ApiState, id: &str, archived: bool) -> Result<(), ApiError> {
    let catalog = state.storage.catalog().await?;
    let before = find(&catalog, id)?;
    if before.archived == archived {
        return Ok(());
    }
    let after = Meter {
        archived,
        updated_at: state.machine_now(),
        ..before.clone()
    };
    write(state, Some(before), &after).await
}

async fn write(state: &ApiState, before: Option<&Meter>, after: &Meter) -> Result<(), ApiError> {
    after.check()?;
    if let Some(description) = &after.description {
        check_text("description", description)?;
    }
    match state.storage.put_meter(before, after).await? {
        PutOutcome::Written => Ok(()),
        PutOutcome::Conflict => Err(ApiError::concurrent_change("meter", after.id.as_str())),
    }
}

/// Finds a meter or answers 404.
pub(super) fn find<'a>(catalog: &'a CatalogSnapshot, id: &str) -> Result<&'a Meter, ApiError> {
    // The map's key borrows as text, so an id that no meter can have is simply not found.
    catalog
        .meters
        .get(id)
        .ok_or_else(|| ApiError::not_found("METER_NOT_FOUND", "meter", id))
}
