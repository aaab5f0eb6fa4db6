//! `/v1/imports`: past events in order, resumable by line.
//!
//! An import is named by its file's digest. The line it has come to is advanced in the same atomic write as the events of the
//! lines before it, so that neither a crash nor a lost reply takes a line twice, however long ago it began. While it is
//! open it holds the watermark back.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use submeter_common::event::Horizon;
use submeter_common::id::check_id;

use super::Ingest;
use super::native::{Stream, Tally, take_lines};
use crate::budget::Budget;
use crate::http::body::{drain, media_type, unsupported};
use crate::http::query::{PathId, Query};
use crate::http::reply::{ApiError, json};
use crate::pipeline::{ImportRequest, ImportState, ImportStatus, PipelineError};

/// Ten years; usage older than that is nobody's invoice.
const MAX_AGE_SECONDS_MAX: u64 = 3653 * 86_400;

/// What begins an import.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BeginImport {
    /// Names the import: the digest of its file.
    pub(crate) id: String,
    /// What people call it: the file's name.
    pub(crate) name: String,
    /// How old its events may be.
    pub(crate) max_age_seconds: u64,
}

#[derive(Serialize)]
struct ImportItems {
    items: Vec<ImportState>,
}

#[derive(Serialize)]
struct ChunkReply {
    lines_done: u64,
    #[serde(flatten)]
    tally: Tally,
}

pub(crate) async fn list(State(ingest): State<Arc<Ingest>>) -> Response {
    json(
        StatusCode::OK,
        &ImportItems {
            items: ingest.pipeline.imports(),
        },
    )
}

/// Begins an import, or answers how far the import of that id is.
pub(crate) async fn begin(
    State(ingest): State<Arc<Ingest>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let media_type = media_type(&headers)?;
    if media_type != "application/json" {
        drain(body).await;
        return Err(unsupported(&media_type, "application/json"));
    }
    let (body, _share) = ingest.budget.read(&headers, body).await?;
    let request: BeginImport = serde_json::from_slice(&body).map_err(|error| {
        ApiError::unprocessable(
            "MALFORMED_REQUEST",
            format!("the body must be {{\"id\", \"name\", \"max_age_seconds\"}}: {error}"),
        )
    })?;
    check_id("id", &request.id)
        .and_then(|()| check_id("name", &request.name))
        .map_err(|error| invalid(error.to_string()))?;
    if request.max_age_seconds == 0 || request.max_age_seconds > MAX_AGE_SECONDS_MAX {
        return Err(invalid(format!(
            "max_age_seconds must be from 1 to {MAX_AGE_SECONDS_MAX}, but is {}",
            request.max_age_seconds
        )));
    }
    let max_age = Duration::from_secs(request.max_age_seconds);
    let state = ingest
        .pipeline
        .begin_import(ImportRequest {
            id: request.id,
            name: request.name,
            max_age,
        })
        .await
        .map_err(|error| match error {
            PipelineError::Invalid(message) => {
                Budget::Imports.hit();
                ApiError::new(StatusCode::CONFLICT, "TOO_MANY_IMPORTS", message)
            }
            error => error.into(),
        })?;
    Ok(json(StatusCode::OK, &state))
}

/// Takes a part of an import's lines. Lines that are done already are passed over, so that a part may be sent again.
pub(crate) async fn events(
    State(ingest): State<Arc<Ingest>>,
    PathId(id): PathId,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let media_type = media_type(&headers)?;
    if !matches!(
        media_type.as_str(),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl"
    ) {
        drain(body).await;
        return Err(unsupported(&media_type, "application/x-ndjson"));
    }
    let first_line: u64 = Query::of(&uri)?
        .number("first_line", 0, u64::MAX / 2)?
        .ok_or_else(|| {
            ApiError::unprocessable(
                "INVALID_QUERY",
                "first_line is required: the number of the body's first line in the file, from 0",
            )
        })?;
    // One part at a time: each must find the line where the one before it ended.
    let _one_at_a_time = ingest.imports.lock().await;
    let state = find(&ingest, &id)?;
    match state.status {
        ImportStatus::Open => {}
        ImportStatus::Complete => return Err(already_complete()),
        ImportStatus::Abandoned => return Err(abandoned()),
    }
    if first_line > state.lines_done {
        let message = format!(
            "first_line is {first_line}, but the import goes on at line {}",
            state.lines_done
        );
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "IMPORT_OUT_OF_ORDER",
            message,
        ));
    }
    let horizon = Horizon {
        past: ingest.clock.now().since(state.oldest),
        future: ingest.horizon.future,
    };
    let mut stream = Stream {
        first_line,
        lines_done: state.lines_done,
        import: Some(&id),
        horizon,
    };
    let mut tally = Tally::default();
    take_lines(&ingest, body, &mut stream, &mut tally).await?;
    Ok(json(
        StatusCode::OK,
        &ChunkReply {
            lines_done: find(&ingest, &id)?.lines_done,
            tally,
        },
    ))
}

/// Ends an import: the watermark is free again.
pub(crate) async fn complete(
    State(ingest): State<Arc<Ingest>>,
    PathId(id): PathId,
) -> Result<Response, ApiError> {
    let _one_at_a_time = ingest.imports.lock().await;
    let state = ingest
        .pipeline
        .complete_import(&id)
        .await?
        .ok_or_else(|| unknown(&id))?;
    if state.status == ImportStatus::Abandoned {
        return Err(abandoned());
    }
    Ok(json(StatusCode::OK, &state))
}

/// Gives an import up: what it brought stays counted, and begun again it goes on behind that.
pub(crate) async fn abandon(
    State(ingest): State<Arc<Ingest>>,
    PathId(id): PathId,
) -> Result<Response, ApiError> {
    let _one_at_a_time = ingest.imports.lock().await;
    let state = ingest
        .pipeline
        .abandon_import(&id)
        .await?
        .ok_or_else(|| unknown(&id))?;
    if state.status == ImportStatus::Complete {
        return Err(already_complete());
    }
    Ok(json(StatusCode::OK, &state))
}

fn find(ingest: &Ingest, id: &str) -> Result<ImportState, ApiError> {
    ingest.pipeline.import(id)?.ok_or_else(|| unknown(id))
}

fn already_complete() -> ApiError {
    ApiError::new(
        StatusCode::CONFLICT,
        "IMPORT_COMPLETE",
        "this import is complete; nothing was changed",
    )
}

fn abandoned() -> ApiError {
    ApiError::new(
        StatusCode::CONFLICT,
        "IMPORT_ABANDONED",
        "this import was abandoned and nothing was changed; begin it with POST /v1/imports to go on behind the lines it has done",
    )
}

fn unknown(id: &str) -> ApiError {
    ApiError::not_found(
        "IMPORT_NOT_FOUND",
        format!("there is no import {id:?}; begin it with POST /v1/imports"),
    )
}

fn invalid(message: String) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "INVALID_FIELD", message)
}
