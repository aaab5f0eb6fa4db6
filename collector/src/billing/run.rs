//! The billing run: every due period is closed once, as soon as it is complete.
//!
//! The run keeps no state of its own. What is due comes from the storage, what was read is settled by compare-and-set, and a
//! run that dies anywhere is simply followed by the next one.

use super::{BillingError, BlockedDraft, Invoice, close, gather};
use crate::{
    agents::Agent,
    completeness::{self, Awaited, Completeness, Service},
    storage::{DueCursor, SettleOutcome, Storage, StorageError},
    subscription::{Subscription, SubscriptionId, SubscriptionStatus},
};
use std::{collections::BTreeSet, time::Duration};
use submeter_common::{AgentId, Clock, Timestamp};

/// Due subscriptions read at once.
const DUE_BATCH: usize = 256;
/// Entries that each list of the report names; the counts go on.
const REPORT_ENTRIES_MAX: usize = 100;

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
    /// The first of them, with the reason.
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

/// Closes every period that is due at the clock's now, subscription by subscription and period after period.
///
/// A period waits until every live agent's watermark, by the current catalog, has reached its end, at most
/// `completeness_wait` (from the subscription's creation, when that was later, and without the time in which the
/// collector was away); after that it is closed with the missing
/// agents named on the invoice. One that cannot be billed is reported and left open, and blocks no other.
///
/// # Errors
/// Only when the storage is unavailable; what was closed before that stays closed.
pub async fn close_due<S: Storage + ?Sized>(
    storage: &S,
    clock: &dyn Clock,
    completeness_wait: Duration,
) -> Result<RunReport, StorageError> {
    let now = clock.now();
    let mut due = storage.due(now, None, DUE_BATCH).await?;
    if due.is_empty() {
        return Ok(RunReport::default());
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
        completeness_wait,
        report: RunReport::default(),
        stuck: BTreeSet::new(),
    };
    while let Some(last) = due.last() {
        let after = DueCursor {
            period_end: last.current_period.end,
            subscription_id: last.subscription_id.clone(),
        };
        let mut waits = false;
        for subscription in due {
            waits |= run.close_all(subscription).await? == Progress::Waits;
        }
        if waits {
            break;
        }
        due = storage.due(now, Some(&after), DUE_BATCH).await?;
    }
    Ok(run.report)
}

/// What a run could do about a due subscription.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Progress {
    /// Its oldest open period waits for agents. Periods that end later then wait for the same ones, so the run need not look
    /// at what is due behind it.
    Waits,
    /// Anything else.
    Done,
}

struct Run<'a, S: ?Sized> {
    storage: &'a S,
    agents: Vec<Agent>,
    service: Service,
    catalog_version: u64,
    now: Timestamp,
    completeness_wait: Duration,
    report: RunReport,
    /// Subscriptions of which a later period than the one found due waits or failed. It is due too, and would be found again.
    stuck: BTreeSet<SubscriptionId>,
}

impl<S: Storage + ?Sized> Run<'_, S> {
    /// Closes the subscription's periods in order until one is not due, has to wait, or cannot be billed.
    async fn close_all(
        &mut self,
        mut subscription: Subscription,
    ) -> Result<Progress, StorageError> {
        if self.stuck.contains(&subscription.subscription_id) {
            return Ok(Progress::Done);
        }
        let first = subscription.next_period;
        while is_due(&subscription, self.now) {
            let Some(missing) = self.missing_agents(&subscription) else {
                let is_first = subscription.next_period == first;
                self.stuck.insert(subscription.subscription_id);
                return Ok(if is_first {
                    Progress::Waits
                } else {
                    Progress::Done
                });
            };
            match self.close_one(&subscription, missing).await {
                Ok(Some(next)) => subscription = next,
                // Somebody else settled this period; the next run sees what is left.
                Ok(None) => return Ok(Progress::Done),
                Err(BillingError::Storage(
                    error @ (StorageError::Unavailable(_) | StorageError::DiskFull(_)),
                )) => return Err(error),
                Err(error) => {
                    self.stuck.insert(subscription.subscription_id.clone());
                    let draft = BlockedDraft::new(&subscription, &error, self.now);
                    self.storage.block_draft(draft).await?;
                    self.failed(subscription.subscription_id, error);
                    return Ok(Progress::Done);
                }
            }
        }
        Ok(Progress::Done)
    }

    /// Settles the open period; returns the subscription afterwards, or none when it was settled meanwhile.
    async fn close_one(
        &mut self,
        subscription: &Subscription,
        missing: Vec<AgentId>,
    ) -> Result<Option<Subscription>, BillingError> {
        let closing = gather::gather(self.storage, subscription, missing, self.now).await?;
        let settlement = close::close(&closing)?;
        let next = settlement.subscription.clone();
        match self.storage.settle(settlement).await? {
            SettleOutcome::Settled(invoice) => {
                self.closed(invoice.as_deref());
                Ok(Some(next))
            }
            SettleOutcome::Stale => Ok(None),
        }
    }

    /// Returns the agents to name as missing, or none when the period has to wait.
    fn missing_agents(&mut self, subscription: &Subscription) -> Option<Vec<AgentId>> {
        let period_end = subscription.current_period.end;
        let awaited = Awaited {
            period_end,
            since: period_end.max(subscription.created_at),
            catalog_version: self.catalog_version,
        };
        let (now, wait) = (self.now, self.completeness_wait);
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
