//! The billing run: every due period is closed once, as soon as it is complete.
//!
//! The run keeps no state of its own. What is due comes from the storage, what was read is settled by compare-and-set, and a
//! run that dies anywhere is simply followed by the next one. Settlements are written many at a time, so that one wait for the
//! disk serves them all (each is still all there or not there at all), and while they are written the next ones are computed.

mod batch;
mod due;
mod report;

pub use report::{RunReport, Waiting};

use super::{BillingError, BlockedDraft, alert};
use crate::{
    agents::Agent,
    completeness::{self, Awaited, Completeness, Service},
    lease::Lease,
    storage::{SettleOutcome, Storage, StorageError},
    subscription::Subscription,
    test_clock::Present,
};
use batch::{Batch, Computed, Computing};
use due::Due;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use submeter_common::{AgentId, Clock, CustomerId};

/// What the lease of the run is called.
const LEASE_NAME: &str = "billing";

/// What a run goes by.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct RunTerms {
    /// How long an ended period waits for agents that have not delivered.
    pub completeness_wait: Duration,
    /// From an invoice's issue to the instant at which it is to be paid.
    pub due_after: Duration,
}

/// Closes every period that is due at the clock's now, period after period of each subscription, as `holder`.
///
/// A period waits until every live agent's watermark, by the current catalog, has reached its end, at most
/// `completeness_wait` (from the subscription's creation, when that was later, and without the time in which the
/// collector was away); after that it is closed with the missing
/// agents named on the invoice. One that cannot be billed is reported and left open, and blocks no other.
///
/// The run is leased: while another holder's lease lasts it does nothing. The lease only spares work that would be done
/// twice; that nothing is *billed* twice is the compare-and-set of each settlement, whoever computed it.
///
/// # Errors
/// Only when the storage is unavailable; what was closed before that stays closed.
pub async fn close_due<S: Storage + ?Sized>(
    storage: &Arc<S>,
    clock: &dyn Clock,
    completeness_wait: Duration,
    holder: &str,
) -> Result<RunReport, StorageError> {
    let present = Present::of_machine(clock.now());
    let terms = RunTerms {
        completeness_wait,
        due_after: Duration::ZERO,
    };
    close_due_at(storage, &present, clock, terms, holder).await
}

/// As [`close_due`], for those who live by one clock, at its instant. The lease is of the machine's time.
///
/// # Errors
/// Only when the storage is unavailable; what was closed before that stays closed.
pub async fn close_due_at<S: Storage + ?Sized>(
    storage: &Arc<S>,
    present: &Present,
    machine: &dyn Clock,
    terms: RunTerms,
    holder: &str,
) -> Result<RunReport, StorageError> {
    let first = storage
        .due(present.timeline.as_ref(), present.now, None, 1)
        .await?;
    if first.is_empty() {
        return Ok(RunReport::default());
    }
    let mut lease = Lease::new(&**storage, machine, LEASE_NAME, holder);
    if !lease.keep().await? {
        return Ok(RunReport {
            leased_elsewhere: true,
            ..RunReport::default()
        });
    }
    // Agents are read before any usage: a watermark then never promises more than the usage that is read after it. And
    // before the catalog: no agent then vouches for a meter that it could not know.
    let agents = storage.agents().await?;
    let catalog_version = storage.catalog().await?.version;
    let service = storage.service().await?;
    let mut run = Run {
        storage,
        agents,
        service,
        catalog_version,
        present,
        terms,
        due: Due::new(present),
        report: RunReport::default(),
    };
    run.close_all(&mut lease).await?;
    lease.release().await?;
    Ok(run.report)
}

struct Run<'a, S: ?Sized> {
    storage: &'a Arc<S>,
    agents: Vec<Agent>,
    service: Service,
    catalog_version: u64,
    present: &'a Present,
    terms: RunTerms,
    due: Due<'a>,
    report: RunReport,
}

impl<S: Storage + ?Sized> Run<'_, S> {
    /// Closes batch after batch. While one is written the next is computed, of other customers.
    async fn close_all(&mut self, lease: &mut Lease<'_, S>) -> Result<(), StorageError> {
        let mut computing = self.begin(&BTreeSet::new()).await?;
        while let Some(batch) = computing {
            let customers = batch.customers.clone();
            let computed = batch.done().await?;
            let is_mine = lease.keep().await?;
            computing = match is_mine {
                true => self.begin(&customers).await?,
                false => {
                    self.report.leased_elsewhere = true;
                    None
                }
            };
            self.settle(computed).await?;
            // What was settled may have made more due.
            if is_mine && computing.is_none() {
                computing = self.begin(&BTreeSet::new()).await?;
            }
        }
        Ok(())
    }

    /// Begins to compute a batch of what is due and complete, but not of `busy` customers; none when there is nothing.
    async fn begin(
        &mut self,
        busy: &BTreeSet<CustomerId>,
    ) -> Result<Option<Computing>, StorageError> {
        let mut batch = Batch::default();
        let mut standing_back = Vec::new();
        while batch.is_empty() {
            let due = self.due.next(&**self.storage).await?;
            if due.is_empty() {
                break;
            }
            for subscription in due {
                let customer = &subscription.customer_id;
                if busy.contains(customer) || batch.has(customer) {
                    standing_back.push(subscription);
                } else if let Some(missing) = self.missing_agents(&subscription) {
                    batch.add(subscription, missing);
                }
            }
        }
        for subscription in standing_back {
            self.due.stand_back(subscription);
        }
        let now = self.present.now;
        Ok((!batch.is_empty()).then(|| batch.compute(self.storage, now)))
    }

    /// Writes a batch, and keeps the draft of what cannot be billed.
    async fn settle(&mut self, computed: Vec<Computed>) -> Result<(), StorageError> {
        let mut settlements = Vec::with_capacity(computed.len());
        for (subscription, settlement) in computed {
            match settlement {
                Ok(settlement) => settlements.push(settlement.due_after(self.terms.due_after)),
                Err(error) => self.block(subscription, error).await?,
            }
        }
        // After usage was read: what the settlements bill has then been seen.
        let customers = settlements
            .iter()
            .map(|settlement| settlement.subscription.customer_id.clone())
            .collect();
        alert::look_before_close(&**self.storage, &customers, self.present.now).await?;
        let settled: Vec<Subscription> = settlements
            .iter()
            .map(|settlement| settlement.subscription.clone())
            .collect();
        let outcomes = self.storage.settle_all(settlements).await?;
        for (subscription, outcome) in settled.into_iter().zip(outcomes) {
            match outcome {
                Ok(SettleOutcome::Settled(invoice)) => {
                    self.report.closed(invoice.as_deref());
                    self.due.closed(subscription);
                }
                // Somebody else settled this period, or moved the customer's credits meanwhile: the next run reads anew.
                Ok(SettleOutcome::Stale) => self.report.stale_count += 1,
                Err(error) => self.block_as_read(&subscription, error).await?,
            }
        }
        Ok(())
    }

    /// The engine refused a settlement: says so of the period as it is stored, which stays open.
    async fn block_as_read(
        &mut self,
        settled: &Subscription,
        error: StorageError,
    ) -> Result<(), StorageError> {
        let stored = self.storage.subscription(&settled.subscription_id).await?;
        match stored {
            Some(subscription) => self.block(subscription, error.into()).await,
            None => Err(error),
        }
    }

    /// Keeps the draft of a period that cannot be billed, and goes on.
    async fn block(
        &mut self,
        subscription: Subscription,
        error: BillingError,
    ) -> Result<(), StorageError> {
        let error = match error {
            BillingError::Storage(error) if error.is_outage() => return Err(error),
            error => error,
        };
        let draft = BlockedDraft::new(&subscription, &error, self.present.now);
        self.storage.block_draft(draft).await?;
        self.report.failed(subscription.subscription_id, error);
        Ok(())
    }

    /// Returns the agents to name as missing, or none when the period has to wait.
    fn missing_agents(&mut self, subscription: &Subscription) -> Option<Vec<AgentId>> {
        let period_end = subscription.current_period.end;
        // Nobody can deliver of a future that is only told.
        let told_at = self.present.delivered_up_to;
        let awaited = Awaited {
            period_end: told_at.map_or(period_end, |told_at| period_end.min(told_at)),
            since: told_at.unwrap_or_else(|| period_end.max(subscription.created_at)),
            catalog_version: self.catalog_version,
        };
        let (now, wait) = (self.present.machine, self.terms.completeness_wait);
        match completeness::assess(&self.agents, &awaited, &self.service, now, wait) {
            Completeness::Complete => Some(Vec::new()),
            Completeness::Overdue { missing } => Some(missing),
            Completeness::Waiting { agents } => {
                // What ends later waits for the same agents and at least as long. But a subscription that was made after
                // its period's end waits longer than those that were there: they do not wait for it.
                if told_at.is_some() || awaited.since == period_end {
                    self.due.rest_waits();
                }
                self.report.waits(Waiting {
                    subscription_id: subscription.subscription_id.clone(),
                    period_end,
                    agents,
                });
                None
            }
        }
    }
}
