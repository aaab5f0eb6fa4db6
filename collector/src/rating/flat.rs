//! The fixed fee of a period.

use super::Charge;
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
    if share.served == share.full {
        return Charge::of(quantity.clone(), Decimal::zero(), quantity, &unit_price);
    }
    let full = &(&quantity * &unit_price) * &Decimal::from(share.served);
    let parts = Decimal::from(share.full);
    let rounded = full
        .divided_rounded(&parts, 0)
        .ok_or(MoneyError::Overflow)?;
    let amount_exact = full
        .divided_rounded(&parts, PRORATED_DIGITS)
        .ok_or(MoneyError::Overflow)?;
    let amount = round_half_away(&rounded)?;
    Ok(Charge {
        billed_quantity: quantity.clone(),
        quantity,
        free_quantity: Decimal::zero(),
        unit_price,
        amount_exact,
        amount,
    })
}
