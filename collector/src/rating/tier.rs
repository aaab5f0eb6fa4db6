//! Tiers: stretches of a quantity, each with its price.
//!
//! Bounds are continuous: a tier holds what is above the bound before it, up to and with its own. So tiers can neither overlap
//! nor leave a gap, whatever fractions are counted.

use super::{TierStep, ZeroUsage};
use crate::money::{Decimal, Rounding};
use serde::{Deserialize, Serialize};

/// One tier.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Tier {
    /// The last quantity that lies in it; none for the last tier, which has no end.
    pub up_to: Option<Decimal>,
    /// Minor units of one unit, or of one package.
    pub price_per_unit: Decimal,
    /// What is sold in this tier, when it is not single units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<Package>,
    /// Minor units owed once the tier is reached.
    #[serde(default)]
    pub flat_price: i64,
}

/// Units that are sold together.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Package {
    /// Units of one package, above zero.
    pub package_size: Decimal,
    /// How a package that is not full counts. The whole period's quantity is packed, never a part of it.
    pub package_rounding: Rounding,
}

/// Charges each unit by the tier it lies in.
pub(super) fn graduated(
    tiers: &[Tier],
    quantity: &Decimal,
    zero_usage: ZeroUsage,
) -> Vec<TierStep> {
    let mut steps = Vec::new();
    let mut over = Decimal::zero();
    for (index, tier) in tiers.iter().enumerate() {
        if index > 0 && *quantity <= over {
            break;
        }
        let end = tier
            .up_to
            .as_ref()
            .map_or(quantity, |up_to| up_to.min(quantity));
        steps.push(tier.step(index, &over, end - &over, zero_usage));
        over = tier.up_to.clone().unwrap_or(over);
    }
    steps
}

/// Charges all units by the tier that the whole quantity lies in.
pub(super) fn volume(tiers: &[Tier], quantity: &Decimal, zero_usage: ZeroUsage) -> Vec<TierStep> {
    let holds = |tier: &Tier| tier.up_to.as_ref().is_none_or(|up_to| quantity <= up_to);
    let Some(index) = tiers.iter().position(holds) else {
        return Vec::new();
    };
    let below = index
        .checked_sub(1)
        .and_then(|below| tiers[below].up_to.clone());
    let over = below.unwrap_or_default();
    vec![tiers[index].step(index, &over, quantity.clone(), zero_usage)]
}

impl Tier {
    /// Charges `quantity` units that lie in this tier, which is reached.
    fn step(
        &self,
        index: usize,
        over: &Decimal,
        quantity: Decimal,
        zero_usage: ZeroUsage,
    ) -> TierStep {
        let is_owed = zero_usage == ZeroUsage::Charge || quantity.is_positive();
        let flat_price = if is_owed { self.flat_price } else { 0 };
        let packages = self
            .package
            .as_ref()
            .map(|package| package.count(&quantity));
        let amount_exact =
            &(packages.as_ref().unwrap_or(&quantity) * &self.price_per_unit) + &flat_price.into();
        TierStep {
            tier: index + 1,
            over: over.clone(),
            up_to: self.up_to.clone(),
            package_size: self
                .package
                .as_ref()
                .map(|package| package.package_size.clone()),
            packages,
            quantity,
            unit_price: self.price_per_unit.clone(),
            flat_price,
            amount_exact,
        }
    }
}

impl Package {
    fn count(&self, quantity: &Decimal) -> Decimal {
        quantity
            .divided(&self.package_size, 0, self.package_rounding)
            .expect("a package holds more than nothing; checked when the price was made")
    }
}
