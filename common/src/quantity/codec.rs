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

use super::{Quantity, SCALE};
use crate::bytes::{CodecError, Reader};

const NEGATIVE: u8 = 0x80;

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
        let (whole, mut fraction) = self.split();
        let mut scale = 0;
        let mut magnitude = whole;
        if fraction != 0 {
            let mut surplus = 0;
            while fraction.is_multiple_of(10) {
                fraction /= 10;
                surplus += 1;
            }
            scale = SCALE - surplus;
            // No larger than the mantissa that it was split from.
            magnitude = whole * power_of_ten(scale) + U256::new(fraction);
        }
        let sign = if self.is_negative() { NEGATIVE } else { 0 };
        let mut out = QuantityBytes {
            bytes: [0; BYTES_MAX],
            len: 0,
        };
        out.push(scale.to_le_bytes()[0] | sign);
        loop {
            let low = magnitude.to_le_bytes()[0] & 0x7f;
            magnitude >>= 7;
            if magnitude == U256::ZERO {
                out.push(low);
                return out;
            }
            out.push(low | 0x80);
        }
    }

    /// Reads the compact form from `next`, which yields byte after byte.
    fn from_bytes<E: From<CodecError>>(mut next: impl FnMut() -> Result<u8, E>) -> Result<Self, E> {
        let invalid = || CodecError::Invalid("quantity");
        let head = next()?;
        let (negative, scale) = (head & NEGATIVE != 0, usize::from(head & !NEGATIVE));
        if scale > SCALE {
            return Err(invalid().into());
        }
        let mut magnitude = U256::ZERO;
        for shift in (0u32..).step_by(7) {
            let byte = next()?;
            let bits = U256::from(byte & 0x7f);
            let placed = bits
                .checked_shl(shift)
                .filter(|placed| *placed >> shift == bits);
            magnitude |= placed.ok_or_else(invalid)?;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(invalid().into());
                }
                break;
            }
        }
        let canonical = match (magnitude == U256::ZERO, scale) {
            (true, _) => scale == 0 && !negative,
            (false, 0) => true,
            (false, _) => magnitude % U256::from(10u8) != U256::ZERO,
        };
        if !canonical {
            return Err(invalid().into());
        }
        let mantissa = magnitude
            .checked_mul(power_of_ten(SCALE - scale))
            .and_then(|m| I256::try_from(m).ok());
        let mantissa = mantissa.ok_or_else(invalid)?;
        Ok(Quantity(if negative { -mantissa } else { mantissa }))
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Self::from_bytes(|| reader.byte("quantity"))
    }
}

/// `power` is at most 36.
fn power_of_ten(power: usize) -> U256 {
    (0..power).fold(U256::ONE, |value, _| value * U256::from(10u8))
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
