//! What an operator asks and orders: status, flush, health, metrics.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use submeter_common::protocol::Position;

use crate::flush::FlushStatus;
use crate::ingest::{ApiError, Context, Query, json};
use crate::pipeline::{Health, SealReason, Status};
use crate::telemetry;

/// How long `POST /v1/flush?wait=true` waits unless told otherwise.
const FLUSH_WAIT_SECONDS_DEFAULT: u64 = 30;

/// A wait longer than this is better asked for again.
const FLUSH_WAIT_SECONDS_MAX: u64 = 3600;

/// The agent at one glance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AgentStatus {
    /// The program's version.
    pub version: String,
    /// Whether the agent is stopping.
    pub draining: bool,
    /// What the flusher is doing.
    pub flush: FlushStatus,
    /// What the pipeline holds.
    #[serde(flatten)]
    pub pipeline: Status,
}

/// What became of a flush.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FlushReply {
    /// Everything acknowledged to applications so far is in frames up to this one.
    pub sealed: Position,
    /// The newest frame the collector holds.
    pub acknowledged: Position,
    /// Whether the collector holds everything up to `sealed`.
    pub complete: bool,
    /// What the flusher is doing.
    pub flush: FlushStatus,
}

#[derive(Serialize)]
struct Probe {
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
}

/// `GET /v1/status`.
pub(crate) async fn status(State(context): State<Arc<Context>>) -> Response {
    let status = AgentStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        draining: context.is_draining(),
        flush: context.flush.status(),
        pipeline: context.pipeline.status(),
    };
    json(StatusCode::OK, &status)
}

/// `POST /v1/flush[?wait=true[&timeout_seconds=N]]`: seals what is open and sends it now.
pub(crate) async fn flush(
    State(context): State<Arc<Context>>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let query = Query::of(&uri)?;
    let wait = query.flag("wait")?;
    let seconds = query
        .number("timeout_seconds", 0, FLUSH_WAIT_SECONDS_MAX)?
        .unwrap_or(FLUSH_WAIT_SECONDS_DEFAULT);
    let sealed = context.pipeline.seal(SealReason::Requested).await?;
    context.flush.nudge();
    let limit = if wait {
        Duration::from_secs(seconds)
    } else {
        Duration::ZERO
    };
    let complete = context.flush.wait_for(sealed, limit).await;
    let acknowledged = context.pipeline.outbox().acknowledged();
    Ok(json(
        StatusCode::OK,
        &FlushReply {
            sealed,
            acknowledged,
            complete,
            flush: context.flush.status(),
        },
    ))
}

/// `GET /healthz`: whether the process works at all. A supervisor restarts it when not.
pub(crate) async fn healthz(State(context): State<Arc<Context>>) -> Response {
    match context.pipeline.poison_reason() {
        None => json(
            StatusCode::OK,
            &Probe {
                status: "ok",
                reasons: Vec::new(),
            },
        ),
        Some(reason) => json(
            StatusCode::SERVICE_UNAVAILABLE,
            &Probe {
                status: "failed",
                reasons: vec![reason],
            },
        ),
    }
}

/// `GET /readyz`: whether events are taken. A collector that is away does not matter here.
pub(crate) async fn readyz(State(context): State<Arc<Context>>) -> Response {
    let mut reasons: Vec<String> = context.pipeline.poison_reason().into_iter().collect();
    if context.is_draining() {
        reasons.push("the agent is stopping".to_owned());
    }
    if let Health::Degraded { reasons: more } = context.pipeline.status().health {
        reasons.extend(more);
    }
    if reasons.is_empty() {
        json(
            StatusCode::OK,
            &Probe {
                status: "ready",
                reasons,
            },
        )
    } else {
        json(
            StatusCode::SERVICE_UNAVAILABLE,
            &Probe {
                status: "not ready",
                reasons,
            },
        )
    }
}

/// `GET /metrics`, in the text format of Prometheus.
pub(crate) async fn metrics(State(context): State<Arc<Context>>) -> Response {
    let text = telemetry::render(&context.pipeline.status());
    (
        [(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; version=0.0.4"),
        )],
        text,
    )
        .into_response()
}
