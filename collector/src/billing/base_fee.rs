//! The fixed fee of a period: billed in advance, and corrected when the period turns out shorter.
//!
//! One rule, as for usage: what the fee comes to by all that is known now, minus what was billed of it already.

use super::{BillingError, InvoiceLine, line};
use crate::{
    money::MoneyError,
    rating::{Charge, Share, flat},
    subscription::{
        Plan, Subscription,
        period::OutOfCalendar,
        plan::{FirstFee, UnusedTime},
    },
};
use submeter_common::Period;

/// Why a base fee cannot be computed.
#[derive(Debug, thiserror::Error)]
pub(super) enum FeeError {
    #[error(transparent)]
    Money(#[from] MoneyError),
    #[error(transparent)]
    Calendar(#[from] OutOfCalendar),
}

impl From<FeeError> for BillingError {
    fn from(error: FeeError) -> Self {
        match error {
            FeeError::Money(error) => Self::Money(error),
            FeeError::Calendar(error) => Self::Calendar(error),
        }
    }
}

/// Makes the line of the fee of period `n`; none without a fee, in a trial, or after the subscription's end.
pub(super) fn in_advance(
    subscription: &Subscription,
    n: u32,
) -> Result<Option<InvoiceLine>, FeeError> {
    let Some(served) = subscription.period(n)? else {
        return Ok(None);
    };
    let plan = subscription.plan_of(n);
    let charge = charge(subscription, plan, n, served)?;
    Ok(charge.map(|charge| line::base_fee(&plan.product_name, served, charge)))
}

/// Makes the line that corrects the fee of period `n`, of which `billed` minor units are billed, when a change of plan or a
/// cancellation has cut the period; none where that makes no difference.
pub(super) fn correction(
    subscription: &Subscription,
    n: u32,
    billed: i64,
) -> Result<Option<InvoiceLine>, FeeError> {
    let plan = subscription.plan_of(n);
    let Some(served) = subscription.period(n)? else {
        return Ok(None);
    };
    let whole_end = plan.whole_period(n)?.end.min(plan.term_ends_at);
    if served.end == whole_end {
        return Ok(None);
    }
    let charge = match charge(subscription, plan, n, served)? {
        Some(charge) => charge,
        None => flat::charge(0, plan.quantity, Share::WHOLE)?,
    };
    let amount = charge
        .amount
        .checked_sub(billed)
        .ok_or(MoneyError::Overflow)?;
    let correction = line::base_fee_correction(&plan.product_name, served, charge, billed, amount);
    Ok(Some(correction).filter(|line| line.amount != 0))
}

/// Returns how much of period `n` is served: for parts of usage prices that are owed by time.
pub(super) fn share(subscription: &Subscription, n: u32) -> Result<Share, OutOfCalendar> {
    let plan = subscription.plan_of(n);
    match (subscription.period(n)?, plan.cycle()) {
        (None, _) => Ok(Share::NONE),
        (Some(_), None) => Ok(Share::WHOLE),
        (Some(served), Some(cycle)) => plan.proration.share(served, plan.whole_period(n)?, cycle),
    }
}

/// Returns what the fee of period `n`, of which `served` is served, comes to.
fn charge(
    subscription: &Subscription,
    plan: &Plan,
    n: u32,
    served: Period,
) -> Result<Option<Charge>, FeeError> {
    let Some(cycle) = plan.cycle() else {
        return Ok(None);
    };
    let whole = plan.whole_period(n)?;
    let mut paid_for = served;
    if subscription.unused_time(plan) == UnusedTime::Kept {
        paid_for.end = whole.end.min(plan.term_ends_at);
    }
    let fee = plan.price.usage_based().fixed_price;
    let (fee, quantity, of) = match plan.first_fee {
        FirstFee::Nothing if n == plan.first_period => return Ok(None),
        FirstFee::Difference { paid } if n == plan.first_period => {
            let full = flat::charge(fee, plan.quantity, Share::WHOLE)?.amount;
            let difference = full.checked_sub(paid).ok_or(MoneyError::Overflow)?;
            let rest = Period {
                start: plan.starts_at,
                end: whole.end,
            };
            (difference, 1, rest)
        }
        FirstFee::Full if n == plan.first_period => {
            paid_for.start = whole.start;
            (fee, plan.quantity, whole)
        }
        _ => (fee, plan.quantity, whole),
    };
    let share = plan.proration.share(paid_for, of, cycle)?;
    if fee == 0 || share.served == 0 {
        return Ok(None);
    }
    Ok(Some(flat::charge(fee, quantity, share)?))
}
