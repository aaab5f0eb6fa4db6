//! Whether everything that belongs to a period has arrived, and who is missing.
//!
//! A period is complete when the watermark of every live agent has reached its end. A watermark vouches only for the
//! meters that the agent counted by: one that has not yet counted by the current catalog is behind, whatever it claims.
//! When that takes too long the period is closed all the same, and the invoice names the agents that were missing; what
//! they bring later is late usage.

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
        /// The agents that are behind.
        agents: Vec<AgentId>,
    },
    /// These agents have not delivered within the wait. Sorted by id, never empty.
    Overdue {
        /// The agents that are behind.
        missing: Vec<AgentId>,
    },
}

/// What agents must have delivered before a period may be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Awaited {
    /// The period's end, which watermarks have to reach.
    pub period_end: Timestamp,
    /// When waiting began: the period's end, or later when nobody could have asked for it then (a backdated
    /// subscription).
    pub since: Timestamp,
    /// The catalog by which agents must have counted.
    pub catalog_version: u64,
}

impl Awaited {
    fn lacks(&self, agent: &Agent) -> bool {
        agent.watermark < self.period_end || agent.catalog_version < self.catalog_version
    }
}

/// Judges an ended period at `now`, given every known agent.
///
/// Before its end no period is complete; an agent counts as live until it says farewell or is retired. With no live
/// agent at all there is nothing to wait for.
pub fn assess<'a>(
    agents: impl IntoIterator<Item = &'a Agent>,
    awaited: &Awaited,
    now: Timestamp,
    completeness_wait: Duration,
) -> Completeness {
    let mut behind: Vec<AgentId> = agents
        .into_iter()
        .filter(|agent| agent.is_live() && awaited.lacks(agent))
        .map(|agent| agent.agent_id)
        .collect();
    if behind.is_empty() {
        return Completeness::Complete;
    }
    behind.sort_unstable();
    // A wait so long that its end cannot be said is never over.
    let wait_is_over = awaited
        .since
        .checked_add(completeness_wait)
        .is_some_and(|deadline| now >= deadline);
    if wait_is_over {
        Completeness::Overdue { missing: behind }
    } else {
        Completeness::Waiting { agents: behind }
    }
}

#[cfg(test)]
mod tests {
    use super::{Awaited, Completeness, assess};
    use crate::agents::{Agent, Alarm};
    use std::time::Duration;
    use submeter_common::id::{AgentId, Digest};
    use submeter_common::protocol::{Position, Receipts};
    use submeter_common::time::Timestamp;
    use uuid::Uuid;

    const END: Timestamp = Timestamp::from_micros(1_704_067_200_000_000);
    const WAIT: Duration = Duration::from_secs(3600);

    fn id(number: u128) -> AgentId {
        AgentId::new(Uuid::from_u128(number))
    }

    fn before_end(seconds: u64) -> Timestamp {
        END.saturating_sub(Duration::from_secs(seconds))
    }

    fn after_end(seconds: u64) -> Timestamp {
        END.saturating_add(Duration::from_secs(seconds))
    }

    fn agent(number: u128, watermark: Timestamp) -> Agent {
        Agent {
            agent_id: id(number),
            state_nonce: Uuid::nil(),
            boot_id: Uuid::nil(),
            agent_version: String::new(),
            epoch: 1,
            applied: Position {
                seq: 1,
                digest: Digest::ZERO,
            },
            watermark,
            catalog_version: 3,
            receipts: Receipts::default(),
            farewell: false,
            retired_at: None,
            registered_at: END,
            last_seen_at: END,
            sealed_at: None,
            rows_applied: 0,
            rows_quarantined: 0,
            alarm: None,
        }
    }

    const AWAITED: Awaited = Awaited {
        period_end: END,
        since: END,
        catalog_version: 3,
    };

    fn check(agents: &[Agent], now: Timestamp, expected: Completeness) {
        assert_eq!(assess(agents, &AWAITED, now, WAIT), expected);
    }

    #[test]
    fn a_period_is_complete_when_every_live_agent_has_reached_its_end() {
        check(&[], after_end(0), Completeness::Complete);
        check(&[agent(1, END)], after_end(0), Completeness::Complete);
        check(
            &[agent(1, END), agent(2, after_end(9))],
            after_end(1),
            Completeness::Complete,
        );
    }

    #[test]
    fn agents_that_left_or_were_retired_hold_nothing_back() {
        let gone = Agent {
            farewell: true,
            ..agent(1, before_end(900))
        };
        let retired = Agent {
            retired_at: Some(END),
            ..agent(2, before_end(900))
        };
        check(
            &[gone, retired, agent(3, END)],
            after_end(1),
            Completeness::Complete,
        );
    }

    #[test]
    fn agents_that_are_behind_are_waited_for_and_then_named() {
        let agents = [
            agent(3, before_end(1)),
            agent(1, before_end(60)),
            agent(2, END),
        ];
        let behind = || vec![id(1), id(3)];
        check(
            &agents,
            after_end(0),
            Completeness::Waiting { agents: behind() },
        );
        check(
            &agents,
            after_end(3599),
            Completeness::Waiting { agents: behind() },
        );
        check(
            &agents,
            after_end(3600),
            Completeness::Overdue { missing: behind() },
        );
    }

    #[test]
    fn a_watermark_vouches_only_for_the_catalog_that_was_counted_by() {
        let older = Agent {
            catalog_version: 2,
            ..agent(1, after_end(9))
        };
        let newer = Agent {
            catalog_version: 4,
            ..agent(2, after_end(9))
        };
        check(
            &[older, newer],
            after_end(10),
            Completeness::Waiting {
                agents: vec![id(1)],
            },
        );
    }

    #[test]
    fn the_wait_begins_when_the_period_could_be_asked_for() {
        let backdated = Awaited {
            since: after_end(7200),
            ..AWAITED
        };
        let behind = [agent(1, before_end(1))];
        let at = |seconds| assess(&behind, &backdated, after_end(seconds), WAIT);
        let agents = vec![id(1)];
        assert_eq!(at(7200 + 3599), Completeness::Waiting { agents });
        let missing = vec![id(1)];
        assert_eq!(at(7200 + 3600), Completeness::Overdue { missing });
    }

    #[test]
    fn an_alarm_excuses_nobody() {
        let forked = Agent {
            alarm: Some(Alarm::Forked),
            ..agent(1, before_end(1))
        };
        check(
            &[forked],
            after_end(0),
            Completeness::Waiting {
                agents: vec![id(1)],
            },
        );
    }

    #[test]
    fn a_wait_without_end_never_ends() {
        let found = assess(
            &[agent(1, before_end(1))],
            &AWAITED,
            after_end(u64::from(u32::MAX)),
            Duration::MAX,
        );
        assert_eq!(
            found,
            Completeness::Waiting {
                agents: vec![id(1)]
            }
        );
    }
}
