//! From JSON to an event in one pass, borrowed, and with the reason when it is refused.
//!
//! The one implementation of the rules serves the fast way and the diagnosing way alike: the visitor leaves its reason
//! in a slot beside serde's error, which carries only text.

use std::{borrow::Cow, fmt};

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Event, Rejection, RejectionCode, Value};
use crate::{
    id::{check_id, has_control},
    json::{Json, Key},
    limits::{METADATA_KEY_CHARS_MAX, METADATA_PAIRS_MAX, METADATA_STRING_CHARS_MAX},
    quantity::Quantity,
    time::Timestamp,
};

type Metadata<'a> = Vec<(Cow<'a, str>, Value<'a>)>;

pub(super) fn parse(json: &str, now: Timestamp) -> Result<Event<'_>, Rejection> {
    let mut reason = None;
    let mut reader = serde_json::Deserializer::from_str(json);
    let read = EventSeed { now, reason: &mut reason }.deserialize(&mut reader);
    match read.and_then(|event| reader.end().map(|()| event)) {
        Ok(event) => Ok(event),
        Err(error) => Err(reason.unwrap_or_else(|| malformed(None, format!("the event is not valid: {error}")))),
    }
}

fn malformed(field: Option<&str>, message: String) -> Rejection {
    Rejection::new(RejectionCode::MalformedEvent, field, message)
}

/// Reads one event; a rule that is broken is told in `reason`.
pub(super) struct EventSeed<'s> {
    pub(super) now: Timestamp,
    pub(super) reason: &'s mut Option<Rejection>,
}

impl<'de> DeserializeSeed<'de> for EventSeed<'_> {
    type Value = Event<'de>;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Event<'de>, D::Error> {
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
                "event_id" => draft.event_id.put("event_id", text("event_id", map.next_value()?)),
                "customer_id" => draft.customer_id.put("customer_id", text("customer_id", map.next_value()?)),
                "event_name" => draft.event_name.put("event_name", text("event_name", map.next_value()?)),
                "timestamp" => draft.timestamp.put("timestamp", timestamp(map.next_value()?)),
                "metadata" => {
                    let read = map.next_value_seed(MetadataSeed { reason: &mut *self.reason })?;
                    draft.metadata.put("metadata", Ok(read))
                }
                other => Err(unknown_field(other)),
            };
            if let Err(rejection) = taken {
                return Err(refuse(self.reason, rejection));
            }
        }
        draft.finish(self.now).map_err(|rejection| refuse(self.reason, rejection))
    }
}

/// Leaves the reason in its slot and gives serde an error to stop with.
fn refuse<E: de::Error>(slot: &mut Option<Rejection>, rejection: Rejection) -> E {
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
enum Slot<T> {
    Absent,
    Null,
    Given(T),
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Slot::Absent
    }
}

impl<T> Slot<T> {
    fn put(&mut self, field: &str, value: Result<Option<T>, Rejection>) -> Result<(), Rejection> {
        if !matches!(self, Slot::Absent) {
            return Err(malformed(Some(field), format!("{field} must be given once, but is there twice")));
        }
        *self = value?.map_or(Slot::Null, Slot::Given);
        Ok(())
    }

    fn get(self) -> Option<T> {
        match self {
            Slot::Given(value) => Some(value),
            Slot::Absent | Slot::Null => None,
        }
    }

    fn required(self, field: &str) -> Result<T, Rejection> {
        let missing = || Rejection::new(RejectionCode::MissingField, Some(field), format!("{field} is required"));
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
    match Json::read(raw) {
        Ok(Json::String(text)) => match check_id(field, &text) {
            Ok(()) => Ok(Some(text)),
            Err(error) => Err(Rejection::new(RejectionCode::InvalidField, Some(field), error.to_string())),
        },
        Ok(Json::Null) => Ok(None),
        Ok(_) => Err(malformed(Some(field), format!("{field} must be a string"))),
        Err(_) => Err(malformed(Some(field), format!("{field} must be a string of valid Unicode"))),
    }
}

fn timestamp(raw: &RawValue) -> Result<Option<Timestamp>, Rejection> {
    match Json::read(raw) {
        Ok(Json::String(text)) => match Timestamp::parse(&text) {
            Ok(timestamp) => Ok(Some(timestamp)),
            Err(error) => {
                let message = format!("timestamp {error}");
                Err(Rejection::new(RejectionCode::InvalidTimestamp, Some("timestamp"), message))
            }
        },
        Ok(Json::Null) => Ok(None),
        _ => Err(malformed(Some("timestamp"), "timestamp must be an RFC 3339 string".to_owned())),
    }
}

/// Reads a flat map, or `null` as none.
struct MetadataSeed<'s> {
    reason: &'s mut Option<Rejection>,
}

impl MetadataSeed<'_> {
    fn not_a_map<T, E: de::Error>(self) -> Result<T, E> {
        let message = "metadata must be an object of strings, numbers and booleans".to_owned();
        Err(refuse(self.reason, malformed(Some("metadata"), message)))
    }
}

impl<'de> DeserializeSeed<'de> for MetadataSeed<'_> {
    type Value = Option<Metadata<'de>>;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for MetadataSeed<'_> {
    type Value = Option<Metadata<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a flat object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(Key(key)) = map.next_key()? {
            let raw: &RawValue = map.next_value()?;
            match pair(&pairs, &key, raw) {
                Ok(Some(value)) => pairs.push((key, value)),
                Ok(None) => {}
                Err(rejection) => return Err(refuse(self.reason, rejection)),
            }
        }
        pairs.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        if let Some(twice) = pairs.windows(2).find(|two| two[0].0 == two[1].0) {
            let rejection = invalid_pair(&twice[0].0, "must be given once, but is there twice");
            return Err(refuse(self.reason, rejection));
        }
        Ok(Some(pairs))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
        self.not_a_map()
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
        self.not_a_map()
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
        self.not_a_map()
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
        self.not_a_map()
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
        self.not_a_map()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        self.not_a_map()
    }
}

/// Reads one value; `null` is an absent pair.
fn pair<'a>(before: &Metadata<'_>, key: &str, raw: &'a RawValue) -> Result<Option<Value<'a>>, Rejection> {
    if before.len() == METADATA_PAIRS_MAX {
        let message = format!("metadata must have at most {METADATA_PAIRS_MAX} pairs");
        return Err(Rejection::new(RejectionCode::InvalidMetadata, Some("metadata"), message));
    }
    check_key(key)?;
    match Json::read(raw) {
        Ok(Json::String(text)) => {
            check_string(key, &text)?;
            Ok(Some(Value::String(text)))
        }
        Ok(Json::Number(digits)) => match Quantity::parse(digits) {
            Ok(number) => Ok(Some(Value::Number(number))),
            Err(error) => {
                let field = format!("metadata.{key}");
                let message = format!("{field} {error}");
                Err(Rejection::new(RejectionCode::InvalidNumber, Some(&field), message))
            }
        },
        Ok(Json::Bool(flag)) => Ok(Some(Value::Bool(flag))),
        Ok(Json::Null) => Ok(None),
        Ok(Json::Array(_) | Json::Object(_)) => {
            Err(invalid_pair(key, "must be a string, a number or a boolean; nesting is not allowed"))
        }
        Err(_) => Err(invalid_pair(key, "must be a string of valid Unicode")),
    }
}

fn check_key(key: &str) -> Result<(), Rejection> {
    let broken = if key.is_empty() {
        "must not be empty".to_owned()
    } else if is_longer(key, METADATA_KEY_CHARS_MAX) {
        format!("must be at most {METADATA_KEY_CHARS_MAX} characters long")
    } else if has_control(key) {
        "must not contain control characters".to_owned()
    } else {
        return Ok(());
    };
    let message = format!("metadata keys {broken}");
    Err(Rejection::new(RejectionCode::InvalidMetadata, Some("metadata"), message))
}

fn check_string(key: &str, text: &str) -> Result<(), Rejection> {
    if is_longer(text, METADATA_STRING_CHARS_MAX) {
        return Err(invalid_pair(key, &format!("must be at most {METADATA_STRING_CHARS_MAX} characters long")));
    }
    // Texts may have lines; what no terminal, log or database takes is refused.
    if has_control(text) && text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) {
        return Err(invalid_pair(key, "must not contain control characters"));
    }
    Ok(())
}

/// Counts characters only where the bytes do not already decide.
fn is_longer(text: &str, chars_max: usize) -> bool {
    text.len() > chars_max && text.chars().count() > chars_max
}

fn invalid_pair(key: &str, broken: &str) -> Rejection {
    let field = format!("metadata.{key}");
    let message = format!("{field} {broken}");
    Rejection::new(RejectionCode::InvalidMetadata, Some(&field), message)
}
