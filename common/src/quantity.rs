//! Exact decimal quantities: read from the digits, added without rounding, overflow reported.
//!
//! A quantity is a 256-bit integer at the fixed scale 10^-36. An event's number may have 30 digits
//! before and 36 after the point (`limits`), so ten billion of the largest still add up exactly.
//! There is no rounding and no division here: what rounds is money, and money is the collector's.
//!
//! Two spellings are read:
//! - [`Quantity::parse`], for JSON numbers: sign, digits, fraction, exponent.
//! - [`Quantity::parse_decimal`], for strings that are *wholly a decimal number*: optional sign,
//!   digits, optional fraction, and no exponent. Identifiers such as `"12e4"` are not numbers.

use std::{fmt, str::FromStr};

use ethnum::{I256, U256};
use thiserror::Error;

use crate::limits::{NUMBER_FRACTION_DIGITS_MAX, NUMBER_INTEGER_DIGITS_MAX};

mod codec;
mod json;
mod parse;
mod reduce;

pub use json::from_json;

/// Digits after the point that the mantissa holds.
const SCALE: usize = NUMBER_FRACTION_DIGITS_MAX;

/// 10^36 as a mantissa: one.
const ONE_MANTISSA: i128 = 10i128.pow(36);
const _: () = assert!(SCALE == 36);

/// 10^0 to 10^36.
const POWERS_OF_TEN: [u128; SCALE + 1] = {
    let mut powers = [1u128; SCALE + 1];
    let mut power = 1;
    while power <= SCALE {
        powers[power] = powers[power - 1] * 10;
        power += 1;
    }
    powers
};

/// Why a text is not a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum QuantityError {
    /// Not written as a decimal number.
    #[error("must be a decimal number")]
    Malformed,
    /// Too large to be kept exactly.
    #[error("must have at most {NUMBER_INTEGER_DIGITS_MAX} digits before the decimal point")]
    TooLarge,
    /// Too fine to be kept exactly.
    #[error("must have at most {NUMBER_FRACTION_DIGITS_MAX} digits after the decimal point")]
    TooFine,
}

/// An exact decimal number.
///
/// Text form: plain canonical decimal (`12.5`, `-0.001`, `1000`). JSON form: that text as a string.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quantity(I256);

impl Quantity {
    /// Nothing.
    pub const ZERO: Quantity = Quantity(I256::new(0));
    /// One unit.
    pub const ONE: Quantity = Quantity(I256::new(ONE_MANTISSA));

    /// Reads a decimal number: optional sign, digits, optional fraction, optional exponent.
    ///
    /// # Errors
    /// More than 30 integer or 36 fraction digits (zeros at the ends do not count) are refused,
    /// never rounded.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        parse::parse(text.as_bytes(), parse::Exponent::Allowed)
    }

    /// Reads a string that is wholly a decimal number: as [`Quantity::parse`], but without an
    /// exponent.
    ///
    /// # Errors
    /// As [`Quantity::parse`].
    pub fn parse_decimal(text: &str) -> Result<Self, QuantityError> {
        parse::parse(text.as_bytes(), parse::Exponent::Refused)
    }

    /// A whole number.
    #[must_use]
    pub fn from_u64(value: u64) -> Self {
        Self::from_scaled(value, 0)
    }

    /// `value` × 10^-`scale`; the scale is at most 36.
    fn from_scaled(value: u64, scale: usize) -> Self {
        let power = POWERS_OF_TEN[SCALE - scale];
        // By hand, because the factors are narrow: below 2^64 × 2^120, so neither sum overflows.
        let (value, low) = (
            u128::from(value),
            u128::from(value) * (power & u128::from(u64::MAX)),
        );
        let high = value * (power >> 64) + (low >> 64);
        let low = (high << 64) | (low & u128::from(u64::MAX));
        Quantity(I256::from_words(
            (high >> 64).cast_signed(),
            low.cast_signed(),
        ))
    }

    /// A whole number.
    #[must_use]
    pub fn from_i64(value: i64) -> Self {
        let magnitude = Self::from_u64(value.unsigned_abs());
        if value < 0 {
            Quantity(-magnitude.0)
        } else {
            magnitude
        }
    }

    /// The exact sum, or none when it would not fit into 256 bits.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).and_then(Self::from_mantissa)
    }

    /// The exact difference, or none when it would not fit into 256 bits.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).and_then(Self::from_mantissa)
    }

    /// The negative, which always exists: the range is symmetric. Optional like its siblings.
    #[must_use]
    pub fn checked_neg(self) -> Option<Self> {
        self.0.checked_neg().map(Quantity)
    }

    /// Tells whether the number is below zero.
    #[must_use]
    pub fn is_negative(&self) -> bool {
        self.0.is_negative()
    }

    /// Tells whether the number is zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0 == I256::ZERO
    }

    /// The number as an unsigned integer, if it is one and fits.
    #[must_use]
    pub fn to_u64(&self) -> Option<u64> {
        let (whole, fraction) = self.split();
        if self.is_negative() || fraction != 0 {
            return None;
        }
        u64::try_from(whole).ok()
    }

    /// The number times 10^36, for stable hashing and storage; little-endian two's complement.
    #[must_use]
    pub fn to_le_bytes(self) -> [u8; 32] {
        self.0.to_le_bytes()
    }

    /// The most negative mantissa has no positive twin; leaving it out keeps the range symmetric.
    fn from_mantissa(mantissa: I256) -> Option<Self> {
        (mantissa != I256::MIN).then_some(Quantity(mantissa))
    }

    /// The magnitude, split at the decimal point; the fraction in units of 10^-36.
    fn split(self) -> (U256, u128) {
        let one = U256::new(ONE_MANTISSA.unsigned_abs());
        let (whole, fraction) = self.0.unsigned_abs().div_rem(one);
        (whole, fraction.as_u128())
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, mut fraction) = self.split();
        let sign = if self.is_negative() { "-" } else { "" };
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let mut digits = SCALE;
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            digits -= 1;
        }
        write!(f, "{sign}{whole}.{fraction:0digits$}")
    }
}

impl fmt::Debug for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Quantity({self})")
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests;
