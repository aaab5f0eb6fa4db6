//! What a tariff must fulfil: whatever a meter comes to, there is one price for it and it can be computed.

use super::PRICE_FRACTION_DIGITS_MAX;
use crate::{
    catalog::CatalogError,
    money::Decimal,
    rating::{Conversion, EventPrice, Factor, Matrix, Model, Package, Tariff, Tier},
};
use std::collections::BTreeSet;
use submeter_common::limits::METADATA_STRING_CHARS_MAX;

/// Tiers of one model: a bound on the steps of a line.
const TIERS_MAX: usize = 50;
/// Rows of a matrix: a bound on the parts of a line, and on the work for each group of a meter.
const ROWS_MAX: usize = 100;
/// Digits before the point of prices, bounds, sizes and factors, which may stand for a terabyte's bytes.
const WHOLE_DIGITS_MAX: usize = 18;
/// Digits after the point that a conversion can keep.
const CONVERSION_DIGITS_MAX: u8 = 12;

type Checked = Result<(), CatalogError>;

/// Checks the tariff at `path` of a meter that groups by `group_by`; by anything, where there is no meter.
pub(super) fn check(path: &str, tariff: &Tariff, group_by: Option<&[String]>) -> Checked {
    model(path, &tariff.model)?;
    if let Some(given) = &tariff.conversion {
        conversion(&format!("{path}.convert"), given)?;
    }
    if let Some(given) = &tariff.matrix {
        matrix(&format!("{path}.groups"), given, group_by)?;
    }
    if let Some(EventPrice {
        price_per_event, ..
    }) = &tariff.events
    {
        above_zero(&format!("{path}.price_per_event"), price_per_event)?;
    }
    bounds(path, tariff.minimum, tariff.maximum)?;
    let charges = tariff.models().any(|model| model.tiers().iter().any(costs));
    if charges || tariff.events.is_some() || tariff.minimum.is_some_and(|minimum| minimum > 0) {
        return Ok(());
    }
    Err(CatalogError::invalid(
        path,
        "expected at least one price above 0: this price would never charge anything",
    ))
}

fn costs(tier: &Tier) -> bool {
    tier.price_per_unit.is_positive() || tier.flat_price > 0
}

fn model(path: &str, model: &Model) -> Checked {
    match model {
        Model::Flat { fixed_price } => flat(&format!("{path}.fixed_price"), *fixed_price),
        Model::PerUnit {
            price_per_unit,
            fixed_price,
        } => {
            above_zero(&format!("{path}.price_per_unit"), price_per_unit)?;
            flat(&format!("{path}.fixed_price"), *fixed_price)
        }
        Model::Package {
            package: given,
            price_per_package,
            fixed_price,
        } => {
            package(path, given)?;
            above_zero(&format!("{path}.price_per_package"), price_per_package)?;
            flat(&format!("{path}.fixed_price"), *fixed_price)
        }
        Model::Percentage {
            percent,
            fixed_price,
        } => {
            percentage(&format!("{path}.percent"), percent)?;
            flat(&format!("{path}.fixed_price"), *fixed_price)
        }
        Model::Graduated { tiers: given } | Model::Volume { tiers: given } => tiers(path, given),
    }
}

fn tiers(path: &str, tiers: &[Tier]) -> Checked {
    let path = format!("{path}.tiers");
    if tiers.is_empty() || tiers.len() > TIERS_MAX {
        let message = format!("expected 1 to {TIERS_MAX} tiers");
        return Err(CatalogError::invalid(path, message));
    }
    let mut below = Decimal::zero();
    for (index, tier) in tiers.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let is_last = index + 1 == tiers.len();
        if let Some(bound) = upper_bound(&format!("{path}.up_to"), tier, &below, is_last)? {
            below = bound;
        }
        not_negative(&format!("{path}.price_per_unit"), &tier.price_per_unit)?;
        flat(&format!("{path}.flat_price"), tier.flat_price)?;
        if let Some(given) = &tier.package {
            package(&path, given)?;
        }
    }
    Ok(())
}

/// Tiers follow each other without gap or overlap, and the last has no end: so every quantity has one price.
fn upper_bound(
    field: &str,
    tier: &Tier,
    below: &Decimal,
    is_last: bool,
) -> Result<Option<Decimal>, CatalogError> {
    match &tier.up_to {
        None if is_last => Ok(None),
        None => Err(CatalogError::invalid(
            field,
            "expected an upper bound: only the last tier has none",
        )),
        Some(_) if is_last => Err(CatalogError::invalid(
            field,
            "expected no upper bound on the last tier: what is used beyond it would have no price",
        )),
        Some(bound) if bound <= below => Err(CatalogError::invalid(
            field,
            format!("expected more than {below}, where the tier begins"),
        )),
        Some(bound) => {
            digits(field, bound)?;
            Ok(Some(bound.clone()))
        }
    }
}

fn package(path: &str, package: &Package) -> Checked {
    above_zero(&format!("{path}.package_size"), &package.package_size)
}

fn conversion(path: &str, conversion: &Conversion) -> Checked {
    let (name, factor) = match &conversion.factor {
        Factor::MultiplyBy(factor) => ("multiply_by", factor),
        Factor::DivideBy(factor) => ("divide_by", factor),
    };
    above_zero(&format!("{path}.{name}"), factor)?;
    match conversion.rounding {
        Some((_, digits)) if digits > CONVERSION_DIGITS_MAX => Err(CatalogError::invalid(
            format!("{path}.digits"),
            format!("expected 0 to {CONVERSION_DIGITS_MAX}"),
        )),
        None if !conversion.ends() => Err(CatalogError::invalid(
            format!("{path}.rounding"),
            format!("expected half_away, up or down: quotients by {factor} have no end"),
        )),
        _ => Ok(()),
    }
}

fn matrix(path: &str, matrix: &Matrix, group_by: Option<&[String]>) -> Checked {
    let mut keys = BTreeSet::new();
    for (index, key) in matrix.keys.iter().enumerate() {
        let field = format!("{path}.by[{index}]");
        if let Some(known) = group_by.filter(|known| !known.contains(key)) {
            let known = known.join(", ");
            let message = format!("expected a group key of the meter, which has: [{known}]");
            return Err(CatalogError::invalid(field, message));
        }
        if !keys.insert(key) {
            return Err(CatalogError::invalid(field, "expected each key once"));
        }
    }
    if keys.is_empty() {
        let message = "expected at least one group key of the meter";
        return Err(CatalogError::invalid(format!("{path}.by"), message));
    }
    if matrix.rows.is_empty() || matrix.rows.len() > ROWS_MAX {
        let message = format!("expected 1 to {ROWS_MAX} prices");
        return Err(CatalogError::invalid(format!("{path}.prices"), message));
    }
    let mut seen = BTreeSet::new();
    for (index, row) in matrix.rows.iter().enumerate() {
        let path = format!("{path}.prices[{index}]");
        values(&format!("{path}.values"), &row.values, keys.len())?;
        if !seen.insert(&row.values) {
            let message = "expected values that no earlier price has";
            return Err(CatalogError::invalid(format!("{path}.values"), message));
        }
        model(&path, &row.model)?;
    }
    Ok(())
}

fn values(field: &str, values: &[String], keys: usize) -> Checked {
    if values.len() != keys {
        let message = format!("expected {keys} values, one for each key of groups.by");
        return Err(CatalogError::invalid(field, message));
    }
    let is_long = |value: &String| value.chars().count() > METADATA_STRING_CHARS_MAX;
    if values.iter().any(is_long) {
        let message = format!("expected values of at most {METADATA_STRING_CHARS_MAX} characters");
        return Err(CatalogError::invalid(field, message));
    }
    Ok(())
}

fn bounds(path: &str, minimum: Option<i64>, maximum: Option<i64>) -> Checked {
    flat(&format!("{path}.minimum"), minimum.unwrap_or(0))?;
    let field = format!("{path}.maximum");
    match (minimum, maximum) {
        (_, Some(maximum)) if maximum < 1 => Err(CatalogError::invalid(
            field,
            "expected 1 or more minor units",
        )),
        (Some(minimum), Some(maximum)) if maximum < minimum => Err(CatalogError::invalid(
            field,
            format!("expected at least the minimum of {minimum} minor units"),
        )),
        _ => Ok(()),
    }
}

fn flat(field: &str, amount: i64) -> Checked {
    if amount >= 0 {
        return Ok(());
    }
    Err(CatalogError::invalid(
        field,
        "expected 0 or more minor units",
    ))
}

fn above_zero(field: &str, value: &Decimal) -> Checked {
    if !value.is_positive() {
        return Err(CatalogError::invalid(field, "expected more than 0"));
    }
    digits(field, value)
}

fn not_negative(field: &str, value: &Decimal) -> Checked {
    if value.is_negative() {
        return Err(CatalogError::invalid(field, "expected 0 or more"));
    }
    digits(field, value)
}

fn digits(field: &str, value: &Decimal) -> Checked {
    digits_after(field, value, PRICE_FRACTION_DIGITS_MAX)
}

/// A percent is a hundredth, which is two digits more.
fn percentage(field: &str, percent: &Decimal) -> Checked {
    if percent.is_negative() {
        return Err(CatalogError::invalid(field, "expected 0 or more"));
    }
    digits_after(field, percent, PRICE_FRACTION_DIGITS_MAX - 2)
}

fn digits_after(field: &str, value: &Decimal, fraction_max: usize) -> Checked {
    let whole = value.whole_digits() <= WHOLE_DIGITS_MAX;
    if whole && value.fraction_digits() <= fraction_max {
        return Ok(());
    }
    let message = format!(
        "expected at most {WHOLE_DIGITS_MAX} digits before and {fraction_max} after the point"
    );
    Err(CatalogError::invalid(field, message))
}

#[cfg(test)]
mod tests;
