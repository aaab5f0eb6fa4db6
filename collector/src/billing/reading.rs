//! Reading a meter for billing: what it came to over a period, by what is priced apart, and from whom.

use super::BillingError;
use crate::{
    catalog::MeterPrice,
    money::{Decimal, MoneyError},
    rating::{self, Charge, Matrix, Share, Tariff, Usage},
    storage::UsageStore,
    usage::{Cell, GroupUsage, Source},
};
use submeter_common::{
    AggregateError, AggregationKind, CustomerId, Meter, Partial, Period, State, Timestamp,
};

/// What a meter came to over a period.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub(super) struct Reading {
    /// The aggregated value over all groups, or the sum of the rows; zero where nothing was used.
    pub quantity: Decimal,
    /// What each row of the price's matrix came to, the default last. Empty without a matrix.
    pub rows: Vec<Decimal>,
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

impl Reading {
    /// Rates the usage by the tariff it was read for.
    pub(super) fn charge(
        &self,
        tariff: &Tariff,
        free_threshold: i64,
        served: Share,
    ) -> Result<Charge, MoneyError> {
        let usage = if tariff.matrix.is_none() {
            Usage::of(self.quantity.clone())
        } else {
            Usage::by_row(self.rows.clone())
        };
        let usage = usage.with_events(self.events).served_for(served);
        rating::rate(tariff, free_threshold, &usage)
    }
}

/// Reads `meter` of `customer` over `period`, apart by what `price` prices apart.
pub(super) async fn read<S: UsageStore + ?Sized>(
    storage: &S,
    customer: &CustomerId,
    (meter, price): (&Meter, &MeterPrice),
    period: Period,
) -> Result<Reading, BillingError> {
    let groups = storage.usage(customer, &meter.id, period).await?;
    let matrix = price.tariff().and_then(|tariff| tariff.matrix.as_ref());
    let added_up = match matrix {
        Some(matrix) => by_row(&groups, meter, matrix),
        None => together(&groups, meter.aggregation.kind),
    };
    added_up.map_err(|error| BillingError::Usage {
        meter_id: meter.id.clone(),
        error,
    })
}

fn together(groups: &[GroupUsage], kind: AggregationKind) -> Result<Reading, AggregateError> {
    let mut whole = Cell::identity(kind);
    for group in groups {
        whole.merge(&group.cell)?;
    }
    Ok(Reading {
        quantity: Decimal::from(&whole.partial.value()),
        rows: Vec::new(),
        events: whole.partial.events,
        sources: whole.sources,
    })
}

/// Groups of one row are merged; rows are added up, whatever the aggregation: each has its own price.
fn by_row(
    groups: &[GroupUsage],
    meter: &Meter,
    matrix: &Matrix,
) -> Result<Reading, AggregateError> {
    let mut rows = vec![Vec::new(); matrix.rows.len() + 1];
    for group in groups {
        rows[matrix.row_of(&meter.group_by, &group.group)].push(group.clone());
    }
    let mut all = Cell::identity(AggregationKind::Count);
    let mut reading = Reading::default();
    for row in &rows {
        let row = together(row, meter.aggregation.kind)?;
        reading.quantity += &row.quantity;
        reading.rows.push(row.quantity);
        all.merge(&Cell {
            partial: Partial {
                events: row.events,
                non_numeric: 0,
                state: State::Count,
            },
            sources: row.sources,
        })?;
    }
    Ok(Reading {
        events: all.partial.events,
        sources: all.sources,
        ..reading
    })
}
