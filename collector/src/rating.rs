//! Rating: usage × tariff → charge. Pure: no storage, no clock, no async.
//!
//! One small algebra serves every price model. What a period came to goes through the same steps in the same order, and a model
//! is data that says what each step does:
//!
//! 1. *group*: the usage of each row of a [`Matrix`] by itself, all else by the default ([`Usage`] comes grouped);
//! 2. *convert*: metered units to priced ones, bytes to GB ([`Conversion`]);
//! 3. *allowance*: the free threshold comes off, over the rows in their order ([`allowance`]);
//! 4. *tiers*: flat, per unit, package, percentage, graduated and volume are all tiers ([`Model`]);
//! 5. *bounds*: the minimum and the maximum of the period ([`bounds`]);
//! 6. *round*: once, half away from zero, to the minor unit of the currency.
//!
//! What comes after a charge was billed (late usage, corrections, thresholds, changed prices) follows one rule: what everything
//! known now costs, minus what was billed already ([`Charge::due`]). It may be negative.

#![deny(clippy::float_arithmetic)]

pub mod allowance;
mod bounds;
mod charge;
mod conversion;
pub mod flat;
mod matrix;
mod model;
mod tariff;
mod tier;
mod usage;

pub use charge::{BoundStep, Charge, Derivation, EventStep, Part, TierStep};
pub use conversion::{Conversion, Factor};
pub use flat::Share;
pub use matrix::{Matrix, MatrixRow};
pub use model::Model;
pub use tariff::{EventPrice, Tariff, ZeroUsage};
pub use tier::{Package, Tier};
pub use usage::Usage;

use crate::money::{Decimal, MoneyError, round_half_away};

/// Charges a period's usage by `tariff`, after `free_threshold` free units.
///
/// # Errors
/// [`MoneyError::Overflow`] when the amount is beyond an `i64` of minor units.
pub fn rate(tariff: &Tariff, free_threshold: i64, usage: &Usage) -> Result<Charge, MoneyError> {
    let mut free_left = Decimal::from(free_threshold);
    let mut parts = Vec::new();
    for (row, quantity) in usage.rows(tariff) {
        let part = part(tariff, row, quantity, &free_left);
        free_left -= &part.free_quantity;
        parts.push(part);
    }
    let events = tariff
        .events
        .as_ref()
        .map(|price| price.step(usage.events()));
    let mut amount_exact = Decimal::zero();
    parts.iter().for_each(|part| amount_exact += &part.amount());
    events
        .iter()
        .for_each(|step| amount_exact += &step.amount_exact);
    let minimum = bounds::minimum(tariff.minimum, usage.served(), &amount_exact)?;
    minimum
        .iter()
        .for_each(|step| amount_exact += &step.amount_exact);
    let maximum = bounds::maximum(tariff.maximum, &amount_exact);
    maximum
        .iter()
        .for_each(|step| amount_exact += &step.amount_exact);
    let amount = round_half_away(&amount_exact)?;
    let derivation = Derivation {
        parts,
        events,
        minimum,
        maximum,
    };
    Ok(Charge::derived(derivation, amount_exact, amount))
}

/// Takes the usage of one row through conversion, allowance and tiers.
fn part(tariff: &Tariff, row: Option<usize>, quantity: &Decimal, free_left: &Decimal) -> Part {
    let matrix = tariff.matrix.as_ref();
    let row = matrix.zip(row).map(|(matrix, row)| &matrix.rows[row]);
    let converted = tariff
        .conversion
        .as_ref()
        .map(|conversion| conversion.apply(quantity));
    let priced = converted.as_ref().unwrap_or(quantity);
    let divided = allowance::divide_at(priced, free_left);
    let model = row.map_or(&tariff.model, |row| &row.model);
    Part {
        group: row.map(|row| row.values.clone()),
        quantity: quantity.clone(),
        tiers: model.price(&divided.chargeable, tariff.zero_usage),
        converted_quantity: converted,
        free_quantity: divided.free,
        billed_quantity: divided.chargeable,
    }
}

#[cfg(test)]
mod tests;
