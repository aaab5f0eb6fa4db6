//! `GET /subscriptions/{id}/usage-history`: each period's usage and charges, the open one first.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use submeter_common::id::MeterId;
use submeter_common::time::Timestamp;

use super::super::error::ApiError;
use super::super::query::Query;
use super::super::reply::Items;
use super::super::state::ApiState;
use super::find;
use crate::billing::{self, MeterUsage, PeriodUsage};
use crate::money::{Currency, Decimal};

/// One period.
#[derive(Serialize)]
pub(in super::super) struct PeriodReply {
    start_date: Timestamp,
    end_date: Timestamp,
    /// Whether the period is open; then its numbers are as of now.
    open: bool,
    meters: Vec<MeterReply>,
}

/// One meter in a period.
#[derive(Serialize)]
struct MeterReply {
    id: MeterId,
    name: String,
    consumed_units: Decimal,
    free_threshold: i64,
    chargeable_units: Decimal,
    price_per_unit: Decimal,
    currency: Currency,
    total_price: i64,
}

impl From<MeterUsage> for MeterReply {
    fn from(usage: MeterUsage) -> Self {
        Self {
            id: usage.id,
            name: usage.name,
            consumed_units: usage.consumed_units,
            free_threshold: usage.free_threshold,
            chargeable_units: usage.chargeable_units,
            price_per_unit: usage.price_per_unit,
            currency: usage.currency,
            total_price: usage.total_price,
        }
    }
}

/// What the caller wants to see.
struct Wanted {
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    meter_id: Option<String>,
}

impl Wanted {
    fn has(&self, usage: &PeriodUsage) -> bool {
        self.from.is_none_or(|from| usage.period.start >= from)
            && self.until.is_none_or(|until| usage.period.end <= until)
    }

    fn show(&self, usage: PeriodUsage) -> PeriodReply {
        let shown = |meter: &MeterUsage| {
            self.meter_id
                .as_deref()
                .is_none_or(|id| meter.id.as_str() == id)
        };
        PeriodReply {
            start_date: usage.period.start,
            end_date: usage.period.end,
            open: usage.open,
            meters: usage
                .meters
                .into_iter()
                .filter(shown)
                .map(MeterReply::from)
                .collect(),
        }
    }
}

/// `GET /subscriptions/{id}/usage-history`.
pub(in super::super) async fn history(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    mut query: Query,
) -> Result<Json<Items<PeriodReply>>, ApiError> {
    let page = query.page()?;
    let wanted = Wanted {
        from: query.time("start_date")?,
        until: query.time("end_date")?,
        meter_id: query.text("meter_id")?,
    };
    query.finish()?;
    let subscription = find(&state, &id).await?;
    let (skip, take) = match (wanted.from, wanted.until) {
        (None, None) => (page.skip(), page.take()),
        // Pages are cut out of what is wanted, so all periods are looked at.
        _ => (0, usize::MAX),
    };
    let now = state.now_under(subscription.test_clock.as_ref()).await?;
    let periods = billing::history(&*state.storage, &subscription, now, skip, take).await?;
    let shown = periods.into_iter().filter(|usage| wanted.has(usage));
    let cut: Vec<PeriodUsage> = if take == usize::MAX {
        page.of(shown)
    } else {
        shown.collect()
    };
    Ok(Json(
        cut.into_iter().map(|usage| wanted.show(usage)).collect(),
    ))
}
