//! Exact decimals of any size that a price, a quantity or a product of both can have.
//!
//! A [`submeter_common::quantity::Quantity`] has a fixed scale and is what meters count in; a price times a quantity needs
//! more digits than that. This type never rounds unless told to how many digits.

use super::rounding::{self, Rounding};
use bigdecimal::{BigDecimal, RoundingMode, Zero, num_bigint::BigInt};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{
    fmt,
    ops::{Add, AddAssign, Mul, Neg, Sub, SubAssign},
    str::FromStr,
};
use submeter_common::quantity::Quantity;

/// Longest text taken for a decimal. A quantity has 66 digits, a price 17, and their product stays well below.
const TEXT_BYTES_MAX: usize = 256;

/// An exact decimal number.
#[derive(Clone, Eq, Hash, PartialEq, Ord, PartialOrd, Debug, Default)]
pub struct Decimal(BigDecimal);

/// Why a text is not a decimal.
#[derive(Clone, Eq, PartialEq, Debug, thiserror::Error)]
#[error("expected a decimal number such as \"0.5\", without an exponent")]
pub struct DecimalError;

impl Decimal {
    /// Returns zero.
    #[must_use]
    pub fn zero() -> Self {
        Self::default()
    }

    /// Parses a plain decimal: an optional sign, digits, and optionally a point with digits.
    ///
    /// # Errors
    /// Anything else, exponents included: they would let a short text stand for an enormous number.
    pub fn parse(text: &str) -> Result<Self, DecimalError> {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if text.len() > TEXT_BYTES_MAX || !plain(whole) || !plain(fraction) {
            return Err(DecimalError);
        }
        let value = BigDecimal::from_str(text).map_err(|_| DecimalError)?;
        Ok(Self(value.normalized()))
    }

    /// Returns the value as an `i64` when it is a whole number that fits.
    #[must_use]
    pub fn to_i64(&self) -> Option<i64> {
        let (digits, scale) = self.0.normalized().into_bigint_and_exponent();
        if scale > 0 {
            return None;
        }
        let power = u32::try_from(scale.unsigned_abs())
            .ok()
            .filter(|power| *power <= 18)?;
        i64::try_from(&(digits * BigInt::from(10).pow(power))).ok()
    }

    /// Rounds to `digits` after the point, half away from zero.
    #[must_use]
    pub fn rounded(&self, digits: u8) -> Self {
        Self(
            self.0
                .with_scale_round(i64::from(digits), RoundingMode::HalfUp)
                .normalized(),
        )
    }

    /// Divides and rounds to `digits` after the point, half away from zero, without any rounding in between.
    ///
    /// `None` when `divisor` is zero.
    #[must_use]
    pub fn divided_rounded(&self, divisor: &Self, digits: u8) -> Option<Self> {
        self.divided(divisor, digits, Rounding::HalfAway)
    }

    /// Divides and rounds to `digits` after the point, without any rounding in between.
    ///
    /// `None` when `divisor` is zero.
    #[must_use]
    pub fn divided(&self, divisor: &Self, digits: u8, rounding: Rounding) -> Option<Self> {
        if divisor.is_zero() {
            return None;
        }
        let (numerator, numerator_scale) = self.0.as_bigint_and_exponent();
        let (denominator, denominator_scale) = divisor.0.as_bigint_and_exponent();
        // value = n / 10^ns ÷ (d / 10^ds); wanted: value × 10^digits as an integer quotient with its remainder.
        let shift = denominator_scale - numerator_scale + i64::from(digits);
        let (mut above, mut below) = (numerator, denominator);
        let power = BigInt::from(10).pow(u32::try_from(shift.unsigned_abs()).ok()?);
        if shift >= 0 {
            above *= power
        } else {
            below *= power
        }
        Some(Self(
            BigDecimal::new(
                rounding::quotient(&above, &below, rounding),
                i64::from(digits),
            )
            .normalized(),
        ))
    }

    /// Whether the value is zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    /// Whether the value is below zero.
    #[must_use]
    pub fn is_negative(&self) -> bool {
        self.0 < BigDecimal::zero()
    }

    /// Whether the value is above zero.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.0 > BigDecimal::zero()
    }

    /// Returns one.
    #[must_use]
    pub fn one() -> Self {
        Self::from(1_i64)
    }

    /// Returns the value, or zero for a negative one.
    #[must_use]
    pub fn or_zero(self) -> Self {
        if self.is_negative() {
            Self::zero()
        } else {
            self
        }
    }

    /// Number of digits before the point, without leading zeros: 0 for `0.5`.
    #[must_use]
    pub fn whole_digits(&self) -> usize {
        let text = self.to_string();
        let whole = text
            .trim_start_matches('-')
            .split('.')
            .next()
            .unwrap_or_default();
        whole.trim_start_matches('0').len()
    }

    /// Number of digits after the point, without trailing zeros.
    #[must_use]
    pub fn fraction_digits(&self) -> usize {
        self.to_string()
            .split_once('.')
            .map_or(0, |(_, fraction)| fraction.len())
    }
}

impl From<i64> for Decimal {
    fn from(value: i64) -> Self {
        Self(BigDecimal::from(value))
    }
}

impl From<u64> for Decimal {
    fn from(value: u64) -> Self {
        Self(BigDecimal::from(value))
    }
}

impl From<&Quantity> for Decimal {
    /// Takes a counted quantity over; both are exact, so nothing is lost.
    fn from(value: &Quantity) -> Self {
        Self::parse(&value.to_string()).expect("a quantity is written as a plain decimal")
    }
}

impl fmt::Display for Decimal {
    /// Writes a plain decimal without trailing zeros: `12.5`, `-0.001`, `1000`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return out.write_str("0");
        }
        out.write_str(&self.0.normalized().to_plain_string())
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    /// Reads a stored decimal, which is a string. Requests, where a number is allowed too, are read as [`Quantity`].
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

impl Add for &Decimal {
    type Output = Decimal;

    fn add(self, other: Self) -> Decimal {
        Decimal(&self.0 + &other.0)
    }
}

impl Sub for &Decimal {
    type Output = Decimal;

    fn sub(self, other: Self) -> Decimal {
        Decimal(&self.0 - &other.0)
    }
}

impl Mul for &Decimal {
    type Output = Decimal;

    fn mul(self, other: Self) -> Decimal {
        Decimal(&self.0 * &other.0)
    }
}

impl Neg for &Decimal {
    type Output = Decimal;

    fn neg(self) -> Decimal {
        Decimal(-&self.0)
    }
}

impl AddAssign<&Decimal> for Decimal {
    fn add_assign(&mut self, other: &Decimal) {
        self.0 += &other.0;
    }
}

impl SubAssign<&Decimal> for Decimal {
    fn sub_assign(&mut self, other: &Decimal) {
        self.0 -= &other.0;
    }
}
