//! `POST /events/ingest`: up to 1000 events that are taken as a whole or not at all.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use submeter_common::event::{
    BatchRejection, Event, EventError, Rejection, RejectionCode, check_batch_horizon, parse_batch,
};

use super::Ingest;
use crate::http::body::{drain, media_type, unsupported};
use crate::http::reply::{ApiError, json};
use crate::pipeline::{EventOutcome, SubmitError};

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
    let events = read(&ingest, &body).inspect_err(|rejection| count(&ingest, rejection))?;
    let mut submission = ingest.pipeline.submission();
    submission.whole = true;
    for event in &events {
        submission.push(event);
    }
    match ingest.pipeline.submit(submission).await {
        Ok(outcomes) => Ok(json(StatusCode::OK, &summary(&outcomes))),
        Err(SubmitError::TooOld { indices }) => Err(too_old(&events, &indices)),
        Err(error) => Err(error.into()),
    }
}

fn read<'a>(ingest: &Ingest, body: &'a [u8]) -> Result<Vec<Event<'a>>, BatchRejection> {
    let now = ingest.clock.now();
    let events = parse_batch(body, now)?;
    check_batch_horizon(&events, now, &ingest.horizon)?;
    Ok(events)
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

fn too_old(events: &[Event<'_>], indices: &[usize]) -> ApiError {
    let errors = indices.iter().filter_map(|&index| {
        let event = events.get(index)?;
        Some(EventError::new(
            index,
            Some(event.event_id.clone().into_owned()),
            behind_watermark(event),
        ))
    });
    match BatchRejection::of_events(events.len(), errors.collect()) {
        Some(rejection) => rejection.into(),
        None => ApiError::internal(&"the pipeline refused events that are not in the request"),
    }
}

/// Says that an event is within the horizon and still too late: the collector was promised that none so old comes.
pub(crate) fn behind_watermark(event: &Event<'_>) -> Rejection {
    let message = format!(
        "timestamp must not lie before the agent's watermark, but is {}; import it instead",
        event.timestamp
    );
    Rejection::new(RejectionCode::TimestampTooOld, Some("timestamp"), message)
}
