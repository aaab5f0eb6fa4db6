//! Rating: usage × price → charge. Pure: no storage, no clock, no async.
//!
//! Each charge is computed exactly and rounded once, half away from zero, to the minor unit of its currency. What comes after
//! a charge was billed (late usage, corrections) follows one rule: [`Charge::amount`] of everything known now, minus what was
//! billed already.

#![deny(clippy::float_arithmetic)]

pub mod allowance;
pub mod flat;
pub mod per_unit;

use crate::money::{Decimal, MoneyError, round_half_away};

/// What a quantity costs, with every number on the way.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Charge {
    /// What was used.
    pub quantity: Decimal,
    /// How much of it was free.
    pub free_quantity: Decimal,
    /// What is charged for; never below zero.
    pub billed_quantity: Decimal,
    /// Price of one billed unit in minor units.
    pub unit_price: Decimal,
    /// The product, in minor units.
    pub amount_exact: Decimal,
    /// The amount in minor units, rounded once.
    pub amount: i64,
}

impl Charge {
    /// Prices `billed_quantity` out of `quantity`.
    fn of(
        quantity: Decimal,
        free_quantity: Decimal,
        billed: Decimal,
        price: &Decimal,
    ) -> Result<Self, MoneyError> {
        let amount_exact = &billed * price;
        let amount = round_half_away(&amount_exact)?;
        Ok(Self {
            quantity,
            free_quantity,
            billed_quantity: billed,
            unit_price: price.clone(),
            amount_exact,
            amount,
        })
    }
}

#[cfg(test)]
mod tests;
