//! `POST /v1/bundles`: frames that came by hand.
//!
//! A bundle is refused wholly or taken wholly: signature, digests, chain and place are checked before its first frame is
//! applied. Each frame is then applied as if it had come over the network, so bundles may overlap, come twice, or meet
//! what did come over the network. What goes back is a signed receipt.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use submeter_common::bundle::{BundleError, BundleHead, Receipt, decode_bundle, encode_receipt};
use submeter_common::id::{AgentId, Digest};
use submeter_common::limits::BUNDLE_BYTES_MAX;
use submeter_common::protocol::{
    FrameHeader, Lineage, Position, RegisterRequest, RegisterStatus, decode_frame,
};
use submeter_common::signature::SigningKey;
use tokio::sync::Semaphore;

use super::agents::{count, expect_bytes, refusal, warn};
use super::body;
use super::error::ApiError;
use super::query::Query;
use super::state::ApiState;
use crate::agents::Agent;
use crate::merge::FrameOutcome;
use crate::storage::IncomingFrame;

/// A bundle takes memory, and whoever carries files can wait.
static BUNDLE_ROOM: Semaphore = Semaphore::const_new(1);

/// What became of a bundle.
#[derive(Serialize)]
pub(super) struct BundleReply {
    agent_id: AgentId,
    first_seq: u64,
    last_seq: u64,
    /// Frames that were applied now.
    applied_frames: u64,
    /// Frames that had been applied before.
    duplicate_frames: u64,
    /// Rows of the frames that were applied now.
    applied_rows: u64,
    /// The newest frame applied.
    position: Position,
    /// The signed receipt, to be carried back to the agent as it is.
    receipt: String,
}

/// A bundle of which every byte is checked.
struct Checked {
    bytes: bytes::Bytes,
    head: BundleHead,
    headers: Vec<FrameHeader>,
}

/// `POST /v1/bundles`.
pub(super) async fn import(
    State(state): State<ApiState>,
    query: Query,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<BundleReply>, ApiError> {
    query.finish()?;
    expect_bytes(&headers)?;
    let _room = BUNDLE_ROOM.acquire().await.map_err(ApiError::internal)?;
    let (bytes, _share) = body::read(body, BUNDLE_BYTES_MAX, &state.rooms).await?;
    let checked = tokio::task::spawn_blocking(move || check(bytes))
        .await
        .map_err(ApiError::internal)??;
    expect_trusted(&state, &checked.head).await?;
    let agent = state.storage.agent(checked.head.agent_id).await?;
    let applied = agent
        .as_ref()
        .map_or_else(Position::default, |agent| agent.applied);
    check_place(&checked, agent.as_ref(), applied)?;
    let epoch = match agent {
        Some(agent) => agent.epoch,
        None => register(&state, &checked).await?,
    };
    apply(&state, checked, epoch, applied).await.map(Json)
}

/// Checks signature, digests and chain; reads every frame once, so that none is found wanting when others are applied.
fn check(bytes: bytes::Bytes) -> Result<Checked, ApiError> {
    let bundle = decode_bundle(&bytes).map_err(bundle_refusal)?;
    let mut headers: Vec<FrameHeader> = Vec::with_capacity(bundle.frames.len());
    let mut before: Option<Digest> = None;
    for (listed, bytes) in bundle.head.frames.iter().zip(&bundle.frames) {
        let (frame, digest) = decode_frame(bytes).map_err(refusal)?;
        let header = frame.header;
        let is_listed = header.agent_id == bundle.head.agent_id && header.seq == listed.seq;
        if !is_listed || before.is_some_and(|before| before != header.previous) {
            return Err(invalid(format!(
                "frame {} of the bundle is not what its head says, or does not follow the frame before it",
                listed.seq
            )));
        }
        before = Some(digest);
        headers.push(header);
    }
    let head = bundle.head;
    Ok(Checked {
        bytes,
        head,
        headers,
    })
}

async fn expect_trusted(state: &ApiState, head: &BundleHead) -> Result<(), ApiError> {
    let keys = state.storage.trusted_keys().await?;
    if keys.iter().any(|key| key.public_key == head.public_key) {
        return Ok(());
    }
    let message = format!(
        "the bundle is signed by {}, which is not trusted: compare it with `submeter-agent export --public-key` on the site, then `submeter-collector agents trust` it",
        head.public_key
    );
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "UNTRUSTED_SIGNER",
        message,
    ))
}

/// Compares the bundle's place with what is applied.
fn check_place(
    checked: &Checked,
    agent: Option<&Agent>,
    applied: Position,
) -> Result<(), ApiError> {
    let head = &checked.head;
    if agent.is_some_and(|agent| agent.state_nonce != head.state_nonce) {
        return Err(ApiError::conflict(
            "LOST_STATE",
            format!(
                "agent {} is known with another state directory: it was wiped or copied; nothing of the bundle is applied",
                head.agent_id
            ),
        ));
    }
    let at_applied = head.frames.iter().find(|frame| frame.seq == applied.seq);
    if at_applied.is_some_and(|frame| frame.digest != applied.digest) {
        return Err(fork(applied.seq));
    }
    let mut new = checked.headers.iter();
    match new.find(|header| header.seq > applied.seq) {
        Some(next) if next.seq > applied.seq.saturating_add(1) => Err(ApiError::conflict(
            "GAP",
            format!(
                "frames {} to {} are missing before this bundle: import the bundles before it first, or export again with --from {}",
                applied.seq.saturating_add(1),
                next.seq - 1,
                applied.seq.saturating_add(1)
            ),
        )),
        Some(next) if next.previous != applied.digest => Err(fork(next.seq)),
        _ => Ok(()),
    }
}

/// An agent that was never here begins a session by its first bundle.
async fn register(state: &ApiState, checked: &Checked) -> Result<u64, ApiError> {
    let last = checked.headers.last();
    let sealed = checked.head.frames.last().map(|frame| Position {
        seq: frame.seq,
        digest: frame.digest,
    });
    let request = RegisterRequest {
        agent_id: checked.head.agent_id,
        state_nonce: checked.head.state_nonce,
        boot_id: checked.head.state_nonce,
        agent_version: checked.head.agent_version.clone(),
        catalog_version: last.map_or(0, |last| last.catalog_version),
        acknowledged: Position::default(),
        sealed: sealed.unwrap_or_default(),
        watermark: last.map_or(state.machine_now(), |last| last.watermark),
        // A file tells frames, not the journal behind them.
        lineage: Lineage::default(),
        name: None,
        disowned: None,
        incidents: Vec::new(),
    };
    super::agents::check_identity(&request)?;
    let registration = state
        .storage
        .register(&request, state.machine_now())
        .await?;
    match registration.status {
        RegisterStatus::LostState => Err(ApiError::concurrent_change(
            "agent",
            &request.agent_id.to_string(),
        )),
        _ => Ok(registration.epoch),
    }
}

async fn apply(
    state: &ApiState,
    checked: Checked,
    epoch: u64,
    applied: Position,
) -> Result<BundleReply, ApiError> {
    let Checked { bytes, head, .. } = checked;
    let count_of = |number: usize| number as u64;
    let old = head
        .frames
        .iter()
        .filter(|frame| frame.seq <= applied.seq)
        .count();
    // Frames up to the applied one are known by the chain that leads to it. A bundle that ends before it has but its own
    // last frame to show for itself.
    let skipped =
        if old == head.frames.len() && head.frames.last().map(|f| f.seq) != Some(applied.seq) {
            old - 1
        } else {
            old
        };
    let mut rest = frames_of(&bytes, &head, skipped)?;
    let (mut applied_frames, mut applied_rows, mut position) = (0, 0, applied);
    for listed in &head.frames[skipped..] {
        let length = usize::try_from(listed.bytes).map_err(ApiError::internal)?;
        let frame_bytes = rest.split_to(length);
        let (frame, digest) = tokio::task::spawn_blocking(move || decode_frame(&frame_bytes))
            .await
            .map_err(ApiError::internal)?
            .map_err(refusal)?;
        let _rows_share = state.rooms.rows(&frame.rows).await?;
        let outcome = state
            .storage
            .apply_frame(IncomingFrame {
                epoch,
                frame,
                digest,
                received_at: state.machine_now(),
            })
            .await?;
        count(outcome, length);
        warn(head.agent_id, outcome);
        match outcome {
            FrameOutcome::Applied { applied, rows, .. } => {
                (applied_frames, applied_rows) = (applied_frames + 1, applied_rows + rows);
                position = applied;
            }
            FrameOutcome::Duplicate { applied } => position = applied,
            FrameOutcome::Fork { .. } => return Err(fork(listed.seq)),
            FrameOutcome::Gap { .. } | FrameOutcome::Fenced { .. } | FrameOutcome::UnknownAgent => {
                let id = head.agent_id.to_string();
                return Err(ApiError::concurrent_change("agent", &id));
            }
        }
    }
    Ok(BundleReply {
        agent_id: head.agent_id,
        first_seq: head.frames.first().map_or(0, |frame| frame.seq),
        last_seq: head.frames.last().map_or(0, |frame| frame.seq),
        applied_frames,
        duplicate_frames: count_of(head.frames.len()) - applied_frames,
        applied_rows,
        position,
        receipt: receipt(state, head.agent_id, position).await?,
    })
}

/// The bytes from frame number `skipped` on: all frames are at the file's end.
fn frames_of(
    bytes: &bytes::Bytes,
    head: &BundleHead,
    skipped: usize,
) -> Result<bytes::Bytes, ApiError> {
    let wanted: u64 = head.frames[skipped..].iter().map(|frame| frame.bytes).sum();
    let wanted = usize::try_from(wanted).map_err(ApiError::internal)?;
    Ok(bytes.slice(bytes.len() - wanted..))
}

async fn receipt(
    state: &ApiState,
    agent_id: AgentId,
    applied: Position,
) -> Result<String, ApiError> {
    let mut fresh = [0; 32];
    getrandom::fill(&mut fresh).map_err(ApiError::internal)?;
    let key = SigningKey::from_seed(&state.storage.signing_seed(fresh).await?);
    let receipt = Receipt {
        agent_id,
        applied,
        issued_at: state.machine_now(),
        public_key: key.public(),
        catalog: state.storage.catalog().await?.for_agents(),
    };
    encode_receipt(&receipt, &key).map_err(ApiError::internal)
}

fn bundle_refusal(error: BundleError) -> ApiError {
    let code = match error {
        BundleError::WrongSignature => "WRONG_SIGNATURE",
        BundleError::UnsupportedVersion { .. } => "UNSUPPORTED_BUNDLE_VERSION",
        _ => "INVALID_BUNDLE",
    };
    let message = format!("the bundle is refused: {error}; nothing of it is applied");
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
}

fn invalid(message: String) -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "INVALID_BUNDLE", message)
}

fn fork(seq: u64) -> ApiError {
    ApiError::conflict(
        "FORK",
        format!(
            "frame {seq} does not continue what was applied: two states share this agent's name, or its state directory was restored from a backup"
        ),
    )
}
