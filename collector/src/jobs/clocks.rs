//! Lets test clocks go on: from one thing that falls due to the next, each done at its own time.

use super::{JobsConfig, alerts, note, reservations};
use crate::{
    billing,
    storage::{PutOutcome, Storage, StorageError},
    test_clock::{BillingClock, ClockScope, Present, TestClock},
};
use tokio::sync::watch;

/// What moves the test clocks of a collector.
pub(super) struct Clockwork<'a, S: ?Sized> {
    pub(super) storage: &'a S,
    pub(super) clock: &'a BillingClock,
    pub(super) config: JobsConfig,
    pub(super) holder: &'a str,
    pub(super) stop: &'a watch::Receiver<bool>,
}

impl<S: Storage + ?Sized> Clockwork<'_, S> {
    /// Does what is due under every test clock, and lets those that are on their way go on.
    pub(super) async fn run(&self) -> Result<(), StorageError> {
        for clock in self.storage.test_clocks().await? {
            self.go_on(clock).await?;
        }
        Ok(())
    }

    /// Does what is due where the clock stands, and steps on, until it has arrived or something has to wait for agents: then
    /// time waits, too.
    async fn go_on(&self, mut clock: TestClock) -> Result<(), StorageError> {
        loop {
            self.clock.follow(&clock);
            let present = Present::of(&clock, self.clock.machine().now());
            let waits = self.work(&present).await?;
            if waits || clock.target.is_none() || *self.stop.borrow() {
                return Ok(());
            }
            let due = self
                .storage
                .next_due(present.timeline.as_ref(), clock.now)
                .await?;
            let Some(stepped) = clock.stepped(due) else {
                return Ok(());
            };
            match self.storage.put_test_clock(Some(&clock), &stepped).await? {
                PutOutcome::Written => clock = stepped,
                // Another process moves it.
                PutOutcome::Conflict => return Ok(()),
            }
        }
    }

    /// Does everything that falls due by itself; tells whether some of it has to wait.
    async fn work(&self, present: &Present) -> Result<bool, StorageError> {
        reservations::end_overdue(self.storage, present).await?;
        let wait = self.config.completeness_wait;
        let machine = self.clock.machine();
        let closing = billing::close_due_at(self.storage, present, machine, wait, self.holder);
        let report = closing.await?;
        // Of the period that begins now, while it is now.
        alerts::look_now(self.storage, self.clock).await?;
        let waits = report.waiting_count > 0 || report.leased_elsewhere;
        note(&report);
        Ok(waits)
    }
}

/// Returns the test clock of the whole collector, if there is one.
pub(crate) fn of_collector(clocks: &[TestClock]) -> Option<&TestClock> {
    clocks
        .iter()
        .find(|clock| clock.scope == ClockScope::Collector)
}
