//! One usage action and its admission rules, the same at the agent and at the collector.
//!
//! An event is parsed once, borrowed from the request's buffer, and is valid from then on. Its
//! metadata is kept sorted by key, so that two spellings of the same JSON object are the same
//! event.

use std::{borrow::Cow, ops::Range, time::Duration};

use crate::{
    bytes::CodecError,
    limits::{HORIZON_FUTURE_DEFAULT, HORIZON_PAST_DEFAULT},
    quantity::Quantity,
    time::Timestamp,
};

mod batch;
pub mod cloudevents;
mod codec;
mod metadata;
mod parse;
mod rejection;
mod scanner;
#[cfg(test)]
mod tests;

pub use batch::{EachEvent, check_batch_horizon, parse_each, read_batch, readable_event_id};
pub use rejection::{BatchRejection, BatchStatus, EventError, Rejection, RejectionCode};

/// A metadata value: what is not nested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// A text of at most 500 characters.
    String(Cow<'a, str>),
    /// A number, exact.
    Number(Quantity),
    /// A truth value.
    Bool(bool),
}

impl Value<'_> {
    /// The value as a number: a number, or a string that is wholly a decimal number.
    #[must_use]
    pub fn as_number(&self) -> Option<Quantity> {
        match self {
            Value::Number(number) => Some(*number),
            Value::String(text) => Quantity::parse_decimal(text).ok(),
            Value::Bool(_) => None,
        }
    }

    /// The canonical text, by which values are grouped.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Value::String(text) => text.clone().into_owned(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
        }
    }
}

/// How far from now an event's time may lie when it is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizon {
    /// Greatest age.
    pub past: Duration,
    /// Greatest distance into the future.
    pub future: Duration,
}

impl Default for Horizon {
    fn default() -> Self {
        Horizon {
            past: HORIZON_PAST_DEFAULT,
            future: HORIZON_FUTURE_DEFAULT,
        }
    }
}

impl Horizon {
    /// Checks a time against the horizon around `now`; `field` is what the sender calls it.
    ///
    /// # Errors
    /// `TIMESTAMP_TOO_OLD` or `TIMESTAMP_TOO_NEW`.
    pub fn check(&self, field: &str, time: Timestamp, now: Timestamp) -> Result<(), Rejection> {
        let (code, expected) = if time < now.saturating_sub(self.past) {
            (
                RejectionCode::TimestampTooOld,
                format!("at most {} s in the past", self.past.as_secs()),
            )
        } else if time > now.saturating_add(self.future) {
            (
                RejectionCode::TimestampTooNew,
                format!("at most {} s in the future", self.future.as_secs()),
            )
        } else {
            return Ok(());
        };
        let message = format!("{field} must be {expected}, but is {time} (now {now})");
        Err(Rejection::new(code, Some(field), message))
    }
}

/// One usage action of one customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// The application's idempotency key.
    pub event_id: Cow<'a, str>,
    /// Whose usage it is.
    pub customer_id: Cow<'a, str>,
    /// What happened; meters select by it.
    pub event_name: Cow<'a, str>,
    /// When it happened.
    pub timestamp: Timestamp,
    /// Whether the application gave the time; otherwise it is when the event was first seen.
    pub timestamp_given: bool,
    /// Further properties, sorted by key, keys unique.
    pub metadata: Vec<(Cow<'a, str>, Value<'a>)>,
}

impl<'a> Event<'a> {
    /// Reads one event from JSON and checks it against every limit but the horizon.
    ///
    /// Unknown fields are refused; `null` counts as absent. Without a timestamp the event happened
    /// at `now`.
    ///
    /// # Errors
    /// The first thing that is wrong, with its field and what was expected.
    pub fn parse(json: &'a str, now: Timestamp) -> Result<Event<'a>, Rejection> {
        parse::parse(json, now)
    }

    /// Checks the event's time against the horizon around `now`.
    ///
    /// # Errors
    /// `TIMESTAMP_TOO_OLD` or `TIMESTAMP_TOO_NEW`.
    pub fn check_horizon(&self, now: Timestamp, horizon: &Horizon) -> Result<(), Rejection> {
        horizon.check("timestamp", self.timestamp, now)
    }

    /// The metadata value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.metadata
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
    }

    /// Appends the compact journal form to `out`; answers where in `out` the payload is: everything but the id and the
    /// time.
    ///
    /// A retry of the same event has the same payload whatever the order and spelling of its JSON was, and two payloads
    /// that differ are different bytes.
    pub fn encode(&self, out: &mut Vec<u8>) -> Range<usize> {
        codec::encode(self, out)
    }

    /// Reads the compact journal form, borrowing from it.
    ///
    /// # Errors
    /// Bytes that [`Event::encode`] did not write, a part of them, or more than them.
    pub fn decode(bytes: &'a [u8]) -> Result<Event<'a>, CodecError> {
        codec::decode(bytes, Vec::new())
    }

    /// The payload within the compact journal form, as [`Event::encode`] told it.
    ///
    /// # Errors
    /// Bytes that [`Event::encode`] did not write; not all of them are looked at.
    pub fn encoded_payload(bytes: &[u8]) -> Result<&[u8], CodecError> {
        codec::payload(bytes)
    }

    /// As [`Event::decode`], keeping the metadata in `room`, the emptied metadata of a former event: one allocation then
    /// serves many events.
    ///
    /// # Errors
    /// As [`Event::decode`].
    pub fn decode_into(
        bytes: &'a [u8],
        room: Vec<(Cow<'a, str>, Value<'a>)>,
    ) -> Result<Event<'a>, CodecError> {
        codec::decode(bytes, room)
    }

    /// The emptied metadata, as room for another event's.
    #[must_use]
    pub fn into_room(self) -> Vec<(Cow<'a, str>, Value<'a>)> {
        let mut room = self.metadata;
        room.clear();
        room
    }
}
