//! What a customer holds of one kind of credits now, open periods included.
//!
//! What an open period has used is not booked before its close, but nobody should spend it again. So every open period is
//! billed as if it ended now, by the very path that closes it, and what is left of the grants is what can be used. A period
//! that is over and waits for agents does not keep its successor's credits back: they count as given, and are booked by the
//! first decision that may draw on them. Looking writes nothing.

use super::{BillingError, close, gather, opening};
use crate::{
    bookkeeping::Holdings,
    credits::Grant,
    id::EntitlementId,
    storage::{Page, Storage, SubscriptionFilter},
    subscription::{Subscription, SubscriptionStatus},
};
use submeter_common::{CustomerId, Timestamp};

/// Subscriptions read at once.
const SUBSCRIPTIONS_PER_PAGE: u32 = 100;

/// How often it is read anew while others change it. Billing changes a customer once a period, callers wait for each other.
const READINGS_MAX: u32 = 20;

/// Reads what a customer holds of one kind of credits at `now`. What usage costs in money plays no part.
///
/// # Errors
/// When the usage of a meter that burns such credits cannot be read or added up.
pub async fn holdings<S: Storage + ?Sized>(
    storage: &S,
    customer: &CustomerId,
    entitlement: &EntitlementId,
    now: Timestamp,
) -> Result<Holdings, BillingError> {
    let mut readings = 1;
    loop {
        let holdings = read(storage, customer, entitlement, now).await?;
        // Grants of before a close and periods of after it do not belong together: usage would count for neither.
        let entries = storage.books(customer).await?.entries;
        if entries == holdings.books.entries || readings == READINGS_MAX {
            return Ok(holdings);
        }
        readings += 1;
    }
}

async fn read<S: Storage + ?Sized>(
    storage: &S,
    customer: &CustomerId,
    entitlement: &EntitlementId,
    now: Timestamp,
) -> Result<Holdings, BillingError> {
    // Before the grants: whatever changes them from here on makes a decision on them stale.
    let books = storage.books(customer).await?;
    let booked = storage.grants(customer, Some(entitlement)).await?;
    let (customer, entitlement) = (customer.clone(), entitlement.clone());
    let mut holdings = Holdings::booked_only(customer, entitlement, books, booked);
    for subscription in burning(storage, &holdings).await? {
        // A period that others closed since the caller looked at the clock.
        holdings.since = holdings.since.max(subscription.current_period.start);
        burn_open_periods(storage, &mut holdings, subscription, now).await?;
    }
    Ok(holdings)
}

/// Returns the active subscriptions that burn such credits.
async fn burning<S: Storage + ?Sized>(
    storage: &S,
    holdings: &Holdings,
) -> Result<Vec<Subscription>, BillingError> {
    let filter = SubscriptionFilter {
        customer_id: Some(holdings.customer_id.clone()),
    };
    let mut found = Vec::new();
    for number in 0.. {
        let page = Page::new(number, SUBSCRIPTIONS_PER_PAGE);
        let subscriptions = storage.subscriptions(&filter, page).await?;
        let is_last = subscriptions.len() < page.take();
        found.extend(subscriptions.into_iter().filter(|subscription| {
            subscription.status == SubscriptionStatus::Active
                && gather::entitlements(subscription).contains(&holdings.credit_entitlement_id)
        }));
        if is_last {
            break;
        }
    }
    Ok(found)
}

/// Burns what the subscription's open periods have used so far: the one that runs, and those before it that wait.
async fn burn_open_periods<S: Storage + ?Sized>(
    storage: &S,
    holdings: &mut Holdings,
    mut subscription: Subscription,
    now: Timestamp,
) -> Result<(), BillingError> {
    let mut is_oldest = true;
    loop {
        let kind = &holdings.credit_entitlement_id;
        let mut closing = gather::of_credits(storage, &subscription, kind, now).await?;
        if !is_oldest {
            // The period before is only closed in thought: its usage was burned in the round before.
            closing.late.clear();
        }
        let of_kind = |grant: &Grant| grant.credit_entitlement_id == *kind;
        closing.grants.retain(|grant| !of_kind(grant));
        closing.grants.append(&mut holdings.live);
        let (live, uncovered) = close::burn(&closing, kind)?;
        holdings.live = live;
        holdings.open_overage += &uncovered;
        if subscription.current_period.end > now {
            return Ok(());
        }
        subscription.advance()?;
        is_oldest = false;
        if subscription.status != SubscriptionStatus::Active {
            return Ok(());
        }
        expect(holdings, &subscription, now)?;
    }
}

/// Counts on the credits with which the subscription's next period begins, although the one before it is not closed yet.
fn expect(
    holdings: &mut Holdings,
    subscription: &Subscription,
    now: Timestamp,
) -> Result<(), BillingError> {
    for grant in opening::grants(subscription, now)? {
        let is_booked = holdings.booked_grant(&grant.grant_id).is_some();
        if grant.credit_entitlement_id == holdings.credit_entitlement_id && !is_booked {
            holdings.due.push(grant.clone());
            holdings.live.push(grant);
        }
    }
    Ok(())
}
