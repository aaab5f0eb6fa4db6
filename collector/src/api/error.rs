//! The one place that turns outcomes and errors into HTTP.
//!
//! Permanent refusals are never 5xx and transient ones never 4xx, because clients retry by that rule. Internal detail
//! goes to the log; the caller gets the code, the field and what was expected.

use std::borrow::Cow;
use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use metrics::counter;
use serde::Serialize;
use submeter_common::filter::FilterError;
use submeter_common::id::IdError;
use submeter_common::meter::MeterError;

use crate::auth::Scope;
use crate::billing::collect::AnswerError;
use crate::billing::{BillingError, ChangeError, OpeningError};
use crate::catalog::{CatalogError, CatalogErrorKind};
use crate::storage::StorageError;
use crate::subscription;
use crate::telemetry::{DISK_BUDGET, metric};
use crate::test_clock::TestClockError;

/// Tells the official SDKs, which retry every 409, that this one will not go away.
pub(super) const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// How long a caller should wait after a transient refusal.
const RETRY_AFTER_UNAVAILABLE: Duration = Duration::from_secs(2);

/// The same while the disk is full: how often the store looks whether there is room.
const RETRY_AFTER_DISK_FULL: Duration = Duration::from_secs(5);

/// A refusal as it leaves the collector.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: Cow<'static, str>,
    message: String,
    field: Option<String>,
    retry_after: Option<Duration>,
    retry_is_useless: bool,
}

/// The body of every refusal.
#[derive(Serialize)]
struct Body<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

impl ApiError {
    /// A refusal with this status and code.
    pub fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            field: None,
            retry_after: None,
            retry_is_useless: false,
        }
    }

    /// 422: the request does not have the right form; `field` says where, and begins the message.
    pub fn invalid(
        code: &'static str,
        field: impl Into<String>,
        expected: impl std::fmt::Display,
    ) -> Self {
        let field = field.into();
        let message = format!("{field}: {expected}");
        Self::of_field(StatusCode::UNPROCESSABLE_ENTITY, code, field, message)
    }

    /// A refusal of a field whose message names it already.
    pub fn of_field(
        status: StatusCode,
        code: &'static str,
        field: impl Into<String>,
        message: impl std::fmt::Display,
    ) -> Self {
        Self {
            field: Some(field.into()),
            ..Self::new(status, code, message.to_string())
        }
    }

    /// 422 `INVALID_FIELD`.
    pub fn field(field: impl Into<String>, expected: impl std::fmt::Display) -> Self {
        Self::invalid("INVALID_FIELD", field, expected)
    }

    /// 400: well formed, but not acceptable.
    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 404 `<NOUN>_NOT_FOUND`.
    pub fn not_found(code: &'static str, noun: &str, id: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            code,
            format!("there is no {noun} `{id}`"),
        )
    }

    /// 409 that a retry of the same request cannot cure.
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            retry_is_useless: true,
            ..Self::new(StatusCode::CONFLICT, code, message)
        }
    }

    /// Says which field it is about; the message names it already.
    pub fn about(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// 409 `CONCURRENT_CHANGE`: somebody else changed the same thing meanwhile; the same request may succeed again.
    pub fn concurrent_change(noun: &str, id: &str) -> Self {
        let message = format!(
            "the {noun} `{id}` was changed by another request meanwhile: send the request again"
        );
        Self::new(StatusCode::CONFLICT, "CONCURRENT_CHANGE", message)
    }

    /// 401: no key, or one that is not known or no longer good. The two are not told apart.
    pub fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "UNAUTHORIZED",
            "a valid API key is needed: send `Authorization: Bearer smk_…`",
        )
    }

    /// 403: the key is good, but not for this.
    pub fn missing_scope(scope: Scope) -> Self {
        let message =
            format!("this key does not have the scope `{scope}`, which this request needs");
        Self::new(StatusCode::FORBIDDEN, "MISSING_SCOPE", message)
    }

    /// 413 with the limit.
    pub fn too_large(limit: usize) -> Self {
        let message = format!("the body is larger than the limit of {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", message)
    }

    /// 503 with `Retry-After`: the same request will succeed later.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self {
            retry_after: Some(RETRY_AFTER_UNAVAILABLE),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", message)
        }
    }

    /// 503 `DISK_LOW`: the same request will succeed when somebody has made room.
    pub fn disk_low(reason: String) -> Self {
        counter!(metric::BUDGET_HITS, "budget" => DISK_BUDGET).increment(1);
        Self {
            retry_after: Some(RETRY_AFTER_DISK_FULL),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "DISK_LOW", reason)
        }
    }

    /// 500: a fault of the collector. What is known of it goes to the log only.
    pub fn internal(detail: impl std::fmt::Display) -> Self {
        tracing::error!(%detail, "a request failed through a fault of the collector");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "INTERNAL_ERROR",
            "the collector failed to answer; its log has the details",
        )
    }

    /// What the caller is told.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The status that will be answered.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<IdError> for ApiError {
    fn from(error: IdError) -> Self {
        let (IdError::Empty { field }
        | IdError::TooLong { field, .. }
        | IdError::ControlCharacter { field }
        | IdError::Malformed { field, .. }) = &error;
        ApiError::of_field(
            StatusCode::UNPROCESSABLE_ENTITY,
            "INVALID_FIELD",
            field,
            &error,
        )
    }
}

impl From<MeterError> for ApiError {
    fn from(error: MeterError) -> Self {
        ApiError::of_field(
            StatusCode::UNPROCESSABLE_ENTITY,
            "INVALID_FIELD",
            error.field.clone(),
            &error,
        )
    }
}

impl From<FilterError> for ApiError {
    fn from(error: FilterError) -> Self {
        ApiError::of_field(
            StatusCode::UNPROCESSABLE_ENTITY,
            "INVALID_FIELD",
            error.path.clone(),
            &error,
        )
    }
}

impl From<CatalogError> for ApiError {
    fn from(error: CatalogError) -> Self {
        let status = match error.kind {
            CatalogErrorKind::Invalid | CatalogErrorKind::Unsupported => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            CatalogErrorKind::DuplicateMeters
            | CatalogErrorKind::MissingMeters
            | CatalogErrorKind::MissingEntitlement => StatusCode::BAD_REQUEST,
        };
        ApiError::of_field(status, error.kind.code(), error.field.clone(), &error)
    }
}

impl From<OpeningError> for ApiError {
    fn from(error: OpeningError) -> Self {
        match &error {
            OpeningError::Invalid { field, .. } => ApiError::of_field(
                StatusCode::UNPROCESSABLE_ENTITY,
                "INVALID_FIELD",
                *field,
                &error,
            ),
            OpeningError::ArchivedProduct => ApiError::of_field(
                StatusCode::BAD_REQUEST,
                "PRODUCT_ARCHIVED",
                "product_id",
                &error,
            ),
        }
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        match &error {
            ChangeError::Invalid { field, .. } => ApiError::of_field(
                StatusCode::UNPROCESSABLE_ENTITY,
                "INVALID_FIELD",
                field.clone(),
                &error,
            ),
            ChangeError::Status { .. } => ApiError::conflict("INVOICE_STATUS", error.to_string()),
            ChangeError::PartlyPaid(_) => {
                ApiError::conflict("INVOICE_PARTLY_PAID", error.to_string())
            }
            ChangeError::Processing(_) => {
                ApiError::conflict("PAYMENT_PROCESSING", error.to_string())
            }
            ChangeError::Answered(_) => ApiError::conflict("PAYMENT_ANSWERED", error.to_string()),
        }
    }
}

impl From<AnswerError> for ApiError {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::Storage(error) => error.into(),
            AnswerError::Refused(error) => error.into(),
            AnswerError::Unknown(id) => {
                ApiError::not_found("PAYMENT_NOT_FOUND", "payment", id.as_str())
            }
            AnswerError::Busy(id) => ApiError::concurrent_change("payment", id.as_str()),
        }
    }
}

impl From<subscription::change::ChangeError> for ApiError {
    fn from(error: subscription::change::ChangeError) -> Self {
        use subscription::change::ChangeError as Refused;

        let invalid = StatusCode::UNPROCESSABLE_ENTITY;
        let code = match &error {
            Refused::Invalid { field, .. } => {
                return ApiError::of_field(invalid, "INVALID_FIELD", *field, &error);
            }
            Refused::ArchivedProduct => {
                let status = StatusCode::BAD_REQUEST;
                return ApiError::of_field(status, "PRODUCT_ARCHIVED", "product_id", &error);
            }
            Refused::Calendar(_) => {
                return ApiError::of_field(invalid, "INVALID_FIELD", "product_id", &error);
            }
            Refused::Ended => "SUBSCRIPTION_ENDED",
            Refused::Cancelled(_) => "SUBSCRIPTION_CANCELLED",
            Refused::Pending { .. } => {
                return ApiError::conflict("PLAN_CHANGE_PENDING", error.to_string())
                    .about("cancel_scheduled_change_plan");
            }
            Refused::NothingToTakeBack(_) => "NOTHING_TO_TAKE_BACK",
            Refused::TooManyPlans => "TOO_MANY_PLAN_CHANGES",
        };
        ApiError::conflict(code, error.to_string())
    }
}

impl From<TestClockError> for ApiError {
    fn from(error: TestClockError) -> Self {
        match error {
            TestClockError::Advancing(_) => {
                ApiError::conflict("TEST_CLOCK_ADVANCING", error.to_string())
            }
            TestClockError::Backwards(_) | TestClockError::TooFar(_) => ApiError::of_field(
                StatusCode::UNPROCESSABLE_ENTITY,
                "INVALID_FIELD",
                "frozen_time",
                error,
            ),
        }
    }
}

impl From<BillingError> for ApiError {
    /// Requests only ask for previews. What usage and price make impossible to bill stays so until somebody changes it, as the
    /// draft of the period says, too; what contradicts the catalog is a fault.
    fn from(error: BillingError) -> Self {
        match error {
            BillingError::Storage(error) => error.into(),
            BillingError::Money(_)
            | BillingError::Rating { .. }
            | BillingError::Usage { .. }
            | BillingError::Calendar(_) => ApiError::conflict(
                "CANNOT_BE_BILLED",
                format!("the open period cannot be billed as it stands: {error}"),
            ),
            BillingError::UnknownMeter(_) | BillingError::UnattachedCredits(_) => {
                ApiError::internal(error)
            }
        }
    }
}

impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Unavailable(detail) => {
                tracing::warn!(%detail, "the storage is unavailable");
                ApiError::unavailable(
                    "the storage cannot serve this request now; nothing is lost, try again",
                )
            }
            // Logged when it began, not with each request.
            StorageError::DiskFull(reason) => ApiError::disk_low(reason),
            StorageError::Corrupt { .. } | StorageError::Refused(_) => ApiError::internal(error),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Body {
            code: &self.code,
            message: &self.message,
            field: self.field.as_deref(),
        };
        let mut response = (self.status, Json(&body)).into_response();
        let headers = response.headers_mut();
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs()));
        }
        if self.retry_is_useless {
            headers.insert(X_SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
