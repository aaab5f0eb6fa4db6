//! `POST /events/ingest`: up to 1000 events that are taken as a whole or not at all.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use submeter_common::event::{
    BatchRejection, Event, EventError, Rejection, RejectionCode, read_batch,
};
use submeter_common::time::Timestamp;

use super::Ingest;
use crate::http::body::{drain, media_type, unsupported};
use crate::http::reply::{ApiError, json};
use crate::pipeline::{EventOutcome, SubmitError};

/// What events of this and of the native endpoint call their time.
pub(crate) const TIMESTAMP: &str = "timestamp";

#[derive(Serialize)]
struct IngestReply {
    /// Events of the request that are durably counted now, those seen before included: a retry answers like the first try.
    ingested_count: usize,
    duplicate_count: usize,
    conflict_count: usize,
}

/// Takes a request as a whole; the reply is sent after its events are on stable storage.
pub(crate) async fn ingest(
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
    let read =
        |now, each: &mut dyn FnMut(&Event<'_>)| read_batch(&body, now, &ingest.horizon, each);
    let outcomes = take_whole(&ingest, TIMESTAMP, body.len(), read).await?;
    Ok(json(StatusCode::OK, &summary(&outcomes)))
}

/// Takes all events of a request or none.
///
/// `time_field` is what the sender calls an event's time; `read` hands over the events of the request and says how many
/// they are.
pub(crate) async fn take_whole(
    ingest: &Ingest,
    time_field: &str,
    request_bytes: usize,
    read: impl Fn(Timestamp, &mut dyn FnMut(&Event<'_>)) -> Result<usize, BatchRejection>,
) -> Result<Vec<EventOutcome>, ApiError> {
    let now = ingest.clock.now();
    let mut submission = ingest.pipeline.submission();
    submission.whole = true;
    submission.reserve(request_bytes);
    read(now, &mut |event| submission.push(event))
        .inspect_err(|rejection| count(ingest, rejection))?;
    if submission.is_empty() {
        return Ok(Vec::new());
    }
    match ingest.pipeline.submit(submission).await {
        Err(SubmitError::TooOld { indices }) => {
            let mut index = 0;
            let mut errors = Vec::new();
            // Rare, so the events are read a second time to name them.
            let events = read(now, &mut |event| {
                if indices.contains(&index) {
                    errors.push(too_old(time_field, index, event));
                }
                index += 1;
            })?;
            Err(match BatchRejection::of_events(events, errors) {
                Some(rejection) => rejection.into(),
                None => {
                    ApiError::internal(&"the pipeline refused events that are not in the request")
                }
            })
        }
        submitted => Ok(submitted?),
    }
}

fn count(ingest: &Ingest, rejection: &BatchRejection) {
    for error in &rejection.errors {
        ingest.pipeline.record_rejected(error.code, 1);
    }
}

fn summary(outcomes: &[EventOutcome]) -> IngestReply {
    let of = |wanted| {
        outcomes
            .iter()
            .filter(|outcome| **outcome == wanted)
            .count()
    };
    IngestReply {
        ingested_count: outcomes.len(),
        duplicate_count: of(EventOutcome::Duplicate),
        conflict_count: of(EventOutcome::Conflict),
    }
}

fn too_old(time_field: &str, index: usize, event: &Event<'_>) -> EventError {
    let id = event.event_id.clone().into_owned();
    EventError::new(index, Some(id), behind_watermark(time_field, event))
}

/// Says that an event is within the horizon and still too late: the collector was promised that none so old comes.
pub(crate) fn behind_watermark(time_field: &str, event: &Event<'_>) -> Rejection {
    let message = format!(
        "{time_field} must not lie before the agent's watermark, but is {}; import it instead",
        event.timestamp
    );
    Rejection::new(RejectionCode::TimestampTooOld, Some(time_field), message)
}
