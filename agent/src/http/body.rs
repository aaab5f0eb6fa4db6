//! Request bodies, read within bounds: bytes of one, bytes of all together, and time between two pieces.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::reply::ApiError;
use crate::budget::Budget;

/// A refused body is still read for a moment, up to so many bytes: a client that is cut off while it sends never sees
/// the 413.
const DRAIN_BYTES_MAX: usize = 32 << 20;

/// Longest time a refused body is read.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// When all bodies together are too large.
const OVERLOADED_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The budget is counted in units of this many bytes, because a semaphore counts 32 bits at a time.
const UNIT_BYTES: usize = 1024;

/// Memory for request bodies: of one and of all that are being read or worked on.
#[derive(Clone, Debug)]
pub(crate) struct BodyRoom {
    units: Arc<Semaphore>,
    units_max: usize,
    body_bytes_max: usize,
    timeout: Duration,
}

/// A body's share of the budget, returned when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    units: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl BodyRoom {
    /// `body_bytes_max` for one body, `bytes_max` for all; each has to arrive within `timeout`.
    pub(crate) fn new(body_bytes_max: usize, bytes_max: usize, timeout: Duration) -> Self {
        let units_max = (bytes_max / UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            units: Arc::new(Semaphore::new(units_max)),
            units_max,
            body_bytes_max,
            timeout,
        }
    }

    /// A room of its own for another kind of body, `bytes_max` for one and for all, which have to arrive as quickly.
    pub(crate) fn apart(&self, bytes_max: usize) -> Self {
        Self::new(bytes_max, bytes_max, self.timeout)
    }

    /// Bytes of all bodies that are being read or worked on.
    pub(crate) fn used(&self) -> usize {
        let units = self
            .units_max
            .saturating_sub(self.units.available_permits());
        units.saturating_mul(UNIT_BYTES)
    }

    /// When a body, or the next part of one, has to be there.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// An empty share.
    pub(crate) fn share(&self) -> Share {
        Share {
            units: None,
            bytes: 0,
        }
    }

    /// Grows `share` to cover `bytes`; 503 when the budget is used up. Never waits: two half-read bodies that wait for each
    /// other would wait for ever.
    pub(crate) fn cover(&self, share: &mut Share, bytes: usize) -> Result<(), ApiError> {
        let missing = bytes
            .div_ceil(UNIT_BYTES)
            .saturating_sub(share.bytes.div_ceil(UNIT_BYTES));
        if missing > 0 {
            let overloaded = || {
                Budget::RequestsBytes.hit();
                ApiError::unavailable(
                    "OVERLOADED",
                    "too many request bodies are being worked on; send this again later",
                    OVERLOADED_RETRY_AFTER,
                )
            };
            let missing = u32::try_from(missing).map_err(|_| overloaded())?;
            let more = Arc::clone(&self.units)
                .try_acquire_many_owned(missing)
                .map_err(|_| overloaded())?;
            match &mut share.units {
                Some(units) => units.merge(more),
                None => share.units = Some(more),
            }
        }
        share.bytes = share.bytes.max(bytes);
        Ok(())
    }

    /// Reads a whole body. The share must live as long as the bytes are worked on.
    pub(crate) async fn read(
        &self,
        headers: &HeaderMap,
        mut body: Body,
    ) -> Result<(Bytes, Share), ApiError> {
        let announced = content_length(headers);
        if announced.is_some_and(|bytes| bytes > self.body_bytes_max as u64) {
            drain(body).await;
            return Err(self.too_large());
        }
        let mut share = self.share();
        let mut whole = BytesMut::new();
        let deadline = self.deadline();
        while let Some(piece) = next_piece(&mut body, deadline).await? {
            if whole.is_empty() {
                // Small bodies come in one piece, which is taken as it is; larger ones get room for all of it at once.
                let announced = announced.and_then(|bytes| usize::try_from(bytes).ok());
                match announced {
                    Some(bytes) if bytes == piece.len() => {
                        self.cover(&mut share, bytes)?;
                        return Ok((piece, share));
                    }
                    Some(bytes) => {
                        if let Err(error) = self.cover(&mut share, bytes) {
                            drain(body).await;
                            return Err(error);
                        }
                        whole.reserve(bytes);
                    }
                    None => {}
                }
            }
            if whole.len() + piece.len() > self.body_bytes_max {
                drain(body).await;
                return Err(self.too_large());
            }
            if let Err(error) = self.cover(&mut share, whole.len() + piece.len()) {
                drain(body).await;
                return Err(error);
            }
            whole.extend_from_slice(&piece);
        }
        Ok((whole.freeze(), share))
    }

    fn too_large(&self) -> ApiError {
        Budget::RequestBytes.hit();
        let message = format!(
            "the body is longer than {} bytes; send fewer events at a time",
            self.body_bytes_max
        );
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", message)
    }
}

/// Why a body did not come to its end.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum BodyError {
    /// It was not there in time.
    Late,
    /// It was cut off.
    Cut,
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Late => {
                Budget::RequestTimeout.hit();
                Self::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "BODY_TIMEOUT",
                    "the body did not arrive in time",
                )
            }
            BodyError::Cut => Self::new(
                StatusCode::BAD_REQUEST,
                "INCOMPLETE_BODY",
                "the body was cut off before its announced end",
            ),
        }
    }
}

/// The next piece of a body, None at its end. An error when it is cut off or not there by `deadline`.
pub(crate) async fn next_piece(
    body: &mut Body,
    deadline: Instant,
) -> Result<Option<Bytes>, BodyError> {
    loop {
        let frame = tokio::time::timeout_at(deadline, body.frame())
            .await
            .map_err(|_| BodyError::Late)?;
        match frame {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "a request body was cut off");
                return Err(BodyError::Cut);
            }
        }
    }
}

/// Reads and forgets the rest of a body, so that the client gets to read the reply.
pub(crate) async fn drain(mut body: Body) {
    let reading = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > DRAIN_BYTES_MAX {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, reading).await;
}

/// The media type of a request, in lower case and without parameters. An encoding other than UTF-8 is refused.
pub(crate) fn media_type(headers: &HeaderMap) -> Result<String, ApiError> {
    let header = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let mut parts = header
        .split(';')
        .map(|part| part.trim().to_ascii_lowercase());
    let media_type = parts.next().unwrap_or_default();
    for parameter in parts {
        if let Some(charset) = parameter.strip_prefix("charset=")
            && !matches!(charset.trim_matches('"'), "utf-8" | "utf8" | "us-ascii")
        {
            return Err(unsupported(header, "charset=utf-8"));
        }
    }
    if let Some(encoding) = headers.get(CONTENT_ENCODING) {
        let message =
            format!("Content-Encoding is {encoding:?}, expected a body that is not compressed");
        return Err(unsupported_media_type(message));
    }
    Ok(media_type)
}

/// 415, naming what was expected.
pub(crate) fn unsupported(found: &str, expected: &str) -> ApiError {
    unsupported_media_type(format!("Content-Type is {found:?}, expected {expected}"))
}

fn unsupported_media_type(message: String) -> ApiError {
    ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "UNSUPPORTED_MEDIA_TYPE",
        message,
    )
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
