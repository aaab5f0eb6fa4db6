//! Plans: what a subscription bills from one instant on, and what was agreed for the change to it.
//!
//! Prices and credit terms are copied from the product when it is bought: a later change of the product changes no bill. A plan
//! ends where the next one starts; nothing is written into it for that, so a change that has not come yet can be taken back.

use super::{
    period::{Cycle, OutOfCalendar},
    proration::Proration,
};
use crate::{
    catalog::Price,
    credits::{CreditAttachment, EntitlementId},
    id::ProductId,
};
use serde::{Deserialize, Serialize};
use submeter_common::{
    id::MeterId,
    time::{Period, Timestamp},
};

/// What a subscription bills for a stretch of its life.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// What was bought.
    pub product_id: ProductId,
    /// Its name when it was bought; the text of the base-fee line.
    pub product_name: String,
    /// Multiplies the fixed fee, and nothing else.
    pub quantity: u32,
    /// The price at the time of buying.
    pub price: Price,
    /// The credit terms at the time of buying.
    pub credit_entitlements: Vec<CreditAttachment>,
    /// The subscription's index of the first period of this plan.
    pub first_period: u32,
    /// When it starts, on a whole minute.
    pub starts_at: Timestamp,
    /// When it ends by itself, if no other plan starts before.
    pub term_ends_at: Timestamp,
    /// By what its periods are cut.
    pub schedule: Schedule,
    /// How parts of a period are counted.
    pub proration: Proration,
    /// What the first period costs when it is only a part of one.
    pub first_fee: FirstFee,
    /// The change that brought this plan; none for one that the subscription was made with.
    pub change: Option<PlanChange>,
}

/// By what a plan's periods are cut.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Schedule {
    /// One period from start to end, in which nothing costs money.
    Trial,
    /// Period after period.
    Cycle {
        /// The boundaries.
        cycle: Cycle,
        /// The cycle's index of the plan's first period.
        first: u32,
    },
}

/// What the first period of a plan costs.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FirstFee {
    /// The share that is served.
    Prorated,
    /// All of it, however little is served.
    Full,
    /// Nothing.
    Nothing,
    /// All of it minus what the plan before costs for a period, which stays paid. Negative when that cost more.
    Difference {
        /// Minor units that the plan before costs.
        paid: i64,
    },
}

/// What is done about a fee that was paid for time after a plan's end.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnusedTime {
    /// It stays paid.
    Kept,
    /// The share that is not served is credited on the invoice that closes the period.
    Credited,
}

/// A change from one plan to another.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct PlanChange {
    /// Names it: `cpl_` and a time-ordered random part.
    pub plan_change_id: String,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// What is done about the rest of the plan before.
    pub unused_time: UnusedTime,
    /// The paid plan behind a trial whose place it takes; it comes back when the change is taken back.
    pub replaces: Option<Box<Plan>>,
}

impl Plan {
    /// Whether nothing costs money.
    #[must_use]
    pub fn is_trial(&self) -> bool {
        self.schedule == Schedule::Trial
    }

    /// Returns the cycle; none of a trial.
    #[must_use]
    pub fn cycle(&self) -> Option<&Cycle> {
        match &self.schedule {
            Schedule::Trial => None,
            Schedule::Cycle { cycle, .. } => Some(cycle),
        }
    }

    /// Returns the period that has the subscription's index `n`, as if the plan had no beginning and no end.
    ///
    /// # Errors
    /// [`OutOfCalendar`] when it lies beyond the year 9999.
    pub fn whole_period(&self, n: u32) -> Result<Period, OutOfCalendar> {
        match &self.schedule {
            Schedule::Trial => Ok(Period {
                start: self.starts_at,
                end: self.term_ends_at,
            }),
            Schedule::Cycle { cycle, first } => {
                let since = n.saturating_sub(self.first_period);
                cycle.period(first.checked_add(since).ok_or(OutOfCalendar)?)
            }
        }
    }

    /// Returns the period that has the subscription's index `n`, from the plan's start to at most `end`; none when it would
    /// begin at or after that.
    pub(super) fn period(&self, n: u32, end: Timestamp) -> Result<Option<Period>, OutOfCalendar> {
        let is_trial_over = self.is_trial() && n > self.first_period;
        let whole = self.whole_period(n)?;
        let cut = Period {
            start: whole.start.max(self.starts_at),
            end: whole.end.min(end),
        };
        Ok(Some(cut).filter(|cut| cut.start < end && !is_trial_over))
    }

    /// Returns the credit terms for one kind of credits, if the plan has them.
    #[must_use]
    pub fn credit_terms(&self, entitlement: &EntitlementId) -> Option<&CreditAttachment> {
        self.credit_entitlements
            .iter()
            .find(|terms| terms.credit_entitlement_id == *entitlement)
    }

    /// Returns the meters it prices.
    pub fn meters(&self) -> impl Iterator<Item = &MeterId> {
        let meters = self.price.usage_based().meters.iter();
        meters.map(|meter| &meter.meter_id)
    }
}
