//! Whether everything that belongs to a period has arrived, and who is missing.
//!
//! A period is complete when the watermark of every live agent has reached its end. When that takes too long the period
//! is closed all the same, and the invoice names the agents that were missing; what they bring later is late usage.

use std::time::Duration;

use submeter_common::id::AgentId;
use submeter_common::time::Timestamp;

use crate::agents::Agent;

/// The state of a period that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Completeness {
    /// Every live agent has delivered all of it.
    Complete,
    /// These agents may still deliver; the wait is not over. Sorted by id, never empty.
    Waiting {
        /// The agents whose watermark is before the period's end.
        agents: Vec<AgentId>,
    },
    /// These agents have not delivered within the wait. Sorted by id, never empty.
    Overdue {
        /// The agents whose watermark is before the period's end.
        missing: Vec<AgentId>,
    },
}

/// Judges the period that ends at `period_end`, at `now`, given every known agent.
///
/// Before its end no period is complete; an agent counts as live until it says farewell or is retired. With no live
/// agent at all there is nothing to wait for.
pub fn assess<'a>(
    agents: impl IntoIterator<Item = &'a Agent>,
    period_end: Timestamp,
    now: Timestamp,
    completeness_wait: Duration,
) -> Completeness {
    let mut behind: Vec<AgentId> = agents
        .into_iter()
        .filter(|agent| agent.is_live() && agent.watermark < period_end)
        .map(|agent| agent.agent_id)
        .collect();
    if behind.is_empty() {
        return Completeness::Complete;
    }
    behind.sort_unstable();
    // A wait so long that its end cannot be said is never over.
    let wait_is_over = period_end
        .checked_add(completeness_wait)
        .is_some_and(|deadline| now >= deadline);
    if wait_is_over {
        Completeness::Overdue { missing: behind }
    } else {
        Completeness::Waiting { agents: behind }
    }
}
