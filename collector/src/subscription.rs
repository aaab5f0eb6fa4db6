//! Subscriptions: a customer and the plans it is billed by, one after the other.
//!
//! A subscription's periods are numbered through, over all its plans. Periods are always computed from (plan, n); what is stored
//! of the open one is a cache for the due index. Nothing that was closed is ever computed otherwise: plans are appended, and a
//! change or a cancellation only cuts what has not ended yet.

#![deny(clippy::float_arithmetic)]

pub mod change;
pub mod messages;
pub mod period;
pub mod plan;
pub mod proration;
pub mod zone;

pub use crate::id::SubscriptionId;
pub use plan::Plan;

use crate::{id::TestClockId, metadata::Metadata, money::Currency};
use period::OutOfCalendar;
use plan::UnusedTime;
use serde::{Deserialize, Serialize};
use submeter_common::{
    id::{CustomerId, MeterId},
    time::{Period, Timestamp},
};

/// A customer's subscription.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Subscription {
    /// The id.
    pub subscription_id: SubscriptionId,
    /// Who is billed.
    pub customer_id: CustomerId,
    /// Where it stands.
    pub status: SubscriptionStatus,
    /// The test clock that it lives by, with its customer.
    #[serde(default)]
    pub test_clock: Option<TestClockId>,
    /// What it is billed in, whatever the plan.
    pub currency: Currency,
    /// Start of the first period, on a whole minute. May lie in the past.
    pub starts_at: Timestamp,
    /// The plan of the open period, or of the last one.
    pub plan: Plan,
    /// Plans whose periods are all closed, oldest first. Late usage of theirs is billed by them.
    pub former_plans: Vec<Plan>,
    /// Plans that follow, in their order.
    pub upcoming_plans: Vec<Plan>,
    /// That it ends, if somebody said so.
    pub cancellation: Option<Cancellation>,
    /// Index of the open period; every period before it is closed. The compare-and-set value of a [`crate::billing::Settlement`].
    pub next_period: u32,
    /// The open period, or the last one when none is open. Due when active and `end <= now`.
    pub current_period: Period,
    /// Where the customer is.
    pub billing: BillingAddress,
    /// What the application attached.
    #[serde(default)]
    pub metadata: Metadata,
    /// Raised with each change, so that none is written over another that its author had not seen.
    pub version: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// The end of a subscription, as somebody asked for it.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Cancellation {
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// The end of the last period, on a whole minute. Usage after it is not billed.
    pub effective_at: Timestamp,
    /// Whether the subscription lives to the end of the period that was open; then it can be taken back until that.
    pub at_period_end: bool,
    /// What is done about the fee of the rest of the period.
    pub unused_time: UnusedTime,
    /// Why, as a word of the API.
    pub reason: Option<String>,
    /// What the customer said, as a word of the API.
    pub feedback: Option<String>,
    /// What the customer said, in words.
    pub comment: Option<String>,
}

impl Subscription {
    /// Returns all plans, oldest first.
    pub fn plans(&self) -> impl DoubleEndedIterator<Item = &Plan> {
        let now = std::iter::once(&self.plan);
        self.former_plans
            .iter()
            .chain(now)
            .chain(&self.upcoming_plans)
    }

    /// Returns the plan of period `n`.
    #[must_use]
    pub fn plan_of(&self, n: u32) -> &Plan {
        let newest = self.plans().rev().find(|plan| plan.first_period <= n);
        newest.unwrap_or(&self.plan)
    }

    /// Returns period `n`, cut where its plan or the subscription ends; none when it would begin at or after that.
    ///
    /// # Errors
    /// [`OutOfCalendar`] when it lies beyond the year 9999.
    pub fn period(&self, n: u32) -> Result<Option<Period>, OutOfCalendar> {
        let plan = self.plan_of(n);
        plan.period(n, self.end_of(plan))
    }

    /// Returns when the last period ends, as far as is known now.
    #[must_use]
    pub fn ends_at(&self) -> Timestamp {
        let last = self.upcoming_plans.last().unwrap_or(&self.plan);
        self.end_of(last)
    }

    /// Returns when a plan ends: by itself, by the next one, or with the subscription.
    #[must_use]
    pub fn end_of(&self, plan: &Plan) -> Timestamp {
        let next = self.plan_after(plan).map(|next| next.starts_at);
        let cancelled = self
            .cancellation
            .as_ref()
            .map(|cancelled| cancelled.effective_at);
        [next, cancelled]
            .into_iter()
            .flatten()
            .fold(plan.term_ends_at, Timestamp::min)
    }

    /// Returns what is done about a fee that was paid for time after the plan's end.
    #[must_use]
    pub fn unused_time(&self, plan: &Plan) -> UnusedTime {
        let end = self.end_of(plan);
        let cancelled = self.cancellation.as_ref();
        if let Some(cancelled) = cancelled.filter(|cancelled| cancelled.effective_at == end) {
            return cancelled.unused_time;
        }
        let change = self.plan_after(plan).and_then(|next| next.change.as_ref());
        change.map_or(UnusedTime::Credited, |change| change.unused_time)
    }

    /// Returns the times for which usage of a meter is billed here.
    pub fn billed_spans<'a>(&'a self, meter: &'a MeterId) -> impl Iterator<Item = Period> + 'a {
        let priced = self
            .plans()
            .filter(move |plan| plan.meters().any(|priced| priced == meter));
        priced.map(|plan| Period {
            start: plan.starts_at,
            end: self.end_of(plan),
        })
    }

    /// Whether usage of a meter would be billed here and by `other`, too.
    #[must_use]
    pub fn bills_twice(&self, other: &Self, meter: &MeterId) -> bool {
        let meet =
            |one: Period, another: Period| one.start < another.end && another.start < one.end;
        self.billed_spans(meter)
            .any(|span| other.billed_spans(meter).any(|theirs| meet(span, theirs)))
    }

    /// Returns the change of plan that has been asked for and has not come yet.
    #[must_use]
    pub fn pending_change(&self, now: Timestamp) -> Option<&Plan> {
        self.plans()
            .find(|plan| plan.change.is_some() && plan.starts_at > now)
    }

    /// Returns the index of the period that runs at `now`, and the period; none when all are over.
    ///
    /// # Errors
    /// [`OutOfCalendar`] when it lies beyond the year 9999.
    pub fn running(&self, now: Timestamp) -> Result<Option<(u32, Period)>, OutOfCalendar> {
        let mut n = self.next_period;
        while let Some(period) = self.period(n)? {
            if period.end > now {
                return Ok(Some((n, period)));
            }
            n = n.checked_add(1).ok_or(OutOfCalendar)?;
        }
        Ok(None)
    }

    /// Goes on to the next period when the open one is closed, or ends.
    ///
    /// # Errors
    /// [`OutOfCalendar`] when it lies beyond the year 9999.
    pub fn advance(&mut self) -> Result<(), OutOfCalendar> {
        self.next_period = self.next_period.checked_add(1).ok_or(OutOfCalendar)?;
        let Some(period) = self.period(self.next_period)? else {
            self.status = match self.cancellation {
                Some(_) => SubscriptionStatus::Cancelled,
                None => SubscriptionStatus::Expired,
            };
            return Ok(());
        };
        self.current_period = period;
        let follows = |plan: &Plan| plan.first_period <= self.next_period;
        if self.upcoming_plans.first().is_some_and(follows) {
            let next = self.upcoming_plans.remove(0);
            self.former_plans
                .push(std::mem::replace(&mut self.plan, next));
        }
        Ok(())
    }

    /// Returns the subscription as it stands at `now`: with the period that runs then, though periods before it may still
    /// have to be closed.
    ///
    /// # Errors
    /// [`OutOfCalendar`] when it lies beyond the year 9999.
    pub fn as_of(mut self, now: Timestamp) -> Result<Self, OutOfCalendar> {
        while self.status == SubscriptionStatus::Active && self.current_period.end <= now {
            self.advance()?;
        }
        Ok(self)
    }

    /// Notes a change, and computes what is cached again.
    ///
    /// # Errors
    /// [`OutOfCalendar`] when the open period lies beyond the year 9999.
    pub fn touch(&mut self, now: Timestamp) -> Result<(), OutOfCalendar> {
        if let Some(period) = self.period(self.next_period)? {
            self.current_period = period;
        }
        self.version = self.version.saturating_add(1);
        self.updated_at = now;
        Ok(())
    }

    /// Whether it was cancelled at once, or its cancelled end has come.
    #[must_use]
    pub fn is_cancelled(&self, now: Timestamp) -> bool {
        self.cancellation
            .as_ref()
            .is_some_and(|cancelled| !cancelled.at_period_end || cancelled.effective_at <= now)
    }

    fn plan_after(&self, plan: &Plan) -> Option<&Plan> {
        self.plans()
            .find(|next| next.first_period > plan.first_period)
    }
}

/// Where a subscription stands.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionStatus {
    /// Periods are closed and invoiced.
    Active,
    /// Its time was over and the last period is closed; nothing is billed any more.
    Expired,
    /// It was cancelled and the last period is closed; nothing is billed any more.
    Cancelled,
}

/// Where a customer is, as told.
#[derive(Clone, Eq, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct BillingAddress {
    /// Two-letter ISO 3166 code.
    pub country: String,
    /// City.
    pub city: Option<String>,
    /// State or province.
    pub state: Option<String>,
    /// Street with number.
    pub street: Option<String>,
    /// Postal code.
    pub zipcode: Option<String>,
}
