//! `GET /v1/usage`: what a customer used, by meter, step of time and group, with the agents it came from.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use submeter_common::aggregate::Group;
use submeter_common::id::{CustomerId, MeterId};
use submeter_common::meter::{AggregationKind, Meter};
use submeter_common::quantity::Quantity;
use submeter_common::time::{Period, Timestamp};

use super::error::ApiError;
use super::meters;
use super::query::Query;
use super::reply::SourceReply;
use super::state::ApiState;
use crate::usage::{Cell, Granularity};

/// Points of a series that one reply holds at most: a week of minutes.
const POINTS_MAX: usize = 10_080;

/// What was asked, and the answer in pieces.
#[derive(Serialize)]
pub(super) struct UsageReply {
    customer_id: CustomerId,
    start: Timestamp,
    end: Timestamp,
    granularity: &'static str,
    /// The whole period's quantity, when one meter was asked for: quantities of several cannot be added.
    quantity: Option<Quantity>,
    items: Vec<UsageItem>,
}

/// Usage of one meter, step and group.
#[derive(Serialize)]
struct UsageItem {
    meter_id: MeterId,
    meter_name: String,
    aggregation: AggregationKind,
    measurement_unit: String,
    start: Timestamp,
    end: Timestamp,
    /// Values of the keys that were asked for; absent keys are null.
    group: BTreeMap<String, Option<String>>,
    /// Whether this is the rest beyond the budget of groups.
    other: bool,
    quantity: Quantity,
    events: u64,
    /// Events whose key had no number in it.
    non_numeric: u64,
    sources: Vec<SourceReply>,
}

/// What was asked.
struct Request {
    customer: CustomerId,
    period: Period,
    granularity: Option<Granularity>,
    group_by: Vec<String>,
}

/// `GET /v1/usage?customer_id&meter_id&start&end&granularity=minute|hour|day|total&group_by=key,key`.
///
/// Without `meter_id` every meter with usage is answered; without `group_by` groups are added up. The period is
/// half-open; without `end` it ends with the current minute, without `start` it starts a day before its end.
pub(super) async fn get(
    State(state): State<ApiState>,
    mut query: Query,
) -> Result<Json<UsageReply>, ApiError> {
    let meter_id = query.text("meter_id")?;
    let request = Request::read(&mut query, state.now())?;
    query.finish()?;
    let catalog = state.storage.catalog().await?;
    let meters = match &meter_id {
        Some(id) => vec![meters::find(&catalog, id)?],
        None => catalog.meters.values().collect(),
    };
    let mut items = Vec::new();
    let mut quantity = None;
    for meter in meters {
        request.check_keys(meter, meter_id.is_some())?;
        let whole = request.collect(&state, meter, &mut items).await?;
        quantity = meter_id.as_ref().map(|_| whole);
    }
    Ok(Json(UsageReply {
        customer_id: request.customer,
        start: request.period.start,
        end: request.period.end,
        granularity: granularity_name(request.granularity),
        quantity,
        items,
    }))
}

fn granularity_name(granularity: Option<Granularity>) -> &'static str {
    match granularity {
        None => "total",
        Some(Granularity::Minute) => "minute",
        Some(Granularity::Hour) => "hour",
        Some(Granularity::Day) => "day",
    }
}

impl Request {
    fn read(query: &mut Query, now: Timestamp) -> Result<Self, ApiError> {
        let customer = CustomerId::new(query.required("customer_id")?)?;
        let end = whole_minute("end", query.time("end")?)?.unwrap_or_else(|| now.window().end());
        let day = std::time::Duration::from_secs(86_400);
        let start =
            whole_minute("start", query.time("start")?)?.unwrap_or_else(|| end.saturating_sub(day));
        if start >= end {
            return Err(ApiError::field("start", "expected a time before end"));
        }
        let granularity = match query.text("granularity")?.as_deref() {
            None | Some("total") => None,
            Some("minute") => Some(Granularity::Minute),
            Some("hour") => Some(Granularity::Hour),
            Some("day") => Some(Granularity::Day),
            Some(_) => {
                return Err(ApiError::field(
                    "granularity",
                    "expected minute, hour, day or total",
                ));
            }
        };
        let group_by = query.text("group_by")?.unwrap_or_default();
        let group_by = group_by
            .split(',')
            .filter(|key| !key.is_empty())
            .map(str::to_owned)
            .collect();
        Ok(Self {
            customer,
            period: Period { start, end },
            granularity,
            group_by,
        })
    }

    /// Refuses a key that the one meter asked for does not group by. Of all meters, some may not have it.
    fn check_keys(&self, meter: &Meter, only_one: bool) -> Result<(), ApiError> {
        match self
            .group_by
            .iter()
            .find(|key| !meter.group_by.contains(key))
        {
            Some(key) if only_one => {
                let has = meter.group_by.join(", ");
                Err(ApiError::field(
                    "group_by",
                    format!("`{key}` is no key of this meter, which groups by [{has}]"),
                ))
            }
            _ => Ok(()),
        }
    }

    /// Adds a meter's items, and returns its quantity over the whole period.
    async fn collect(
        &self,
        state: &ApiState,
        meter: &Meter,
        items: &mut Vec<UsageItem>,
    ) -> Result<Quantity, ApiError> {
        let mut sums: BTreeMap<(Timestamp, Timestamp, Group), Cell> = BTreeMap::new();
        let mut whole = Cell::identity(meter.aggregation.kind);
        let mut add = |period: Period, group: &Group, cell: Cell| {
            let key = (period.start, period.end, self.project(meter, group));
            let sum = sums
                .entry(key)
                .or_insert_with(|| Cell::identity(cell.partial.kind()));
            sum.merge(&cell)
                .and_then(|()| whole.merge(&cell))
                .map_err(ApiError::internal)
        };
        match self.granularity {
            None => {
                for usage in state
                    .storage
                    .usage(&self.customer, &meter.id, self.period)
                    .await?
                {
                    add(self.period, &usage.group, usage.cell)?;
                }
            }
            Some(granularity) => {
                let limit = POINTS_MAX.saturating_sub(items.len()).saturating_add(1);
                let points = state
                    .storage
                    .series(&self.customer, &meter.id, self.period, granularity, limit)
                    .await?;
                if points.len() >= limit {
                    let message = format!(
                        "more than {POINTS_MAX} points: ask for a shorter period or a coarser step"
                    );
                    return Err(ApiError::bad_request("TOO_MANY_POINTS", message));
                }
                for point in points {
                    add(point.period, &point.group, point.cell)?;
                }
            }
        }
        items.extend(sums.into_iter().map(|((start, end, group), cell)| {
            self.item(meter, Period { start, end }, &group, &cell)
        }));
        Ok(whole.partial.value())
    }

    /// Reduces a group to the keys that were asked for.
    fn project(&self, meter: &Meter, group: &Group) -> Group {
        if self.group_by.is_empty() {
            return Group::none();
        }
        let Some(values) = group.values() else {
            return Group::other();
        };
        let value_of = |key: &String| {
            let position = meter.group_by.iter().position(|known| known == key)?;
            values.get(position).cloned().flatten()
        };
        Group::of(self.group_by.iter().map(value_of))
    }

    fn item(&self, meter: &Meter, period: Period, group: &Group, cell: &Cell) -> UsageItem {
        let values = group.values().unwrap_or_default();
        UsageItem {
            meter_id: meter.id.clone(),
            meter_name: meter.name.clone(),
            aggregation: meter.aggregation.kind,
            measurement_unit: meter.measurement_unit.clone(),
            start: period.start,
            end: period.end,
            group: self
                .group_by
                .iter()
                .cloned()
                .zip(values.iter().cloned())
                .collect(),
            other: group.is_other(),
            quantity: cell.partial.value(),
            events: cell.partial.events,
            non_numeric: cell.partial.non_numeric,
            sources: cell
                .sources
                .iter()
                .cloned()
                .map(SourceReply::from)
                .collect(),
        }
    }
}

fn whole_minute(name: &str, time: Option<Timestamp>) -> Result<Option<Timestamp>, ApiError> {
    match time {
        Some(time) if time != time.truncate_to_minute() => Err(ApiError::field(
            name,
            "expected a whole minute: usage is kept by the minute",
        )),
        time => Ok(time),
    }
}
