//! The fixed fee of a period, and shares of a period.

use super::{Charge, Derivation};
use crate::money::{Decimal, MoneyError, round_half_away};

/// Digits kept of the exact amount of a prorated fee, whose decimals may never end.
const PRORATED_DIGITS: u8 = 12;

/// The part of a full period that is served, as whole units of time on both sides.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Share {
    /// Time served.
    pub served: i64,
    /// Time of the full period; above zero.
    pub full: i64,
}

impl Share {
    /// A full period.
    pub const WHOLE: Self = Self { served: 1, full: 1 };
    /// Nothing of it: what is still open owes no minimum yet.
    pub const NONE: Self = Self { served: 0, full: 1 };

    /// Returns this share of `amount`, rounded to `digits` after the point; none for a period without length.
    pub(super) fn of(self, amount: &Decimal, digits: u8) -> Option<Decimal> {
        (amount * &Decimal::from(self.served)).divided_rounded(&Decimal::from(self.full), digits)
    }
}

/// Charges `quantity` times `fixed_price` minor units for `share` of a period.
///
/// The rounding to the minor unit is of the exact fraction, not of the decimals shown.
///
/// # Errors
/// [`MoneyError::Overflow`] when the amount is beyond an `i64` of minor units.
pub fn charge(fixed_price: i64, quantity: u32, share: Share) -> Result<Charge, MoneyError> {
    let quantity = Decimal::from(u64::from(quantity));
    let unit_price = Decimal::from(fixed_price);
    let whole = &quantity * &unit_price;
    let rounded = share.of(&whole, 0).ok_or(MoneyError::Overflow)?;
    let amount_exact = share
        .of(&whole, PRORATED_DIGITS)
        .ok_or(MoneyError::Overflow)?;
    Ok(Charge {
        billed_quantity: quantity.clone(),
        quantity,
        free_quantity: Decimal::zero(),
        unit_price: Some(unit_price),
        derivation: Derivation::default(),
        amount_exact,
        amount: round_half_away(&rounded)?,
    })
}
