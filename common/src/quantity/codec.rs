//! The compact byte form: scale and sign in one byte, then the magnitude without its trailing zeros
//! in LEB128.
//!
//! `0` and every whole number below 128 take two bytes. One value has one spelling; a reader
//! refuses any other.

use bincode::{
    BorrowDecode, Decode, Encode,
    de::{BorrowDecoder, Decoder},
    enc::{Encoder, write::Writer},
    error::{DecodeError, EncodeError},
};
use ethnum::{I256, U256};

use super::{POWERS_OF_TEN, Quantity, SCALE, reduce::reduce};
use crate::bytes::{CodecError, Reader};

/// In the first byte: below zero.
const NEGATIVE: u8 = 0x80;

/// In a magnitude's byte: another follows.
const MORE: u8 = 0x80;

/// Scale and sign, and 37 × 7 bits for a 256-bit magnitude.
const BYTES_MAX: usize = 38;

/// The encoded form of one quantity, on the stack.
pub(crate) struct QuantityBytes {
    bytes: [u8; BYTES_MAX],
    len: usize,
}

impl QuantityBytes {
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }
}

impl Quantity {
    pub(crate) fn to_bytes(self) -> QuantityBytes {
        let (scale, mut magnitude) = reduce(self.0.unsigned_abs());
        let sign = if self.is_negative() { NEGATIVE } else { 0 };
        let mut out = QuantityBytes {
            bytes: [0; BYTES_MAX],
            len: 0,
        };
        out.push(scale.to_le_bytes()[0] | sign);
        // Most magnitudes fit into one word, and words are quick to shift.
        while magnitude > U256::from(u64::MAX) {
            out.push(magnitude.to_le_bytes()[0] | MORE);
            magnitude >>= 7;
        }
        let mut word = magnitude.as_u64();
        while word > 0x7f {
            out.push(word.to_le_bytes()[0] | MORE);
            word >>= 7;
        }
        out.push(word.to_le_bytes()[0]);
        out
    }

    /// Reads the compact form from `next`, which yields byte after byte.
    fn from_bytes<E: From<CodecError>>(mut next: impl FnMut() -> Result<u8, E>) -> Result<Self, E> {
        let invalid = || CodecError::Invalid("quantity");
        let head = next()?;
        let (negative, scale) = (head & NEGATIVE != 0, usize::from(head & !NEGATIVE));
        if scale > SCALE {
            return Err(invalid().into());
        }
        let magnitude = read_magnitude(&mut next)?;
        if let Ok(word) = u64::try_from(magnitude)
            && word != 0
            && (scale == 0 || !word.is_multiple_of(10))
        {
            let short = Quantity::from_scaled(word, scale);
            return Ok(if negative { Quantity(-short.0) } else { short });
        }
        let canonical = match (magnitude == U256::ZERO, scale) {
            (true, _) => scale == 0 && !negative,
            (false, 0) => true,
            (false, _) => !is_multiple_of_ten(magnitude),
        };
        if !canonical {
            return Err(invalid().into());
        }
        let mantissa = magnitude
            .checked_mul(U256::new(POWERS_OF_TEN[SCALE - scale]))
            .and_then(|m| I256::try_from(m).ok());
        let mantissa = mantissa.ok_or_else(invalid)?;
        Ok(Quantity(if negative { -mantissa } else { mantissa }))
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Self::from_bytes(|| reader.byte("quantity"))
    }
}

/// Reads LEB128 of up to 256 bits: the first 63 of them in one word.
fn read_magnitude<E: From<CodecError>>(
    next: &mut impl FnMut() -> Result<u8, E>,
) -> Result<U256, E> {
    let invalid = || CodecError::Invalid("quantity");
    let (mut word, mut magnitude) = (0u64, U256::ZERO);
    for shift in (0u32..256).step_by(7) {
        let byte = next()?;
        let bits = byte & !MORE;
        if shift < 63 {
            word |= u64::from(bits) << shift;
        } else {
            let wide = U256::from(bits);
            let placed = wide << shift;
            if placed >> shift != wide {
                return Err(invalid().into());
            }
            magnitude |= placed;
        }
        if byte & MORE == 0 {
            let overlong = byte == 0 && shift > 0;
            let magnitude = magnitude | U256::from(word);
            return if overlong {
                Err(invalid().into())
            } else {
                Ok(magnitude)
            };
        }
    }
    Err(invalid().into())
}

fn is_multiple_of_ten(magnitude: U256) -> bool {
    match u128::try_from(magnitude) {
        Ok(narrow) => narrow.is_multiple_of(10),
        Err(_) => magnitude % U256::from(10u8) == U256::ZERO,
    }
}

/// Lets one reader serve both byte sources.
struct BincodeError(DecodeError);

impl From<CodecError> for BincodeError {
    fn from(error: CodecError) -> Self {
        BincodeError(DecodeError::OtherString(error.to_string()))
    }
}

impl Encode for Quantity {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        encoder.writer().write(self.to_bytes().as_slice())
    }
}

impl<Context> Decode<Context> for Quantity {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::from_bytes(|| u8::decode(decoder).map_err(BincodeError)).map_err(|error| error.0)
    }
}

impl<'de, Context> BorrowDecode<'de, Context> for Quantity {
    fn borrow_decode<D: BorrowDecoder<'de, Context = Context>>(
        decoder: &mut D,
    ) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}
