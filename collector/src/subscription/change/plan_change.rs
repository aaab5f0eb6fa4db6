//! Changing to another product, price or quantity, at once or at the period's end.

use super::{ChangeError, Effective, PLANS_MAX, Purchase, QUANTITY_MAX, expect_active};
use crate::{
    catalog::{Frequency, Product},
    id::fresh,
    rating::{Share, flat},
    subscription::{
        Plan, Subscription,
        period::{Cycle, OutOfCalendar},
        plan::{FirstFee, PlanChange, Schedule, UnusedTime},
        proration::Proration,
    },
};
use submeter_common::time::{Period, Timestamp};

/// What a change at once does about the fixed fees, by the names that compatible clients know. Usage is billed in any case.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum BillingMode {
    /// The unused share of the old fee is credited, and a new cycle begins with the whole new fee.
    ProratedImmediately,
    /// The unused share of the old fee is credited, and the share of the new one up to the cycle's end is charged.
    ProratedImmediatelyKeepCycle,
    /// Nothing is credited, and a new cycle begins with the whole new fee.
    FullImmediately,
    /// The difference of the whole fees is charged, or credited when the new one is lower. The cycle goes on, if both are of one
    /// length.
    DifferenceImmediately,
    /// Fees change with the next period; the cycle goes on.
    DoNotBill,
}

/// What a caller tells about a change of plan.
#[derive(Clone, Debug)]
pub struct ChangeRequest<'a> {
    /// What is bought instead.
    pub product: &'a Product,
    /// Multiplies the fixed fee.
    pub quantity: u32,
    /// How parts of a period are counted from now on; as before, when not told.
    pub proration: Option<Proration>,
    /// When it takes effect.
    pub effective: Effective,
    /// What is done about fees.
    pub mode: BillingMode,
    /// Whether a change that was scheduled before gives way to this one.
    pub replace_scheduled: bool,
}

/// Returns the subscription with another plan from an instant on. A trial goes on to its end, with the new product.
///
/// # Errors
/// [`ChangeError`] says what stands against it.
pub fn change_plan(
    subscription: &Subscription,
    request: &ChangeRequest<'_>,
    now: Timestamp,
) -> Result<Subscription, ChangeError> {
    check(subscription, request, now)?;
    let mut after = subscription.clone();
    if let Some(pending) = after.pending_change(now) {
        let change = pending.change.as_ref();
        if !request.replace_scheduled {
            return Err(ChangeError::Pending {
                plan_change_id: change
                    .map_or_else(String::new, |change| change.plan_change_id.clone()),
                effective_at: pending.starts_at,
            });
        }
        drop_pending(&mut after, now);
    }
    let (n, running) = after.running(now)?.ok_or(ChangeError::Ended)?;
    let at = request.effective.instant(running, now);
    let old = after.plan_of(n).clone();
    let plans = if old.is_trial() {
        in_trial(&after, &old, request, at, n, now)?
    } else {
        vec![next_plan(&old, request, Cut { n, running, at }, now)?]
    };
    after.upcoming_plans.retain(|plan| plan.starts_at < at);
    after.upcoming_plans.extend(plans);
    if after.plans().count() > PLANS_MAX {
        return Err(ChangeError::TooManyPlans);
    }
    after.touch(now)?;
    Ok(after)
}

/// Returns the subscription without the change of plan that had been scheduled.
///
/// # Errors
/// [`ChangeError`] when there is none.
pub fn drop_scheduled(
    subscription: &Subscription,
    now: Timestamp,
) -> Result<Subscription, ChangeError> {
    expect_active(subscription.status)?;
    let mut after = subscription.clone();
    if after.pending_change(now).is_none() {
        return Err(ChangeError::NothingToTakeBack("scheduled change of plan"));
    }
    drop_pending(&mut after, now);
    after.touch(now)?;
    Ok(after)
}

fn check(
    subscription: &Subscription,
    request: &ChangeRequest<'_>,
    now: Timestamp,
) -> Result<(), ChangeError> {
    expect_active(subscription.status)?;
    if subscription.is_cancelled(now) {
        return Err(ChangeError::Ended);
    }
    if let Some(cancelled) = &subscription.cancellation {
        return Err(ChangeError::Cancelled(cancelled.effective_at));
    }
    if request.product.archived {
        return Err(ChangeError::ArchivedProduct);
    }
    if request.quantity == 0 || request.quantity > QUANTITY_MAX {
        return Err(invalid("quantity", format!("expected 1 to {QUANTITY_MAX}")));
    }
    if request.product.price.currency() != subscription.currency {
        let message = format!(
            "expected a product priced in {}, the currency of the subscription",
            subscription.currency
        );
        return Err(invalid("product_id", message));
    }
    let fixed_price = request.product.price.usage_based().fixed_price;
    fee(fixed_price, request.quantity).map(|_| ())
}

/// Takes out what was scheduled and has not come. The paid plan behind a trial comes back, where a change had taken its place.
fn drop_pending(subscription: &mut Subscription, now: Timestamp) {
    let Some(pending) = subscription.pending_change(now) else {
        return;
    };
    let from = pending.starts_at;
    let replaced = pending
        .change
        .as_ref()
        .and_then(|change| change.replaces.clone());
    subscription
        .upcoming_plans
        .retain(|plan| plan.starts_at < from);
    subscription
        .upcoming_plans
        .extend(replaced.map(|plan| *plan));
}

/// Where the running period is cut.
#[derive(Copy, Clone)]
struct Cut {
    n: u32,
    running: Period,
    at: Timestamp,
}

/// Makes the plan that follows `old`.
fn next_plan(
    old: &Plan,
    request: &ChangeRequest<'_>,
    cut: Cut,
    now: Timestamp,
) -> Result<Plan, ChangeError> {
    let purchase = purchase(old, request);
    let cycle = old.cycle().ok_or(ChangeError::Ended)?;
    let first_period = next(cut.n)?;
    let (zone, alignment) = (cycle.time_zone.clone(), cycle.alignment);
    let fresh_cycle = purchase.plan(cut.at, first_period, zone, alignment)?;
    let frequency = request.product.price.usage_based().payment_frequency;
    let at_boundary = cut.at == old.whole_period(cut.n)?.end;
    let cuts_nothing = cut.at == cut.running.end;
    let keeps = cuts_nothing || request.mode.keeps_cycle(cycle.frequency, frequency)?;
    let mut plan = fresh_cycle;
    if keeps && cycle.frequency == frequency {
        plan.schedule = kept_cycle(old, cycle, cut, at_boundary)?;
    }
    let unused_time = if cuts_nothing {
        UnusedTime::Kept
    } else {
        plan.first_fee = request.mode.first_fee(old)?;
        request.mode.unused_time()
    };
    plan.change = Some(PlanChange {
        unused_time,
        ..plan_change(now, None)
    });
    Ok(plan)
}

/// Makes the plans that follow a trial or the rest of one.
fn in_trial(
    subscription: &Subscription,
    trial: &Plan,
    request: &ChangeRequest<'_>,
    at: Timestamp,
    n: u32,
    now: Timestamp,
) -> Result<Vec<Plan>, ChangeError> {
    let purchase = purchase(trial, request);
    let paid_before = subscription
        .upcoming_plans
        .iter()
        .find(|plan| plan.starts_at >= trial.term_ends_at);
    let paid_before = paid_before.ok_or(ChangeError::Ended)?;
    let cycle = paid_before.cycle().ok_or(ChangeError::Ended)?;
    let (zone, alignment) = (cycle.time_zone.clone(), cycle.alignment);
    let paid =
        |first_period| purchase.plan(trial.term_ends_at, first_period, zone.clone(), alignment);
    let replaces = Some(Box::new(paid_before.clone()));
    if at >= trial.term_ends_at {
        let change = Some(plan_change(now, replaces));
        return Ok(vec![Plan {
            change,
            ..paid(next(n)?)?
        }]);
    }
    let rest = Plan {
        schedule: Schedule::Trial,
        first_period: next(n)?,
        starts_at: at,
        term_ends_at: trial.term_ends_at,
        change: Some(plan_change(now, replaces)),
        ..paid(next(n)?)?
    };
    Ok(vec![rest, paid(next(next(n)?)?)?])
}

fn purchase<'a>(old: &Plan, request: &ChangeRequest<'a>) -> Purchase<'a> {
    Purchase {
        product: request.product,
        quantity: request.quantity,
        proration: request.proration.unwrap_or(old.proration),
    }
}

fn plan_change(now: Timestamp, replaces: Option<Box<Plan>>) -> PlanChange {
    PlanChange {
        plan_change_id: fresh("cpl_", now),
        requested_at: now,
        unused_time: UnusedTime::Kept,
        replaces,
    }
}

fn kept_cycle(
    old: &Plan,
    cycle: &Cycle,
    cut: Cut,
    at_boundary: bool,
) -> Result<Schedule, OutOfCalendar> {
    let Schedule::Cycle { first, .. } = &old.schedule else {
        return Err(OutOfCalendar);
    };
    let since = cut.n.saturating_sub(old.first_period) + u32::from(at_boundary);
    Ok(Schedule::Cycle {
        cycle: cycle.clone(),
        first: first.checked_add(since).ok_or(OutOfCalendar)?,
    })
}

impl BillingMode {
    /// All modes, as they are named in requests.
    pub const NAMED: [(&'static str, Self); 5] = [
        ("prorated_immediately", Self::ProratedImmediately),
        (
            "prorated_immediately_keep_cycle",
            Self::ProratedImmediatelyKeepCycle,
        ),
        ("full_immediately", Self::FullImmediately),
        ("difference_immediately", Self::DifferenceImmediately),
        ("do_not_bill", Self::DoNotBill),
    ];

    fn keeps_cycle(self, old: Frequency, new: Frequency) -> Result<bool, ChangeError> {
        match self {
            Self::ProratedImmediately | Self::FullImmediately => Ok(false),
            Self::DifferenceImmediately => Ok(old == new),
            Self::ProratedImmediatelyKeepCycle | Self::DoNotBill if old != new => {
                let message = "expected a mode that begins a new cycle, because the payment frequencies differ";
                Err(invalid("proration_billing_mode", message))
            }
            Self::ProratedImmediatelyKeepCycle | Self::DoNotBill => Ok(true),
        }
    }

    fn first_fee(self, old: &Plan) -> Result<FirstFee, ChangeError> {
        Ok(match self {
            Self::ProratedImmediately | Self::ProratedImmediatelyKeepCycle => FirstFee::Prorated,
            Self::FullImmediately => FirstFee::Full,
            Self::DoNotBill => FirstFee::Nothing,
            Self::DifferenceImmediately => FirstFee::Difference {
                paid: fee(old.price.usage_based().fixed_price, old.quantity)?,
            },
        })
    }

    const fn unused_time(self) -> UnusedTime {
        match self {
            Self::ProratedImmediately | Self::ProratedImmediatelyKeepCycle => UnusedTime::Credited,
            Self::FullImmediately | Self::DifferenceImmediately | Self::DoNotBill => {
                UnusedTime::Kept
            }
        }
    }
}

/// Returns the fixed fee of a whole period.
fn fee(fixed_price: i64, quantity: u32) -> Result<i64, ChangeError> {
    let charge = flat::charge(fixed_price, quantity, Share::WHOLE);
    let fits = charge.map(|charge| charge.amount);
    fits.map_err(|_| invalid("quantity", "expected a fixed fee that fits an amount"))
}

fn next(n: u32) -> Result<u32, OutOfCalendar> {
    n.checked_add(1).ok_or(OutOfCalendar)
}

fn invalid(field: &'static str, message: impl Into<String>) -> ChangeError {
    ChangeError::Invalid {
        field,
        message: message.into(),
    }
}
