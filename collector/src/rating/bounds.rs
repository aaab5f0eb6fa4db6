//! The minimum and the maximum that a period costs.

use super::{BoundStep, Share};
use crate::money::{Decimal, MoneyError, round_half_away};

/// Returns what is missing to the minimum; none where the usage comes to it.
///
/// A minimum for a part of a period is its share, rounded to the minor unit: it is an amount that people agree on.
pub(super) fn minimum(
    minimum: Option<i64>,
    served: Share,
    amount_exact: &Decimal,
) -> Result<Option<BoundStep>, MoneyError> {
    let Some(whole) = minimum else {
        return Ok(None);
    };
    let bound = served
        .of(&Decimal::from(whole), 0)
        .ok_or(MoneyError::Overflow)?;
    let missing = &bound - amount_exact;
    Ok(missing.is_positive().then_some(BoundStep {
        bound: round_half_away(&bound)?,
        amount_exact: missing,
    }))
}

/// Returns what is beyond the maximum, as a negative amount; none where the usage stays within it.
pub(super) fn maximum(maximum: Option<i64>, amount_exact: &Decimal) -> Option<BoundStep> {
    let bound = maximum?;
    let rest = &Decimal::from(bound) - amount_exact;
    rest.is_negative().then_some(BoundStep {
        bound,
        amount_exact: rest,
    })
}
