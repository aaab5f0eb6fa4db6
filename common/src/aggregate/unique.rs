//! `unique_count`: the exact set of values, each kept as 128 bits of its BLAKE3 hash.
//!
//! A number and a string are different values even when they look alike: `"007"` is not `7`. Two
//! equal numbers are one value however they were written.

use std::collections::{BTreeSet, btree_set};

use bincode::{
    BorrowDecode, Decode, Encode,
    de::{BorrowDecoder, Decoder},
    enc::Encoder,
    error::{DecodeError, EncodeError},
};

use crate::event::Value;

/// The first 128 bits of a value's BLAKE3 hash, big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// The fingerprint of a value, the same on every machine and for ever.
    #[must_use]
    pub fn of(value: &Value<'_>) -> Self {
        let mut hasher = blake3::Hasher::new();
        match value {
            Value::String(text) => hasher.update(b"s").update(text.as_bytes()),
            Value::Number(number) => hasher.update(b"n").update(&number.to_le_bytes()),
            Value::Bool(flag) => hasher.update(b"b").update(&[u8::from(*flag)]),
        };
        let mut bits = [0; 16];
        hasher.finalize_xof().fill(&mut bits);
        Fingerprint(bits)
    }

    /// The fingerprint's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// A set of values, by their fingerprints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UniqueSet(BTreeSet<Fingerprint>);

impl UniqueSet {
    /// How many different values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts a value in; tells whether it is new.
    pub fn insert(&mut self, value: Fingerprint) -> bool {
        self.0.insert(value)
    }

    /// Tells whether a value is in.
    #[must_use]
    pub fn contains(&self, value: &Fingerprint) -> bool {
        self.0.contains(value)
    }

    /// The values in their order.
    pub fn iter(&self) -> btree_set::Iter<'_, Fingerprint> {
        self.0.iter()
    }

    pub(super) fn extend(&mut self, other: &UniqueSet) {
        self.0.extend(&other.0);
    }

    /// Tree nodes are between half full and full; 24 bytes a value is the middle.
    pub(super) fn heap_bytes(&self) -> usize {
        self.0.len() * 24
    }
}

impl<'a> IntoIterator for &'a UniqueSet {
    type Item = &'a Fingerprint;
    type IntoIter = btree_set::Iter<'a, Fingerprint>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Fingerprint> for UniqueSet {
    fn from_iter<I: IntoIterator<Item = Fingerprint>>(values: I) -> Self {
        UniqueSet(values.into_iter().collect())
    }
}

impl Encode for UniqueSet {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.0.encode(encoder)
    }
}

impl<Context> Decode<Context> for UniqueSet {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        // A set grows with what is really there, whatever length the bytes claim.
        BTreeSet::decode(decoder).map(UniqueSet)
    }
}

impl<'de, Context> BorrowDecode<'de, Context> for UniqueSet {
    fn borrow_decode<D: BorrowDecoder<'de, Context = Context>>(
        decoder: &mut D,
    ) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}
