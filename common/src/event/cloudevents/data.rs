//! The data of a CloudEvent where it does not stand in the event's own JSON.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::de::DeserializeSeed as _;

use super::super::{
    Rejection, RejectionCode, Value,
    metadata::{Metadata, MetadataSeed},
    parse::malformed,
};

/// Reads data that is a JSON document of its own; nothing at all is no data.
pub(super) fn document(bytes: &[u8]) -> Result<Option<Metadata<'_>>, Rejection> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|_| malformed(Some("data"), "data must be JSON in UTF-8".to_owned()))?;
    let mut reason = None;
    let mut reader = serde_json::Deserializer::from_str(text);
    let seed = MetadataSeed {
        field: "data",
        reason: &mut reason,
    };
    let read = seed.deserialize(&mut reader);
    read.and_then(|data| reader.end().map(|()| data))
        .map_err(|error| {
            let no_json = || malformed(Some("data"), format!("data must be JSON: {error}"));
            reason.unwrap_or_else(no_json)
        })
}

/// Reads `data_base64`, whose bytes are data as in the binary mode.
pub(super) fn decoded(text: &str) -> Result<Option<Metadata<'static>>, Rejection> {
    let bytes = STANDARD.decode(text).map_err(|error| {
        let message = format!("data_base64 must be Base64: {error}");
        Rejection::new(RejectionCode::InvalidField, Some("data_base64"), message)
    })?;
    Ok(document(&bytes)?.map(owned))
}

fn owned(metadata: Metadata<'_>) -> Metadata<'static> {
    let text = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
    let value = |value| match value {
        Value::String(string) => Value::String(text(string)),
        Value::Number(number) => Value::Number(number),
        Value::Bool(flag) => Value::Bool(flag),
    };
    metadata
        .into_iter()
        .map(|(key, of)| (text(key), value(of)))
        .collect()
}
