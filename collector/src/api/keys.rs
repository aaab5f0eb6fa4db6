//! `/v1/keys`: makes, lists and revokes API keys.
//!
//! A key hands on no more than it has: it creates and revokes only keys whose scopes it holds itself.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use submeter_common::time::Timestamp;

use super::access::Caller;
use super::body::JsonBody;
use super::error::ApiError;
use super::field::check_name;
use super::query::Query;
use super::reply::Items;
use super::state::ApiState;
use crate::auth::{ApiKey, Scopes, Secret};
use crate::storage::{InsertOutcome, RevokeOutcome};

/// What creates a key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateRequest {
    name: String,
    scopes: Scopes,
}

/// A key in replies; never with its hash.
#[derive(Serialize)]
pub(super) struct KeyReply {
    key_id: String,
    name: String,
    scopes: Scopes,
    created_at: Timestamp,
    revoked_at: Option<Timestamp>,
    /// The secret, in the one reply that creates it.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl From<ApiKey> for KeyReply {
    fn from(key: ApiKey) -> Self {
        Self {
            key_id: key.key_id,
            name: key.name,
            scopes: key.scopes,
            created_at: key.created_at,
            revoked_at: key.revoked_at,
            key: None,
        }
    }
}

/// `POST /v1/keys`.
pub(super) async fn create(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    JsonBody(request): JsonBody<CreateRequest>,
) -> Result<(StatusCode, Json<KeyReply>), ApiError> {
    check_name("name", &request.name)?;
    if request.scopes.is_empty() {
        return Err(ApiError::field(
            "scopes",
            "expected at least one of read, write, ingest, agent",
        ));
    }
    expect_included(&caller, &request.scopes, "create")?;
    let secret = Secret::generate().map_err(ApiError::internal)?;
    let key = ApiKey::new(request.name, request.scopes, &secret, state.machine_now());
    match state.storage.insert_key(&key).await? {
        InsertOutcome::Inserted => {}
        InsertOutcome::Exists => {
            return Err(ApiError::internal("a fresh key collided with a stored one"));
        }
    }
    state.audit(&caller, "key.created", &key.key_id).await?;
    let reply = KeyReply {
        key: Some(secret.reveal().to_owned()),
        ..key.into()
    };
    Ok((StatusCode::CREATED, Json(reply)))
}

/// `GET /v1/keys`, newest first, revoked ones too.
pub(super) async fn list(
    State(state): State<ApiState>,
    mut query: Query,
) -> Result<Json<Items<KeyReply>>, ApiError> {
    let page = query.page()?;
    query.finish()?;
    let keys = state.storage.keys().await?;
    Ok(Json(Items::new(
        page.of(keys.into_iter().map(KeyReply::from)),
    )))
}

/// `DELETE /v1/keys/{id}`. Revoking twice is one revocation.
pub(super) async fn revoke(
    State(state): State<ApiState>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let not_found = || ApiError::not_found("KEY_NOT_FOUND", "key", &id);
    let keys = state.storage.keys().await?;
    let key = keys
        .iter()
        .find(|key| key.key_id == id)
        .ok_or_else(not_found)?;
    expect_included(&caller, &key.scopes, "revoke")?;
    if key.revoked_at.is_none() && is_last_complete(key, &keys) {
        return Err(ApiError::conflict(
            "LAST_COMPLETE_KEY",
            "this is the last key with every scope, and nobody could make another: create one first",
        ));
    }
    match state.storage.revoke_key(&id, state.machine_now()).await? {
        RevokeOutcome::Revoked => state.audit(&caller, "key.revoked", &id).await?,
        RevokeOutcome::AlreadyRevoked => {}
        RevokeOutcome::NotFound => return Err(not_found()),
    }
    Ok(StatusCode::NO_CONTENT)
}

fn expect_included(caller: &ApiKey, scopes: &Scopes, verb: &str) -> Result<(), ApiError> {
    if caller.scopes.includes(scopes) {
        return Ok(());
    }
    let message = format!(
        "this key holds the scopes {} and cannot {verb} a key with {scopes}",
        caller.scopes
    );
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "MISSING_SCOPE",
        message,
    ))
}

fn is_last_complete(key: &ApiKey, keys: &[ApiKey]) -> bool {
    let complete = |key: &&ApiKey| key.revoked_at.is_none() && key.scopes == Scopes::all();
    complete(&key) && keys.iter().filter(complete).count() == 1
}
