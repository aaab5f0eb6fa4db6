//! Questions about what the agent holds, answered off the threads that serve requests.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;

use super::Admin;
use crate::http::query::Query;
use crate::http::reply::{ApiError, json};
use crate::inspection::{InspectError, Parameters, Question};

/// Answers in the making at one time; further questions wait.
pub(super) const LOOKS_MAX: usize = 2;

/// `GET` of a question's path.
pub(crate) async fn inspect<Q: Question>(
    State(admin): State<Arc<Admin>>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let query = Query::of(&uri)?;
    let question = Q::read(&Parameters(&|name| query.text(name)))?;
    let _room = admin
        .looks
        .acquire()
        .await
        .map_err(|error| ApiError::internal(&error))?;
    let pipeline = admin.pipeline.clone();
    let answer = tokio::task::spawn_blocking(move || question.ask(&pipeline.inspection()))
        .await
        .map_err(|error| ApiError::internal(&error))??;
    Ok(json(StatusCode::OK, &answer))
}

impl From<InspectError> for ApiError {
    fn from(error: InspectError) -> Self {
        match error {
            InspectError::Question(message) => Self::unprocessable("INVALID_QUERY", message),
            InspectError::NotFound(message) => Self::not_found("NOT_FOUND", message),
            InspectError::Store(error) => Self::internal(&error),
        }
    }
}
