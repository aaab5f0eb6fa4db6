//! Reading everything that closing a period depends on.

use super::{
    BillingError, Invoice,
    adjustment::LateReading,
    billed::Billed,
    close::Closing,
    reading::{self, MeterReading},
};
use crate::{
    catalog::{MeterPrice, MeterPricing},
    credits::{Grant, burn_down::Purse},
    id::EntitlementId,
    storage::{CatalogSnapshot, InvoiceFilter, Page, Storage},
    subscription::{Plan, Subscription},
};
use std::{collections::BTreeSet, time::Duration};
use submeter_common::{AgentId, Meter, Period, Timestamp};

/// How far behind now a closed period's end may lie for its late usage still to be billed. An import reaches back this far;
/// what is older was settled long ago, and looking for it at every close would cost without end.
const LATE_USAGE_AGE_MAX: Duration = Duration::from_secs(400 * 86_400);
/// Invoices read at once.
const INVOICES_PER_PAGE: u32 = 64;

/// Which meters to read.
#[derive(Copy, Clone, Debug)]
enum Meters<'a> {
    /// All that the subscription prices.
    All,
    /// Those that burn credits of one kind.
    Burning(&'a EntitlementId),
}

impl Meters<'_> {
    fn include(self, price: &MeterPrice) -> bool {
        match (self, &price.pricing) {
            (Self::All, _) => true,
            (Self::Burning(_), MeterPricing::Money { .. }) => false,
            (
                Self::Burning(kind),
                MeterPricing::Credits {
                    credit_entitlement_id,
                    ..
                },
            ) => credit_entitlement_id == kind,
        }
    }
}

/// Reads what closing the open period of `subscription` at `now` depends on.
pub(super) async fn gather<S: Storage + ?Sized>(
    storage: &S,
    subscription: &Subscription,
    missing_agents: Vec<AgentId>,
    now: Timestamp,
) -> Result<Closing, BillingError> {
    read(storage, subscription, missing_agents, Meters::All, now).await
}

/// Reads what the open period of `subscription` takes from credits of one `kind`, and nothing that it costs in money.
pub(super) async fn of_credits<S: Storage + ?Sized>(
    storage: &S,
    subscription: &Subscription,
    kind: &EntitlementId,
    now: Timestamp,
) -> Result<Closing, BillingError> {
    let meters = Meters::Burning(kind);
    read(storage, subscription, Vec::new(), meters, now).await
}

async fn read<S: Storage + ?Sized>(
    storage: &S,
    subscription: &Subscription,
    missing_agents: Vec<AgentId>,
    wanted: Meters<'_>,
    now: Timestamp,
) -> Result<Closing, BillingError> {
    // Before the grants: whatever changes them from here on makes the settlement stale.
    let books = storage.books(&subscription.customer_id).await?;
    let catalog = storage.catalog().await?;
    let invoices = invoices_since(storage, subscription, billed_since(subscription, now)).await?;
    let billed = Billed::of(&invoices);
    let grants = grants(storage, subscription).await?;
    let mut readings = Vec::new();
    let prices = subscription.plan.price.usage_based().meters.iter();
    for price in prices.filter(|price| wanted.include(price)) {
        let meter = known_meter(&catalog, price)?;
        readings.push(read_meter(storage, subscription, price, meter, &grants).await?);
    }
    let mut late = Vec::new();
    for (plan, closed) in closed_periods(subscription, now)? {
        let prices = plan.price.usage_based().meters.iter().enumerate();
        for (index, price) in prices.filter(|(_, price)| wanted.include(price)) {
            let meter = known_meter(&catalog, price)?;
            late.extend(
                late_readings(
                    storage,
                    subscription,
                    (index, &meter, price),
                    &billed,
                    &closed,
                )
                .await?,
            );
        }
    }
    // Across meters the oldest usage comes first: it burns credits first.
    late.sort_by_key(|late| (late.period.start, late.meter_index));
    Ok(Closing {
        subscription: subscription.clone(),
        readings,
        late,
        billed,
        books,
        grants,
        missing_agents,
        now,
    })
}

/// Returns the instant before which no invoice was issued that matters: none bills usage of a period that ended later than
/// itself, or the fee of one that began later.
fn billed_since(subscription: &Subscription, now: Timestamp) -> Timestamp {
    let horizon = now.saturating_sub(LATE_USAGE_AGE_MAX);
    horizon.min(subscription.current_period.start)
}

/// Returns all invoices of a subscription, oldest first.
pub(super) async fn invoices<S: Storage + ?Sized>(
    storage: &S,
    subscription: &Subscription,
) -> Result<Vec<Invoice>, BillingError> {
    invoices_since(storage, subscription, Timestamp::from_micros(i64::MIN)).await
}

/// Returns the invoices of a subscription that were issued at `since` or later, oldest first.
async fn invoices_since<S: Storage + ?Sized>(
    storage: &S,
    subscription: &Subscription,
    since: Timestamp,
) -> Result<Vec<Invoice>, BillingError> {
    let id = Some(subscription.subscription_id.clone());
    let filter = InvoiceFilter {
        subscription_id: id,
        ..InvoiceFilter::default()
    };
    let mut all = Vec::new();
    for number in 0.. {
        let page = Page::new(number, INVOICES_PER_PAGE);
        let invoices = storage.invoices(&filter, page).await?;
        let full = invoices.len() == page.take();
        let is_old = invoices
            .last()
            .is_some_and(|oldest| oldest.issued_at < since);
        all.extend(
            invoices
                .into_iter()
                .take_while(|invoice| invoice.issued_at >= since),
        );
        if !full || is_old {
            break;
        }
    }
    all.reverse();
    Ok(all)
}

/// Returns every kind of credits that a plan of the subscription attaches: late usage of a former plan still burns them, and
/// those of the next one may have been given already.
pub(super) fn entitlements(subscription: &Subscription) -> BTreeSet<&EntitlementId> {
    subscription
        .plans()
        .flat_map(|plan| &plan.credit_entitlements)
        .map(|terms| &terms.credit_entitlement_id)
        .collect()
}

async fn grants<S: Storage + ?Sized>(
    storage: &S,
    subscription: &Subscription,
) -> Result<Vec<Grant>, BillingError> {
    let mut grants = Vec::new();
    for id in entitlements(subscription) {
        grants.extend(storage.grants(&subscription.customer_id, Some(id)).await?);
    }
    Ok(grants)
}

fn known_meter(catalog: &CatalogSnapshot, price: &MeterPrice) -> Result<Meter, BillingError> {
    let known = catalog.meters.get(&price.meter_id).cloned();
    known.ok_or_else(|| BillingError::UnknownMeter(price.meter_id.clone()))
}

/// Reads a meter over the open period, and for credits also up to each instant at which a grant begins or ends in it.
async fn read_meter<S: Storage + ?Sized>(
    storage: &S,
    subscription: &Subscription,
    price: &MeterPrice,
    meter: Meter,
    grants: &[Grant],
) -> Result<MeterReading, BillingError> {
    let period = subscription.current_period;
    let customer = &subscription.customer_id;
    let total = reading::read(storage, customer, (&meter, price), period).await?;
    let mut up_to = Vec::new();
    if let MeterPricing::Credits {
        credit_entitlement_id,
        ..
    } = &price.pricing
    {
        let of_kind = grants
            .iter()
            .filter(|grant| grant.credit_entitlement_id == *credit_entitlement_id);
        for cut in Purse::new(of_kind.cloned().collect()).cuts(period) {
            let part = Period {
                start: period.start,
                end: cut,
            };
            up_to.push((
                cut,
                reading::read(storage, customer, (&meter, price), part)
                    .await?
                    .quantity,
            ));
        }
    }
    Ok(MeterReading {
        meter,
        total,
        up_to,
    })
}

/// A closed period with its index.
type ClosedPeriod = (u32, Period);

/// Returns the closed periods whose late usage is still billed, plan by plan, all oldest first.
fn closed_periods(
    subscription: &Subscription,
    now: Timestamp,
) -> Result<Vec<(&Plan, Vec<ClosedPeriod>)>, BillingError> {
    let horizon = now.saturating_sub(LATE_USAGE_AGE_MAX);
    let mut by_plan: Vec<(&Plan, Vec<ClosedPeriod>)> = Vec::new();
    for n in (0..subscription.next_period).rev() {
        let period = subscription.period(n)?;
        let Some(period) = period.filter(|period| period.end >= horizon) else {
            break;
        };
        let plan = subscription.plan_of(n);
        match by_plan.last_mut() {
            Some((last, closed)) if last.first_period == plan.first_period => {
                closed.push((n, period))
            }
            _ => by_plan.push((plan, vec![(n, period)])),
        }
    }
    by_plan.reverse();
    by_plan.iter_mut().for_each(|(_, closed)| closed.reverse());
    Ok(by_plan)
}

/// Reads the closed periods in which events of `meter` are known that were not when it was billed.
///
/// Events are only ever added, so one look at their number over all closed periods tells that there is nothing to do, which is
/// nearly always so.
async fn late_readings<S: Storage + ?Sized>(
    storage: &S,
    subscription: &Subscription,
    (meter_index, meter, price): (usize, &Meter, &MeterPrice),
    billed: &Billed,
    closed: &[ClosedPeriod],
) -> Result<Vec<LateReading>, BillingError> {
    let (Some((_, first)), Some((_, last))) = (closed.first(), closed.last()) else {
        return Ok(Vec::new());
    };
    let customer = &subscription.customer_id;
    let whole = Period {
        start: first.start,
        end: last.end,
    };
    let known = reading::read(storage, customer, (meter, price), whole)
        .await?
        .events;
    if known == billed.events_within(whole, &meter.id) {
        return Ok(Vec::new());
    }
    let mut late = Vec::new();
    for (n, period) in closed {
        let reading = reading::read(storage, customer, (meter, price), *period).await?;
        let before = billed
            .usage(period.start, &meter.id)
            .map_or(0, |usage| usage.events);
        if reading.events != before {
            late.push(LateReading {
                n: *n,
                meter_index,
                meter: meter.clone(),
                period: *period,
                reading,
            });
        }
    }
    Ok(late)
}
