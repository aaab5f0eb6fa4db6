//! What a run did.

use crate::{
    billing::{BillingError, Invoice},
    subscription::SubscriptionId,
};
use submeter_common::{AgentId, Timestamp};

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
    /// Periods that stayed open because something else changed what they were computed from: the next run computes them anew.
    pub stale_count: u64,
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

impl RunReport {
    pub(super) fn waits(&mut self, waiting: Waiting) {
        self.waiting_count += 1;
        if self.waiting.len() < REPORT_ENTRIES_MAX {
            self.waiting.push(waiting);
        }
    }

    pub(super) fn closed(&mut self, invoice: Option<&Invoice>) {
        self.closed += 1;
        if let Some(invoice) = invoice {
            self.issued += 1;
            self.incomplete += u64::from(!invoice.complete);
        }
    }

    pub(super) fn failed(&mut self, subscription: SubscriptionId, error: BillingError) {
        self.failed_count += 1;
        if self.failed.len() < REPORT_ENTRIES_MAX {
            self.failed.push((subscription, error));
        }
    }
}
