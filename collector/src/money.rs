//! Money: currencies with their minor units, exact decimals, and the one rounding rule.
//!
//! An amount on a bill is an integer of minor units. Everything on the way to it is an exact [`Decimal`]; it becomes an
//! integer once per line, by [`round_half_away`], and a value that does not fit is an error, never a wrap.

#![deny(clippy::float_arithmetic)]

mod currency;
mod decimal;
mod rounding;

pub use currency::{Currency, UnknownCurrency};
pub use decimal::{Decimal, DecimalError};
pub use rounding::Rounding;

use serde::{Deserialize, Serialize};
use std::fmt;

/// An amount of money in whole minor units of its currency.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Money {
    /// Minor units: cents for USD, yen for JPY, fils for KWD. Negative for a credit.
    pub minor: i64,
    /// What the amount is in.
    pub currency: Currency,
}

/// Why an amount could not be computed.
#[derive(Copy, Clone, Eq, PartialEq, Debug, thiserror::Error)]
pub enum MoneyError {
    /// The amount is beyond what an `i64` of minor units can hold.
    #[error("the amount is beyond 9223372036854775807 minor units")]
    Overflow,
}

impl Money {
    /// Adds two amounts of one currency; `None` when the currencies differ or the sum does not fit.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        if self.currency != other.currency {
            return None;
        }
        let minor = self.minor.checked_add(other.minor)?;
        Some(Self { minor, ..self })
    }
}

impl fmt::Display for Money {
    /// Writes the amount in major units with all minor digits: `30.00 USD`, `500 JPY`, `-0.005 KWD`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = usize::from(self.currency.minor_digits());
        let sign = if self.minor < 0 { "-" } else { "" };
        let magnitude = self.minor.unsigned_abs();
        let code = self.currency.code();
        if digits == 0 {
            return write!(out, "{sign}{magnitude} {code}");
        }
        let scale = 10_u64.pow(u32::from(self.currency.minor_digits()));
        write!(
            out,
            "{sign}{}.{:0digits$} {code}",
            magnitude / scale,
            magnitude % scale
        )
    }
}

/// Rounds an exact amount of minor units to a whole number, half away from zero: 0.5 → 1, −0.5 → −1.
///
/// # Errors
/// [`MoneyError::Overflow`] when the result does not fit.
pub fn round_half_away(exact: &Decimal) -> Result<i64, MoneyError> {
    exact.rounded(0).to_i64().ok_or(MoneyError::Overflow)
}

#[cfg(test)]
mod tests;
