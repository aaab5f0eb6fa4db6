//! A decimal of the auditor's own: an `i128` and how many of its digits are behind the point.

use std::fmt;

use anyhow::{Context, Result};
use serde_json::Value;

/// `mantissa / 10^scale`, kept with the smallest scale, so that equal numbers are equal values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    mantissa: i128,
    scale: u32,
}

impl Decimal {
    /// `mantissa / 10^scale`.
    #[must_use]
    pub const fn new(mut mantissa: i128, mut scale: u32) -> Self {
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        Self { mantissa, scale }
    }

    /// Reads plain digits with an optional sign and point.
    ///
    /// # Errors
    /// When there is anything else.
    pub fn parse(text: &str) -> Result<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let mantissa = format!("{whole}{fraction}").parse();
        let mantissa = mantissa.with_context(|| format!("a decimal: {text:?}"))?;
        Ok(Self::new(mantissa, u32::try_from(fraction.len())?))
    }

    /// Reads a JSON string or a JSON integer.
    ///
    /// # Errors
    /// When it is neither.
    pub fn read(value: &Value) -> Result<Self> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Number(number) => Self::parse(&number.to_string()),
            other => anyhow::bail!("a decimal: {other}"),
        }
    }

    /// The sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let scale = self.scale.max(other.scale);
        Self::new(self.at(scale) + other.at(scale), scale)
    }

    /// The difference.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.plus(Self::new(-other.mantissa, other.scale))
    }

    /// The product.
    #[must_use]
    pub fn times(self, other: Self) -> Self {
        Self::new(self.mantissa * other.mantissa, self.scale + other.scale)
    }

    /// The number divided by `10^digits`.
    #[must_use]
    pub fn shifted_right(self, digits: u32) -> Self {
        Self::new(self.mantissa, self.scale + digits)
    }

    /// The number, or zero where it is below zero.
    #[must_use]
    pub fn not_negative(self) -> Self {
        if self.mantissa < 0 {
            Self::new(0, 0)
        } else {
            self
        }
    }

    /// The nearest integer, halves away from zero.
    #[must_use]
    pub fn rounded(self) -> i128 {
        let one = 10_i128.pow(self.scale);
        let away = (self.mantissa.abs() * 2 + one) / (one * 2);
        away * self.mantissa.signum()
    }

    fn at(self, scale: u32) -> i128 {
        self.mantissa * 10_i128.pow(scale - self.scale)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = 10_u128.pow(self.scale);
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let digits = self.mantissa.unsigned_abs();
        write!(f, "{sign}{}", digits / one)?;
        if self.scale > 0 {
            write!(f, ".{:0width$}", digits % one, width = self.scale as usize)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, rounded: i128) {
        let decimal = Decimal::parse(text).expect("a decimal");
        assert_eq!(decimal.to_string(), text);
        assert_eq!(decimal.rounded(), rounded, "{text}");
    }

    #[test]
    fn halves_round_away_from_zero() {
        check("0.5", 1);
        check("-0.5", -1);
        check("0.499999", 0);
        check("2.5", 3);
        check("-2.4", -2);
        check("12", 12);
    }

    #[test]
    fn trailing_zeros_do_not_make_another_number() {
        let short = Decimal::parse("1.5").expect("a decimal");
        assert_eq!(Decimal::parse("1.500").expect("a decimal"), short);
        assert_eq!(short.minus(short), Decimal::new(0, 0));
    }
}
