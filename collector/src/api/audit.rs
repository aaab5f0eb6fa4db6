//! `/v1/audit`: who changed what, and what looked wrong.

use axum::Json;
use axum::extract::State;

use super::error::ApiError;
use super::query::Query;
use super::reply::Items;
use super::state::ApiState;
use crate::storage::AuditRecord;

/// `GET /v1/audit`, newest first.
pub(super) async fn list(
    State(state): State<ApiState>,
    mut query: Query,
) -> Result<Json<Items<AuditRecord>>, ApiError> {
    let page = query.page()?;
    query.finish()?;
    Ok(Json(Items::new(state.storage.audit(page).await?)))
}
