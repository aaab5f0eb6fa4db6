//! How a period's usage of one meter becomes money: every step of rating as data.

use super::{Conversion, EventStep, Matrix, Model};
use crate::money::Decimal;
use serde::{Deserialize, Serialize};

/// What a meter costs.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Tariff {
    /// From metered units to priced ones; none where they are the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversion: Option<Conversion>,
    /// What priced units cost; with a matrix, those of groups that have no row.
    pub model: Model,
    /// Prices of their own for some values of the meter's group keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matrix: Option<Matrix>,
    /// What each event costs beside its quantity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<EventPrice>,
    /// Minor units that a period costs at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<i64>,
    /// Minor units that a period costs at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<i64>,
    /// Whether flat parts are owed where nothing is chargeable.
    #[serde(default)]
    pub zero_usage: ZeroUsage,
}

/// Whether the flat part of a first tier is owed when there is nothing to charge for.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZeroUsage {
    /// It is: a period costs at least the flat part.
    #[default]
    Charge,
    /// It is not: the first tier begins behind zero, as the others begin behind their lower bounds.
    Free,
}

impl ZeroUsage {
    /// Returns the name that requests and replies carry.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Free => "free",
        }
    }
}

/// A fixed part of each event.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct EventPrice {
    /// Minor units of one event.
    pub price_per_event: Decimal,
    /// Events of a period that cost nothing.
    pub free_events: u64,
}

impl EventPrice {
    /// Charges `events`.
    pub(super) fn step(&self, events: u64) -> EventStep {
        let billed = events.saturating_sub(self.free_events);
        EventStep {
            events,
            free_events: self.free_events.min(events),
            price_per_event: self.price_per_event.clone(),
            amount_exact: &Decimal::from(billed) * &self.price_per_event,
        }
    }
}

impl Tariff {
    /// Makes the tariff of a model alone.
    #[must_use]
    pub const fn of(model: Model) -> Self {
        Self {
            conversion: None,
            model,
            matrix: None,
            events: None,
            minimum: None,
            maximum: None,
            zero_usage: ZeroUsage::Charge,
        }
    }

    /// Makes the tariff of one price for every unit, in minor units.
    #[must_use]
    pub const fn per_unit(price_per_unit: Decimal) -> Self {
        Self::of(Model::PerUnit {
            price_per_unit,
            fixed_price: 0,
        })
    }

    /// Returns the price of a unit when that is all there is to the tariff.
    #[must_use]
    pub fn plain_unit_price(&self) -> Option<&Decimal> {
        let Model::PerUnit {
            price_per_unit,
            fixed_price: 0,
        } = &self.model
        else {
            return None;
        };
        let is_plain = *self == Self::per_unit(price_per_unit.clone());
        is_plain.then_some(price_per_unit)
    }

    /// Returns what `quantity` metered units are in priced ones.
    #[must_use]
    pub fn converted(&self, quantity: &Decimal) -> Decimal {
        let conversion = self.conversion.as_ref();
        conversion.map_or_else(|| quantity.clone(), |conversion| conversion.apply(quantity))
    }

    /// Returns every model of the tariff: those of the matrix's rows, and the default.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        let rows = self.matrix.iter().flat_map(|matrix| &matrix.rows);
        rows.map(|row| &row.model).chain([&self.model])
    }
}
