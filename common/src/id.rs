//! Checked identifiers: a value of these types is known to be well-formed, so nobody re-checks it.

use std::{borrow::Borrow, fmt, str::FromStr};

use bincode::{
    BorrowDecode, Decode, Encode,
    de::{BorrowDecoder, Decoder},
    enc::Encoder,
    error::{DecodeError, EncodeError},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use thiserror::Error;
use uuid::Uuid;

use crate::{bytes::decode_text, limits::ID_BYTES_MAX};

/// Why a text is not an identifier. The message names the field and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdError {
    /// The text is empty.
    #[error("{field} must not be empty")]
    Empty {
        /// The field that held it.
        field: String,
    },
    /// The text is longer than [`ID_BYTES_MAX`].
    #[error("{field} must be at most {ID_BYTES_MAX} bytes long, but has {bytes}")]
    TooLong {
        /// The field that held it.
        field: String,
        /// Its length in bytes.
        bytes: usize,
    },
    /// The text holds a control character (NUL, line break, …).
    #[error("{field} must not contain control characters")]
    ControlCharacter {
        /// The field that held it.
        field: String,
    },
    /// The text is not written as this kind of identifier is.
    #[error("{field} must be {expected}")]
    Malformed {
        /// The field that held it.
        field: String,
        /// What was expected instead.
        expected: &'static str,
    },
}

/// Checks the rule that all ids and names obey: 1..=256 bytes, no control characters.
///
/// # Errors
/// Says which part of the rule `value` breaks; `field` is named in the message.
pub fn check_id(field: &str, value: &str) -> Result<(), IdError> {
    if value.is_empty() {
        return Err(IdError::Empty {
            field: field.to_owned(),
        });
    }
    if value.len() > ID_BYTES_MAX {
        return Err(IdError::TooLong {
            field: field.to_owned(),
            bytes: value.len(),
        });
    }
    if has_control(value) {
        return Err(IdError::ControlCharacter {
            field: field.to_owned(),
        });
    }
    Ok(())
}

/// Tells whether a text holds a control character, C0 or C1.
pub(crate) fn has_control(text: &str) -> bool {
    if text.is_ascii() {
        text.bytes().any(|b| b.is_ascii_control())
    } else {
        text.chars().any(char::is_control)
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as an id.
            ///
            /// # Errors
            /// As [`check_id`].
            pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                check_id($field, &text)?;
                Ok(Self(text))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The id as an owned text.
            #[must_use]
            pub fn into_string(self) -> String {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(D::Error::custom)
            }
        }

        impl Encode for $name {
            fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
                self.0.encode(encoder)
            }
        }

        impl<Context> Decode<Context> for $name {
            fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
                Self::new(decode_text(decoder, ID_BYTES_MAX)?).map_err(|error| DecodeError::OtherString(error.to_string()))
            }
        }

        impl<'de, Context> BorrowDecode<'de, Context> for $name {
            fn borrow_decode<D: BorrowDecoder<'de, Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
                Self::decode(decoder)
            }
        }
    };
}

text_id! {
    /// Names the customer whose usage an event is; chosen by the application.
    CustomerId, "customer_id"
}
text_id! {
    /// Names one event; the application's idempotency key.
    EventId, "event_id"
}
text_id! {
    /// Names a meter; given by the collector (`mtr_…`).
    MeterId, "meter_id"
}

/// Names one agent: a random UUID born with its state directory.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AgentId(Uuid);

impl AgentId {
    /// Takes a UUID as an agent's identity.
    #[must_use]
    pub const fn new(uuid: Uuid) -> Self {
        AgentId(uuid)
    }

    /// The identity as a UUID.
    #[must_use]
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }

    /// The identity as 16 bytes, for storage keys.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The inverse of [`AgentId::as_bytes`].
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        AgentId(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for AgentId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let malformed = |_| IdError::Malformed {
            field: "agent_id".to_owned(),
            expected: "a UUID",
        };
        Uuid::parse_str(text).map(AgentId).map_err(malformed)
    }
}

impl Encode for AgentId {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.as_bytes().encode(encoder)
    }
}

impl<Context> Decode<Context> for AgentId {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Ok(Self::from_bytes(<[u8; 16]>::decode(decoder)?))
    }
}

impl<'de, Context> BorrowDecode<'de, Context> for AgentId {
    fn borrow_decode<D: BorrowDecoder<'de, Context = Context>>(
        decoder: &mut D,
    ) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}

/// A BLAKE3 digest; 64 lower-case hex digits in text and JSON.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct Digest([u8; 32]);

impl Digest {
    /// What stands before the first frame of a chain.
    pub const ZERO: Digest = Digest([0; 32]);

    /// Takes 32 bytes as a digest.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Digest(bytes)
    }

    /// Computes the digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// The digest's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let malformed = || IdError::Malformed {
            field: "digest".to_owned(),
            expected: "64 hex digits",
        };
        let hash = blake3::Hash::from_hex(text).map_err(|_| malformed())?;
        Ok(Digest(*hash.as_bytes()))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
