//! CloudEvents 1.0 as usage events.
//!
//! | attribute | of the event |
//! |---|---|
//! | `subject` | `customer_id`; required here, though CloudEvents have it optional |
//! | `type` | `event_name` |
//! | `time` | `timestamp` |
//! | `data` | `metadata`: a flat object, `null` or absent is none |
//! | (`source`, `id`) | `event_id`, by [`event_id`] |
//!
//! They come in the JSON format, one or a batch ([`parse_json`]), or in the binary mode, whose
//! attributes are HTTP headers ([`parse_binary`]). Data must be JSON. `dataschema` and extension
//! attributes concern the way, not the usage: a retry may carry another trace. They are checked for
//! their form, not kept, and no part of what makes two events the same.
//!
//! Unlike [`parse_batch`](super::parse_batch), the same id twice in one request is no fault of it: the
//! second counts as a repetition, as CloudEvents says of events with the same source and id.

use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    BatchRejection, Event, EventError, Rejection, RejectionCode,
    batch::{check_count, malformed, utf8},
};
use crate::{
    json::{Fields, Json, elements},
    limits::EVENTS_PER_REQUEST_MAX,
    time::Timestamp,
};

mod data;
mod envelope;
mod header;
mod identity;
#[cfg(test)]
mod tests;

pub use header::parse_binary;
pub use identity::event_id;

use envelope::EnvelopeSeed;

/// What CloudEvents call an event's time.
pub const TIME: &str = "time";

/// What a JSON body may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One event: `application/cloudevents+json`.
    Event,
    /// An array of 0 to 1000 events: `application/cloudevents-batch+json`.
    Batch,
    /// Either: `application/json`.
    Either,
}

impl Shape {
    const fn has_event(self) -> bool {
        matches!(self, Shape::Event | Shape::Either)
    }

    const fn has_batch(self) -> bool {
        matches!(self, Shape::Batch | Shape::Either)
    }

    const fn expected(self) -> &'static str {
        match self {
            Shape::Event => "a CloudEvent as a JSON object",
            Shape::Batch => "an array of CloudEvents",
            Shape::Either => "a CloudEvent as a JSON object, or an array of CloudEvents",
        }
    }
}

/// Reads CloudEvents in the JSON format as a whole: every one is good, or the request is refused.
///
/// The horizon is not checked here; see [`check_batch_horizon`](super::check_batch_horizon).
///
/// # Errors
/// A body that is not of this shape, or any event that is refused, each listed with the attribute at
/// fault.
pub fn parse_json(
    body: &[u8],
    shape: Shape,
    now: Timestamp,
) -> Result<Vec<Event<'_>>, BatchRejection> {
    let text = utf8(body)?;
    read(text, shape, now).map_err(|error| diagnose(text, shape, now, &error))
}

/// The fast way: no intermediate form, stops at the first fault without saying much.
fn read(text: &str, shape: Shape, now: Timestamp) -> Result<Vec<Event<'_>>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let events = BodySeed { shape, now }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(events)
}

/// The slow way: finds what the fast way stumbled over, and everything else that is wrong.
fn diagnose(
    text: &str,
    shape: Shape,
    now: Timestamp,
    stumbled: &serde_json::Error,
) -> BatchRejection {
    let refused = || -> Result<Option<BatchRejection>, BatchRejection> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| malformed(&error))?;
        match Json::read(raw) {
            Ok(Json::Object(event)) if shape.has_event() => Ok(parse_one(event, now)
                .err()
                .map(|rejection| BatchRejection::of_event(readable_id(event), rejection))),
            Ok(Json::Array(array)) if shape.has_batch() => {
                let events = elements(array).map_err(|error| malformed(&error))?;
                check_count(events.len())?;
                Ok(BatchRejection::of_events(
                    events.len(),
                    faults(&events, now),
                ))
            }
            _ => {
                let message = format!("the body must be {}", shape.expected());
                let code = RejectionCode::MalformedRequest;
                Err(BatchRejection::of_request(code, message))
            }
        }
    };
    match refused() {
        Err(rejection) | Ok(Some(rejection)) => rejection,
        Ok(None) => malformed(stumbled),
    }
}

fn faults(events: &[&RawValue], now: Timestamp) -> Vec<EventError> {
    let each = events.iter().enumerate();
    each.filter_map(|(index, event)| {
        let rejection = parse_one(event.get(), now).err()?;
        Some(EventError::new(index, readable_id(event.get()), rejection))
    })
    .collect()
}

fn parse_one(json: &str, now: Timestamp) -> Result<Event<'_>, Rejection> {
    let mut reason = None;
    let mut reader = serde_json::Deserializer::from_str(json);
    let seed = EnvelopeSeed {
        now,
        reason: &mut reason,
    };
    seed.deserialize(&mut reader).map_err(|error| {
        let unexplained = || {
            let message = format!("the event is not valid: {error}");
            Rejection::new(RejectionCode::MalformedEvent, None, message)
        };
        reason.unwrap_or_else(unexplained)
    })
}

/// The event id of a refused event, if its source and id can be read.
fn readable_id(json: &str) -> Option<String> {
    let Fields(fields) = serde_json::from_str(json).ok()?;
    let text = |wanted: &str| {
        let (_, raw) = fields.iter().find(|(name, _)| name == wanted)?;
        match Json::read(raw).ok()? {
            Json::String(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    };
    Some(event_id(&text("source")?, &text("id")?))
}

struct BodySeed {
    shape: Shape,
    now: Timestamp,
}

impl<'de> DeserializeSeed<'de> for BodySeed {
    type Value = Vec<Event<'de>>;

    fn deserialize<D: de::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for BodySeed {
    type Value = Vec<Event<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shape.expected())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        if !self.shape.has_event() {
            return Err(de::Error::custom("one event"));
        }
        let seed = EnvelopeSeed {
            now: self.now,
            reason: &mut None,
        };
        Ok(vec![seed.visit_map(map)?])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        if !self.shape.has_batch() {
            return Err(de::Error::custom("many events"));
        }
        let (mut events, mut reason) = (Vec::new(), None);
        while let Some(event) = seq.next_element_seed(EnvelopeSeed {
            now: self.now,
            reason: &mut reason,
        })? {
            if events.len() == EVENTS_PER_REQUEST_MAX {
                return Err(de::Error::custom("too many events"));
            }
            events.push(event);
        }
        Ok(events)
    }
}
