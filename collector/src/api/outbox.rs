//! `/v1/outbox`: what the world is told, in order, for whoever delivers it or wants to follow it.

use axum::Json;
use axum::extract::State;

use super::error::ApiError;
use super::query::Query;
use super::reply::Items;
use super::state::ApiState;
use crate::outbox::Message;

/// Messages of one answer.
const LIMIT_MAX: u32 = 1000;

/// `GET /v1/outbox?after&limit`, oldest first, behind the sequence `after`.
pub(super) async fn list(
    State(state): State<ApiState>,
    mut query: Query,
) -> Result<Json<Items<Message>>, ApiError> {
    let after = query.text("after")?;
    let limit = query.number("limit", 1, LIMIT_MAX, 100)?;
    query.finish()?;
    let after = after.as_deref().map_or(Ok(0), str::parse).map_err(|_| {
        ApiError::field(
            "after",
            "expected the sequence of a message, or 0 for the first",
        )
    })?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let messages = state.storage.messages(after, limit).await?;
    Ok(Json(Items::new(messages)))
}
