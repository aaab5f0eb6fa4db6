//! Rating against the oracle's numbers, and its laws.

#![allow(clippy::unwrap_used)]

mod fee;
mod laws;
mod oracle;
mod steps;

use super::*;
use crate::money::Rounding;

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

/// Returns a hundred times an amount in major units, as the oracle writes it.
fn cents(text: &str) -> Decimal {
    &decimal(text) * &Decimal::from(100_i64)
}

/// A tier in major units: its upper bound (`-` for none), the price of a unit, the flat part.
fn tier((up_to, price, flat): &(&str, &str, &str)) -> Tier {
    Tier {
        up_to: (*up_to != "-").then(|| decimal(up_to)),
        price_per_unit: cents(price),
        package: None,
        flat_price: cents(flat).to_i64().unwrap(),
    }
}

fn graduated(tiers: &[(&str, &str, &str)]) -> Tariff {
    let tiers = tiers.iter().map(tier).collect();
    Tariff::of(Model::Graduated { tiers })
}

fn volume(tiers: &[(&str, &str, &str)]) -> Tariff {
    let tiers = tiers.iter().map(tier).collect();
    Tariff::of(Model::Volume { tiers })
}

/// Tiers of packages in major units: upper bound, package size, price of a package.
fn packed(tiers: &[(&str, &str, &str)]) -> Vec<Tier> {
    let packed = |(up_to, size, price): &(&str, &str, &str)| Tier {
        package: Some(package_of(size, Rounding::Up)),
        ..tier(&(up_to, price, "0"))
    };
    tiers.iter().map(packed).collect()
}

fn package_of(size: &str, package_rounding: Rounding) -> Package {
    Package {
        package_size: decimal(size),
        package_rounding,
    }
}

fn package(size: &str, price: &str) -> Tariff {
    Tariff::of(Model::Package {
        package: package_of(size, Rounding::Up),
        price_per_package: cents(price),
        fixed_price: 0,
    })
}

fn per_unit(price: &str) -> Tariff {
    Tariff::per_unit(cents(price))
}

/// Rates a quantity and returns the charge.
fn charge(tariff: &Tariff, free: i64, quantity: &str) -> Charge {
    rate(tariff, free, &Usage::of(decimal(quantity))).unwrap()
}

/// Rates a quantity and returns the minor units.
fn amount(tariff: &Tariff, quantity: &str) -> i64 {
    charge(tariff, 0, quantity).amount
}
