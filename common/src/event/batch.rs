//! Requests of many events: one fast pass when all are good, a second one that finds every fault
//! when some are not.

use std::collections::HashMap;

use hashbrown::HashSet;
use serde_json::value::RawValue;

use super::{
    BatchRejection, Event, EventError, Horizon, Rejection, RejectionCode, metadata::Metadata,
    scanner::Scanner,
};
use crate::{
    json::{Fields, Json, elements},
    limits::{EVENTS_PER_REQUEST_MAX, ID_BYTES_MAX},
    time::Timestamp,
};

/// Reads `{"events":[…]}` as a whole: every event is good, within the horizon and there once, or the request is refused.
///
/// Events are handed to `each` as they are read, in order; how many, is returned. On a refusal some may have been
/// handed over: they are to be forgotten.
///
/// # Errors
/// A request that is no such JSON, holds no or too many events, or any event that is refused, each
/// listed.
pub fn read_batch<'a>(
    body: &'a [u8],
    now: Timestamp,
    horizon: &Horizon,
    mut each: impl FnMut(&Event<'a>),
) -> Result<usize, BatchRejection> {
    let text = utf8(body)?;
    let mut count = 0;
    let mut counted = |event: &Event<'a>| {
        each(event);
        count += 1;
    };
    if scan(text, now, horizon, &mut counted).is_none() {
        let handed = count;
        let events = read_thoroughly(text, now, horizon)?;
        events.iter().skip(handed).for_each(&mut each);
        count = events.len();
    }
    Ok(count)
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
        Some(of_event(index, event, rejection))
    };
    let errors = events.iter().enumerate().filter_map(outside).collect();
    refuse(events.len(), errors)
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

/// The short way: hands over event after event, and stops at the first thing that is odd or wrong.
fn scan<'a>(
    text: &'a str,
    now: Timestamp,
    horizon: &Horizon,
    each: &mut impl FnMut(&Event<'a>),
) -> Option<()> {
    let mut scanner = Scanner::new(text);
    scanner.take(b'{')?;
    scanner.key("events")?;
    scanner.take(b'[')?;
    let mut ids = HashSet::new();
    let mut room = Vec::new();
    loop {
        let event = next_event(&mut scanner, now, room)?;
        event.check_horizon(now, horizon).ok()?;
        if ids.len() == EVENTS_PER_REQUEST_MAX || !ids.insert(event.event_id.clone()) {
            return None;
        }
        each(&event);
        room = event.into_room();
        match scanner.next()? {
            b',' => {}
            b']' => break,
            _ => return None,
        }
    }
    scanner.take(b'}')?;
    scanner.is_at_end().then_some(())
}

/// One event of a batch; one that is written oddly does not slow down the others.
fn next_event<'a>(
    scanner: &mut Scanner<'a>,
    now: Timestamp,
    room: Metadata<'a>,
) -> Option<Event<'a>> {
    let rest = scanner.rest();
    let mut ahead = Scanner::new(rest);
    if let Some(event) = ahead.event(now, room) {
        scanner.skip(rest.len() - ahead.rest().len());
        return Some(event);
    }
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
    let raw = values.next()?.ok()?;
    scanner.skip(values.byte_offset());
    Event::parse(raw.get(), now).ok()
}

/// The thorough way: finds everything that is wrong.
fn read_thoroughly<'a>(
    text: &'a str,
    now: Timestamp,
    horizon: &Horizon,
) -> Result<Vec<Event<'a>>, BatchRejection> {
    let Fields(fields) = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    let raw = events_of(&fields)?;
    check_count(raw.len())?;
    let (mut events, mut errors) = (Vec::with_capacity(raw.len()), Vec::new());
    for (index, raw) in raw.iter().enumerate() {
        match Event::parse(raw.get(), now) {
            Ok(event) => events.push(event),
            Err(rejection) => {
                errors.push(EventError::new(
                    index,
                    readable_event_id(raw.get()),
                    rejection,
                ));
            }
        }
    }
    // Each kind of fault is looked for among events that are free of the kinds before.
    refuse(raw.len(), errors)?;
    refuse(events.len(), repeated_ids(&events))?;
    check_batch_horizon(&events, "timestamp", now, horizon)?;
    Ok(events)
}

fn refuse(events: usize, errors: Vec<EventError>) -> Result<(), BatchRejection> {
    BatchRejection::of_events(events, errors).map_or(Ok(()), Err)
}

/// Every event that repeats the id of an earlier one.
fn repeated_ids(events: &[Event<'_>]) -> Vec<EventError> {
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
            errors.push(of_event(index, event, rejection));
        }
    }
    errors
}

fn of_event(index: usize, event: &Event<'_>, rejection: Rejection) -> EventError {
    EventError::new(index, Some(event.event_id.clone().into_owned()), rejection)
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
