//! From digits to a mantissa, without allocation; up to 18 digits take a short way.

use ethnum::I256;

use super::{Quantity, QuantityError, SCALE};
use crate::limits::NUMBER_INTEGER_DIGITS_MAX;

/// Whether `e7` may follow the digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Exponent {
    Allowed,
    Refused,
}

/// Digits that always fit into a `u64`.
const SHORT_DIGITS_MAX: usize = 18;

pub(super) fn parse(text: &[u8], exponent: Exponent) -> Result<Quantity, QuantityError> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let magnitude = match short(digits) {
        Some(quantity) => quantity.0,
        None => Decimal::split(digits, exponent)?.mantissa()?,
    };
    Ok(Quantity(if negative { -magnitude } else { magnitude }))
}

/// Digits with or without a fraction, few enough for one word.
fn short(text: &[u8]) -> Option<Quantity> {
    if text.len() > SHORT_DIGITS_MAX {
        return None;
    }
    let (whole, rest) = leading_digits(text);
    let fraction = match rest {
        [] => rest,
        [b'.', fraction @ ..] if !fraction.is_empty() => fraction,
        _ => return None,
    };
    let value = whole.iter().chain(fraction).try_fold(0u64, |value, byte| {
        byte.is_ascii_digit()
            .then(|| value * 10 + u64::from(byte - b'0'))
    })?;
    (!whole.is_empty()).then(|| Quantity::from_scaled(value, fraction.len()))
}

/// The parts of `12.50e3`, checked to be digits.
struct Decimal<'a> {
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl<'a> Decimal<'a> {
    fn split(text: &'a [u8], exponent: Exponent) -> Result<Self, QuantityError> {
        let (whole, rest) = leading_digits(text);
        let (fraction, rest) = match rest {
            [b'.', after @ ..] => match leading_digits(after) {
                ([], _) => return Err(QuantityError::Malformed),
                parts => parts,
            },
            _ => (&[][..], rest),
        };
        if whole.is_empty() {
            return Err(QuantityError::Malformed);
        }
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', power @ ..] if exponent == Exponent::Allowed => read_exponent(power)?,
            _ => return Err(QuantityError::Malformed),
        };
        Ok(Decimal {
            whole,
            fraction,
            exponent,
        })
    }

    /// The digits as an integer at the fixed scale.
    fn mantissa(&self) -> Result<I256, QuantityError> {
        let digits = || self.whole.iter().chain(self.fraction);
        let len = self.whole.len() + self.fraction.len();
        let leading = digits().take_while(|digit| **digit == b'0').count();
        if leading == len {
            return Ok(I256::ZERO);
        }
        let trailing = digits().rev().take_while(|digit| **digit == b'0').count();
        let significant = len - leading - trailing;
        // Where the point stands, counted from the first significant digit; negative for 0.00…1.
        let point = i64::try_from(self.whole.len())
            .and_then(|whole| Ok(whole - i64::try_from(leading)?))
            .map_err(|_| QuantityError::TooLarge)?
            .saturating_add(self.exponent);
        let integer_digits_max =
            i64::try_from(NUMBER_INTEGER_DIGITS_MAX).map_err(|_| QuantityError::TooLarge)?;
        if point > integer_digits_max {
            return Err(QuantityError::TooLarge);
        }
        // Zeros that bring the last significant digit to its place at the fixed scale.
        let zeros = i64::try_from(SCALE)
            .and_then(|scale| Ok(scale - i64::try_from(significant)?))
            .map_err(|_| QuantityError::TooFine)?
            .saturating_add(point);
        let zeros = u32::try_from(zeros).map_err(|_| QuantityError::TooFine)?;
        Ok(gather(digits().skip(leading).take(significant)) * I256::new(10).pow(zeros))
    }
}

/// At most 66 digits, checked before: an integer below 10^66 fits into 256 bits.
fn gather<'a>(digits: impl Iterator<Item = &'a u8>) -> I256 {
    let (mut total, mut chunk, mut power) = (I256::ZERO, 0u64, 1u64);
    for digit in digits {
        chunk = chunk * 10 + u64::from(digit - b'0');
        power *= 10;
        if power == 10u64.pow(18) {
            total = total * I256::from(power) + I256::from(chunk);
            (chunk, power) = (0, 1);
        }
    }
    total * I256::from(power) + I256::from(chunk)
}

fn leading_digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take_while(|byte| byte.is_ascii_digit()).count())
}

/// An exponent too large for an integer saturates: it is out of range with any digits but zeros.
fn read_exponent(text: &[u8]) -> Result<i64, QuantityError> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (digits, []) = leading_digits(digits) else {
        return Err(QuantityError::Malformed);
    };
    if digits.is_empty() {
        return Err(QuantityError::Malformed);
    }
    let fold = |value: i64, digit: &u8| {
        value
            .saturating_mul(10)
            .saturating_add(i64::from(digit - b'0'))
    };
    let value = digits.iter().fold(0, fold);
    Ok(if negative { -value } else { value })
}
