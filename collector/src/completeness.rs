//! Whether everything that belongs to a period has arrived, and who is missing.
//!
//! A period is complete when the watermark of every live agent has reached its end. A watermark vouches only for the
//! meters that the agent counted by: one that has not yet counted by the current catalog is behind, whatever it claims.
//! When that takes too long the period is closed all the same, and the invoice names the agents that were missing; what
//! they bring later is late usage.
//!
//! The wait is time in which agents could deliver. While the collector itself was away nobody could, so its absences do
//! not count; otherwise one that comes back after a long time would close everything at once, with everybody missing.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use submeter_common::id::AgentId;
use submeter_common::time::Timestamp;

use crate::agents::Agent;

/// Shorter absences are not noted: an upgrade takes seconds, and agents notice it as a slow reply.
const ABSENCE_MIN: Duration = Duration::from_secs(30);

/// Longest time after an absence that still belongs to it: agents come back within their longest pause between two tries
/// (a minute), and their backlog takes a while. A shorter absence is followed by a time of its own length.
const RETURN_MAX: Duration = Duration::from_secs(120);

/// Absences that are kept, newest last. At more than this in one wait the oldest are forgotten and count as waiting.
const ABSENCES_MAX: usize = 256;

/// When this collector served, as far as that matters to who waits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Service {
    /// The last time it was known to serve.
    served_at: Option<Timestamp>,
    absences: Vec<Absence>,
}

/// A time in which nobody could deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Absence {
    from: Timestamp,
    /// With the time that agents need to come back.
    to: Timestamp,
}

impl Service {
    /// Notes that the collector serves, and begins to do so now: since it last did, it was away.
    pub fn begin(&mut self, now: Timestamp) {
        if let Some(from) = self.served_at
            && let Some(length) = since(from, now)
            && length >= ABSENCE_MIN
        {
            let to = now.saturating_add(length.min(RETURN_MAX));
            self.absences.push(Absence { from, to });
            let surplus = self.absences.len().saturating_sub(ABSENCES_MAX);
            self.absences.drain(..surplus);
        }
        self.served_at = Some(now);
    }

    /// Notes that the collector still serves.
    pub fn go_on(&mut self, now: Timestamp) {
        self.served_at = Some(now);
    }

    /// Returns the moment since which agents could have been heard of for at least `time`; none when the collector has not
    /// served for that long.
    #[must_use]
    pub fn reaches_back(&self, time: Duration, now: Timestamp) -> Option<Timestamp> {
        let start = now.saturating_sub(time);
        let is_whole = self.absences.iter().all(|absence| absence.to <= start);
        is_whole.then_some(start)
    }

    /// How long agents could have delivered since `start`.
    fn time_since(&self, start: Timestamp, now: Timestamp) -> Duration {
        let mut counted_from = start;
        let mut served = Duration::ZERO;
        for absence in &self.absences {
            served = served
                .saturating_add(since(counted_from, absence.from.min(now)).unwrap_or_default());
            counted_from = counted_from.max(absence.to);
        }
        served.saturating_add(since(counted_from, now).unwrap_or_default())
    }
}

/// The time from one moment to a later one.
fn since(from: Timestamp, to: Timestamp) -> Option<Duration> {
    let micros = to.as_micros().checked_sub(from.as_micros())?;
    u64::try_from(micros).ok().map(Duration::from_micros)
}

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

/// The live agents that have not delivered what is awaited, sorted by id.
pub fn behind<'a>(agents: impl IntoIterator<Item = &'a Agent>, awaited: &Awaited) -> Vec<AgentId> {
    let mut behind: Vec<AgentId> = agents
        .into_iter()
        .filter(|agent| agent.is_live() && awaited.lacks(agent))
        .map(|agent| agent.agent_id)
        .collect();
    behind.sort_unstable();
    behind
}

/// Judges an ended period at `now`, given every known agent and when this collector served.
///
/// Before its end no period is complete; an agent counts as live until it says farewell or is retired. With no live
/// agent at all there is nothing to wait for.
pub fn assess<'a>(
    agents: impl IntoIterator<Item = &'a Agent>,
    awaited: &Awaited,
    service: &Service,
    now: Timestamp,
    completeness_wait: Duration,
) -> Completeness {
    let behind = behind(agents, awaited);
    if behind.is_empty() {
        return Completeness::Complete;
    }
    let wait_is_over =
        awaited.since <= now && service.time_since(awaited.since, now) >= completeness_wait;
    if wait_is_over {
        Completeness::Overdue { missing: behind }
    } else {
        Completeness::Waiting { agents: behind }
    }
}

#[cfg(test)]
mod tests {
    use super::{Awaited, Completeness, Service, assess};
    use crate::agents::history::History;
    use crate::agents::{Agent, Alarm};
    use std::collections::BTreeSet;
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
            former_boots: Vec::new(),
            agent_version: String::new(),
            name: None,
            epoch: 1,
            applied: Position {
                seq: 1,
                digest: Digest::ZERO,
            },
            watermark,
            catalog_version: 3,
            backfilling: false,
            history: History::default(),
            receipts: Receipts::default(),
            farewell: false,
            retired_at: None,
            registered_at: END,
            last_seen_at: END,
            sealed_at: None,
            rows_applied: 0,
            rows_quarantined: 0,
            alarms: BTreeSet::new(),
            incidents: Vec::new(),
            rolled_back: None,
            ahead_at: 0,
        }
    }

    const AWAITED: Awaited = Awaited {
        period_end: END,
        since: END,
        catalog_version: 3,
    };

    fn check(agents: &[Agent], now: Timestamp, expected: Completeness) {
        assert_eq!(
            assess(agents, &AWAITED, &Service::default(), now, WAIT),
            expected
        );
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
        let at = |seconds| {
            let service = Service::default();
            assess(&behind, &backdated, &service, after_end(seconds), WAIT)
        };
        let agents = vec![id(1)];
        assert_eq!(at(7200 + 3599), Completeness::Waiting { agents });
        let missing = vec![id(1)];
        assert_eq!(at(7200 + 3600), Completeness::Overdue { missing });
    }

    #[test]
    fn an_alarm_excuses_nobody() {
        let forked = Agent {
            alarms: [Alarm::Forked].into(),
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
            &Service::default(),
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

    /// At `seconds` after the end, an agent is behind; `served` are the times at which the collector began and was last
    /// known to serve.
    fn waits(served: &[(u64, u64)], seconds: u64) -> bool {
        let mut service = Service::default();
        for (begun, ended) in served {
            service.begin(after_end(*begun));
            service.go_on(after_end(*ended));
        }
        let agents = [agent(1, before_end(1))];
        let found = assess(&agents, &AWAITED, &service, after_end(seconds), WAIT);
        matches!(found, Completeness::Waiting { .. })
    }

    #[test]
    fn a_collector_that_was_away_does_not_count_its_absence_as_waiting() {
        // Away from 600 to 9 600; agents get two minutes to come back.
        let away = [(0, 600), (9_600, 9_601)];
        assert!(waits(&away, 9_600) && waits(&away, 9_720));
        assert!(waits(&away, 9_720 + 2_999));
        assert!(!waits(&away, 9_720 + 3_000));
    }

    #[test]
    fn absences_add_up_and_short_ones_do_not_count() {
        let twice = [(0, 1_000), (2_000, 2_500), (4_000, 4_001)];
        assert!(waits(&twice, 4_120 + 3_600 - 1_000 - 380 - 1));
        assert!(!waits(&twice, 4_120 + 3_600 - 1_000 - 380));
        let upgrade = [(0, 1_000), (1_029, 1_030)];
        assert!(waits(&upgrade, 3_599));
        assert!(!waits(&upgrade, 3_600));
    }

    #[test]
    fn an_absence_from_before_the_end_counts_only_behind_it() {
        let mut service = Service::default();
        service.begin(before_end(7_200));
        service.go_on(before_end(3_600));
        service.begin(after_end(1_000));
        let agents = [agent(1, before_end(1))];
        let at = |seconds| assess(&agents, &AWAITED, &service, after_end(seconds), WAIT);
        assert!(matches!(at(1_120 + 3_599), Completeness::Waiting { .. }));
        assert!(matches!(at(1_120 + 3_600), Completeness::Overdue { .. }));
    }
}
