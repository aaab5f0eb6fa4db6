//! What a simulation found: subscriptions, periods and meters at two prices.

use crate::{id::SubscriptionId, money::Decimal, rating::Charge};
use submeter_common::{CustomerId, MeterId, Period};

/// One page of what was tried.
#[derive(Clone, Debug, Default)]
pub struct Simulation {
    /// The subscriptions that could be compared, newest first.
    pub compared: Vec<Comparison>,
    /// Those that could not, with the reason.
    pub skipped: Vec<(SubscriptionId, String)>,
    /// Whether there are more subscriptions behind this page.
    pub more: bool,
}

/// One subscription at both prices.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The subscription.
    pub subscription_id: SubscriptionId,
    /// Whose.
    pub customer_id: CustomerId,
    /// Its last closed periods, newest first; none when none is closed yet.
    pub periods: Vec<ComparedPeriod>,
}

/// One period at both prices.
#[derive(Clone, Debug)]
pub struct ComparedPeriod {
    /// The period.
    pub period: Period,
    /// At the subscription's own price.
    pub current: PricedPeriod,
    /// At the other price.
    pub simulated: PricedPeriod,
}

/// What a period costs at one price.
#[derive(Clone, Debug)]
pub struct PricedPeriod {
    /// Minor units of the fixed fee, by the share of the period that was served.
    pub fixed_fee: i64,
    /// One entry per priced meter, in the order of the price.
    pub meters: Vec<PricedMeter>,
    /// Fee and meters.
    pub total: i64,
}

/// What one meter costs.
#[derive(Clone, Debug)]
pub struct PricedMeter {
    /// The meter.
    pub meter_id: MeterId,
    /// Its name now.
    pub name: String,
    /// What it comes to.
    pub cost: MeterCost,
}

/// How a meter would be paid.
#[derive(Clone, Debug)]
pub enum MeterCost {
    /// With money.
    Money(Box<Charge>),
    /// With so many credits.
    Credits {
        /// What was used.
        quantity: Decimal,
        /// What it costs.
        credits: Decimal,
    },
}
