//! Metadata: a flat map to strings, numbers and booleans, within its limits.

use std::{borrow::Cow, fmt};

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    Rejection, RejectionCode, Value,
    parse::{malformed, refuse},
};
use crate::{
    id::has_control,
    json::{Json, Key},
    limits::{METADATA_KEY_CHARS_MAX, METADATA_PAIRS_MAX, METADATA_STRING_CHARS_MAX},
    quantity::Quantity,
};

pub(super) type Metadata<'a> = Vec<(Cow<'a, str>, Value<'a>)>;

/// Room for so many pairs is made at once: one allocation for nearly every event.
const PAIRS_USUAL: usize = 8;

/// Reads a flat map, or `null` as none.
pub(super) struct MetadataSeed<'s> {
    /// What the sender calls it.
    pub(super) field: &'static str,
    pub(super) reason: &'s mut Option<Rejection>,
}

impl MetadataSeed<'_> {
    fn not_a_map<T, E: de::Error>(self) -> Result<T, E> {
        let field = self.field;
        let message = format!("{field} must be an object of strings, numbers and booleans");
        Err(refuse(self.reason, malformed(Some(field), message)))
    }
}

impl<'de> DeserializeSeed<'de> for MetadataSeed<'_> {
    type Value = Option<Metadata<'de>>;

    fn deserialize<D: de::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Self::Value, D::Error> {
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
            match pair(self.field, &pairs, &key, raw) {
                Ok(Some(value)) => {
                    if pairs.capacity() == 0 {
                        pairs.reserve_exact(PAIRS_USUAL);
                    }
                    pairs.push((key, value));
                }
                Ok(None) => {}
                Err(rejection) => return Err(refuse(self.reason, rejection)),
            }
        }
        pairs.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        if let Some(twice) = pairs.windows(2).find(|two| two[0].0 == two[1].0) {
            let rejection = invalid_pair(
                self.field,
                &twice[0].0,
                "must be given once, but is there twice",
            );
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
fn pair<'a>(
    name: &'static str,
    before: &Metadata<'_>,
    key: &str,
    raw: &'a RawValue,
) -> Result<Option<Value<'a>>, Rejection> {
    if before.len() == METADATA_PAIRS_MAX {
        let message = format!("{name} must have at most {METADATA_PAIRS_MAX} pairs");
        return Err(Rejection::new(
            RejectionCode::InvalidMetadata,
            Some(name),
            message,
        ));
    }
    check_key(name, key)?;
    match Json::read(raw) {
        Ok(Json::String(text)) => {
            check_string(name, key, &text)?;
            Ok(Some(Value::String(text)))
        }
        Ok(Json::Number(digits)) => match Quantity::parse(digits) {
            Ok(number) => Ok(Some(Value::Number(number))),
            Err(error) => {
                let field = format!("{name}.{key}");
                let message = format!("{field} {error}");
                Err(Rejection::new(
                    RejectionCode::InvalidNumber,
                    Some(&field),
                    message,
                ))
            }
        },
        Ok(Json::Bool(flag)) => Ok(Some(Value::Bool(flag))),
        Ok(Json::Null) => Ok(None),
        Ok(Json::Array(_) | Json::Object(_)) => Err(invalid_pair(
            name,
            key,
            "must be a string, a number or a boolean; nesting is not allowed",
        )),
        Err(_) => Err(invalid_pair(name, key, "must be a string of valid Unicode")),
    }
}

fn check_key(name: &str, key: &str) -> Result<(), Rejection> {
    let broken = if key.is_empty() {
        "must not be empty".to_owned()
    } else if is_longer(key, METADATA_KEY_CHARS_MAX) {
        format!("must be at most {METADATA_KEY_CHARS_MAX} characters long")
    } else if has_control(key) {
        "must not contain control characters".to_owned()
    } else {
        return Ok(());
    };
    let message = format!("{name} keys {broken}");
    Err(Rejection::new(
        RejectionCode::InvalidMetadata,
        Some(name),
        message,
    ))
}

fn check_string(name: &str, key: &str, text: &str) -> Result<(), Rejection> {
    if is_longer(text, METADATA_STRING_CHARS_MAX) {
        return Err(invalid_pair(
            name,
            key,
            &format!("must be at most {METADATA_STRING_CHARS_MAX} characters long"),
        ));
    }
    // Texts may have lines; what no terminal, log or database takes is refused.
    if has_control(text)
        && text
            .chars()
            .any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r'))
    {
        return Err(invalid_pair(
            name,
            key,
            "must not contain control characters",
        ));
    }
    Ok(())
}

/// Counts characters only where the bytes do not already decide.
fn is_longer(text: &str, chars_max: usize) -> bool {
    text.len() > chars_max && text.chars().count() > chars_max
}

fn invalid_pair(name: &str, key: &str, broken: &str) -> Rejection {
    let field = format!("{name}.{key}");
    let message = format!("{field} {broken}");
    Rejection::new(RejectionCode::InvalidMetadata, Some(&field), message)
}
