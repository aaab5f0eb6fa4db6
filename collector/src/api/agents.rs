//! `/v1/agents`: what agents say (register, frames) and what people ask about them.

use std::collections::BTreeSet;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use metrics::counter;
use serde::Serialize;
use submeter_common::id::{AgentId, Digest};
use submeter_common::limits::FRAME_BYTES_MAX;
use submeter_common::protocol::{
    Catalog, FrameError, FrameReply, FrameResult, INCIDENTS_PER_REGISTER_MAX, LIVES_MAX, Position,
    Receipts, RegisterReply, RegisterRequest, RegisterStatus, decode_frame,
};
use submeter_common::time::Timestamp;

use super::access::Caller;
use super::body::{self, JsonBody};
use super::error::{ApiError, X_SHOULD_RETRY};
use super::field::{check_name, check_text};
use super::query::Query;
use super::reply::Items;
use super::state::ApiState;
use crate::agents::{Agent, Alarm};
use crate::merge::FrameOutcome;
use crate::storage::{AcknowledgeOutcome, IncomingFrame, Registration, RetireOutcome};
use crate::telemetry::metric;
use crate::usage::source::Contributor as _;

/// An agent as people see it.
#[derive(Serialize)]
pub(super) struct AgentReply {
    agent_id: AgentId,
    name: Option<String>,
    agent_version: String,
    epoch: u64,
    seq: u64,
    digest: Digest,
    watermark: Timestamp,
    catalog_version: u64,
    receipts: Receipts,
    farewell: bool,
    live: bool,
    alarms: BTreeSet<Alarm>,
    rows_applied: u64,
    rows_quarantined: u64,
    registered_at: Timestamp,
    last_seen_at: Timestamp,
    /// What the agent acknowledged after this moment has not been collected.
    collected_until: Option<Timestamp>,
    retired_at: Option<Timestamp>,
}

impl From<Agent> for AgentReply {
    fn from(agent: Agent) -> Self {
        Self {
            live: agent.is_live(),
            agent_id: agent.agent_id,
            name: agent.name,
            agent_version: agent.agent_version,
            epoch: agent.epoch,
            seq: agent.applied.seq,
            digest: agent.applied.digest,
            watermark: agent.watermark,
            catalog_version: agent.catalog_version,
            receipts: agent.receipts,
            farewell: agent.farewell,
            alarms: agent.alarms,
            rows_applied: agent.rows_applied,
            rows_quarantined: agent.rows_quarantined,
            registered_at: agent.registered_at,
            last_seen_at: agent.last_seen_at,
            collected_until: agent.sealed_at,
            retired_at: agent.retired_at,
        }
    }
}

/// `POST /v1/agents/register`: begins a session and hands out the catalog.
pub(super) async fn register(
    State(state): State<ApiState>,
    JsonBody(request): JsonBody<RegisterRequest>,
) -> Result<Json<RegisterReply>, ApiError> {
    check_identity(&request)?;
    let now = state.machine_now();
    let registration = state.storage.register(&request, now).await?;
    let status = registration.status;
    let label = status_label(status);
    counter!(metric::REGISTERS, "status" => label).increment(1);
    tell(&request, &registration, label);
    let catalog = state.storage.catalog().await?.for_agents();
    Ok(Json(RegisterReply {
        epoch: registration.epoch,
        applied: registration.applied,
        status,
        delivered: registration.delivered.record,
        torn_after: registration.delivered.torn_after,
        backfilled: !registration.backfilling && registration.counted_by >= catalog.version,
        replaces: registration.replaces,
        catalog,
        now,
    }))
}

/// The nil id is how the sources of usage name all agents beyond those that they name one by one; no agent may have it.
pub(super) fn check_identity(request: &RegisterRequest) -> Result<(), ApiError> {
    if request.agent_id == AgentId::OTHERS {
        return Err(ApiError::field(
            "agent_id",
            "expected a random id, found the nil one",
        ));
    }
    check_name("agent_version", &request.agent_version)?;
    if let Some(name) = &request.name {
        check_name("name", name)?;
    }
    check_length("lineage.lives", request.lineage.lives.len(), LIVES_MAX)?;
    check_length(
        "incidents",
        request.incidents.len(),
        INCIDENTS_PER_REGISTER_MAX,
    )?;
    let mut messages = request.incidents.iter().map(|incident| &incident.message);
    messages.try_for_each(|message| check_text("incidents.message", message))
}

fn check_length(field: &str, found: usize, max: usize) -> Result<(), ApiError> {
    if found <= max {
        return Ok(());
    }
    let message = format!("expected at most {max} entries, found {found}");
    Err(ApiError::field(field, message))
}

/// Logs a register, loudly where a person has to look.
fn tell(request: &RegisterRequest, registration: &Registration, status: &str) {
    let agent = request.agent_id;
    tracing::info!(%agent, epoch = registration.epoch, status, "an agent registered");
    let look = match registration.status {
        RegisterStatus::Rollback => Some("an agent came back with an older copy of its state"),
        RegisterStatus::Forked => Some("two processes run with copies of one agent's state"),
        RegisterStatus::LostState => Some("an agent came back with another state"),
        _ if registration.replaces.is_some() => {
            Some("an agent came with a fresh state under the name of one that has not left")
        }
        _ => None,
    };
    if let Some(message) = look {
        tracing::error!(%agent, replaces = ?registration.replaces, delivered = registration.delivered.record, "{message}; the audit log has the details");
    }
    for incident in &request.incidents {
        let kind = incident.kind.as_str();
        counter!(metric::INCIDENTS, "kind" => kind).increment(1);
        tracing::error!(%agent, kind, "an agent reports: {}", incident.message);
    }
}

fn status_label(status: RegisterStatus) -> &'static str {
    match status {
        RegisterStatus::New => "new",
        RegisterStatus::Resumed => "resumed",
        RegisterStatus::Rollback => "rollback",
        RegisterStatus::Forked => "forked",
        RegisterStatus::LostState => "lost_state",
        RegisterStatus::Retired => "retired",
    }
}

/// `GET /v1/catalog`: the meters to count by.
pub(super) async fn catalog(
    State(state): State<ApiState>,
    query: Query,
) -> Result<Json<Catalog>, ApiError> {
    query.finish()?;
    Ok(Json(state.storage.catalog().await?.for_agents()))
}

/// `POST /v1/agents/{agent_id}/frames?epoch=N`: applies one frame exactly once.
pub(super) async fn frames(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    mut query: Query,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let agent_id = parse_id(&id)?;
    let epoch = epoch(&mut query)?;
    query.finish()?;
    expect_bytes(&headers)?;
    let (bytes, body_share) = body::read(body, FRAME_BYTES_MAX, &state.rooms).await?;
    let size = bytes.len();
    let turn = state.rooms.unpack().await?;
    // Decompressing and checking megabytes would hold up every other request of this thread.
    let (frame, digest) = tokio::task::spawn_blocking(move || decode_frame(&bytes))
        .await
        .map_err(ApiError::internal)?
        .map_err(refusal)?;
    drop(body_share);
    let _rows_share = state.rooms.rows(&frame.rows).await?;
    drop(turn);
    if frame.header.agent_id != agent_id {
        let message = format!(
            "the frame is from agent {}, but was sent for agent {agent_id}",
            frame.header.agent_id
        );
        return Err(ApiError::of_field(
            StatusCode::UNPROCESSABLE_ENTITY,
            "INVALID_FRAME",
            "agent_id",
            message,
        ));
    }
    let incoming = IncomingFrame {
        epoch,
        frame,
        digest,
        received_at: state.machine_now(),
    };
    let outcome = state.storage.apply_frame(incoming).await?;
    count(outcome, size);
    warn(agent_id, outcome);
    reply(&state, agent_id, outcome).await
}

fn epoch(query: &mut Query) -> Result<u64, ApiError> {
    let text = query.required("epoch")?;
    text.parse().map_err(|_| {
        ApiError::field(
            "epoch",
            format!("expected the number that register answered, found `{text}`"),
        )
    })
}

pub(super) fn expect_bytes(headers: &HeaderMap) -> Result<(), ApiError> {
    let given = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if given == "application/octet-stream" {
        return Ok(());
    }
    let message = format!("expected the content type application/octet-stream, found `{given}`");
    Err(ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "UNSUPPORTED_CONTENT_TYPE",
        message,
    ))
}

/// A frame that cannot be read is refused for ever; the agent keeps it and reports.
pub(super) fn refusal(error: FrameError) -> ApiError {
    let code = match error {
        FrameError::UnsupportedVersion { .. } => "UNSUPPORTED_FRAME_VERSION",
        FrameError::TooLarge { .. } => {
            return ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "BODY_TOO_LARGE",
                error.to_string(),
            );
        }
        _ => "INVALID_FRAME",
    };
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, code, error.to_string())
}

/// What is answered to a frame that was not applied, beside the reply's own fields.
#[derive(Serialize)]
struct Refused {
    code: &'static str,
    #[serde(flatten)]
    reply: FrameReply,
}

async fn reply(
    state: &ApiState,
    agent_id: AgentId,
    outcome: FrameOutcome,
) -> Result<Response, ApiError> {
    let catalog_version = state.storage.catalog().await?.version;
    let now = state.machine_now();
    let with = |result: FrameResult, applied: Position, message: Option<String>| FrameReply {
        result,
        applied,
        catalog_version,
        now,
        message,
    };
    let (code, reply) = match outcome {
        FrameOutcome::Applied { applied, .. } => {
            return Ok(Json(with(FrameResult::Applied, applied, None)).into_response());
        }
        FrameOutcome::Duplicate { applied } => {
            return Ok(Json(with(FrameResult::Duplicate, applied, None)).into_response());
        }
        FrameOutcome::Gap { applied, expected } => {
            let message = format!("frames are missing: send again from seq {expected}");
            ("GAP", with(FrameResult::Gap, applied, Some(message)))
        }
        FrameOutcome::Fenced { applied, epoch } => {
            let message =
                format!("this session cannot go on (the current epoch is {epoch}): register again");
            ("FENCED", with(FrameResult::Fenced, applied, Some(message)))
        }
        FrameOutcome::Fork { applied } => {
            tracing::error!(agent = %agent_id, "two states send different frames under one agent id");
            let message =
                "the frame does not continue what was applied: two states share this agent id"
                    .to_owned();
            ("FORK", with(FrameResult::Fork, applied, Some(message)))
        }
        FrameOutcome::UnknownAgent => {
            return Err(ApiError::not_found(
                "AGENT_NOT_FOUND",
                "agent",
                &agent_id.to_string(),
            ));
        }
    };
    Ok((
        StatusCode::CONFLICT,
        [(X_SHOULD_RETRY, "false")],
        Json(Refused { code, reply }),
    )
        .into_response())
}

pub(super) fn count(outcome: FrameOutcome, size: usize) {
    let result = match outcome {
        FrameOutcome::Applied {
            rows,
            quarantined,
            unconserved,
            ..
        } => {
            counter!(metric::FRAME_BYTES).increment(size as u64);
            counter!(metric::FRAME_ROWS).increment(rows);
            counter!(metric::ROWS_QUARANTINED).increment(quarantined);
            counter!(metric::FRAMES_UNCONSERVED).increment(u64::from(unconserved));
            "applied"
        }
        FrameOutcome::Duplicate { .. } => "duplicate",
        FrameOutcome::Gap { .. } => "gap",
        FrameOutcome::Fenced { .. } => "fenced",
        FrameOutcome::Fork { .. } => "fork",
        FrameOutcome::UnknownAgent => "unknown_agent",
    };
    counter!(metric::FRAMES, "result" => result).increment(1);
}

/// Says what of an applied frame a person has to look at.
pub(super) fn warn(agent: AgentId, outcome: FrameOutcome) {
    let FrameOutcome::Applied {
        applied,
        quarantined,
        unconserved,
        ..
    } = outcome
    else {
        return;
    };
    let seq = applied.seq;
    if quarantined > 0 {
        tracing::error!(%agent, seq, rows = quarantined, "rows of a frame were set aside: their usage is not billed");
    }
    if unconserved {
        tracing::error!(%agent, seq, "an agent's receipts do not add up: it lost or invented events, or went back to an older state");
    }
}

/// `GET /v1/agents`, by id.
pub(super) async fn list(
    State(state): State<ApiState>,
    mut query: Query,
) -> Result<Json<Items<AgentReply>>, ApiError> {
    let page = query.page()?;
    query.finish()?;
    let agents = state.storage.agents().await?;
    Ok(Json(Items::new(
        page.of(agents.into_iter().map(AgentReply::from)),
    )))
}

/// `GET /v1/agents/{agent_id}`.
pub(super) async fn get(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<Json<AgentReply>, ApiError> {
    let agent = state.storage.agent(parse_id(&id)?).await?;
    agent
        .map(|agent| Json(agent.into()))
        .ok_or_else(|| not_found(&id))
}

/// `POST /v1/agents/{agent_id}/retire`: the agent holds no period back any more. Retiring twice is one retirement.
pub(super) async fn retire(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(id): Path<String>,
) -> Result<Json<AgentReply>, ApiError> {
    let agent_id = parse_id(&id)?;
    let retired = state
        .storage
        .retire_agent(agent_id, &key.key_id, state.machine_now());
    match retired.await? {
        RetireOutcome::Retired | RetireOutcome::AlreadyRetired => get(State(state), Path(id)).await,
        RetireOutcome::NotFound => Err(not_found(&id)),
    }
}

/// `POST /v1/agents/{agent_id}/acknowledge`: a person has looked at the agent's alarms; they are cleared.
pub(super) async fn acknowledge(
    State(state): State<ApiState>,
    Caller(key): Caller,
    Path(id): Path<String>,
) -> Result<Json<AgentReply>, ApiError> {
    let agent_id = parse_id(&id)?;
    let acknowledged = state
        .storage
        .acknowledge_agent(agent_id, &key.key_id, state.machine_now());
    match acknowledged.await? {
        AcknowledgeOutcome::Acknowledged | AcknowledgeOutcome::Quiet => {
            get(State(state), Path(id)).await
        }
        AcknowledgeOutcome::NotFound => Err(not_found(&id)),
    }
}

/// An id that is no UUID names no agent.
fn parse_id(id: &str) -> Result<AgentId, ApiError> {
    id.parse().map_err(|_| not_found(id))
}

fn not_found(id: &str) -> ApiError {
    ApiError::not_found("AGENT_NOT_FOUND", "agent", id)
}
