//! A simulation in replies: sums for all customers, every number on the way for one.

use serde::Serialize;
use submeter_common::id::{CustomerId, MeterId};
use submeter_common::time::Timestamp;

use crate::api::error::ApiError;
use crate::billing::simulation::{
    ComparedPeriod, Comparison, MeterCost, PricedMeter, PricedPeriod, Simulation,
};
use crate::id::{ProductId, SubscriptionId};
use crate::money::{Currency, Decimal, Money};
use crate::rating::Derivation;

/// What the subscriptions of a page cost at both prices.
#[derive(Serialize)]
pub(in crate::api) struct SimulationReply {
    product_id: ProductId,
    currency: Currency,
    /// Sums over `items`.
    total: Compared,
    items: Vec<ComparisonReply>,
    skipped: Vec<SkippedReply>,
    /// Whether there is another page.
    more: bool,
}

/// Two amounts in minor units, and for people.
#[derive(Serialize)]
struct Compared {
    current: i64,
    simulated: i64,
    difference: i64,
    current_text: String,
    simulated_text: String,
    difference_text: String,
}

#[derive(Serialize)]
struct ComparisonReply {
    subscription_id: SubscriptionId,
    customer_id: CustomerId,
    total: Compared,
    periods: Vec<PeriodReply>,
}

#[derive(Serialize)]
struct PeriodReply {
    start: Timestamp,
    end: Timestamp,
    total: Compared,
    /// Every number on the way, where one customer was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<PricedReply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    simulated: Option<PricedReply>,
}

#[derive(Serialize)]
struct PricedReply {
    fixed_fee: i64,
    meters: Vec<MeterReply>,
}

/// One meter: fields as on an invoice line.
#[derive(Serialize)]
struct MeterReply {
    meter_id: MeterId,
    meter_name: String,
    quantity: Decimal,
    #[serde(skip_serializing_if = "Option::is_none")]
    free_quantity: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    billed_quantity: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    derivation: Option<Derivation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount_exact: Option<Decimal>,
    amount: i64,
    /// What it costs in credits, where those pay it.
    #[serde(skip_serializing_if = "Option::is_none")]
    credits: Option<Decimal>,
}

#[derive(Serialize)]
struct SkippedReply {
    subscription_id: SubscriptionId,
    reason: String,
}

impl SimulationReply {
    /// Writes one page of a simulation; `detailed` shows every number on the way.
    pub(super) fn new(
        product_id: ProductId,
        simulation: Simulation,
        currency: Currency,
        detailed: bool,
    ) -> Result<Self, ApiError> {
        let items = simulation.compared.into_iter();
        let items = items.map(|item| ComparisonReply::new(item, currency, detailed));
        let items = items.collect::<Result<Vec<_>, _>>()?;
        let skipped = simulation.skipped.into_iter();
        let skipped = skipped.map(|(subscription_id, reason)| SkippedReply {
            subscription_id,
            reason,
        });
        Ok(Self {
            product_id,
            currency,
            total: Compared::sum(items.iter().map(|item| &item.total), currency)?,
            items,
            skipped: skipped.collect(),
            more: simulation.more,
        })
    }
}

impl Compared {
    fn new(current: i64, simulated: i64, currency: Currency) -> Result<Self, ApiError> {
        let difference = simulated.checked_sub(current).ok_or_else(too_large)?;
        let text = |minor| Money { minor, currency }.to_string();
        Ok(Self {
            current,
            simulated,
            difference,
            current_text: text(current),
            simulated_text: text(simulated),
            difference_text: text(difference),
        })
    }

    fn sum<'a>(
        parts: impl Iterator<Item = &'a Self>,
        currency: Currency,
    ) -> Result<Self, ApiError> {
        let (mut current, mut simulated) = (0_i64, 0_i64);
        for part in parts {
            current = current.checked_add(part.current).ok_or_else(too_large)?;
            simulated = simulated
                .checked_add(part.simulated)
                .ok_or_else(too_large)?;
        }
        Self::new(current, simulated, currency)
    }
}

fn too_large() -> ApiError {
    let message =
        "the sum is beyond 9223372036854775807 minor units: ask for fewer subscriptions or periods";
    ApiError::field("page_size", message)
}

impl ComparisonReply {
    fn new(comparison: Comparison, currency: Currency, detailed: bool) -> Result<Self, ApiError> {
        let periods = comparison.periods.into_iter();
        let periods = periods.map(|period| PeriodReply::new(period, currency, detailed));
        let periods = periods.collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            subscription_id: comparison.subscription_id,
            customer_id: comparison.customer_id,
            total: Compared::sum(periods.iter().map(|period| &period.total), currency)?,
            periods,
        })
    }
}

impl PeriodReply {
    fn new(compared: ComparedPeriod, currency: Currency, detailed: bool) -> Result<Self, ApiError> {
        let (current, simulated) = (compared.current, compared.simulated);
        Ok(Self {
            start: compared.period.start,
            end: compared.period.end,
            total: Compared::new(current.total, simulated.total, currency)?,
            current: detailed.then(|| current.into()),
            simulated: detailed.then(|| simulated.into()),
        })
    }
}

impl From<PricedPeriod> for PricedReply {
    fn from(priced: PricedPeriod) -> Self {
        Self {
            fixed_fee: priced.fixed_fee,
            meters: priced.meters.into_iter().map(MeterReply::from).collect(),
        }
    }
}

impl From<PricedMeter> for MeterReply {
    fn from(priced: PricedMeter) -> Self {
        let named = Self {
            meter_id: priced.meter_id,
            meter_name: priced.name,
            quantity: Decimal::zero(),
            free_quantity: None,
            billed_quantity: None,
            derivation: None,
            amount_exact: None,
            amount: 0,
            credits: None,
        };
        match priced.cost {
            MeterCost::Money(charge) => Self {
                quantity: charge.quantity,
                free_quantity: Some(charge.free_quantity),
                billed_quantity: Some(charge.billed_quantity),
                derivation: Some(charge.derivation),
                amount_exact: Some(charge.amount_exact),
                amount: charge.amount,
                ..named
            },
            MeterCost::Credits { quantity, credits } => Self {
                quantity,
                credits: Some(credits),
                ..named
            },
        }
    }
}
