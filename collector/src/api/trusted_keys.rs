//! `/v1/trusted-keys`: whose bundles are taken.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use submeter_common::signature::PublicKey;

use super::access::Caller;
use super::body::JsonBody;
use super::error::ApiError;
use super::field::check_name;
use super::query::Query;
use super::reply::Items;
use super::state::ApiState;
use crate::storage::{InsertOutcome, TrustedKey};

/// What trusts a key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrustRequest {
    public_key: PublicKey,
    name: String,
}

/// `POST /v1/trusted-keys`.
pub(super) async fn trust(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    JsonBody(request): JsonBody<TrustRequest>,
) -> Result<(StatusCode, Json<TrustedKey>), ApiError> {
    check_name("name", &request.name)?;
    let key = TrustedKey {
        public_key: request.public_key,
        name: request.name,
        trusted_at: state.machine_now(),
    };
    match state.storage.trust_key(&key).await? {
        InsertOutcome::Inserted => {}
        InsertOutcome::Exists => {
            let message = format!("{} is trusted already", key.public_key);
            return Err(ApiError::conflict("TRUSTED_ALREADY", message));
        }
    }
    let subject = key.public_key.to_string();
    state.audit(&caller, "bundle_key.trusted", &subject).await?;
    Ok((StatusCode::CREATED, Json(key)))
}

/// `GET /v1/trusted-keys`.
pub(super) async fn list(
    State(state): State<ApiState>,
    mut query: Query,
) -> Result<Json<Items<TrustedKey>>, ApiError> {
    let page = query.page()?;
    query.finish()?;
    let keys = state.storage.trusted_keys().await?;
    Ok(Json(Items::new(page.of(keys.into_iter()))))
}

/// `DELETE /v1/trusted-keys/{public_key}`. What was applied stays applied.
pub(super) async fn distrust(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Path(key): Path<String>,
) -> Result<StatusCode, ApiError> {
    let not_found = || ApiError::not_found("KEY_NOT_FOUND", "trusted key", &key);
    let public_key: PublicKey = key.parse().map_err(|_| not_found())?;
    if !state.storage.distrust_key(&public_key).await? {
        return Err(not_found());
    }
    state.audit(&caller, "bundle_key.distrusted", &key).await?;
    Ok(StatusCode::NO_CONTENT)
}
