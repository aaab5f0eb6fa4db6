//! `/healthz`, `/readyz`, `/metrics`: for supervisors and scrapers, without a key. They tell nothing about customers.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use metrics::{counter, gauge};
use serde_json::{Value, json};

use super::error::ApiError;
use super::state::ApiState;
use crate::storage::{DiskRoom, StorageError};
use crate::telemetry::{DISK_BUDGET, metric};

/// `GET /healthz`: the process answers.
pub(super) async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// `GET /readyz`: the store reads and writes, and there is room for usage.
pub(super) async fn readyz(State(state): State<ApiState>) -> Result<Json<Value>, ApiError> {
    state.storage.health().await.map_err(not_ready)?;
    Ok(Json(json!({ "status": "ready" })))
}

fn not_ready(error: StorageError) -> ApiError {
    match error {
        // It says nothing that a supervisor may not know, and was logged when it began.
        StorageError::DiskFull(_) => error.into(),
        error => {
            tracing::warn!(%error, "not ready: the storage is not well");
            ApiError::unavailable("the storage cannot serve now; the collector's log says why")
        }
    }
}

/// `GET /metrics` in Prometheus' text form.
pub(super) async fn metrics(State(state): State<ApiState>) -> impl IntoResponse {
    state.metrics.run_upkeep();
    state.rooms.observe();
    state.storage.disk().iter().for_each(observe);
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        state.metrics.render(),
    )
}

fn observe(disk: &DiskRoom) {
    gauge!(metric::DISK_FREE_BYTES).set(disk.free as f64);
    gauge!(metric::BUDGET_LIMIT, "budget" => DISK_BUDGET).set(disk.reserve as f64);
    counter!(metric::BUDGET_HITS, "budget" => DISK_BUDGET).increment(0);
}
