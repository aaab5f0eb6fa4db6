//! The reset of credits between two periods: what carries over, what is forfeited, what is new, and what overage is repaid.

use super::{
    BillingError,
    close::{Closing, Draft},
    opening,
};
use crate::{
    bookkeeping::{GrantChange, Holdings},
    credits::{
        CreditAttachment, EntitlementId, Grant, GrantSource, OverageBehavior,
        burn_down::Purse,
        rollover::{self, Life},
    },
    money::Decimal,
    subscription::{Subscription, SubscriptionStatus, period},
};

/// Ends the closed period's credits and begins those of `next`, the subscription as it goes on. Returns the grants that
/// changed and those that are new.
pub(super) fn credits(
    closing: &Closing,
    draft: &mut Draft,
    next: &Subscription,
) -> Result<(Vec<GrantChange>, Vec<Grant>), BillingError> {
    let mut new = opening::grants(next, closing.now)?;
    new.retain(|grant| {
        closing
            .grants
            .iter()
            .all(|given| given.grant_id != grant.grant_id)
    });
    for grant in &new {
        draft.book.granted(grant);
    }
    let (mut changed, mut added) = (Vec::new(), Vec::new());
    for (entitlement, mut purse) in std::mem::take(&mut draft.purses) {
        let of_kind = |grant: &Grant| grant.credit_entitlement_id == entitlement;
        purse.add(new.extract_if(.., |grant| of_kind(grant)));
        let terms = closing.subscription.plan.credit_terms(&entitlement);
        if let Some(terms) = terms {
            carry_over(closing, draft, next, terms, &mut purse)?;
        }
        for (grant, rest) in purse.expire(closing.period().end, closing.now) {
            let occasion = draft.invoice_id.to_string();
            draft.book.expired(&entitlement, &grant, &rest, &occasion);
        }
        if terms.is_some_and(repays) {
            repay(closing, draft, &entitlement, &mut purse);
        }
        added.extend(purse.take_added());
        let changes = purse.into_changes();
        changed.extend(changes.map(|(before, after)| GrantChange { before, after }));
    }
    // Kinds that only the next plan attaches.
    added.append(&mut new);
    Ok((changed, added))
}

fn repays(terms: &CreditAttachment) -> bool {
    terms.overage_behavior == OverageBehavior::CarryDeficitAutoRepay
}

/// Carries over what is left of the subscription's grants that end in or with the closed period; nothing outlives the
/// subscription's end.
fn carry_over(
    closing: &Closing,
    draft: &mut Draft,
    next: &Subscription,
    terms: &CreditAttachment,
    purse: &mut Purse,
) -> Result<(), BillingError> {
    if !terms.rollover.enabled || next.status != SubscriptionStatus::Active {
        return Ok(());
    }
    let (ended, begun) = (closing.period(), next.current_period);
    let expires_at = match (terms.rollover.timeframe, next.plan.cycle()) {
        (Some(length), Some(cycle)) => period::after(begun.start, length, &cycle.time_zone)?,
        _ => begun.end,
    };
    let life = Life {
        effective_at: begun.start,
        expires_at,
    };
    let is_due = |grant: &Grant| {
        let from_here = grant.subscription_id.as_ref() == Some(&next.subscription_id)
            && matches!(
                grant.source,
                GrantSource::Subscription | GrantSource::Rollover
            );
        let ends = grant
            .expires_at
            .is_some_and(|end| ended.start < end && end <= ended.end);
        from_here && ends
    };
    let divide = |grant: &Grant| {
        rollover::divide(grant, &terms.rollover, life, terms.precision, closing.now)
    };
    let entitlement = &terms.credit_entitlement_id;
    for divided in purse.carry_over(is_due, divide, closing.now) {
        if let Some(successor) = &divided.successor {
            draft
                .book
                .carried_over(&divided.from, &divided.carried, successor);
        }
        draft
            .book
            .forfeited(entitlement, &divided.from, &divided.forfeited);
    }
    Ok(())
}

/// Repays overage that is owed from the credits that the next period begins with.
fn repay(closing: &Closing, draft: &mut Draft, entitlement: &EntitlementId, purse: &mut Purse) {
    let owed = &owed(closing, entitlement) + &draft.carried(entitlement);
    let occasion = draft.invoice_id.to_string();
    for draw in purse.repay(&owed, closing.period().end, closing.now) {
        let amount = draw.from_remaining;
        draft
            .book
            .overage_repaid(entitlement, &draw.grant_id, &amount, &occasion);
    }
}

/// Returns the credits that the customer owed before the close.
pub(super) fn owed(closing: &Closing, entitlement: &EntitlementId) -> Decimal {
    let customer = closing.subscription.customer_id.clone();
    let books = closing.books.clone();
    Holdings::booked_only(customer, entitlement.clone(), books, Vec::new()).owed()
}
