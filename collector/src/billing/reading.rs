//! Reading a meter for billing: what it came to over a period, and from whom.

use super::BillingError;
use crate::{
    money::Decimal,
    storage::UsageStore,
    usage::{Cell, Source},
};
use submeter_common::{CustomerId, Meter, Period, Timestamp};

/// What a meter came to over a period, all groups together.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub(super) struct Reading {
    /// The aggregated value; zero where nothing was used.
    pub quantity: Decimal,
    /// Events behind it.
    pub events: u64,
    /// Agents and frames behind it.
    pub sources: Vec<Source>,
}

/// What a meter came to over the period that is billed.
#[derive(Clone, Debug)]
pub(super) struct MeterReading {
    /// The meter as it is now.
    pub meter: Meter,
    /// The whole period.
    pub total: Reading,
    /// The quantity from the period's start up to each cut at which a grant begins or ends.
    pub up_to: Vec<(Timestamp, Decimal)>,
}

/// Reads `meter` of `customer` over `period`.
pub(super) async fn read<S: UsageStore + ?Sized>(
    storage: &S,
    customer: &CustomerId,
    meter: &Meter,
    period: Period,
) -> Result<Reading, BillingError> {
    let mut whole = Cell::identity(meter.aggregation.kind);
    for group in storage.usage(customer, &meter.id, period).await? {
        whole
            .merge(&group.cell)
            .map_err(|error| BillingError::Usage {
                meter_id: meter.id.clone(),
                error,
            })?;
    }
    Ok(Reading {
        quantity: Decimal::from(&whole.partial.value()),
        events: whole.partial.events,
        sources: whole.sources,
    })
}
