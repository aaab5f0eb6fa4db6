//! The attributes of one CloudEvent, as they arrive, and the event they make.

use std::{borrow::Cow, fmt};

use serde::de::{self, DeserializeSeed, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    super::{
        Event, Rejection, RejectionCode,
        metadata::{Metadata, MetadataSeed},
        parse::{Slot, checked, malformed, moment, refuse, string},
    },
    TIME, data, event_id,
};
use crate::{
    id::has_control,
    json::{Json, Key},
    limits::METADATA_KEY_CHARS_MAX,
    time::Timestamp,
};

/// The one version there is of the 1.0 line: 1.0.1 and 1.0.2 are written like this too.
const SPECVERSION: &str = "1.0";

/// What has been read of a CloudEvent so far.
#[derive(Default)]
pub(super) struct Envelope<'a> {
    specversion: Slot<()>,
    id: Slot<Cow<'a, str>>,
    source: Slot<Cow<'a, str>>,
    kind: Slot<Cow<'a, str>>,
    subject: Slot<Cow<'a, str>>,
    time: Slot<Timestamp>,
    content_type: Slot<()>,
    schema: Slot<()>,
    data: Slot<Metadata<'a>>,
    data_base64: Slot<Metadata<'a>>,
}

impl<'a> Envelope<'a> {
    /// Whether `name` is an attribute of the specification, whose value is a string.
    pub(super) fn knows(name: &str) -> bool {
        matches!(
            name,
            "specversion"
                | "id"
                | "source"
                | "type"
                | "subject"
                | "time"
                | "datacontenttype"
                | "dataschema"
        )
    }

    /// Takes an attribute that it [`knows`](Self::knows); None is one that is not set.
    pub(super) fn take(
        &mut self,
        name: &str,
        value: Option<Cow<'a, str>>,
    ) -> Result<(), Rejection> {
        match name {
            "specversion" => put(&mut self.specversion, name, value, specversion),
            "id" => put(&mut self.id, name, value, identifier),
            "source" => put(&mut self.source, name, value, identifier),
            "type" => put(&mut self.kind, name, value, checked),
            "subject" => put(&mut self.subject, name, value, checked),
            TIME => put(&mut self.time, name, value, |name, text| {
                moment(name, &text)
            }),
            "datacontenttype" => put(&mut self.content_type, name, value, content_type),
            _ => put(&mut self.schema, name, value, |_, _| Ok(())),
        }
    }

    /// Takes the data that stood beside the attributes.
    pub(super) fn take_data(&mut self, data: Option<Metadata<'a>>) -> Result<(), Rejection> {
        self.data.put("data", Ok(data))
    }

    fn take_data_base64(&mut self, text: Option<Cow<'a, str>>) -> Result<(), Rejection> {
        let read = match text {
            Some(text) => data::decoded(&text),
            None => Ok(None),
        };
        self.data_base64.put("data_base64", read)
    }

    /// The event's id, as soon as it is known.
    pub(super) fn event_id(&self) -> Option<String> {
        Some(event_id(self.source.peek()?, self.id.peek()?))
    }

    /// The event, when everything that it needs was there. Without a time it happened at `now`.
    pub(super) fn finish(self, now: Timestamp) -> Result<Event<'a>, Rejection> {
        self.specversion.required("specversion")?;
        let id = self.id.required("id")?;
        let source = self.source.required("source")?;
        let event_name = self.kind.required("type")?;
        let customer_id = self.subject.get().ok_or_else(no_subject)?;
        let metadata = match (self.data.get(), self.data_base64.get()) {
            (Some(_), Some(_)) => return Err(data_twice()),
            (data, encoded) => data.or(encoded).unwrap_or_default(),
        };
        let time = self.time.get();
        Ok(Event {
            event_id: Cow::Owned(event_id(&source, &id)),
            customer_id,
            event_name,
            timestamp: time.unwrap_or(now),
            timestamp_given: time.is_some(),
            metadata,
        })
    }
}

fn put<'a, T>(
    slot: &mut Slot<T>,
    name: &str,
    value: Option<Cow<'a, str>>,
    read: impl FnOnce(&str, Cow<'a, str>) -> Result<T, Rejection>,
) -> Result<(), Rejection> {
    slot.put(name, value.map(|text| read(name, text)).transpose())
}

fn invalid(name: &str, broken: &str) -> Rejection {
    Rejection::new(
        RejectionCode::InvalidField,
        Some(name),
        format!("{name} {broken}"),
    )
}

fn specversion(name: &str, version: Cow<'_, str>) -> Result<(), Rejection> {
    if version == SPECVERSION {
        Ok(())
    } else {
        Err(invalid(name, "must be \"1.0\""))
    }
}

/// A part of the event's identity: of any length, because a long one is hashed.
fn identifier<'a>(name: &str, text: Cow<'a, str>) -> Result<Cow<'a, str>, Rejection> {
    if text.is_empty() {
        Err(invalid(name, "must not be empty"))
    } else if has_control(&text) {
        Err(invalid(name, "must not contain control characters"))
    } else {
        Ok(text)
    }
}

/// `application/json`, `text/json`, `application/geo+json`, …, with or without parameters.
fn content_type(name: &str, media_type: Cow<'_, str>) -> Result<(), Rejection> {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let subtype = essence.split_once('/').map(|(_, subtype)| subtype);
    let is_json = |subtype: &str| {
        let suffix = subtype
            .rsplit_once('+')
            .map_or(subtype, |(_, suffix)| suffix);
        suffix.eq_ignore_ascii_case("json")
    };
    if subtype.is_some_and(is_json) {
        Ok(())
    } else {
        Err(invalid(
            name,
            "must be a JSON media type such as \"application/json\": metadata is read from JSON only",
        ))
    }
}

fn no_subject() -> Rejection {
    Rejection::new(
        RejectionCode::MissingField,
        Some("subject"),
        "subject is required: it is the customer whose usage this is",
    )
}

fn data_twice() -> Rejection {
    malformed(
        Some("data_base64"),
        "data_base64 must not be there beside data".to_owned(),
    )
}

/// Checks the name of an extension attribute.
pub(super) fn check_name(name: &str) -> Result<(), Rejection> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if !name.is_empty() && name.bytes().all(fits) {
        return Ok(());
    }
    // The name is the sender's: shortened, so that a reply stays small.
    let short: String = name.chars().take(METADATA_KEY_CHARS_MAX).collect();
    let message = format!(
        "{short:?} is not a name of an attribute, which has lower-case letters and digits only"
    );
    Err(Rejection::new(
        RejectionCode::UnknownField,
        Some(&short),
        message,
    ))
}

/// Passes over an extension attribute, when it is one.
fn check_extension(name: &str, raw: &RawValue) -> Result<(), Rejection> {
    check_name(name)?;
    match Json::read(raw) {
        Ok(Json::Array(_) | Json::Object(_)) => {
            let short: String = name.chars().take(METADATA_KEY_CHARS_MAX).collect();
            let message = format!(
                "{short} must be a string, a number or a boolean: what is counted belongs in data"
            );
            Err(malformed(Some(&short), message))
        }
        _ => Ok(()),
    }
}

/// Reads one CloudEvent; a rule that is broken is told in `reason`.
pub(super) struct EnvelopeSeed<'s> {
    pub(super) now: Timestamp,
    pub(super) reason: &'s mut Option<Rejection>,
}

impl<'de> DeserializeSeed<'de> for EnvelopeSeed<'_> {
    type Value = Event<'de>;

    fn deserialize<D: de::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Event<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EnvelopeSeed<'_> {
    type Value = Event<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CloudEvent as a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event<'de>, A::Error> {
        let mut envelope = Envelope::default();
        while let Some(Key(key)) = map.next_key()? {
            let taken = match key.as_ref() {
                "data" => {
                    let read = map.next_value_seed(MetadataSeed {
                        field: "data",
                        reason: &mut *self.reason,
                    })?;
                    envelope.take_data(read)
                }
                "data_base64" => string("data_base64", map.next_value()?)
                    .and_then(|text| envelope.take_data_base64(text)),
                name if Envelope::knows(name) => {
                    string(name, map.next_value()?).and_then(|text| envelope.take(name, text))
                }
                name => check_extension(name, map.next_value()?),
            };
            if let Err(rejection) = taken {
                return Err(refuse(self.reason, rejection));
            }
        }
        envelope
            .finish(self.now)
            .map_err(|rejection| refuse(self.reason, rejection))
    }
}
