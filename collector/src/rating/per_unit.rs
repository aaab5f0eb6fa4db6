//! One price for every unit above the free threshold.

use super::{Charge, allowance};
use crate::money::{Decimal, MoneyError};

/// Charges a period's `quantity` at `price_per_unit` minor units, after `free_threshold` free ones.
///
/// # Errors
/// [`MoneyError::Overflow`] when the amount is beyond an `i64` of minor units.
pub fn charge(
    quantity: &Decimal,
    free_threshold: i64,
    price_per_unit: &Decimal,
) -> Result<Charge, MoneyError> {
    let divided = allowance::divide(quantity, free_threshold);
    Charge::of(
        quantity.clone(),
        divided.free,
        divided.chargeable,
        price_per_unit,
    )
}
