//! A charge, and every step by which it came about.

use crate::money::{Decimal, MoneyError};
use serde::{Deserialize, Serialize};

/// What a quantity costs, with every number on the way.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Charge {
    /// What was used, in metered units.
    pub quantity: Decimal,
    /// How much of it was free, in priced units.
    pub free_quantity: Decimal,
    /// What is charged for, in priced units; never below zero.
    pub billed_quantity: Decimal,
    /// Price of one billed unit in minor units, where one price holds for all of them.
    pub unit_price: Option<Decimal>,
    /// Step by step; the steps add up to the exact amount.
    pub derivation: Derivation,
    /// The amount before rounding, in minor units.
    pub amount_exact: Decimal,
    /// The amount in minor units, rounded once.
    pub amount: i64,
}

/// The steps of a charge.
#[derive(Clone, Eq, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Derivation {
    /// The usage of each row of the price, the default last; one without a matrix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// What the events cost beside their quantity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<EventStep>,
    /// What was missing to the minimum of the period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<BoundStep>,
    /// What was beyond the maximum of the period, as a negative amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<BoundStep>,
}

/// Usage that has one price.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Part {
    /// The values of the row; none for the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Vec<String>>,
    /// What was used, in metered units.
    pub quantity: Decimal,
    /// The same in priced units, where they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converted_quantity: Option<Decimal>,
    /// How much of it was free, in priced units.
    pub free_quantity: Decimal,
    /// What is charged for, in priced units.
    pub billed_quantity: Decimal,
    /// The tiers that were reached.
    pub tiers: Vec<TierStep>,
}

/// What lies in one tier.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct TierStep {
    /// Which tier, counted from 1.
    pub tier: usize,
    /// The bound below, which lies in the tier before.
    pub over: Decimal,
    /// The bound above; none for the last tier.
    pub up_to: Option<Decimal>,
    /// Units charged here.
    pub quantity: Decimal,
    /// Units of one package, where packages are sold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package_size: Option<Decimal>,
    /// Packages that the units fill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<Decimal>,
    /// Minor units of one unit, or of one package.
    pub unit_price: Decimal,
    /// Minor units owed for having reached the tier.
    pub flat_price: i64,
    /// Units or packages × price + flat part.
    pub amount_exact: Decimal,
}

/// What events cost beside their quantity.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct EventStep {
    /// How many there were.
    pub events: u64,
    /// How many of them were free.
    pub free_events: u64,
    /// Minor units of one event.
    pub price_per_event: Decimal,
    /// The product of the rest and the price.
    pub amount_exact: Decimal,
}

/// What a bound of the period's amount adds or takes away.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct BoundStep {
    /// The bound in minor units.
    pub bound: i64,
    /// The difference to it.
    pub amount_exact: Decimal,
}

impl Charge {
    /// Returns what is due when `already_billed` minor units were billed for the same usage before: the one rule for everything
    /// that comes after a charge. It may be negative.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`] when the difference does not fit.
    pub fn due(&self, already_billed: i64) -> Result<i64, MoneyError> {
        self.amount
            .checked_sub(already_billed)
            .ok_or(MoneyError::Overflow)
    }

    /// Sums the derivation up; rows in which nothing happened are left out of it.
    pub(super) fn derived(mut derivation: Derivation, amount_exact: Decimal, amount: i64) -> Self {
        let sum = |of: fn(&Part) -> &Decimal| {
            let parts = derivation.parts.iter();
            parts.fold(Decimal::zero(), |sum, part| &sum + of(part))
        };
        let (quantity, free_quantity, billed_quantity) = (
            sum(|part| &part.quantity),
            sum(|part| &part.free_quantity),
            sum(|part| &part.billed_quantity),
        );
        if derivation.parts.len() > 1 {
            derivation.parts.retain(Part::says_something);
        }
        Self {
            quantity,
            free_quantity,
            billed_quantity,
            unit_price: derivation.unit_price().cloned(),
            derivation,
            amount_exact,
            amount,
        }
    }
}

impl Derivation {
    /// Whether a quantity, a free part and one unit price say all there is to say.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        let plain = Self {
            parts: self.parts.clone(),
            ..Self::default()
        };
        *self == plain && self.parts.iter().map(Part::is_plain).eq([true])
    }

    /// Returns the one price of every billed unit, where there is one.
    fn unit_price(&self) -> Option<&Decimal> {
        let mut tiers = self.parts.iter().flat_map(|part| &part.tiers);
        let first = tiers.next()?;
        let is_one =
            |step: &TierStep| step.unit_price == first.unit_price && step.package_size.is_none();
        let holds = is_one(first) && first.unit_price.is_positive() && tiers.all(is_one);
        holds.then_some(&first.unit_price)
    }
}

impl Part {
    /// Returns the exact amount of its tiers.
    #[must_use]
    pub fn amount(&self) -> Decimal {
        let amounts = self.tiers.iter().map(|step| &step.amount_exact);
        amounts.fold(Decimal::zero(), |sum, amount| &sum + amount)
    }

    fn says_something(&self) -> bool {
        !self.quantity.is_zero() || !self.amount().is_zero()
    }

    fn is_plain(&self) -> bool {
        let [step] = self.tiers.as_slice() else {
            return false;
        };
        self.group.is_none()
            && self.converted_quantity.is_none()
            && step.up_to.is_none()
            && step.over.is_zero()
            && step.packages.is_none()
            && step.flat_price == 0
    }
}
