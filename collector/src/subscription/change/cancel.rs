//! Cancelling a subscription, at once or at the period's end, and taking that back.

use super::{ChangeError, Effective, expect_active};
use crate::subscription::{Cancellation, Subscription, plan::UnusedTime};
use submeter_common::time::Timestamp;

/// What a caller tells about a cancellation.
#[derive(Clone, Debug)]
pub struct CancelRequest {
    /// When it ends.
    pub effective: Effective,
    /// What is done about the fee of the rest of the period.
    pub unused_time: UnusedTime,
    /// Why, as a word of the API.
    pub reason: Option<String>,
    /// What the customer said, as a word of the API.
    pub feedback: Option<String>,
    /// What the customer said, in words.
    pub comment: Option<String>,
}

/// Returns the subscription with its end: the running period is its last one. One that ends with the period may be ended at once
/// instead; a second request for the same end only replaces the reasons.
///
/// # Errors
/// [`ChangeError`] when it has ended already.
pub fn cancel(
    subscription: &Subscription,
    request: CancelRequest,
    now: Timestamp,
) -> Result<Subscription, ChangeError> {
    expect_active(subscription.status)?;
    if subscription.is_cancelled(now) {
        return Err(ChangeError::Ended);
    }
    let Some((_, running)) = subscription.running(now)? else {
        return Err(ChangeError::Ended);
    };
    let cancellation = Cancellation {
        requested_at: now,
        effective_at: request.effective.instant(running, now),
        at_period_end: request.effective == Effective::PeriodEnd,
        unused_time: request.unused_time,
        reason: request.reason,
        feedback: request.feedback,
        comment: request.comment,
    };
    changed(subscription, Some(cancellation), now)
}

/// Returns the subscription without the cancellation that it had for the end of the period.
///
/// # Errors
/// [`ChangeError`] when there is none, or when the end has come.
pub fn keep(subscription: &Subscription, now: Timestamp) -> Result<Subscription, ChangeError> {
    expect_active(subscription.status)?;
    if subscription.cancellation.is_none() {
        return Err(ChangeError::NothingToTakeBack("cancellation"));
    }
    if subscription.is_cancelled(now) {
        return Err(ChangeError::Ended);
    }
    changed(subscription, None, now)
}

fn changed(
    subscription: &Subscription,
    cancellation: Option<Cancellation>,
    now: Timestamp,
) -> Result<Subscription, ChangeError> {
    let mut after = subscription.clone();
    after.cancellation = cancellation;
    after.touch(now)?;
    Ok(after)
}
