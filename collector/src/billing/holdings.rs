//! What a customer holds of one kind of credits now, open periods included.
//!
//! What an open period has used is not booked before its close, but nobody should spend it again. So every open period is
//! billed as if it ended now, by the very path that closes it, and what is left of the grants is what can be used. A period
//! that is over and waits for agents does not keep its successor's credits back: they are given to whoever asks first.

use super::{BillingError, LineKind, close, gather, opening};
use crate::{
    bookkeeping::{Book, Holdings, Posting},
    credits::Grant,
    id::EntitlementId,
    storage::{Page, PostOutcome, Storage, SubscriptionFilter},
    subscription::{Subscription, SubscriptionStatus},
};
use submeter_common::{CustomerId, Timestamp};

/// Subscriptions read at once.
const SUBSCRIPTIONS_PER_PAGE: u32 = 100;

/// Reads what a customer holds of one kind of credits at `now`.
///
/// # Errors
/// As for closing the open periods.
pub async fn holdings<S: Storage + ?Sized>(
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
        let mut closing = gather::gather(storage, &subscription, Vec::new(), now).await?;
        if !is_oldest {
            // The period before is only closed in thought: its usage was burned in the round before.
            closing.late.clear();
        }
        let of_kind = |grant: &Grant| grant.credit_entitlement_id == holdings.credit_entitlement_id;
        closing.grants.retain(|grant| !of_kind(grant));
        closing.grants.append(&mut holdings.live);
        let (invoice, mut draft) = close::bill(&closing)?;
        for line in &invoice.lines {
            let credits = line.credits.iter().filter(|credits| {
                credits.credit_entitlement_id == holdings.credit_entitlement_id
                    && line.kind == LineKind::Usage
            });
            for credits in credits {
                holdings.open_overage += &credits.overage_credits;
            }
        }
        if let Some(purse) = draft.purses.remove(&holdings.credit_entitlement_id) {
            holdings.live = purse.into_grants();
        }
        if subscription.current_period.end > now {
            return Ok(());
        }
        subscription.advance()?;
        is_oldest = false;
        if subscription.status != SubscriptionStatus::Active {
            return Ok(());
        }
        give(storage, holdings, &subscription, now).await?;
    }
}

/// Gives the credits with which the subscription's next period begins, although the one before it is not closed yet. Its
/// close finds them given.
async fn give<S: Storage + ?Sized>(
    storage: &S,
    holdings: &mut Holdings,
    subscription: &Subscription,
    now: Timestamp,
) -> Result<(), BillingError> {
    let grants = opening::grants(subscription, now).into_iter();
    let missing = grants.filter(|grant| {
        grant.credit_entitlement_id == holdings.credit_entitlement_id
            && !holdings
                .booked
                .iter()
                .any(|booked| booked.grant_id == grant.grant_id)
    });
    for grant in missing.collect::<Vec<_>>() {
        let mut book = Book::new(grant.customer_id.clone(), now);
        book.granted(&grant);
        let posting = Posting {
            grants_new: vec![grant.clone()],
            transfers: book.into_transfers(),
            ..Posting::empty(grant.customer_id.clone())
        };
        // Stale: somebody else gave it first. Then the books are others, too, and no decision on these holdings passes.
        if storage.post(posting).await? == PostOutcome::Posted {
            holdings.books = storage.books(&holdings.customer_id).await?;
        }
        holdings.booked.push(grant.clone());
        holdings.live.push(grant);
    }
    Ok(())
}
