//! Lets test clocks go on: from one thing that falls due to the next, each done at its own time.

use super::{alerts, collection, expiry, note, reservations};
use crate::{
    billing::{self, RunTerms, collect::CollectionRun},
    id::InvoiceId,
    payment::Collecting,
    storage::{PutOutcome, Storage, StorageError},
    test_clock::{BillingClock, ClockScope, Present, TestClock},
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::watch;

/// What moves the test clocks of a collector.
pub(super) struct Clockwork<'a, S: ?Sized> {
    pub(super) storage: &'a Arc<S>,
    pub(super) clock: &'a BillingClock,
    pub(super) terms: RunTerms,
    pub(super) collecting: &'a Collecting,
    /// Invoices of which it was told that they cannot be collected.
    pub(super) uncollectable: &'a Mutex<BTreeSet<InvoiceId>>,
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

    /// Does what is due where the clock stands, and steps on, until it has arrived or something has to wait, for agents, for
    /// the answer of a gateway, or because a request came between: then time waits, too.
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
        reservations::end_overdue(&**self.storage, present).await?;
        expiry::end_overdue(&**self.storage, present).await?;
        let (machine, terms) = (self.clock.machine(), self.terms);
        let closing = billing::close_due_at(self.storage, present, machine, terms, self.holder);
        let closed = closing.await?;
        note(&closed);
        // Of the period that begins now, while it is now.
        alerts::look_now(&**self.storage, self.clock).await?;
        // After billing: what was issued just now may be due at once.
        let collection = CollectionRun {
            storage: &**self.storage,
            present,
            machine,
            collecting: self.collecting,
            holder: self.holder,
            is_stopped: &|| *self.stop.borrow(),
        };
        let collected = collection.run().await?;
        let told = self.uncollectable.lock();
        collection::note(
            &collected,
            &mut told.unwrap_or_else(PoisonError::into_inner),
        );
        Ok(closed.waiting_count > 0
            || closed.stale_count > 0
            || closed.leased_elsewhere
            || collected.unanswered.is_some()
            || collected.leased_elsewhere)
    }
}

/// Returns the test clock of the whole collector, if there is one.
pub(crate) fn of_collector(clocks: &[TestClock]) -> Option<&TestClock> {
    clocks
        .iter()
        .find(|clock| clock.scope == ClockScope::Collector)
}
