//! What changes a subscription's plans: buying, changing and cancelling, as pure functions over the subscription.
//!
//! Nothing is billed here. A change or a cancellation cuts the period that runs; the billing run closes it like any other, when it
//! is complete, and the invoice of that has the usage up to the cut and what becomes of the fixed fees. So usage that was accrued
//! is billed whatever is asked for here.

mod cancel;
mod plan_change;

pub use cancel::{CancelRequest, cancel, keep};
pub use plan_change::{BillingMode, ChangeRequest, change_plan, drop_scheduled};

use super::{
    Plan, SubscriptionStatus,
    period::{Alignment, Cycle, OutOfCalendar, after},
    plan::{FirstFee, Schedule},
    proration::Proration,
    zone::Zone,
};
use crate::catalog::Product;
use std::time::Duration;
use submeter_common::time::{Period, Timestamp};

/// What is bought.
#[derive(Clone, Debug)]
pub struct Purchase<'a> {
    /// The product, whose prices and credit terms are copied.
    pub product: &'a Product,
    /// Multiplies the fixed fee.
    pub quantity: u32,
    /// How parts of a period are counted.
    pub proration: Proration,
}

/// When a change takes effect.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Effective {
    /// With the next whole minute: usage is kept by the minute, and what was used in this one is billed as it was sold.
    Now,
    /// When the running period ends.
    PeriodEnd,
}

/// Why a subscription cannot be changed so; nothing was changed.
#[derive(Clone, Eq, PartialEq, Debug, thiserror::Error)]
pub enum ChangeError {
    /// It is over, or was cancelled at once.
    #[error("the subscription has ended: nothing of it can be changed any more")]
    Ended,
    /// It ends with the period; a change would never come.
    #[error(
        "the subscription is cancelled as of {0}: take that back first, with `cancel_at_next_billing_date: false`"
    )]
    Cancelled(Timestamp),
    /// Another change has been asked for and has not come yet.
    #[error(
        "a change of plan ({plan_change_id}) takes effect at {effective_at}: wait for it, take it back, or replace it with `cancel_scheduled_change_plan`"
    )]
    Pending {
        /// Which.
        plan_change_id: String,
        /// When it comes.
        effective_at: Timestamp,
    },
    /// There is nothing of the kind to take back.
    #[error("there is no {0} that could be taken back")]
    NothingToTakeBack(&'static str),
    /// The product takes no new subscriptions.
    #[error("product_id: expected a product that is not archived")]
    ArchivedProduct,
    /// It was changed so often that its history would not fit.
    #[error(
        "the subscription has had {PLANS_MAX} plans, as many as one may have: cancel it and begin another"
    )]
    TooManyPlans,
    /// A field of the request is out of range.
    #[error("{field}: {message}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What was expected.
        message: String,
    },
    /// A date does not exist.
    #[error(transparent)]
    Calendar(#[from] OutOfCalendar),
}

/// Largest quantity: a bound against typing errors, far above any number of seats.
pub const QUANTITY_MAX: u32 = 1_000_000;

/// Plans a subscription may have had: they are all part of its record, because late usage is billed by the plan of its time.
pub const PLANS_MAX: usize = 500;

impl Purchase<'_> {
    /// Makes the plan that bills the product from `start` on, by a cycle of its own.
    ///
    /// # Errors
    /// [`OutOfCalendar`] when its end is beyond the year 9999.
    pub fn plan(
        &self,
        start: Timestamp,
        first_period: u32,
        zone: Zone,
        alignment: Alignment,
    ) -> Result<Plan, OutOfCalendar> {
        let price = self.product.price.usage_based();
        let term_ends_at = after(start, price.subscription_period, &zone)?;
        let cycle = Cycle::starting(start, price.payment_frequency, zone, alignment)?;
        Ok(Plan {
            product_id: self.product.product_id.clone(),
            product_name: self.product.name.clone(),
            quantity: self.quantity,
            price: self.product.price.clone(),
            credit_entitlements: self.product.credit_entitlements.clone(),
            first_period,
            starts_at: start,
            term_ends_at,
            schedule: Schedule::Cycle { cycle, first: 0 },
            proration: self.proration,
            first_fee: FirstFee::Prorated,
            change: None,
        })
    }
}

impl Effective {
    /// Returns the instant at which a change that is asked for at `now` cuts the running period.
    fn instant(self, running: Period, now: Timestamp) -> Timestamp {
        match self {
            Self::PeriodEnd => running.end,
            Self::Now => now
                .truncate_to_minute()
                .saturating_add(Duration::from_secs(60))
                .min(running.end),
        }
    }
}

fn expect_active(status: SubscriptionStatus) -> Result<(), ChangeError> {
    match status {
        SubscriptionStatus::Active => Ok(()),
        SubscriptionStatus::Expired | SubscriptionStatus::Cancelled => Err(ChangeError::Ended),
    }
}
