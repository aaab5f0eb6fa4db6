//! `/v1/customers/{id}/thresholds`: where a customer's open periods stand, for applications that stop serving at a cap.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use submeter_common::id::{CustomerId, MeterId};
use submeter_common::time::Timestamp;

use super::super::customers;
use super::super::error::ApiError;
use super::super::query::Query;
use super::super::state::ApiState;
use crate::alerts::Standing;
use crate::billing;
use crate::id::{ProductId, SubscriptionId, ThresholdId};
use crate::money::{Currency, Decimal};

/// Everything that watches a customer.
#[derive(Serialize)]
pub(in super::super) struct StandingsReply {
    customer_id: CustomerId,
    /// Whether some cap is reached.
    capped: bool,
    items: Vec<StandingReply>,
}

/// One threshold and one open period.
#[derive(Serialize)]
struct StandingReply {
    threshold_id: ThresholdId,
    name: Option<String>,
    subscription_id: SubscriptionId,
    product_id: ProductId,
    meter_id: Option<MeterId>,
    period: PeriodReply,
    measure: &'static str,
    currency: Option<Currency>,
    limit: Decimal,
    used: Decimal,
    remaining: Decimal,
    marks_reached: Vec<u32>,
    cap: bool,
    capped: bool,
}

#[derive(Serialize)]
struct PeriodReply {
    start: Timestamp,
    end: Timestamp,
}

impl From<Standing> for StandingReply {
    fn from(standing: Standing) -> Self {
        Self {
            marks_reached: standing.reached().collect(),
            capped: standing.is_capped(),
            remaining: (&standing.threshold.limit - &standing.used).or_zero(),
            threshold_id: standing.threshold.threshold_id,
            name: standing.threshold.name,
            subscription_id: standing.place.subscription_id,
            product_id: standing.product_id,
            meter_id: standing.threshold.scope.meter_id,
            period: PeriodReply {
                start: standing.period.start,
                end: standing.period.end,
            },
            measure: standing.threshold.measure.name(),
            currency: standing.threshold.measure.currency(),
            limit: standing.threshold.limit,
            used: standing.used,
            cap: standing.threshold.cap,
        }
    }
}

/// `GET /v1/customers/{id}/thresholds`, from usage as it is known now. Only of periods that run: what came to an end does not
/// keep anybody from going on.
pub(in super::super) async fn of_customer(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Json<StandingsReply>, ApiError> {
    query.finish()?;
    let state = state.in_time_of(&id).await?;
    let customer_id = customers::find(&state, &id).await?.customer_id;
    let now = state.now();
    let mut standings = billing::alert::standings(&*state.storage, &customer_id, now).await?;
    standings.retain(|standing| now < standing.period.end);
    Ok(Json(StandingsReply {
        customer_id,
        capped: standings.iter().any(Standing::is_capped),
        items: standings.into_iter().map(StandingReply::from).collect(),
    }))
}
