//! The one place where outcomes become HTTP: JSON replies and error bodies.
//!
//! Permanent errors are never 5xx and transient ones never 4xx, for clients retry the former in vain and give up on the
//! latter. Internal detail goes to the log; the reply says what the client can do.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use submeter_common::event::{BatchRejection, EventError};

use crate::budget::Budget;
use crate::pipeline::{PipelineError, RefusalReason, SubmitError};

/// A guess at how long a supervisor takes to start the agent again.
const RESTART_RETRY_AFTER: Duration = Duration::from_secs(5);

/// A request that was not carried out.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: Cow<'static, str>,
    message: String,
    errors: Vec<EventError>,
    retry_after: Option<Duration>,
}

impl ApiError {
    /// An error with a permanent cause.
    pub(crate) fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            errors: Vec::new(),
            retry_after: None,
        }
    }

    /// 422: the request is malformed or does not have the expected shape.
    pub(crate) fn unprocessable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
    }

    /// 503: the same request succeeds later.
    pub(crate) fn unavailable(
        code: &'static str,
        message: impl Into<String>,
        retry_after: Duration,
    ) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
        }
    }

    /// 500: a fault of ours. `detail` goes to the log only.
    pub(crate) fn internal(detail: &dyn std::fmt::Display) -> Self {
        tracing::error!(error = %detail, "a request failed inside the agent");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "INTERNAL_ERROR",
            "the agent failed to carry this out; its log says why",
        )
    }

    /// 503: the store failed, the process ends, and what is sent to its successor is counted once.
    fn store_failed(message: &str) -> Self {
        tracing::error!(error = message, "a request failed with the store");
        Self::unavailable(
            "STORE_FAILED",
            "the agent's store failed and the agent stops; send this again",
            RESTART_RETRY_AFTER,
        )
    }

    /// 404 for a thing that is not there.
    pub(crate) fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// Adds what is wrong with single events.
    pub(crate) fn with_errors(mut self, errors: Vec<EventError>) -> Self {
        self.errors = errors;
        self
    }

    /// Puts a sentence before the message, for work that was done in part.
    pub(crate) fn prefixed(mut self, sentence: &str) -> Self {
        self.message = format!("{sentence} {}", self.message);
        self
    }
}

impl From<BatchRejection> for ApiError {
    fn from(rejection: BatchRejection) -> Self {
        let status =
            StatusCode::from_u16(rejection.status.http()).unwrap_or(StatusCode::BAD_REQUEST);
        Self::new(status, rejection.code.as_str(), rejection.message).with_errors(rejection.errors)
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        let message = error.to_string();
        match error {
            SubmitError::Refused {
                reason,
                retry_after,
            } => {
                let (code, budget) = match reason {
                    RefusalReason::QueueLong => ("QUEUE_FULL", Budget::QueueRequests),
                    RefusalReason::QueueFull => ("QUEUE_FULL", Budget::QueueBytes),
                    RefusalReason::OutboxFull => ("OUTBOX_FULL", Budget::OutboxBytes),
                    RefusalReason::DiskLow => ("DISK_LOW", Budget::DiskFree),
                    RefusalReason::DedupFull => ("DEDUP_FULL", Budget::DedupBytes),
                };
                budget.hit();
                Self::unavailable(
                    code,
                    format!("{message}; nothing of this request is stored, send it again later"),
                    retry_after,
                )
            }
            SubmitError::TooOld { .. } => {
                Self::new(StatusCode::BAD_REQUEST, "TIMESTAMP_TOO_OLD", message)
            }
            SubmitError::ImportMismatch {
                expected: Some(line),
            } => Self::new(
                StatusCode::CONFLICT,
                "IMPORT_OUT_OF_ORDER",
                format!("the import goes on at line {line}, expected first_line={line}"),
            ),
            SubmitError::ImportMismatch { expected: None } => Self::new(
                StatusCode::NOT_FOUND,
                "IMPORT_NOT_FOUND",
                "there is no open import of this id",
            ),
            SubmitError::Stopping => Self::unavailable("STOPPING", message, RESTART_RETRY_AFTER),
            SubmitError::Failed(_) => Self::store_failed(&message),
        }
    }
}

impl From<PipelineError> for ApiError {
    fn from(error: PipelineError) -> Self {
        let message = error.to_string();
        match error {
            PipelineError::Stopping => Self::unavailable("STOPPING", message, RESTART_RETRY_AFTER),
            PipelineError::Failed(_) | PipelineError::FrameLost(_) => Self::store_failed(&message),
            PipelineError::Invalid(_) => {
                Self::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", message)
            }
        }
    }
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [EventError],
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            code: &self.code,
            message: &self.message,
            errors: &self.errors,
        };
        let mut response = json(self.status, &body);
        if let Some(delay) = self.retry_after {
            let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}

/// A JSON reply.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => (
            status,
            [(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
            bytes,
        )
            .into_response(),
        Err(error) => {
            tracing::error!(%error, "a reply could not be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
