//! Why an event or a request was refused: a code for programs, a field and a message for people.

use std::fmt;

use serde::{Serialize, Serializer};

/// What is wrong, in one word that programs may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectionCode {
    /// The request is not the JSON it should be.
    MalformedRequest,
    /// The event is not a JSON object, or a field has the wrong JSON type.
    MalformedEvent,
    /// A field that events do not have, or one that is there twice.
    UnknownField,
    /// A required field is absent.
    MissingField,
    /// A field's value breaks its limits.
    InvalidField,
    /// The metadata is nested or breaks its limits.
    InvalidMetadata,
    /// A number has more digits than are kept exactly.
    InvalidNumber,
    /// The timestamp is not RFC 3339 or lies before 1970.
    InvalidTimestamp,
    /// The timestamp lies before the horizon.
    TimestampTooOld,
    /// The timestamp lies beyond the horizon.
    TimestampTooNew,
    /// The same event id twice in one request.
    DuplicateEventId,
    /// More events than one request may hold.
    TooManyEvents,
}

impl RejectionCode {
    /// Every code, for metrics and documentation.
    pub const ALL: [RejectionCode; 12] = [
        RejectionCode::MalformedRequest,
        RejectionCode::MalformedEvent,
        RejectionCode::UnknownField,
        RejectionCode::MissingField,
        RejectionCode::InvalidField,
        RejectionCode::InvalidMetadata,
        RejectionCode::InvalidNumber,
        RejectionCode::InvalidTimestamp,
        RejectionCode::TimestampTooOld,
        RejectionCode::TimestampTooNew,
        RejectionCode::DuplicateEventId,
        RejectionCode::TooManyEvents,
    ];

    /// The code as it stands in replies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            RejectionCode::MalformedRequest => "MALFORMED_REQUEST",
            RejectionCode::MalformedEvent => "MALFORMED_EVENT",
            RejectionCode::UnknownField => "UNKNOWN_FIELD",
            RejectionCode::MissingField => "MISSING_FIELD",
            RejectionCode::InvalidField => "INVALID_FIELD",
            RejectionCode::InvalidMetadata => "INVALID_METADATA",
            RejectionCode::InvalidNumber => "INVALID_NUMBER",
            RejectionCode::InvalidTimestamp => "INVALID_TIMESTAMP",
            RejectionCode::TimestampTooOld => "TIMESTAMP_TOO_OLD",
            RejectionCode::TimestampTooNew => "TIMESTAMP_TOO_NEW",
            RejectionCode::DuplicateEventId => "DUPLICATE_EVENT_ID",
            RejectionCode::TooManyEvents => "TOO_MANY_EVENTS",
        }
    }

    /// Tells whether the form is wrong (422) rather than a value (400).
    #[must_use]
    pub const fn is_syntax(self) -> bool {
        matches!(
            self,
            RejectionCode::MalformedRequest
                | RejectionCode::MalformedEvent
                | RejectionCode::UnknownField
                | RejectionCode::MissingField
        )
    }
}

impl fmt::Display for RejectionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for RejectionCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Why one event was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// What is wrong.
    pub code: RejectionCode,
    /// The field it is about, such as `metadata.tokens`, where there is one.
    pub field: Option<String>,
    /// What was expected, naming the field.
    pub message: String,
}

impl Rejection {
    /// Puts a rejection together.
    #[must_use]
    pub fn new(code: RejectionCode, field: Option<&str>, message: impl Into<String>) -> Self {
        Rejection {
            code,
            field: field.map(str::to_owned),
            message: message.into(),
        }
    }
}

/// One refused event of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventError {
    /// Its place in the request, from 0.
    pub index: usize,
    /// Its id, if that could be read.
    pub event_id: Option<String>,
    /// What is wrong.
    pub code: RejectionCode,
    /// The field it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What was expected.
    pub message: String,
}

impl EventError {
    /// Says which event of a request a rejection is about.
    #[must_use]
    pub fn new(index: usize, event_id: Option<String>, rejection: Rejection) -> Self {
        let Rejection {
            code,
            field,
            message,
        } = rejection;
        EventError {
            index,
            event_id,
            code,
            field,
            message,
        }
    }
}

/// Which of the two ways a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchStatus {
    /// It could not be read: HTTP 422.
    Malformed,
    /// It was read and a value breaks a rule: HTTP 400.
    Invalid,
}

impl BatchStatus {
    /// The HTTP status.
    #[must_use]
    pub const fn http(self) -> u16 {
        match self {
            BatchStatus::Malformed => 422,
            BatchStatus::Invalid => 400,
        }
    }
}

/// Why a request was refused as a whole; nothing of it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRejection {
    /// Which status it is answered with.
    pub status: BatchStatus,
    /// What is wrong: the first error's code.
    pub code: RejectionCode,
    /// What was expected.
    pub message: String,
    /// Each refused event; empty when the request itself is at fault.
    pub errors: Vec<EventError>,
}

impl BatchRejection {
    /// Refuses a request for a fault of its own.
    #[must_use]
    pub fn of_request(code: RejectionCode, message: impl Into<String>) -> Self {
        let status = if code.is_syntax() {
            BatchStatus::Malformed
        } else {
            BatchStatus::Invalid
        };
        BatchRejection {
            status,
            code,
            message: message.into(),
            errors: Vec::new(),
        }
    }

    /// Refuses a request of one event, whose id is given if it could be read.
    #[must_use]
    pub fn of_event(event_id: Option<String>, rejection: Rejection) -> Self {
        Self::of_request(rejection.code, rejection.message.clone())
            .with_errors(vec![EventError::new(0, event_id, rejection)])
    }

    /// Refuses a request of `total` events for the faults of some; none when there are no faults.
    #[must_use]
    pub fn of_events(total: usize, errors: Vec<EventError>) -> Option<Self> {
        let worst = errors
            .iter()
            .find(|error| error.code.is_syntax())
            .or(errors.first())?;
        let message = format!(
            "{} of {total} events refused; events[{}]: {}",
            errors.len(),
            worst.index,
            worst.message
        );
        Some(
            BatchRejection {
                errors: Vec::new(),
                ..Self::of_request(worst.code, message)
            }
            .with_errors(errors),
        )
    }

    fn with_errors(mut self, errors: Vec<EventError>) -> Self {
        self.errors = errors;
        self
    }
}
