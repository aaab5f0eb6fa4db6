//! Prices: how often a subscription is billed, its fixed fee, and what each meter costs.

use crate::{
    id::EntitlementId,
    money::{Currency, Decimal},
    rating::Tariff,
};
use serde::{Deserialize, Deserializer, Serialize, de};
use submeter_common::id::MeterId;

/// How a product is paid. One model so far; recurring and one-time prices are refused by the API.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Price {
    /// A fixed fee in advance plus usage in arrears.
    #[serde(rename = "usage_based_price")]
    UsageBased(UsageBasedPrice),
}

/// A fixed fee in advance plus usage in arrears, each billing period.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct UsageBasedPrice {
    /// What everything in this price is in.
    pub currency: Currency,
    /// Fixed fee of each period, in minor units, per unit of the subscription's quantity.
    pub fixed_price: i64,
    /// Length of a billing period.
    pub payment_frequency: Frequency,
    /// After this time the subscription expires.
    pub subscription_period: Frequency,
    /// The priced meters, in the order in which invoices list them and credits serve them.
    pub meters: Vec<MeterPrice>,
    /// Percent off the price; only 0 is billable so far.
    pub discount: i64,
    /// Echoed to clients; only `false` is billable so far.
    pub purchasing_power_parity: bool,
    /// Whether amounts already contain tax. Recorded; no tax is computed.
    pub tax_inclusive: bool,
}

/// What one meter costs.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct MeterPrice {
    /// The meter.
    pub meter_id: MeterId,
    /// Units of a period that cost nothing, before credits and money; priced units, where the tariff converts.
    pub free_threshold: i64,
    /// How the units above the threshold are paid.
    pub pricing: MeterPricing,
}

/// How a meter's chargeable units are paid.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "paid_with", rename_all = "snake_case")]
pub enum MeterPricing {
    /// With money.
    Money {
        /// What they cost, in minor units of the currency.
        tariff: Box<Tariff>,
    },
    /// With credits.
    Credits {
        /// The kind of credits.
        credit_entitlement_id: EntitlementId,
        /// How many units of the meter one credit buys.
        meter_units_per_credit: Decimal,
    },
}

/// A length of calendar time: `count` intervals.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Serialize, Deserialize)]
pub struct Frequency {
    /// How many intervals, at least 1.
    pub count: u32,
    /// Of what.
    pub interval: Interval,
}

/// A calendar unit. Written capitalised, read in any case.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Serialize)]
pub enum Interval {
    /// Calendar days.
    Day,
    /// Seven calendar days.
    Week,
    /// Calendar months, clamped at a month's end.
    Month,
    /// Calendar years, 29 February clamped.
    Year,
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.to_ascii_lowercase().as_str() {
            "day" => Ok(Self::Day),
            "week" => Ok(Self::Week),
            "month" => Ok(Self::Month),
            "year" => Ok(Self::Year),
            _ => Err(de::Error::custom("expected one of Day, Week, Month, Year")),
        }
    }
}

impl Interval {
    /// Returns the name that replies carry.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "Day",
            Self::Week => "Week",
            Self::Month => "Month",
            Self::Year => "Year",
        }
    }
}

impl MeterPricing {
    /// Makes a price in money.
    #[must_use]
    pub fn money(tariff: Tariff) -> Self {
        Self::Money {
            tariff: Box::new(tariff),
        }
    }
}

impl MeterPrice {
    /// Returns the price in money; none for a meter that credits pay.
    #[must_use]
    pub const fn tariff(&self) -> Option<&Tariff> {
        match &self.pricing {
            MeterPricing::Money { tariff } => Some(tariff),
            MeterPricing::Credits { .. } => None,
        }
    }
}

impl Price {
    /// Returns what the price is in.
    #[must_use]
    pub const fn currency(&self) -> Currency {
        let Self::UsageBased(price) = self;
        price.currency
    }

    /// Returns the fixed-fee-plus-usage price, the only model so far.
    #[must_use]
    pub const fn usage_based(&self) -> &UsageBasedPrice {
        let Self::UsageBased(price) = self;
        price
    }
}
