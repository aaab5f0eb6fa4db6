//! Test clocks: billing lives through months in seconds, in the order in which things would have happened.
//!
//! In test mode a customer, or the whole collector, is bound to a clock that stands still until it is told to go on to an
//! instant. It does not jump there: it goes from one thing that falls due to the next, and each is done at its own time, as if
//! that time had passed. Where a clock stands is stored with every step, so that a restart goes on in the middle of an advance.
//!
//! What agents do is of the machine's time: when they were heard of, and what they vouch for. Nobody can deliver events of a
//! future that is only told, so a period under a test clock is complete when agents have delivered what they had accepted up to
//! the moment at which the clock was told to go on.
//!
//! A collector in live mode has no test clocks, and does not start over data that has one: bills would be of another time.

use crate::id::TestClockId;
use serde::{Deserialize, Serialize};
use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use submeter_common::{Clock, Timestamp};

/// Clocks at one time: each is looked at by every billing run.
pub const TEST_CLOCKS_MAX: usize = 100;

/// Longest way a clock goes at once: a bound against typing errors.
pub const ADVANCE_MAX: Duration = Duration::from_secs(10 * 366 * 86_400);

/// A clock that stands still until it is told to go on.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct TestClock {
    /// The id.
    pub test_clock_id: TestClockId,
    /// What people call it.
    pub name: Option<String>,
    /// Whose time it is.
    pub scope: ClockScope,
    /// Where it stands.
    pub now: Timestamp,
    /// Where it is going, while it is.
    pub target: Option<Timestamp>,
    /// When it was told to go on last, by the machine's time. What agents accepted before has to arrive.
    pub advanced_at: Timestamp,
    /// When it was made, by the machine's time.
    pub created_at: Timestamp,
}

/// Whose time a test clock is.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockScope {
    /// That of the customers who were made with it.
    Customers,
    /// That of everything that no other clock rules. There is at most one.
    Collector,
}

/// Why a clock cannot go on as told.
#[derive(Clone, Eq, PartialEq, Debug, thiserror::Error)]
pub enum TestClockError {
    /// It is on its way.
    #[error("the test clock is on its way to {0}: wait until it is ready")]
    Advancing(Timestamp),
    /// Time does not go back.
    #[error("frozen_time: expected an instant after {0}, where the clock stands")]
    Backwards(Timestamp),
    /// It would be a typing error.
    #[error("frozen_time: expected an instant at most ten years after {0}, where the clock stands")]
    TooFar(Timestamp),
}

impl TestClock {
    /// Makes a clock that stands at `now`; `machine` is the machine's time.
    #[must_use]
    pub fn new(
        name: Option<String>,
        scope: ClockScope,
        now: Timestamp,
        machine: Timestamp,
    ) -> Self {
        Self {
            test_clock_id: TestClockId::fresh(machine),
            name,
            scope,
            now,
            target: None,
            advanced_at: machine,
            created_at: machine,
        }
    }

    /// Returns the clock on its way to `target`.
    ///
    /// # Errors
    /// [`TestClockError`] when it is on its way already, or `target` is not ahead within bounds.
    pub fn advance(&self, target: Timestamp, machine: Timestamp) -> Result<Self, TestClockError> {
        if let Some(target) = self.target {
            return Err(TestClockError::Advancing(target));
        }
        if target <= self.now {
            return Err(TestClockError::Backwards(self.now));
        }
        if target > self.now.saturating_add(ADVANCE_MAX) {
            return Err(TestClockError::TooFar(self.now));
        }
        Ok(Self {
            target: Some(target),
            advanced_at: machine,
            ..self.clone()
        })
    }

    /// Returns the clock one step further, for when all is done where it stands: at what falls due next, or at its target when
    /// nothing does before, and on its way no more when it stood there; none when it is not on its way.
    #[must_use]
    pub fn stepped(&self, next_due: Option<Timestamp>) -> Option<Self> {
        let target = self.target?;
        let is_there = self.now >= target;
        Some(Self {
            now: next_due.map_or(target, |due| due.min(target)),
            target: Some(target).filter(|_| !is_there),
            ..self.clone()
        })
    }
}

/// The instant at which background work is done, and for whom.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Present {
    /// Only for those who live by this clock; none for those who live by no clock of their own.
    pub timeline: Option<TestClockId>,
    /// Their time.
    pub now: Timestamp,
    /// The machine's time.
    pub machine: Timestamp,
    /// Up to when, by the machine's time, agents must have delivered; none when that is the end of each period.
    pub delivered_up_to: Option<Timestamp>,
}

impl Present {
    /// The machine's own time.
    #[must_use]
    pub const fn of_machine(now: Timestamp) -> Self {
        Self {
            timeline: None,
            now,
            machine: now,
            delivered_up_to: None,
        }
    }

    /// Whether it is a test clock's time.
    #[must_use]
    pub const fn is_told(&self) -> bool {
        self.delivered_up_to.is_some()
    }

    /// The time of a test clock.
    #[must_use]
    pub fn of(clock: &TestClock, machine: Timestamp) -> Self {
        Self {
            timeline: match clock.scope {
                ClockScope::Customers => Some(clock.test_clock_id.clone()),
                ClockScope::Collector => None,
            },
            now: clock.now,
            machine,
            delivered_up_to: Some(clock.advanced_at),
        }
    }
}

/// The time of those who have no clock of their own: the machine's, or that of the collector's test clock.
pub struct BillingClock {
    machine: Arc<dyn Clock>,
    test_clock: RwLock<Option<TestClock>>,
}

impl BillingClock {
    /// Starts with the collector's test clock as it is stored, if there is one.
    #[must_use]
    pub fn new(machine: Arc<dyn Clock>, test_clock: Option<TestClock>) -> Self {
        Self {
            machine,
            test_clock: RwLock::new(test_clock),
        }
    }

    /// The machine's time: of agents, keys and leases.
    #[must_use]
    pub fn machine(&self) -> &dyn Clock {
        &*self.machine
    }

    /// The machine's time, for whoever outlives a look at it.
    #[must_use]
    pub fn machine_shared(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.machine)
    }

    /// Takes the collector's test clock as it is stored now. Others do not concern it.
    pub fn follow(&self, clock: &TestClock) {
        if clock.scope == ClockScope::Collector {
            let mut followed = self
                .test_clock
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            *followed = Some(clock.clone());
        }
    }

    /// The instant at which work is done for those who have no clock of their own.
    #[must_use]
    pub fn present(&self) -> Present {
        let machine = self.machine.now();
        match self.followed() {
            Some(clock) => Present::of(&clock, machine),
            None => Present::of_machine(machine),
        }
    }

    fn followed(&self) -> Option<TestClock> {
        let followed = self
            .test_clock
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        followed.clone()
    }
}

impl Clock for BillingClock {
    fn now(&self) -> Timestamp {
        self.present().now
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use submeter_common::ManualClock;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn clock(scope: ClockScope) -> TestClock {
        TestClock::new(
            None,
            scope,
            at("2025-01-01T00:00:00Z"),
            at("2026-01-01T00:00:00Z"),
        )
    }

    #[test]
    fn a_clock_stops_at_everything_that_is_due_and_then_at_its_target() {
        let machine = at("2026-01-02T00:00:00Z");
        let target = at("2025-03-01T00:00:00Z");
        let going = clock(ClockScope::Customers)
            .advance(target, machine)
            .unwrap();
        assert_eq!(going.advanced_at, machine);
        let due = at("2025-02-01T00:00:00Z");
        let stopped = going.stepped(Some(due)).unwrap();
        assert_eq!((stopped.now, stopped.target), (due, Some(target)));
        for next in [None, Some(target), Some(at("2025-04-01T00:00:00Z"))] {
            let there = stopped.stepped(next).unwrap();
            assert_eq!(
                (there.now, there.target),
                (target, Some(target)),
                "{next:?}"
            );
            // What falls due at the target is done before anybody is told that the clock has arrived.
            let arrived = there.stepped(None).unwrap();
            assert_eq!((arrived.now, arrived.target), (target, None), "{next:?}");
            assert_eq!(arrived.stepped(None), None);
        }
    }

    #[test]
    fn a_clock_goes_neither_back_nor_too_far_nor_twice_at_once() {
        let stands = clock(ClockScope::Customers);
        let machine = stands.created_at;
        for behind in ["2025-01-01T00:00:00Z", "2024-12-31T00:00:00Z"] {
            assert_eq!(
                stands.advance(at(behind), machine),
                Err(TestClockError::Backwards(stands.now))
            );
        }
        assert_eq!(
            stands.advance(at("2035-06-01T00:00:00Z"), machine),
            Err(TestClockError::TooFar(stands.now))
        );
        let target = at("2025-01-02T00:00:00Z");
        let going = stands.advance(target, machine).unwrap();
        assert_eq!(
            going.advance(at("2025-01-03T00:00:00Z"), machine),
            Err(TestClockError::Advancing(target))
        );
    }

    #[test]
    fn only_the_collectors_clock_rules_those_who_have_none() {
        let machine = ManualClock::new(at("2026-01-01T00:00:00Z"));
        let billing = BillingClock::new(Arc::new(machine.clone()), None);
        billing.follow(&clock(ClockScope::Customers));
        assert_eq!(billing.now(), machine.now());
        billing.follow(&clock(ClockScope::Collector));
        assert_eq!(billing.now(), at("2025-01-01T00:00:00Z"));
        assert_eq!(
            (billing.present().timeline, billing.machine().now()),
            (None, machine.now())
        );
    }
}
