//! `GET /events` and `GET /events/{event_id}`: accepted events, for as far as the journal is retained.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::ser::{Error as _, SerializeMap as _};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use submeter_common::time::Timestamp;

use super::Ingest;
use crate::http::query::{PathId, Query};
use crate::http::reply::{ApiError, json};
use crate::pipeline::{EventQuery, PipelineError, StoredEvent, StoredValue};

/// There is one business in a Submeter installation; the compatible API wants it named.
const BUSINESS_ID: &str = "biz_submeter";

const PAGE_SIZE_DEFAULT: usize = 10;
const PAGE_SIZE_MAX: usize = 100;

/// Pages end here: the walk to a page costs as much as all pages before it.
const PAGE_NUMBER_MAX: usize = 1_000_000;

#[derive(Serialize)]
struct EventReply {
    business_id: &'static str,
    event_id: String,
    customer_id: String,
    event_name: String,
    timestamp: Timestamp,
    metadata: Metadata,
}

#[derive(Serialize)]
struct EventItems {
    items: Vec<EventReply>,
}

pub(crate) async fn list(
    State(ingest): State<Arc<Ingest>>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let query = Query::of(&uri)?;
    let page_size = query
        .number("page_size", 1, PAGE_SIZE_MAX)?
        .unwrap_or(PAGE_SIZE_DEFAULT);
    let page_number = query
        .number("page_number", 0, PAGE_NUMBER_MAX)?
        .unwrap_or(0);
    let wanted = EventQuery {
        customer_id: query.text("customer_id"),
        event_name: query.text("event_name"),
        meter_id: query.text("meter_id"),
        start: query.timestamp("start")?,
        end: query.timestamp("end")?,
        skip: page_number.saturating_mul(page_size),
        limit: page_size,
    };
    let found = blocking(&ingest, move |ingest| ingest.pipeline.events(&wanted)).await?;
    Ok(json(
        StatusCode::OK,
        &EventItems {
            items: found.into_iter().map(EventReply::from).collect(),
        },
    ))
}

pub(crate) async fn get(
    State(ingest): State<Arc<Ingest>>,
    PathId(event_id): PathId,
) -> Result<Response, ApiError> {
    let wanted = event_id.clone();
    let found = blocking(&ingest, move |ingest| ingest.pipeline.event(&wanted)).await?;
    match found {
        Some(event) => Ok(json(StatusCode::OK, &EventReply::from(event))),
        None => Err(ApiError::not_found(
            "EVENT_NOT_FOUND",
            format!("no event {event_id:?} is in this agent's retained journal"),
        )),
    }
}

/// Runs a look-up that reads the disk off the threads that serve requests.
async fn blocking<T: Send + 'static>(
    ingest: &Arc<Ingest>,
    look_up: impl FnOnce(&Ingest) -> Result<T, PipelineError> + Send + 'static,
) -> Result<T, ApiError> {
    let ingest = Arc::clone(ingest);
    let found = tokio::task::spawn_blocking(move || look_up(&ingest))
        .await
        .map_err(|error| ApiError::internal(&error))?;
    Ok(found?)
}

impl From<StoredEvent> for EventReply {
    fn from(event: StoredEvent) -> Self {
        Self {
            business_id: BUSINESS_ID,
            event_id: event.event_id,
            customer_id: event.customer_id,
            event_name: event.event_name,
            timestamp: event.timestamp,
            metadata: Metadata(event.metadata),
        }
    }
}

/// Metadata as it was sent: numbers are JSON numbers with all their digits.
struct Metadata(Vec<(String, StoredValue)>);

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            match value {
                StoredValue::String(text) => map.serialize_entry(key, text)?,
                StoredValue::Bool(flag) => map.serialize_entry(key, flag)?,
                StoredValue::Number(number) => {
                    let digits =
                        RawValue::from_string(number.to_string()).map_err(S::Error::custom)?;
                    map.serialize_entry(key, &digits)?;
                }
            }
        }
        map.end()
    }
}
