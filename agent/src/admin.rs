//! What an operator asks and orders: status, flush, health, metrics.

mod bundle;
mod inspect;
mod tail;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use submeter_common::protocol::Position;
use submeter_common::time::Clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::budget::Budget;
use crate::flush::{FlushHandle, FlushState, FlushStatus};
use crate::http::body::BodyRoom;
use crate::http::query::Query;
use crate::http::reply::{ApiError, json};
use crate::pipeline::{Health, Pipeline, SealReason, Status};
use crate::telemetry;

pub(crate) use bundle::{PublicKeyReply, bundle, public_key, receipt};
pub(crate) use inspect::inspect;
pub(crate) use tail::tail;

/// How long `POST /v1/flush?wait=true` waits unless told otherwise.
const FLUSH_WAIT_SECONDS_DEFAULT: u64 = 30;

/// A wait longer than this is better asked for again.
const FLUSH_WAIT_SECONDS_MAX: u64 = 3600;

/// Tails and bundles under way at one time; further ones are refused.
const STREAMS_MAX: usize = 4;

/// When all of them are taken.
const STREAMS_RETRY_AFTER: Duration = Duration::from_secs(5);

/// What the handlers of operators work with.
pub(crate) struct Admin {
    pipeline: Pipeline,
    flush: FlushHandle,
    clock: Arc<dyn Clock>,
    bodies: BodyRoom,
    receipts: BodyRoom,
    draining: watch::Sender<bool>,
    /// Room for answers that read the disk: looking must not take the machine from the hot path.
    looks: Semaphore,
    /// Room for replies that go on for long.
    streams: Arc<Semaphore>,
}

impl Admin {
    /// Looks at `pipeline`, at the flusher behind `flush` and at the room that `bodies` take.
    pub(crate) fn new(
        pipeline: Pipeline,
        flush: FlushHandle,
        clock: Arc<dyn Clock>,
        bodies: BodyRoom,
    ) -> Self {
        Self {
            pipeline,
            flush,
            clock,
            receipts: bodies.apart(bundle::RECEIPT_BYTES_MAX),
            bodies,
            draining: watch::Sender::new(false),
            looks: Semaphore::new(inspect::LOOKS_MAX),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        }
    }

    /// Makes `/readyz` say that the agent is stopping, before the door is closed.
    pub(crate) fn begin_draining(&self) {
        self.draining.send_replace(true);
    }

    /// Resolves when the agent stops.
    async fn drained(&self) {
        // The sender lives as long as this does.
        let _ = self.draining.subscribe().wait_for(|stops| *stops).await;
    }

    /// Takes room for a reply that goes on for long.
    fn stream(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        Arc::clone(&self.streams).try_acquire_owned().map_err(|_| {
            ApiError::unavailable(
                "TOO_MANY_STREAMS",
                format!("{STREAMS_MAX} tails and exports are under way already; try again later"),
                STREAMS_RETRY_AFTER,
            )
        })
    }

    fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }
}

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
    /// Whether the collector holds everything that was acknowledged before the call, counted by its newest catalog.
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
pub(crate) async fn status(State(admin): State<Arc<Admin>>) -> Response {
    let status = AgentStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        draining: admin.is_draining(),
        flush: admin.flush.status(),
        pipeline: admin.pipeline.status(),
    };
    json(StatusCode::OK, &status)
}

/// `POST /v1/flush[?wait=true[&timeout_seconds=N]]`: seals what is open and sends it now.
pub(crate) async fn flush(State(admin): State<Arc<Admin>>, uri: Uri) -> Result<Response, ApiError> {
    let query = Query::of(&uri)?;
    let wait = query.flag("wait")?;
    let seconds = query
        .number("timeout_seconds", 0, FLUSH_WAIT_SECONDS_MAX)?
        .unwrap_or(FLUSH_WAIT_SECONDS_DEFAULT);
    // Sealed here too, so that what is open is frozen even while the collector is away.
    admin.pipeline.seal(SealReason::Requested).await?;
    let ticket = admin.flush.request();
    let outbox = admin.pipeline.outbox();
    let can_wait = admin.flush.status().state != FlushState::NoCollector;
    let complete = if wait && can_wait {
        let limit = Duration::from_secs(seconds);
        admin.flush.wait_for(ticket, limit).await
    } else {
        outbox.acknowledged().seq == outbox.sealed().seq
    };
    Ok(json(
        StatusCode::OK,
        &FlushReply {
            sealed: outbox.sealed(),
            acknowledged: outbox.acknowledged(),
            complete,
            flush: admin.flush.status(),
        },
    ))
}

/// `GET /healthz`: whether the process works at all. A supervisor restarts it when not.
pub(crate) async fn healthz(State(admin): State<Arc<Admin>>) -> Response {
    match admin.pipeline.poison_reason() {
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
pub(crate) async fn readyz(State(admin): State<Arc<Admin>>) -> Response {
    let mut reasons: Vec<String> = admin.pipeline.poison_reason().into_iter().collect();
    if admin.is_draining() {
        reasons.push("the agent is stopping".to_owned());
    }
    if let Health::Degraded { reasons: more } = admin.pipeline.status().health {
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
pub(crate) async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    Budget::RequestsBytes.note_used(admin.bodies.used() as f64);
    let text = telemetry::render(&admin.pipeline.status(), admin.clock.now());
    (
        [(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; version=0.0.4"),
        )],
        text,
    )
        .into_response()
}
