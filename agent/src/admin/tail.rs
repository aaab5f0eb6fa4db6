//! `GET /v1/tail`: accepted events as they come, one JSON object a line, for as long as the reader stays.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::Uri;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep};

use super::Admin;
use crate::http::query::Query;
use crate::http::reply::ApiError;
use crate::http::stream;
use crate::inspection::{EventsQuery, Follower, InspectError, Parameters, Question as _};

/// How often the end of the journal is looked at: a person does not see the difference, and the agent does not feel it.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// An empty line is sent after this silence, so that each side notices when the other is gone.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Follows the events that the parameters of `/v1/inspect/events` choose.
pub(crate) async fn tail(State(admin): State<Arc<Admin>>, uri: Uri) -> Result<Response, ApiError> {
    let query = Query::of(&uri)?;
    let wanted = EventsQuery::read(&Parameters(&|name| query.text(name)))?;
    let room = admin.stream()?;
    let follower = Follower::new(wanted, admin.pipeline.counted());
    let (sender, body) = stream::body();
    tokio::spawn(follow(admin, follower, sender, room));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

async fn follow(
    admin: Arc<Admin>,
    mut follower: Follower,
    sender: Sender<Bytes>,
    _room: OwnedSemaphorePermit,
) {
    let mut spoken = Instant::now();
    loop {
        let newest = admin.pipeline.counted();
        let lines = if follower.is_behind(newest.0) {
            match next(&admin, &mut follower, newest).await {
                Ok(lines) => lines,
                Err(error) => {
                    tracing::error!(%error, "a tail ended");
                    return;
                }
            }
        } else {
            tokio::select! {
                () = admin.drained() => return,
                () = sender.closed() => return,
                () = sleep(LOOK_INTERVAL) => {}
            }
            Vec::new()
        };
        let lines = match lines.is_empty() {
            true if spoken.elapsed() < SILENCE_MAX => continue,
            true => b"\n".to_vec(),
            false => lines,
        };
        spoken = Instant::now();
        tokio::select! {
            () = admin.drained() => return,
            sent = sender.send(lines.into()) => if sent.is_err() {
                return;
            },
        }
    }
}

async fn next(
    admin: &Arc<Admin>,
    follower: &mut Follower,
    newest: (u64, u64),
) -> Result<Vec<u8>, InspectError> {
    let pipeline = admin.pipeline.clone();
    let mut moved = follower.clone();
    let read = tokio::task::spawn_blocking(move || {
        let piece = moved.next(&pipeline.inspection(), newest)?;
        let mut lines = Vec::new();
        for followed in piece {
            // What was read from JSON or plain text is JSON again.
            if serde_json::to_writer(&mut lines, &followed).is_ok() {
                lines.push(b'\n');
            }
        }
        Ok((moved, lines))
    });
    match read.await {
        Ok(Ok((moved, lines))) => {
            *follower = moved;
            Ok(lines)
        }
        Ok(Err(error)) => Err(error),
        Err(error) => Err(InspectError::Question(error.to_string())),
    }
}
