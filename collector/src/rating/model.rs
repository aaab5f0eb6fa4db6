//! Price models: six notations for tiers.

use super::{Package, Tier, TierStep, ZeroUsage, tier};
use crate::money::Decimal;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// How priced units become money. Prices are in minor units; flat parts are whole minor units, owed once a period.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "model", rename_all = "snake_case")]
pub enum Model {
    /// A fixed price, however much is used.
    Flat {
        /// Minor units.
        fixed_price: i64,
    },
    /// One price for every unit.
    PerUnit {
        /// Price of one unit.
        price_per_unit: Decimal,
        /// Flat part.
        #[serde(default)]
        fixed_price: i64,
    },
    /// One price for every package of units, a package that is begun counted or not by its rounding.
    Package {
        /// The package.
        package: Package,
        /// Price of one package.
        price_per_package: Decimal,
        /// Flat part.
        #[serde(default)]
        fixed_price: i64,
    },
    /// A percentage of a summed value, which is counted in minor units.
    Percentage {
        /// Percent.
        percent: Decimal,
        /// Flat part.
        #[serde(default)]
        fixed_price: i64,
    },
    /// Each unit at the price of the tier it lies in; the flat part of every tier that is reached.
    Graduated {
        /// The tiers, lowest first; the last without bound.
        tiers: Vec<Tier>,
    },
    /// All units at the price of the tier that the whole quantity lies in, and its flat part.
    Volume {
        /// The tiers, lowest first; the last without bound.
        tiers: Vec<Tier>,
    },
}

impl Model {
    /// Returns the name that requests and replies carry.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Flat { .. } => "flat",
            Self::PerUnit { .. } => "per_unit",
            Self::Package { .. } => "package",
            Self::Percentage { .. } => "percentage",
            Self::Graduated { .. } => "graduated",
            Self::Volume { .. } => "volume",
        }
    }

    /// Returns the tiers that the model stands for.
    #[must_use]
    pub fn tiers(&self) -> Cow<'_, [Tier]> {
        let one = |price_per_unit: Decimal, flat_price: i64, package: Option<Package>| {
            Cow::Owned(vec![Tier {
                up_to: None,
                price_per_unit,
                package,
                flat_price,
            }])
        };
        match self {
            Self::Flat { fixed_price } => one(Decimal::zero(), *fixed_price, None),
            Self::PerUnit {
                price_per_unit,
                fixed_price,
            } => one(price_per_unit.clone(), *fixed_price, None),
            Self::Package {
                package,
                price_per_package,
                fixed_price,
            } => one(
                price_per_package.clone(),
                *fixed_price,
                Some(package.clone()),
            ),
            Self::Percentage {
                percent,
                fixed_price,
            } => one(hundredth(percent), *fixed_price, None),
            Self::Graduated { tiers } | Self::Volume { tiers } => Cow::Borrowed(tiers),
        }
    }

    /// Charges `quantity` units, which are not negative.
    pub(super) fn price(&self, quantity: &Decimal, zero_usage: ZeroUsage) -> Vec<TierStep> {
        let tiers = self.tiers();
        match self {
            Self::Volume { .. } => tier::volume(&tiers, quantity, zero_usage),
            _ => tier::graduated(&tiers, quantity, zero_usage),
        }
    }
}

/// One percent of a value is a price of a hundredth for each of its units.
fn hundredth(percent: &Decimal) -> Decimal {
    let hundredth = Decimal::parse("0.01").expect("a hundredth is a decimal");
    percent * &hundredth
}
