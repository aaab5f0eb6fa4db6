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

use super::Context;
use super::body::{drain, media_type, unsupported};
use super::reply::{ApiError, json};
use crate::pipeline::{EventOutcome, SubmitError};

#[derive(Serialize)]
struct IngestReply {
    /// Events of the request that are durably counted now, those seen before included: a retry answers like the first try.
    ingested_count: usize,
    duplicate_count: usize,
    conflict_count: usize,
}

/// Takes a request as a whole; the reply is sent after its events are on stable storage.
pub(super) async fn ingest(
    State(context): State<Arc<Context>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let media_type = media_type(&headers)?;
    if media_type != "application/json" {
        drain(body).await;
        return Err(unsupported(&media_type, "application/json"));
    }
    let (body, _share) = context.budget.read(&headers, body).await?;
    let events = read(&context, &body).inspect_err(|rejection| count(&context, rejection))?;
    let mut submission = context.pipeline.submission();
    submission.whole = true;
    for event in &events {
        submission.push(event);
    }
    match context.pipeline.submit(submission).await {
        Ok(outcomes) => Ok(json(StatusCode::OK, &summary(&outcomes))),
        Err(SubmitError::TooOld { indices }) => Err(too_old(&events, &indices)),
        Err(error) => Err(error.into()),
    }
}

fn read<'a>(context: &Context, body: &'a [u8]) -> Result<Vec<Event<'a>>, BatchRejection> {
    let now = context.clock.now();
    let events = parse_batch(body, now)?;
    check_batch_horizon(&events, now, &context.horizon)?;
    Ok(events)
}

fn count(context: &Context, rejection: &BatchRejection) {
    for error in &rejection.errors {
        context.pipeline.record_rejected(error.code, 1);
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
pub(super) fn behind_watermark(event: &Event<'_>) -> Rejection {
    let message = format!(
        "timestamp must not lie before the agent's watermark, but is {}; import it instead",
        event.timestamp
    );
    Rejection::new(RejectionCode::TimestampTooOld, Some("timestamp"), message)
}
