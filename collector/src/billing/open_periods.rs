//! The open periods of a subscription: the one that runs, and those before it that wait for agents.

use super::{
    BillingError, LineKind, NewInvoice, base_fee, close, gather, opening,
    reading::{self, Reading},
};
use crate::{
    catalog::{MeterPrice, MeterPricing},
    credits::{OverageBehavior, burn_down::Purse},
    storage::{CatalogSnapshot, Storage},
    subscription::{Subscription, SubscriptionStatus, period::OutOfCalendar},
};
use std::collections::BTreeMap;
use submeter_common::{Meter, MeterId, Timestamp};

/// Returns an active subscription as it would be with each of its open periods as the first one, oldest first.
pub(super) fn of(
    subscription: &Subscription,
    now: Timestamp,
) -> Result<Vec<Subscription>, OutOfCalendar> {
    let mut open = Vec::new();
    let mut next = subscription.clone();
    while next.status == SubscriptionStatus::Active {
        open.push(next.clone());
        if next.current_period.end > now {
            break;
        }
        next.advance()?;
    }
    Ok(open)
}

/// What one open period has come to, read as it is asked for.
pub(super) struct OpenPeriod<'a, S: ?Sized> {
    storage: &'a S,
    catalog: &'a CatalogSnapshot,
    /// The subscription, as if this were its first open period.
    pub subscription: &'a Subscription,
    readings: BTreeMap<MeterId, Reading>,
}

impl<'a, S: Storage + ?Sized> OpenPeriod<'a, S> {
    pub(super) fn new(
        storage: &'a S,
        catalog: &'a CatalogSnapshot,
        subscription: &'a Subscription,
    ) -> Self {
        Self {
            storage,
            catalog,
            subscription,
            readings: BTreeMap::new(),
        }
    }

    /// Returns what was used of a meter that the plan prices.
    pub(super) async fn reading(&mut self, price: &MeterPrice) -> Result<&Reading, BillingError> {
        let id = &price.meter_id;
        if !self.readings.contains_key(id) {
            let unknown = || BillingError::UnknownMeter(id.clone());
            let meter: &Meter = self.catalog.meters.get(id).ok_or_else(unknown)?;
            let (customer, period) = (
                &self.subscription.customer_id,
                self.subscription.current_period,
            );
            let read = reading::read(self.storage, customer, (meter, price), period).await?;
            self.readings.insert(id.clone(), read);
        }
        self.readings
            .get(id)
            .ok_or_else(|| BillingError::UnknownMeter(id.clone()))
    }

    /// Returns what a meter costs in money, which is nothing in a trial and for a meter that credits pay.
    pub(super) async fn charge(&mut self, price: &MeterPrice) -> Result<i64, BillingError> {
        let Some(tariff) = price.tariff() else {
            return Ok(0);
        };
        let subscription = self.subscription;
        if subscription.plan.is_trial() {
            return Ok(0);
        }
        let served = base_fee::share(subscription, subscription.next_period)?;
        let reading = self.reading(price).await?;
        let charge = reading
            .charge(tariff, price.free_threshold, served)
            .map_err(BillingError::rating(&price.meter_id))?;
        Ok(charge.amount)
    }
}

/// Whether the plan charges money for usage beyond some credits.
pub(super) fn charges_overage(subscription: &Subscription) -> bool {
    let is_charged = |price: &MeterPrice| match &price.pricing {
        MeterPricing::Money { .. } => false,
        MeterPricing::Credits {
            credit_entitlement_id,
            ..
        } => {
            let terms = subscription.plan.credit_terms(credit_entitlement_id);
            terms.is_some_and(|terms| {
                terms.overage_enabled && terms.overage_behavior == OverageBehavior::InvoiceAtBilling
            })
        }
    };
    let meters = &subscription.plan.price.usage_based().meters;
    meters.iter().any(is_charged)
}

/// Returns what each meter's overage costs in each open period, by the very path that closes periods. What an older one leaves
/// of the credits is what the next one has.
pub(super) async fn overage<S: Storage + ?Sized>(
    storage: &S,
    open: &[Subscription],
    now: Timestamp,
) -> Result<Vec<BTreeMap<MeterId, i64>>, BillingError> {
    let mut left = None;
    let mut all = Vec::with_capacity(open.len());
    for subscription in open {
        let mut closing = gather::gather(storage, subscription, Vec::new(), now).await?;
        if let Some(grants) = left.take() {
            closing.grants = grants;
            // The period before is only closed in thought: its late usage was burned in the round before.
            closing.late.clear();
            let mut new = opening::grants(subscription, now)?;
            let grants = &mut closing.grants;
            new.retain(|new| grants.iter().all(|given| given.grant_id != new.grant_id));
            grants.append(&mut new);
        }
        let (invoice, draft) = close::bill(&closing)?;
        left = Some(
            draft
                .purses
                .into_values()
                .flat_map(Purse::into_grants)
                .collect(),
        );
        all.push(by_meter(&invoice, subscription));
    }
    Ok(all)
}

/// Adds up the overage of the invoice's own period, meter by meter.
fn by_meter(invoice: &NewInvoice, subscription: &Subscription) -> BTreeMap<MeterId, i64> {
    let mut amounts: BTreeMap<MeterId, i64> = BTreeMap::new();
    let of_period = invoice.lines.iter().filter(|line| {
        line.kind == LineKind::CreditOverage
            && line.service_period.start == subscription.current_period.start
    });
    for line in of_period {
        if let Some(meter) = &line.meter_id {
            let amount = amounts.entry(meter.clone()).or_default();
            *amount = amount.saturating_add(line.amount);
        }
    }
    amounts
}
