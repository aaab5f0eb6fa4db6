//! Looks at the open periods of customers whose usage or credits changed, and tells what is to be told of them.
//!
//! A look reads what has been told before it reads usage, and writes over just that: of two looks at once one is stale. Usage
//! is only ever added, so a look after a period was read for its close sees all that the close bills. The billing run looks
//! then, and no period is closed with a mark that was reached in time and not told.

use super::{
    BillingError, holdings,
    open_periods::{self, OpenPeriod},
    opening,
};
use crate::{
    alerts::{Balance, Measure, Place, Standing, Threshold, Told, messages},
    money::Decimal,
    outbox::NewMessage,
    storage::{
        CatalogSnapshot, Page, Storage, StorageError, SubscriptionFilter, TellOutcome, Telling,
        Touch,
    },
    subscription::{Subscription, SubscriptionStatus},
};
use std::collections::{BTreeMap, BTreeSet};
use submeter_common::{CustomerId, MeterId, Timestamp};

/// Subscriptions read at once.
const SUBSCRIPTIONS_PER_PAGE: u32 = 100;
/// How often a customer is looked at anew when others tell of it meanwhile.
const LOOKS_MAX: u32 = 10;

/// Looks at a customer that was touched, at `now` of its time.
///
/// # Errors
/// As for billing the open periods; the touch stays then.
pub async fn look<S: Storage + ?Sized>(
    storage: &S,
    touch: &Touch,
    now: Timestamp,
) -> Result<(), BillingError> {
    for _ in 0..LOOKS_MAX {
        let before = storage.told(&touch.customer_id).await?;
        let (after, messages) = seen(storage, &touch.customer_id, &before, now).await?;
        let telling = Telling {
            touch: touch.clone(),
            before,
            after,
            messages,
        };
        match storage.tell(telling).await? {
            TellOutcome::Told => return Ok(()),
            TellOutcome::Stale => {}
        }
    }
    Ok(())
}

/// Looks at each of these customers that was touched and not looked at since, before their periods are closed. Who cannot be
/// looked at is passed over: a period that can be billed is.
pub(super) async fn look_before_close<S: Storage + ?Sized>(
    storage: &S,
    customers: &BTreeSet<CustomerId>,
    now: Timestamp,
) -> Result<(), StorageError> {
    for customer in customers {
        let Some(touch) = storage.touch_of(customer).await? else {
            continue;
        };
        match look(storage, &touch, now).await {
            Ok(()) => {}
            Err(BillingError::Storage(error)) if error.is_outage() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, %customer, "it cannot be seen whether usage has reached a threshold");
            }
        }
    }
    Ok(())
}

/// Returns where a customer's open periods stand against every threshold that watches them, at `now`.
///
/// # Errors
/// As for billing the open periods.
pub async fn standings<S: Storage + ?Sized>(
    storage: &S,
    customer: &CustomerId,
    now: Timestamp,
) -> Result<Vec<Standing>, BillingError> {
    let subscriptions = active(storage, customer).await?;
    standings_of(storage, customer, &subscriptions, now).await
}

/// What there is to be told, beside what was told before.
async fn seen<S: Storage + ?Sized>(
    storage: &S,
    customer: &CustomerId,
    before: &Told,
    now: Timestamp,
) -> Result<(Told, Vec<NewMessage>), BillingError> {
    let subscriptions = active(storage, customer).await?;
    let (mut after, mut told) = (Told::default(), Vec::new());
    for standing in standings_of(storage, customer, &subscriptions, now).await? {
        for mark in before.reach(&mut after, &standing) {
            told.push(messages::threshold_reached(&standing, mark, now));
        }
    }
    for subscription in &subscriptions {
        for balance in balances(storage, subscription, now).await? {
            if let Some(times) = before.watch(&mut after, &balance) {
                told.push(messages::balance_low(&balance, times, now));
            }
        }
    }
    Ok((after, told))
}

async fn active<S: Storage + ?Sized>(
    storage: &S,
    customer: &CustomerId,
) -> Result<Vec<Subscription>, StorageError> {
    let filter = SubscriptionFilter {
        customer_id: Some(customer.clone()),
    };
    let mut found = Vec::new();
    for number in 0.. {
        let page = Page::new(number, SUBSCRIPTIONS_PER_PAGE);
        let subscriptions = storage.subscriptions(&filter, page).await?;
        let is_last = subscriptions.len() < page.take();
        found.extend(subscriptions);
        if is_last {
            break;
        }
    }
    found.retain(|subscription| subscription.status == SubscriptionStatus::Active);
    // Oldest first, so that messages come in one order whoever looks.
    found.reverse();
    Ok(found)
}

async fn standings_of<S: Storage + ?Sized>(
    storage: &S,
    customer: &CustomerId,
    subscriptions: &[Subscription],
    now: Timestamp,
) -> Result<Vec<Standing>, BillingError> {
    let thresholds = storage.thresholds_for(customer).await?;
    if thresholds.is_empty() {
        return Ok(Vec::new());
    }
    let catalog = storage.catalog().await?;
    let mut all = Vec::new();
    for subscription in subscriptions {
        let open = open_periods::of(subscription, now)?;
        let watches = |threshold: &&Threshold| {
            let plans = open.iter().map(|open| (&open.plan, open.currency));
            plans
                .into_iter()
                .any(|(plan, currency)| threshold.watches(customer, plan, currency))
        };
        let watching: Vec<&Threshold> = thresholds.iter().filter(watches).collect();
        all.extend(of_subscription(storage, &catalog, &open, &watching, now).await?);
    }
    Ok(all)
}

/// Returns where the open periods of a subscription stand.
async fn of_subscription<S: Storage + ?Sized>(
    storage: &S,
    catalog: &CatalogSnapshot,
    open: &[Subscription],
    watching: &[&Threshold],
    now: Timestamp,
) -> Result<Vec<Standing>, BillingError> {
    let asks_money = watching
        .iter()
        .any(|threshold| threshold.measure != Measure::Quantity);
    let overage = if asks_money && open.iter().any(open_periods::charges_overage) {
        open_periods::overage(storage, open, now).await?
    } else {
        vec![BTreeMap::new(); open.len()]
    };
    let mut all = Vec::new();
    for (subscription, overage) in open.iter().zip(overage) {
        let mut period = OpenPeriod::new(storage, catalog, subscription);
        let (customer, plan) = (&subscription.customer_id, &subscription.plan);
        for threshold in watching {
            if !threshold.watches(customer, plan, subscription.currency) {
                continue;
            }
            all.push(Standing {
                threshold: (*threshold).clone(),
                customer_id: customer.clone(),
                place: place(subscription),
                product_id: plan.product_id.clone(),
                period: subscription.current_period,
                used: used(&mut period, threshold, &overage).await?,
            });
        }
    }
    Ok(all)
}

/// Returns what a period has come to by a threshold's measure.
async fn used<S: Storage + ?Sized>(
    period: &mut OpenPeriod<'_, S>,
    threshold: &Threshold,
    overage: &BTreeMap<MeterId, i64>,
) -> Result<Decimal, BillingError> {
    let mut sum = Decimal::zero();
    let is_watched = |meter: &MeterId| {
        threshold
            .scope
            .meter_id
            .as_ref()
            .is_none_or(|id| id == meter)
    };
    let subscription = period.subscription;
    let meters = &subscription.plan.price.usage_based().meters;
    for price in meters.iter().filter(|price| is_watched(&price.meter_id)) {
        match threshold.measure {
            Measure::Quantity => sum += &period.reading(price).await?.quantity,
            Measure::Spend { .. } => {
                let more = overage.get(&price.meter_id).copied().unwrap_or_default();
                sum += &Decimal::from(period.charge(price).await?);
                sum += &Decimal::from(more);
            }
        }
    }
    Ok(sum)
}

/// Returns the balances of credits that the subscription's terms watch.
async fn balances<S: Storage + ?Sized>(
    storage: &S,
    subscription: &Subscription,
    now: Timestamp,
) -> Result<Vec<Balance>, BillingError> {
    let subscription = subscription.clone().as_of(now)?;
    if subscription.status != SubscriptionStatus::Active {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for terms in &subscription.plan.credit_entitlements {
        let granted = opening::granted(&subscription, terms)?;
        let threshold = terms.low_balance(&granted);
        let Some(threshold) = threshold.filter(|_| granted.is_positive()) else {
            continue;
        };
        let (customer, entitlement) = (&subscription.customer_id, &terms.credit_entitlement_id);
        let holdings = holdings(storage, customer, entitlement, now).await?;
        all.push(Balance {
            customer_id: customer.clone(),
            place: place(&subscription),
            credit_entitlement_id: entitlement.clone(),
            credit_entitlement_name: terms.credit_entitlement_name.clone(),
            granted,
            threshold,
            available: holdings.available(now),
        });
    }
    Ok(all)
}

fn place(subscription: &Subscription) -> Place {
    Place {
        subscription_id: subscription.subscription_id.clone(),
        period: subscription.next_period,
    }
}
