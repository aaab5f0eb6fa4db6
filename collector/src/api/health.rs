//! `/healthz`, `/readyz`, `/metrics`: for supervisors and scrapers, without a key. They tell nothing about customers.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::error::ApiError;
use super::state::ApiState;

/// `GET /healthz`: the process answers.
pub(super) async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// `GET /readyz`: the store reads and writes too.
pub(super) async fn readyz(State(state): State<ApiState>) -> Result<Json<Value>, ApiError> {
    state.storage.health().await.map_err(|error| {
        tracing::warn!(%error, "not ready: the storage is not well");
        ApiError::unavailable("the storage cannot serve now; the collector's log says why")
    })?;
    Ok(Json(json!({ "status": "ready" })))
}

/// `GET /metrics` in Prometheus' text form.
pub(super) async fn metrics(State(state): State<ApiState>) -> impl IntoResponse {
    state.metrics.run_upkeep();
    state.rooms.observe();
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        state.metrics.render(),
    )
}
