//! Where a subscription stands in replies: what runs at an instant, what was agreed for later, and its end.

use serde::Serialize;
use submeter_common::time::Timestamp;

use crate::id::ProductId;
use crate::subscription::period::Alignment;
use crate::subscription::proration::Proration;
use crate::subscription::zone::Zone;
use crate::subscription::{Plan, Subscription, SubscriptionStatus};

/// A list that compatible replies carry and that has nothing in it here.
type Nothing = [(); 0];

const DAY_MICROS: i64 = 86_400_000_000;

/// What a reply says beside the plan.
#[derive(Serialize)]
pub(super) struct Standing {
    status: &'static str,
    /// Since when an invoice should have been paid.
    past_due_since: Option<Timestamp>,
    previous_billing_date: Timestamp,
    next_billing_date: Timestamp,
    expires_at: Timestamp,
    trial_period_days: i64,
    /// End of the trial, while it lasts and after.
    trial_ends_at: Option<Timestamp>,
    time_zone: Zone,
    billing_alignment: Alignment,
    proration: Proration,
    cancel_at_next_billing_date: bool,
    cancelled_at: Option<Timestamp>,
    cancellation_feedback: Option<String>,
    cancellation_comment: Option<String>,
    scheduled_change: Option<ScheduledChange>,
}

/// A change of plan that has not come yet.
#[derive(Serialize)]
struct ScheduledChange {
    id: String,
    addons: Nothing,
    created_at: Timestamp,
    effective_at: Timestamp,
    product_id: ProductId,
    product_name: String,
    product_description: Option<String>,
    quantity: u32,
}

impl Standing {
    /// Says where a subscription stands that is as of `now`.
    pub(super) fn of(
        subscription: &Subscription,
        past_due_since: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        let period = subscription.current_period;
        let cycle = subscription.plans().rev().find_map(Plan::cycle);
        let cancellation = subscription.cancellation.as_ref();
        let is_cancelled = subscription.is_cancelled(now);
        Self {
            status: match subscription.status {
                _ if is_cancelled => "cancelled",
                SubscriptionStatus::Active if past_due_since.is_some() => "past_due",
                SubscriptionStatus::Active => "active",
                SubscriptionStatus::Expired => "expired",
                SubscriptionStatus::Cancelled => "cancelled",
            },
            past_due_since,
            previous_billing_date: period.start,
            next_billing_date: period.end,
            expires_at: subscription.ends_at(),
            trial_period_days: trial_days(subscription),
            trial_ends_at: trial(subscription).map(|trial| trial.term_ends_at),
            time_zone: cycle.map_or(Zone::UTC, |cycle| cycle.time_zone.clone()),
            billing_alignment: cycle.map_or_else(Alignment::default, |cycle| cycle.alignment),
            proration: subscription.plan.proration,
            cancel_at_next_billing_date: cancellation.is_some_and(|end| end.at_period_end)
                && !is_cancelled,
            cancelled_at: cancellation.map(|end| end.requested_at),
            cancellation_feedback: cancellation.and_then(|end| end.feedback.clone()),
            cancellation_comment: cancellation.and_then(|end| end.comment.clone()),
            scheduled_change: subscription
                .pending_change(now)
                .and_then(ScheduledChange::of),
        }
    }
}

impl ScheduledChange {
    fn of(plan: &Plan) -> Option<Self> {
        let change = plan.change.as_ref()?;
        Some(Self {
            id: change.plan_change_id.clone(),
            addons: [],
            created_at: change.requested_at,
            effective_at: plan.starts_at,
            product_id: plan.product_id.clone(),
            product_name: plan.product_name.clone(),
            product_description: None,
            quantity: plan.quantity,
        })
    }
}

fn trial(subscription: &Subscription) -> Option<&Plan> {
    subscription.plans().next().filter(|plan| plan.is_trial())
}

/// The days of the trial, of which one may have 23 or 25 hours.
fn trial_days(subscription: &Subscription) -> i64 {
    trial(subscription).map_or(0, |trial| {
        let micros = trial.term_ends_at.as_micros() - trial.starts_at.as_micros();
        (micros + DAY_MICROS / 2) / DAY_MICROS
    })
}
