//! Kinds of request fields that need more than a type: those without effect, those not supported, those to clear.

use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use submeter_common::id::check_id;
use submeter_common::limits::{
    METADATA_KEY_CHARS_MAX, METADATA_PAIRS_MAX, METADATA_STRING_CHARS_MAX,
};
use submeter_common::quantity::from_json;

use super::error::ApiError;
use crate::metadata::Metadata;
use crate::money::Decimal;

/// Part of every complaint about an [`Unsupported`] field.
pub(super) const NOT_SUPPORTED: &str = "is not supported by this version";

/// Longest description.
const DESCRIPTION_CHARS_MAX: usize = 1000;

/// A field that official clients may send and that changes nothing here: any value is taken and dropped.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Ignored;

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Ignored)
    }
}

/// A field that would change what is billed in a way this version cannot bill: only values that ask for nothing are
/// taken. To bill as if it had not been sent would be worse than to refuse.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Unsupported;

impl<'de> Deserialize<'de> for Unsupported {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        match raw.get() {
            "null" | "false" | "0" | "0.0" | "\"\"" | "\"0\"" | "[]" | "{}" => Ok(Unsupported),
            _ => Err(D::Error::custom(format_args!(
                "this value {NOT_SUPPORTED}: leave the field out"
            ))),
        }
    }
}

/// A decimal in a request: a string or a number, taken from its digits.
#[derive(Clone, Debug)]
pub(super) struct Exact(Decimal);

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_json(deserializer).map(|quantity| Self(Decimal::from(&quantity)))
    }
}

impl From<Exact> for Decimal {
    fn from(exact: Exact) -> Self {
        exact.0
    }
}

/// Reads a field of a PATCH: absent leaves (`None`), null clears (`Some(None)`), a value sets.
///
/// For `#[serde(default, deserialize_with = "patch")]`.
pub(super) fn patch<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

/// Checks a name people gave: 1 to 256 bytes without control characters, as ids are.
pub(super) fn check_name(field: &str, value: &str) -> Result<(), ApiError> {
    Ok(check_id(field, value)?)
}

/// Checks a longer text: at most 1000 characters, no control characters but line breaks and tabs.
pub(super) fn check_text(field: &str, value: &str) -> Result<(), ApiError> {
    let bad = |character: char| character.is_control() && !matches!(character, '\n' | '\r' | '\t');
    if value.chars().count() > DESCRIPTION_CHARS_MAX {
        return Err(ApiError::field(
            field,
            format!("expected at most {DESCRIPTION_CHARS_MAX} characters"),
        ));
    }
    if value.chars().any(bad) {
        return Err(ApiError::field(field, "expected no control characters"));
    }
    Ok(())
}

/// Checks metadata: a flat map within the limits that events have too.
pub(super) fn check_metadata(metadata: &Metadata) -> Result<(), ApiError> {
    if metadata.len() > METADATA_PAIRS_MAX {
        return Err(ApiError::field(
            "metadata",
            format!("expected at most {METADATA_PAIRS_MAX} pairs"),
        ));
    }
    metadata
        .iter()
        .try_for_each(|(key, value)| check_pair(key, value))
}

fn check_pair(key: &str, value: &serde_json::Value) -> Result<(), ApiError> {
    use serde_json::Value;

    if key.is_empty() || key.chars().count() > METADATA_KEY_CHARS_MAX {
        return Err(ApiError::field(
            "metadata",
            format!("expected keys of 1 to {METADATA_KEY_CHARS_MAX} characters"),
        ));
    }
    match value {
        Value::String(text) if text.chars().count() > METADATA_STRING_CHARS_MAX => {
            Err(ApiError::field(
                format!("metadata.{key}"),
                format!("expected at most {METADATA_STRING_CHARS_MAX} characters"),
            ))
        }
        Value::String(_) | Value::Number(_) | Value::Bool(_) => Ok(()),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(ApiError::field(
            format!("metadata.{key}"),
            "expected a string, a number or a boolean",
        )),
    }
}
