//! The JSON form: written as a string, read from a string or a number.
//!
//! `Deserialize` reads strings and whole numbers wherever serde lets it (tagged enums and flattened
//! structs too) and refuses a bare fraction, because serde hands it over as a binary float.
//! [`from_json`] reads those as well, from the digits themselves; it needs serde_json and a field
//! that is not buffered by an enum tag or `flatten`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

use super::Quantity;
use crate::json::Json;

/// Reads a quantity from a JSON string or from any JSON number, exactly. For
/// `#[serde(deserialize_with = "…")]`.
///
/// # Errors
/// What is neither, or has more digits than a quantity holds.
pub fn from_json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Quantity, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    let number = match Json::read(&raw) {
        Ok(Json::Number(digits)) => Quantity::parse(digits),
        Ok(Json::String(text)) => Quantity::parse(&text),
        _ => {
            return Err(de::Error::custom(
                "expected a decimal number or a string that is one",
            ));
        }
    };
    number.map_err(de::Error::custom)
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(QuantityVisitor)
    }
}

struct QuantityVisitor;

impl de::Visitor<'_> for QuantityVisitor {
    type Value = Quantity;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a decimal number as a string, or a whole number")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
        Quantity::parse(text).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Quantity, E> {
        Ok(Quantity::from_u64(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Quantity, E> {
        Ok(Quantity::from_i64(value))
    }
}
