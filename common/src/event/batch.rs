//! Requests of many events: one fast pass when all are good, a second one that finds every fault
//! when some are not.

use std::{collections::HashMap, fmt};

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    BatchRejection, Event, EventError, Horizon, Rejection, RejectionCode, parse::EventSeed,
};
use crate::{
    json::{Fields, Json, Key, elements},
    limits::{EVENTS_PER_REQUEST_MAX, ID_BYTES_MAX},
    time::Timestamp,
};

/// Reads `{"events":[…]}` as a whole: every event is good, or the request is refused.
///
/// The horizon is not checked here; see [`check_batch_horizon`].
///
/// # Errors
/// A request that is no such JSON, holds no or too many events, or any event that is refused, each
/// listed.
pub fn parse_batch(body: &[u8], now: Timestamp) -> Result<Vec<Event<'_>>, BatchRejection> {
    let text = utf8(body)?;
    let events = match read_batch(text, now) {
        Ok(events) => events,
        Err(error) => return Err(diagnose(text, now, &error)),
    };
    let duplicates = duplicate_ids(&events);
    match BatchRejection::of_events(events.len(), duplicates) {
        None => Ok(events),
        Some(rejection) => Err(rejection),
    }
}

/// One event's result in a request that is answered per event: its id where it was refused but
/// could be read.
pub type EachEvent<'a> = (Option<String>, Result<Event<'a>, Rejection>);

/// Reads a JSON object or a JSON array of events, each judged on its own.
///
/// The id is given beside a refused event only; a good one holds its own.
///
/// # Errors
/// A body that is neither, or an array of more than 1000 events.
pub fn parse_each(body: &[u8], now: Timestamp) -> Result<Vec<EachEvent<'_>>, BatchRejection> {
    let text = utf8(body)?;
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    match Json::read(raw) {
        Ok(Json::Object(event)) => Ok(vec![parse_one(event, now)]),
        Ok(Json::Array(array)) => {
            let events = elements(array).map_err(|error| malformed(&error))?;
            check_count(events.len())?;
            Ok(events
                .into_iter()
                .map(|event| parse_one(event.get(), now))
                .collect())
        }
        _ => Err(BatchRejection::of_request(
            RejectionCode::MalformedRequest,
            "the body must be an event as a JSON object, or an array of events",
        )),
    }
}

fn parse_one(json: &str, now: Timestamp) -> EachEvent<'_> {
    match Event::parse(json, now) {
        Ok(event) => (None, Ok(event)),
        Err(rejection) => (readable_event_id(json), Err(rejection)),
    }
}

/// Checks every event of a request against the horizon; `field` is what the sender calls its time.
///
/// # Errors
/// Lists the events whose time lies outside.
pub fn check_batch_horizon(
    events: &[Event<'_>],
    field: &str,
    now: Timestamp,
    horizon: &Horizon,
) -> Result<(), BatchRejection> {
    let outside = |(index, event): (usize, &Event<'_>)| {
        let rejection = horizon.check(field, event.timestamp, now).err()?;
        Some(EventError::new(
            index,
            Some(event.event_id.clone().into_owned()),
            rejection,
        ))
    };
    let errors = events.iter().enumerate().filter_map(outside).collect();
    BatchRejection::of_events(events.len(), errors).map_or(Ok(()), Err)
}

/// The `event_id` of a refused event, if it is a JSON object with one that may be repeated in a
/// reply.
#[must_use]
pub fn readable_event_id(json: &str) -> Option<String> {
    let Fields(fields) = serde_json::from_str(json).ok()?;
    let (_, raw) = fields.into_iter().find(|(name, _)| name == "event_id")?;
    match Json::read(raw).ok()? {
        Json::String(id) if id.len() <= ID_BYTES_MAX => Some(id.into_owned()),
        _ => None,
    }
}

pub(super) fn utf8(body: &[u8]) -> Result<&str, BatchRejection> {
    std::str::from_utf8(body).map_err(|error| {
        let message = format!(
            "the body must be UTF-8, but byte {} is not",
            error.valid_up_to()
        );
        BatchRejection::of_request(RejectionCode::MalformedRequest, message)
    })
}

pub(super) fn malformed(error: &serde_json::Error) -> BatchRejection {
    let message = format!("the body is not valid JSON: {error}");
    BatchRejection::of_request(RejectionCode::MalformedRequest, message)
}

pub(super) fn check_count(count: usize) -> Result<(), BatchRejection> {
    if count <= EVENTS_PER_REQUEST_MAX {
        return Ok(());
    }
    let message =
        format!("events must hold at most {EVENTS_PER_REQUEST_MAX} events, but holds {count}");
    Err(BatchRejection::of_request(
        RejectionCode::TooManyEvents,
        message,
    ))
}

/// Every event that repeats the id of an earlier one.
fn duplicate_ids(events: &[Event<'_>]) -> Vec<EventError> {
    let mut first = HashMap::with_capacity(events.len());
    let mut errors = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let earlier = *first.entry(event.event_id.as_ref()).or_insert(index);
        if earlier != index {
            let message = format!(
                "event_id must be unique within a request, but events[{earlier}] has the same"
            );
            let rejection =
                Rejection::new(RejectionCode::DuplicateEventId, Some("event_id"), message);
            errors.push(EventError::new(
                index,
                Some(event.event_id.clone().into_owned()),
                rejection,
            ));
        }
    }
    errors
}

/// The slow way: finds what the fast way stumbled over, and everything else that is wrong.
fn diagnose(text: &str, now: Timestamp, stumbled: &serde_json::Error) -> BatchRejection {
    let refused = || -> Result<Option<BatchRejection>, BatchRejection> {
        let Fields(fields) = serde_json::from_str(text).map_err(|error| malformed(&error))?;
        let events = events_of(&fields)?;
        check_count(events.len())?;
        let each = events
            .iter()
            .map(|event| parse_one(event.get(), now))
            .enumerate();
        let errors =
            each.filter_map(|(index, (id, read))| Some(EventError::new(index, id, read.err()?)));
        Ok(BatchRejection::of_events(events.len(), errors.collect()))
    };
    match refused() {
        Err(rejection) | Ok(Some(rejection)) => rejection,
        Ok(None) => malformed(stumbled),
    }
}

fn events_of<'a>(
    fields: &[(std::borrow::Cow<'_, str>, &'a RawValue)],
) -> Result<Vec<&'a RawValue>, BatchRejection> {
    let of = |code, message: String| Err(BatchRejection::of_request(code, message));
    if let Some((unknown, _)) = fields.iter().find(|(name, _)| name != "events") {
        let short: String = unknown.chars().take(ID_BYTES_MAX).collect();
        return of(
            RejectionCode::UnknownField,
            format!("{short:?} is not a field of the request; expected events"),
        );
    }
    let array = match fields {
        [] => return of(RejectionCode::MissingField, "events is required".to_owned()),
        [(_, raw)] => match Json::read(raw) {
            Ok(Json::Array(array)) => array,
            Ok(Json::Null) => {
                return of(RejectionCode::MissingField, "events is required".to_owned());
            }
            _ => {
                return of(
                    RejectionCode::MalformedRequest,
                    "events must be an array of events".to_owned(),
                );
            }
        },
        _ => {
            return of(
                RejectionCode::MalformedRequest,
                "events must be given once, but is there twice".to_owned(),
            );
        }
    };
    let events = elements(array).map_err(|error| malformed(&error))?;
    if events.is_empty() {
        let message =
            format!("events must hold 1 to {EVENTS_PER_REQUEST_MAX} events, but is empty");
        return of(RejectionCode::InvalidField, message);
    }
    Ok(events)
}

/// The fast way: no intermediate form, stops at the first fault without saying much.
fn read_batch(text: &str, now: Timestamp) -> Result<Vec<Event<'_>>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let events = BatchSeed { now }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(events)
}

struct BatchSeed {
    now: Timestamp,
}

impl<'de> DeserializeSeed<'de> for BatchSeed {
    type Value = Vec<Event<'de>>;

    fn deserialize<D: de::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for BatchSeed {
    type Value = Vec<Event<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a list of events")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut events = None;
        while let Some(Key(key)) = map.next_key()? {
            if key != "events" || events.is_some() {
                return Err(de::Error::custom("unexpected field"));
            }
            events = Some(map.next_value_seed(EventsSeed { now: self.now })?);
        }
        events
            .filter(|events| !events.is_empty())
            .ok_or_else(|| de::Error::custom("no events"))
    }
}

struct EventsSeed {
    now: Timestamp,
}

impl<'de> DeserializeSeed<'de> for EventsSeed {
    type Value = Vec<Event<'de>>;

    fn deserialize<D: de::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for EventsSeed {
    type Value = Vec<Event<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let (mut events, mut reason) = (Vec::new(), None);
        while let Some(event) = seq.next_element_seed(EventSeed {
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
