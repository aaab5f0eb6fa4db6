//! `/v1/completeness`: which periods wait, and for whom.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use submeter_common::id::AgentId;
use submeter_common::time::Timestamp;

use super::error::ApiError;
use super::query::Query;
use super::state::ApiState;
use crate::completeness::{Awaited, behind};
use crate::subscription::SubscriptionId;

/// Periods that are listed; whoever waits behind them waits for the same agents.
const WAITING_MAX: usize = 256;

/// The state of what has arrived.
#[derive(Serialize)]
pub(super) struct CompletenessReply {
    /// Every live agent has delivered all that happened before; none while nobody is live.
    complete_until: Option<Timestamp>,
    /// Live agents that have not counted by the current catalog yet: their watermarks vouch for nothing newer.
    behind_catalog: Vec<AgentId>,
    /// Periods that have ended and are not closed, oldest first.
    waiting: Vec<WaitingReply>,
}

/// A period that has ended and is not closed.
#[derive(Serialize)]
struct WaitingReply {
    subscription_id: SubscriptionId,
    period_end: Timestamp,
    /// The agents it waits for; with none it is closed by the next run.
    agents: Vec<AgentId>,
}

/// `GET /v1/completeness`.
pub(super) async fn get(
    State(state): State<ApiState>,
    query: Query,
) -> Result<Json<CompletenessReply>, ApiError> {
    query.finish()?;
    let agents = state.storage.agents().await?;
    let catalog_version = state.storage.catalog().await?.version;
    let live = || agents.iter().filter(|agent| agent.is_live());
    let due = state
        .storage
        .due(None, state.now(), None, WAITING_MAX)
        .await?;
    let waiting = due.into_iter().map(|subscription| {
        let period_end = subscription.current_period.end;
        let awaited = Awaited {
            period_end,
            since: period_end,
            catalog_version,
        };
        WaitingReply {
            subscription_id: subscription.subscription_id,
            period_end,
            agents: behind(&agents, &awaited),
        }
    });
    Ok(Json(CompletenessReply {
        complete_until: live().map(|agent| agent.watermark).min(),
        behind_catalog: live()
            .filter(|agent| agent.catalog_version < catalog_version)
            .map(|agent| agent.agent_id)
            .collect(),
        waiting: waiting.collect(),
    }))
}
