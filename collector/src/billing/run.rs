//! The billing run: every due period is closed once, as soon as it is complete.
//!
//! The run keeps no state of its own. What is due comes from the storage, what was read is settled by compare-and-set, and a
//! run that dies anywhere is simply followed by the next one. Settlements are computed side by side and written many at a
//! time, so that one wait for the disk serves them all; each is still all there or not there at all.

use super::{BillingError, BlockedDraft, Invoice, Settlement, alert, close, gather};
use crate::{
    agents::Agent,
    completeness::{self, Awaited, Completeness, Service},
    lease::Lease,
    storage::{DueCursor, SettleOutcome, Storage, StorageError},
    subscription::{Subscription, SubscriptionId, SubscriptionStatus},
    test_clock::Present,
};
use futures_util::future::join_all;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use submeter_common::{AgentId, Clock, Timestamp};

/// What the lease of the run is called.
const LEASE_NAME: &str = "billing";
/// Due subscriptions read, computed and settled at once: their settlements share one durable write.
const DUE_BATCH: usize = 256;
/// Entries that each list of the report names; the counts go on.
const REPORT_ENTRIES_MAX: usize = 100;

/// What a run goes by.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct RunTerms {
    /// How long an ended period waits for agents that have not delivered.
    pub completeness_wait: Duration,
    /// From an invoice's issue to the instant at which it is to be paid.
    pub due_after: Duration,
}

/// What a run did.
#[derive(Debug, Default)]
pub struct RunReport {
    /// Periods closed.
    pub closed: u64,
    /// Invoices issued by that: not every period has one.
    pub issued: u64,
    /// Those of them that name missing agents.
    pub incomplete: u64,
    /// Periods seen to wait for agents. Those that end later wait too and are not counted.
    pub waiting_count: u64,
    /// The first of them.
    pub waiting: Vec<Waiting>,
    /// Periods that could not be billed.
    pub failed_count: u64,
    /// Whether another runner was at it, so that this one left it alone.
    pub leased_elsewhere: bool,
    /// The first of those that failed, with the reason.
    pub failed: Vec<(SubscriptionId, BillingError)>,
}

/// A period that has ended and waits for agents to deliver.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Waiting {
    /// Whose period.
    pub subscription_id: SubscriptionId,
    /// Its end, which the agents' watermarks have to reach.
    pub period_end: Timestamp,
    /// The agents that have not.
    pub agents: Vec<AgentId>,
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
    storage: &S,
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
    storage: &S,
    present: &Present,
    machine: &dyn Clock,
    terms: RunTerms,
    holder: &str,
) -> Result<RunReport, StorageError> {
    let (timeline, now) = (present.timeline.as_ref(), present.now);
    let mut due = storage.due(timeline, now, None, DUE_BATCH).await?;
    if due.is_empty() {
        return Ok(RunReport::default());
    }
    let mut lease = Lease::new(storage, machine, LEASE_NAME, holder);
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
        now,
        present,
        terms,
        report: RunReport::default(),
        stuck: BTreeSet::new(),
    };
    while let Some(last) = due.last() {
        let after = DueCursor {
            period_end: last.current_period.end,
            subscription_id: last.subscription_id.clone(),
        };
        let waits = run.close_batch(due).await?;
        if waits || !lease.keep().await? {
            break;
        }
        due = storage.due(timeline, now, Some(&after), DUE_BATCH).await?;
    }
    lease.release().await?;
    Ok(run.report)
}

struct Run<'a, S: ?Sized> {
    storage: &'a S,
    agents: Vec<Agent>,
    service: Service,
    catalog_version: u64,
    now: Timestamp,
    present: &'a Present,
    terms: RunTerms,
    report: RunReport,
    /// Subscriptions of which a later period than the one found due waits or failed. It is due too, and would be found again.
    stuck: BTreeSet<SubscriptionId>,
}

impl<S: Storage + ?Sized> Run<'_, S> {
    /// Closes the periods of `due` in rounds, each subscription's oldest first, until none is due, has to wait or cannot be
    /// billed. Tells whether the oldest open period of one waits for agents: those that end later then wait for the same
    /// ones, so the run need not look at what is due behind it.
    async fn close_batch(&mut self, due: Vec<Subscription>) -> Result<bool, StorageError> {
        let first: BTreeMap<SubscriptionId, u32> = due
            .iter()
            .map(|subscription| {
                (
                    subscription.subscription_id.clone(),
                    subscription.next_period,
                )
            })
            .collect();
        let mut waits = false;
        let mut open = due;
        open.retain(|subscription| !self.stuck.contains(&subscription.subscription_id));
        while !open.is_empty() {
            let mut ready = Vec::with_capacity(open.len());
            for subscription in open {
                if !is_due(&subscription, self.now) {
                    continue;
                }
                match self.missing_agents(&subscription) {
                    Some(missing) => ready.push((subscription, missing)),
                    None => {
                        let id = subscription.subscription_id;
                        waits |= first.get(&id) == Some(&subscription.next_period);
                        self.stuck.insert(id);
                    }
                }
            }
            open = self.close_round(ready).await?;
        }
        Ok(waits)
    }

    /// Settles the open period of each; returns what may have more to close. Of subscriptions of one customer, who may burn
    /// the same credits, one is settled and the others are returned as they came.
    async fn close_round(
        &mut self,
        ready: Vec<(Subscription, Vec<AgentId>)>,
    ) -> Result<Vec<Subscription>, StorageError> {
        let mut customers = BTreeSet::new();
        let (ready, later): (Vec<_>, Vec<_>) = ready
            .into_iter()
            .partition(|(subscription, _)| customers.insert(subscription.customer_id.clone()));
        let mut next: Vec<Subscription> = later.into_iter().map(|(later, _)| later).collect();
        let (storage, now, due_after) = (self.storage, self.now, self.terms.due_after);
        let computed = ready.into_iter().map(async |(subscription, missing)| {
            let settlement = compute(storage, &subscription, missing, now).await;
            (subscription, settlement)
        });
        let mut settlements = Vec::new();
        for (subscription, settlement) in join_all(computed).await {
            match settlement {
                Ok(settlement) => settlements.push(settlement.due_after(due_after)),
                Err(error) => self.block(subscription, error).await?,
            }
        }
        // After usage was read: what the settlements bill has then been seen.
        let customers = settlements
            .iter()
            .map(|settlement| settlement.subscription.customer_id.clone())
            .collect();
        alert::look_before_close(storage, &customers, now).await?;
        let settled: Vec<Subscription> = settlements
            .iter()
            .map(|settlement| settlement.subscription.clone())
            .collect();
        let outcomes = self.storage.settle_all(settlements).await?;
        for (subscription, outcome) in settled.into_iter().zip(outcomes) {
            match outcome {
                Ok(SettleOutcome::Settled(invoice)) => {
                    self.closed(invoice.as_deref());
                    next.push(subscription);
                }
                // Somebody else settled this period, or moved the customer's credits meanwhile: the next run reads anew.
                Ok(SettleOutcome::Stale) => {}
                Err(error) => self.block_as_read(&subscription, error).await?,
            }
        }
        Ok(next)
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
        if let BillingError::Storage(
            error @ (StorageError::Unavailable(_) | StorageError::DiskFull(_)),
        ) = error
        {
            return Err(error);
        }
        let draft = BlockedDraft::new(&subscription, &error, self.now);
        self.storage.block_draft(draft).await?;
        self.stuck.insert(subscription.subscription_id.clone());
        self.failed(subscription.subscription_id, error);
        Ok(())
    }

    /// Returns the agents to name as missing, or none when the period has to wait.
    fn missing_agents(&mut self, subscription: &Subscription) -> Option<Vec<AgentId>> {
        let period_end = subscription.current_period.end;
        let awaited = match self.present.delivered_up_to {
            None => Awaited {
                period_end,
                since: period_end.max(subscription.created_at),
                catalog_version: self.catalog_version,
            },
            // Nobody can deliver of a future that is only told.
            Some(told_at) => Awaited {
                period_end: period_end.min(told_at),
                since: told_at,
                catalog_version: self.catalog_version,
            },
        };
        let (now, wait) = (self.present.machine, self.terms.completeness_wait);
        match completeness::assess(&self.agents, &awaited, &self.service, now, wait) {
            Completeness::Complete => Some(Vec::new()),
            Completeness::Overdue { missing } => Some(missing),
            Completeness::Waiting { agents } => {
                self.report.waiting_count += 1;
                if self.report.waiting.len() < REPORT_ENTRIES_MAX {
                    let subscription_id = subscription.subscription_id.clone();
                    self.report.waiting.push(Waiting {
                        subscription_id,
                        period_end,
                        agents,
                    });
                }
                None
            }
        }
    }

    fn closed(&mut self, invoice: Option<&Invoice>) {
        self.report.closed += 1;
        if let Some(invoice) = invoice {
            self.report.issued += 1;
            self.report.incomplete += u64::from(!invoice.complete);
        }
    }

    fn failed(&mut self, subscription: SubscriptionId, error: BillingError) {
        self.report.failed_count += 1;
        if self.report.failed.len() < REPORT_ENTRIES_MAX {
            self.report.failed.push((subscription, error));
        }
    }
}

fn is_due(subscription: &Subscription, now: Timestamp) -> bool {
    subscription.status == SubscriptionStatus::Active && subscription.current_period.end <= now
}

/// Computes the settlement of the open period.
async fn compute<S: Storage + ?Sized>(
    storage: &S,
    subscription: &Subscription,
    missing: Vec<AgentId>,
    now: Timestamp,
) -> Result<Settlement, BillingError> {
    let closing = gather::gather(storage, subscription, missing, now).await?;
    close::close(&closing)
}
