//! From JSON to an event, borrowed, and with the reason when it is refused.
//!
//! What is written plainly is taken by the `scanner`; everything else is read here by serde. The visitor leaves its
//! reason in a slot beside serde's error, which carries only text.

use std::{borrow::Cow, fmt};

use serde::de::{self, DeserializeSeed, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    Event, Rejection, RejectionCode,
    metadata::{Metadata, MetadataSeed},
    scanner::Scanner,
};
use crate::{
    id::check_id,
    json::{Json, Key},
    limits::METADATA_KEY_CHARS_MAX,
    time::Timestamp,
};

pub(super) fn parse(json: &str, now: Timestamp) -> Result<Event<'_>, Rejection> {
    let mut scanner = Scanner::new(json);
    match scanner.event(now, Vec::new()) {
        Some(event) if scanner.is_at_end() => Ok(event),
        _ => parse_thoroughly(json, now),
    }
}

/// Reads whatever JSON has to offer, and says why an event is refused.
pub(super) fn parse_thoroughly(json: &str, now: Timestamp) -> Result<Event<'_>, Rejection> {
    let mut reason = None;
    let mut reader = serde_json::Deserializer::from_str(json);
    let read = EventSeed {
        now,
        reason: &mut reason,
    }
    .deserialize(&mut reader);
    match read.and_then(|event| reader.end().map(|()| event)) {
        Ok(event) => Ok(event),
        Err(error) => {
            Err(reason
                .unwrap_or_else(|| malformed(None, format!("the event is not valid: {error}"))))
        }
    }
}

pub(super) fn malformed(field: Option<&str>, message: String) -> Rejection {
    Rejection::new(RejectionCode::MalformedEvent, field, message)
}

/// Reads one event; a rule that is broken is told in `reason`.
struct EventSeed<'s> {
    now: Timestamp,
    reason: &'s mut Option<Rejection>,
}

impl<'de> DeserializeSeed<'de> for EventSeed<'_> {
    type Value = Event<'de>;

    fn deserialize<D: de::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Event<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EventSeed<'_> {
    type Value = Event<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event as a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event<'de>, A::Error> {
        let mut draft = Draft::default();
        while let Some(Key(key)) = map.next_key()? {
            let taken = match key.as_ref() {
                "event_id" => draft
                    .event_id
                    .put("event_id", text("event_id", map.next_value()?)),
                "customer_id" => draft
                    .customer_id
                    .put("customer_id", text("customer_id", map.next_value()?)),
                "event_name" => draft
                    .event_name
                    .put("event_name", text("event_name", map.next_value()?)),
                "timestamp" => draft
                    .timestamp
                    .put("timestamp", timestamp("timestamp", map.next_value()?)),
                "metadata" => {
                    let read = map.next_value_seed(MetadataSeed {
                        field: "metadata",
                        reason: &mut *self.reason,
                    })?;
                    draft.metadata.put("metadata", Ok(read))
                }
                other => Err(unknown_field(other)),
            };
            if let Err(rejection) = taken {
                return Err(refuse(self.reason, rejection));
            }
        }
        draft
            .finish(self.now)
            .map_err(|rejection| refuse(self.reason, rejection))
    }
}

/// Leaves the reason in its slot and gives serde an error to stop with.
pub(super) fn refuse<E: de::Error>(slot: &mut Option<Rejection>, rejection: Rejection) -> E {
    let error = E::custom(&rejection.message);
    *slot = Some(rejection);
    error
}

fn unknown_field(name: &str) -> Rejection {
    // The name is the sender's: shortened, so that a reply stays small.
    let short: String = name.chars().take(METADATA_KEY_CHARS_MAX).collect();
    let message = format!(
        "{short:?} is not a field of an event; expected event_id, customer_id, event_name, timestamp or metadata"
    );
    Rejection::new(RejectionCode::UnknownField, Some(&short), message)
}

/// A field that is not there yet, is `null`, or has its value.
#[derive(Default)]
pub(super) enum Slot<T> {
    #[default]
    Absent,
    Null,
    Given(T),
}

impl<T> Slot<T> {
    pub(super) fn put(
        &mut self,
        field: &str,
        value: Result<Option<T>, Rejection>,
    ) -> Result<(), Rejection> {
        if !matches!(self, Slot::Absent) {
            return Err(malformed(
                Some(field),
                format!("{field} must be given once, but is there twice"),
            ));
        }
        *self = value?.map_or(Slot::Null, Slot::Given);
        Ok(())
    }

    pub(super) fn peek(&self) -> Option<&T> {
        match self {
            Slot::Given(value) => Some(value),
            Slot::Absent | Slot::Null => None,
        }
    }

    pub(super) fn get(self) -> Option<T> {
        match self {
            Slot::Given(value) => Some(value),
            Slot::Absent | Slot::Null => None,
        }
    }

    pub(super) fn required(self, field: &str) -> Result<T, Rejection> {
        let missing = || {
            Rejection::new(
                RejectionCode::MissingField,
                Some(field),
                format!("{field} is required"),
            )
        };
        self.get().ok_or_else(missing)
    }
}

#[derive(Default)]
struct Draft<'a> {
    event_id: Slot<Cow<'a, str>>,
    customer_id: Slot<Cow<'a, str>>,
    event_name: Slot<Cow<'a, str>>,
    timestamp: Slot<Timestamp>,
    metadata: Slot<Metadata<'a>>,
}

impl<'a> Draft<'a> {
    fn finish(self, now: Timestamp) -> Result<Event<'a>, Rejection> {
        let timestamp = self.timestamp.get();
        Ok(Event {
            event_id: self.event_id.required("event_id")?,
            customer_id: self.customer_id.required("customer_id")?,
            event_name: self.event_name.required("event_name")?,
            timestamp: timestamp.unwrap_or(now),
            timestamp_given: timestamp.is_some(),
            metadata: self.metadata.get().unwrap_or_default(),
        })
    }
}

fn text<'a>(field: &str, raw: &'a RawValue) -> Result<Option<Cow<'a, str>>, Rejection> {
    string(field, raw)?
        .map(|text| checked(field, text))
        .transpose()
}

fn timestamp(field: &str, raw: &RawValue) -> Result<Option<Timestamp>, Rejection> {
    match Json::read(raw) {
        Ok(Json::String(text)) => moment(field, &text).map(Some),
        Ok(Json::Null) => Ok(None),
        _ => Err(malformed(
            Some(field),
            format!("{field} must be an RFC 3339 string"),
        )),
    }
}

/// A string of any length; `null` counts as absent.
pub(super) fn string<'a>(
    field: &str,
    raw: &'a RawValue,
) -> Result<Option<Cow<'a, str>>, Rejection> {
    match Json::read(raw) {
        Ok(Json::String(text)) => Ok(Some(text)),
        Ok(Json::Null) => Ok(None),
        Ok(_) => Err(malformed(Some(field), format!("{field} must be a string"))),
        Err(_) => Err(malformed(
            Some(field),
            format!("{field} must be a string of valid Unicode"),
        )),
    }
}

/// An id or name within its limits.
pub(super) fn checked<'a>(field: &str, text: Cow<'a, str>) -> Result<Cow<'a, str>, Rejection> {
    match check_id(field, &text) {
        Ok(()) => Ok(text),
        Err(error) => Err(Rejection::new(
            RejectionCode::InvalidField,
            Some(field),
            error.to_string(),
        )),
    }
}

/// A date and time in RFC 3339.
pub(super) fn moment(field: &str, text: &str) -> Result<Timestamp, Rejection> {
    Timestamp::parse(text).map_err(|error| {
        Rejection::new(
            RejectionCode::InvalidTimestamp,
            Some(field),
            format!("{field} {error}"),
        )
    })
}
