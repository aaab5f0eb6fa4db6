//! `POST /api/v1/events`: CloudEvents, one, a batch or in the binary mode, taken as a whole or not at all.
//!
//! The path and the plain `application/json` beside the media types of the specification are those of OpenMeter, whose
//! clients send here unchanged. What the attributes mean is in `submeter_common::event::cloudevents`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use submeter_common::event::cloudevents::{Shape, TIME, parse_binary, parse_json};
use submeter_common::event::{BatchRejection, Event, check_batch_horizon};
use submeter_common::time::Timestamp;

use super::Ingest;
use super::compatible::take_whole;
use crate::http::body::{drain, media_type, unsupported};
use crate::http::reply::ApiError;

const HEADER_PREFIX: &str = "ce-";

/// How the events of a request are written.
enum Mode {
    Json(Shape),
    Binary,
}

/// Takes a request as a whole; 204 is sent after its events are on stable storage, those seen before included.
pub(crate) async fn ingest(
    State(ingest): State<Arc<Ingest>>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let media_type = media_type(&headers)?;
    let Some(mode) = mode(&headers, &media_type) else {
        drain(body).await;
        return Err(unsupported(
            &media_type,
            "application/cloudevents+json, application/cloudevents-batch+json, or headers that begin with ce-",
        ));
    };
    let (body, _share) = ingest.budget.read(&headers, body).await?;
    match mode {
        Mode::Json(shape) => {
            let read =
                |now, each: Each<'_>| hand_over(&ingest, parse_json(&body, shape, now)?, now, each);
            take_whole(&ingest, TIME, body.len(), read).await?;
        }
        Mode::Binary => {
            let content_type = headers
                .get(CONTENT_TYPE)
                .and_then(|value| value.to_str().ok());
            let read = |now, each: Each<'_>| {
                let event = parse_binary(attributes(&headers), content_type, &body, now)?;
                hand_over(&ingest, vec![event], now, each)
            };
            take_whole(&ingest, TIME, body.len(), read).await?;
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Takes one event after another.
type Each<'e> = &'e mut dyn FnMut(&Event<'_>);

/// Checks the events' times and hands them over.
fn hand_over(
    ingest: &Ingest,
    events: Vec<Event<'_>>,
    now: Timestamp,
    each: Each<'_>,
) -> Result<usize, BatchRejection> {
    check_batch_horizon(&events, TIME, now, &ingest.horizon)?;
    events.iter().for_each(each);
    Ok(events.len())
}

/// The mode, as the specification tells them apart: by the media type, and binary when it is another one.
fn mode(headers: &HeaderMap, media_type: &str) -> Option<Mode> {
    match media_type {
        "application/cloudevents+json" => Some(Mode::Json(Shape::Event)),
        "application/cloudevents-batch+json" => Some(Mode::Json(Shape::Batch)),
        other if other.starts_with("application/cloudevents") => None,
        _ if attributes(headers).next().is_some() => Some(Mode::Binary),
        "application/json" => Some(Mode::Json(Shape::Either)),
        _ => None,
    }
}

/// The attributes in the headers; hyper has put their names in lower case.
fn attributes(headers: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    headers.iter().filter_map(|(name, value)| {
        let attribute = name.as_str().strip_prefix(HEADER_PREFIX)?;
        Some((attribute, value.as_bytes()))
    })
}
