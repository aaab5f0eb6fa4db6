//! The free threshold: what a period's usage may come to before anything is charged.

use crate::money::Decimal;

/// How a quantity divides at the threshold.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Allowance {
    /// Below the threshold; zero for a negative quantity.
    pub free: Decimal,
    /// Above it, to be paid by credits or money; never below zero.
    pub chargeable: Decimal,
}

/// Divides a period's `quantity` at `free_threshold` units.
///
/// A negative quantity (a sum with more taken back than used) charges nothing: a line is never below zero unless it corrects
/// an earlier one.
#[must_use]
pub fn divide(quantity: &Decimal, free_threshold: i64) -> Allowance {
    divide_at(quantity, &Decimal::from(free_threshold))
}

/// As [`divide`], where a part of the threshold may have been used already.
#[must_use]
pub(super) fn divide_at(quantity: &Decimal, free_threshold: &Decimal) -> Allowance {
    let chargeable = (quantity - free_threshold).or_zero();
    let free = (quantity - &chargeable).or_zero();
    Allowance { free, chargeable }
}
