//! By what a meter's usage is kept apart: the values of its group keys.

use bincode::{
    BorrowDecode, Decode, Encode,
    de::{BorrowDecoder, Decoder},
    enc::Encoder,
    error::{DecodeError, EncodeError},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{
    bytes::{TEXT_BYTES_MAX, decode_text},
    limits::GROUP_KEYS_MAX,
};

/// The name under which the rest beyond the budget of groups is shown.
const OTHER: &str = "__other__";

/// The values of a meter's group keys in the meter's order, or the rest beyond the budget of
/// groups.
///
/// JSON form: a list of strings and nulls (a key that the event did not have), or `"__other__"`. No
/// real value can be mistaken for the rest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(Inner);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Inner {
    Values(Vec<Option<String>>),
    Other,
}

impl Group {
    /// The group of a meter that does not group.
    #[must_use]
    pub const fn none() -> Self {
        Group(Inner::Values(Vec::new()))
    }

    /// The rest beyond the budget of groups.
    #[must_use]
    pub const fn other() -> Self {
        Group(Inner::Other)
    }

    /// The group of these values, at most five (what follows is cut); none for a key that is
    /// missing.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = Option<String>>) -> Self {
        Group(Inner::Values(
            values.into_iter().take(GROUP_KEYS_MAX).collect(),
        ))
    }

    /// Tells whether this is the group of a meter that does not group.
    #[must_use]
    pub fn is_none(&self) -> bool {
        matches!(&self.0, Inner::Values(values) if values.is_empty())
    }

    /// Tells whether this is the rest.
    #[must_use]
    pub fn is_other(&self) -> bool {
        matches!(self.0, Inner::Other)
    }

    /// The values; none for the rest.
    #[must_use]
    pub fn values(&self) -> Option<&[Option<String>]> {
        match &self.0 {
            Inner::Values(values) => Some(values),
            Inner::Other => None,
        }
    }

    /// Bytes held beside the group itself, for memory budgets.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let text = |value: &Option<String>| value.as_ref().map_or(0, String::capacity);
        self.values().map_or(0, |values| {
            size_of_val(values) + values.iter().map(text).sum::<usize>()
        })
    }
}

impl Default for Group {
    fn default() -> Self {
        Group::none()
    }
}

impl Serialize for Group {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Inner::Values(values) => values.serialize(serializer),
            Inner::Other => serializer.serialize_str(OTHER),
        }
    }
}

impl<'de> Deserialize<'de> for Group {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Values(Vec<Option<String>>),
            Other(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Values(values) if values.len() <= GROUP_KEYS_MAX => {
                Ok(Group(Inner::Values(values)))
            }
            Form::Other(name) if name == OTHER => Ok(Group::other()),
            _ => Err(D::Error::custom(format_args!(
                "a group must be at most {GROUP_KEYS_MAX} values or {OTHER:?}"
            ))),
        }
    }
}

/// One byte: the number of values, or this for the rest.
const OTHER_TAG: u8 = u8::MAX;

impl Encode for Group {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        match &self.0 {
            Inner::Values(values) => {
                let count = u8::try_from(values.len())
                    .map_err(|_| EncodeError::Other("a group of too many values"))?;
                count.encode(encoder)?;
                values.iter().try_for_each(|value| value.encode(encoder))
            }
            Inner::Other => OTHER_TAG.encode(encoder),
        }
    }
}

impl<Context> Decode<Context> for Group {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        match u8::decode(decoder)? {
            OTHER_TAG => Ok(Group::other()),
            count if usize::from(count) <= GROUP_KEYS_MAX => {
                let values = (0..count)
                    .map(|_| decode_value(decoder))
                    .collect::<Result<_, _>>();
                Ok(Group(Inner::Values(values?)))
            }
            _ => Err(DecodeError::Other("a group of too many values")),
        }
    }
}

/// As `Option<String>` is decoded, with a bound.
fn decode_value<D: Decoder>(decoder: &mut D) -> Result<Option<String>, DecodeError> {
    match <u8 as Decode<D::Context>>::decode(decoder)? {
        0 => Ok(None),
        1 => decode_text(decoder, TEXT_BYTES_MAX).map(Some),
        _ => Err(DecodeError::Other(
            "a group value that is neither there nor missing",
        )),
    }
}

impl<'de, Context> BorrowDecode<'de, Context> for Group {
    fn borrow_decode<D: BorrowDecoder<'de, Context = Context>>(
        decoder: &mut D,
    ) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}
