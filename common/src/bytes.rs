//! Reading and writing of the compact, hand-laid byte forms (journal events, quantities).
//!
//! Lengths are checked against what is left before anything is allocated, and every form has
//! exactly one spelling: an overlong integer is an error, so that equal values are equal bytes.

use bincode::{
    de::{Decoder, read::Reader as _},
    error::DecodeError,
};
use thiserror::Error;

use crate::limits::{ID_BYTES_MAX, METADATA_STRING_CHARS_MAX};

/// Why stored bytes could not be read: they were damaged or are not what they were taken for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CodecError {
    /// The bytes end in the middle of the named part.
    #[error("the bytes end inside {0}")]
    Truncated(&'static str),
    /// The named part holds what no writer writes.
    #[error("invalid {0}")]
    Invalid(&'static str),
    /// The form has a version this build does not know.
    #[error("unsupported version {0}")]
    UnsupportedVersion(u8),
}

/// Appends `value` in LEB128: seven bits a byte, low bits first.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = (value & 0x7f).to_le_bytes()[0];
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Appends a length-prefixed string.
pub(crate) fn put_str(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Maps signed to unsigned so that small magnitudes stay small.
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// The inverse of [`zigzag`].
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// A cursor over borrowed bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn byte(&mut self, what: &'static str) -> Result<u8, CodecError> {
        let (first, rest) = self.rest.split_first().ok_or(CodecError::Truncated(what))?;
        self.rest = rest;
        Ok(*first)
    }

    pub(crate) fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], CodecError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(CodecError::Truncated(what))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn varint(&mut self, what: &'static str) -> Result<u64, CodecError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(what)?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(CodecError::Invalid(what));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                let overlong = byte == 0 && shift > 0;
                return if overlong {
                    Err(CodecError::Invalid(what))
                } else {
                    Ok(value)
                };
            }
        }
        Err(CodecError::Invalid(what))
    }

    /// Reads a number of elements, of which each takes at least one of the bytes that are left.
    pub(crate) fn count(&mut self, max: usize, what: &'static str) -> Result<usize, CodecError> {
        let count = usize::try_from(self.varint(what)?).map_err(|_| CodecError::Invalid(what))?;
        if count > max {
            return Err(CodecError::Invalid(what));
        }
        if count > self.rest.len() {
            return Err(CodecError::Truncated(what));
        }
        Ok(count)
    }

    pub(crate) fn str(&mut self, what: &'static str) -> Result<&'a str, CodecError> {
        let len = self.count(usize::MAX, what)?;
        std::str::from_utf8(self.take(len, what)?).map_err(|_| CodecError::Invalid(what))
    }
}

/// The longest text inside a row: a group value of four-byte characters.
pub(crate) const TEXT_BYTES_MAX: usize = METADATA_STRING_CHARS_MAX * 4;
const _: () = assert!(ID_BYTES_MAX <= TEXT_BYTES_MAX);

/// Reads a text in bincode's form, as `String` does, but believes no length beyond `bytes_max`.
///
/// bincode allocates what a length claims before it looks whether the bytes are there.
pub(crate) fn decode_text<D: Decoder>(
    decoder: &mut D,
    bytes_max: usize,
) -> Result<String, DecodeError> {
    let mut buffer = [0u8; TEXT_BYTES_MAX];
    let claimed = <u64 as bincode::Decode<D::Context>>::decode(decoder)?;
    let text = usize::try_from(claimed)
        .ok()
        .filter(|len| *len <= bytes_max)
        .and_then(|len| buffer.get_mut(..len))
        .ok_or(DecodeError::Other("a text longer than its limit"))?;
    decoder.claim_bytes_read(text.len())?;
    decoder.reader().read(text)?;
    let text = std::str::from_utf8(text).map_err(|inner| DecodeError::Utf8 { inner })?;
    Ok(text.to_owned())
}
