//! What real usage of past periods would have cost at another price. Reads only.
//!
//! Both sides are rated anew from the same usage, so that a difference is the price's alone: late usage that no invoice has
//! yet, credit notes and one-time terms of a first period are on neither side. What credits pay costs no money here; how many
//! they would be is told.

mod comparison;

pub use comparison::{
    ComparedPeriod, Comparison, MeterCost, PricedMeter, PricedPeriod, Simulation,
};

use super::{BillingError, base_fee, reading};
use crate::{
    catalog::{MeterPrice, MeterPricing, UsageBasedPrice},
    credits::{CreditAttachment, burn_down::credits_for},
    id::ProductId,
    money::MoneyError,
    rating::{Share, allowance, flat},
    storage::{CatalogSnapshot, Page, Storage, StorageError, SubscriptionFilter},
    subscription::{Plan, Subscription},
};
use submeter_common::{CustomerId, Meter, Period};

/// Subscriptions read at once.
const SUBSCRIPTIONS_PER_PAGE: u32 = 1_000;

/// What to try.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// Whose subscriptions: those that are on this product now.
    pub product_id: ProductId,
    /// The other price.
    pub price: UsageBasedPrice,
    /// The credits that would come with it.
    pub credit_entitlements: Vec<CreditAttachment>,
    /// Only this customer's.
    pub customer_id: Option<CustomerId>,
    /// How many closed periods of each subscription, newest first.
    pub periods: usize,
}

/// Rates the usage of the subscriptions on one page again.
///
/// # Errors
/// Only when the storage is unavailable. A subscription that cannot be rated is listed with the reason.
pub async fn simulate<S: Storage + ?Sized>(
    storage: &S,
    proposal: &Proposal,
    page: Page,
) -> Result<Simulation, StorageError> {
    let catalog = storage.catalog().await?;
    let (subscriptions, more) = subscriptions(storage, proposal, page).await?;
    let mut simulation = Simulation {
        more,
        ..Simulation::default()
    };
    for subscription in subscriptions {
        let id = subscription.subscription_id.clone();
        if !is_comparable(&subscription.plan, proposal) {
            let reason = "it is billed in another currency or for periods of another length";
            simulation.skipped.push((id, reason.to_owned()));
            continue;
        }
        match compare(storage, proposal, &catalog, subscription).await {
            Ok(comparison) => simulation.compared.push(comparison),
            Err(BillingError::Storage(error)) => return Err(error),
            Err(error) => simulation.skipped.push((id, error.to_string())),
        }
    }
    Ok(simulation)
}

/// Returns one page of the product's subscriptions, and whether there are more.
async fn subscriptions<S: Storage + ?Sized>(
    storage: &S,
    proposal: &Proposal,
    page: Page,
) -> Result<(Vec<Subscription>, bool), StorageError> {
    let filter = SubscriptionFilter {
        customer_id: proposal.customer_id.clone(),
    };
    let wanted = page.take() + 1;
    let mut skip = page.skip();
    let mut found = Vec::new();
    for number in 0.. {
        let read = Page::new(number, SUBSCRIPTIONS_PER_PAGE);
        let subscriptions = storage.subscriptions(&filter, read).await?;
        let is_last = subscriptions.len() < read.take();
        for subscription in subscriptions {
            if subscription.plan.product_id != proposal.product_id {
                continue;
            }
            if skip > 0 {
                skip -= 1;
            } else {
                found.push(subscription);
            }
        }
        if is_last || found.len() >= wanted {
            break;
        }
    }
    let more = found.len() >= wanted;
    found.truncate(page.take());
    Ok((found, more))
}

/// Whether a plan is of the product and differs from the other price in amounts only.
fn is_comparable(plan: &Plan, proposal: &Proposal) -> bool {
    let own = plan.price.usage_based();
    plan.product_id == proposal.product_id
        && own.currency == proposal.price.currency
        && own.payment_frequency == proposal.price.payment_frequency
}

async fn compare<S: Storage + ?Sized>(
    storage: &S,
    proposal: &Proposal,
    catalog: &CatalogSnapshot,
    subscription: Subscription,
) -> Result<Comparison, BillingError> {
    let mut periods = Vec::new();
    let mut n = subscription.next_period;
    while periods.len() < proposal.periods
        && let Some(before) = n.checked_sub(1)
    {
        n = before;
        let plan = subscription.plan_of(n);
        if !is_comparable(plan, proposal) || plan.is_trial() {
            continue;
        }
        let Some(period) = subscription.period(n)? else {
            continue;
        };
        let priceable = Priceable {
            storage,
            catalog,
            subscription: &subscription,
            plan,
            period,
            served: base_fee::share(&subscription, n)?,
        };
        let terms = &plan.credit_entitlements;
        periods.push(ComparedPeriod {
            period,
            current: priceable.priced(plan.price.usage_based(), terms).await?,
            simulated: priceable
                .priced(&proposal.price, &proposal.credit_entitlements)
                .await?,
        });
    }
    Ok(Comparison {
        subscription_id: subscription.subscription_id.clone(),
        customer_id: subscription.customer_id,
        periods,
    })
}

/// One period of a subscription, to be priced.
struct Priceable<'a, S: ?Sized> {
    storage: &'a S,
    catalog: &'a CatalogSnapshot,
    subscription: &'a Subscription,
    plan: &'a Plan,
    period: Period,
    served: Share,
}

impl<S: Storage + ?Sized> Priceable<'_, S> {
    async fn priced(
        &self,
        price: &UsageBasedPrice,
        terms: &[CreditAttachment],
    ) -> Result<PricedPeriod, BillingError> {
        let fee = flat::charge(price.fixed_price, self.plan.quantity, self.served)?;
        let mut priced = PricedPeriod {
            fixed_fee: fee.amount,
            meters: Vec::new(),
            total: fee.amount,
        };
        for meter_price in &price.meters {
            let known = self.catalog.meters.get(&meter_price.meter_id);
            let meter =
                known.ok_or_else(|| BillingError::UnknownMeter(meter_price.meter_id.clone()))?;
            let cost = self.cost(meter, meter_price, terms).await?;
            let amount = match &cost {
                MeterCost::Money(charge) => charge.amount,
                MeterCost::Credits { .. } => 0,
            };
            let sum = priced.total.checked_add(amount);
            priced.total = sum.ok_or(MoneyError::Overflow)?;
            priced.meters.push(PricedMeter {
                meter_id: meter.id.clone(),
                name: meter.name.clone(),
                cost,
            });
        }
        Ok(priced)
    }

    async fn cost(
        &self,
        meter: &Meter,
        price: &MeterPrice,
        terms: &[CreditAttachment],
    ) -> Result<MeterCost, BillingError> {
        let customer = &self.subscription.customer_id;
        let reading = reading::read(self.storage, customer, (meter, price), self.period).await?;
        match &price.pricing {
            MeterPricing::Money { tariff } => {
                let charge = reading
                    .charge(tariff, price.free_threshold, self.served)
                    .map_err(BillingError::rating(&meter.id))?;
                Ok(MeterCost::Money(Box::new(charge)))
            }
            MeterPricing::Credits {
                credit_entitlement_id: id,
                meter_units_per_credit,
            } => {
                let attached = terms
                    .iter()
                    .find(|terms| terms.credit_entitlement_id == *id);
                let terms = attached.ok_or_else(|| BillingError::UnattachedCredits(id.clone()))?;
                let chargeable =
                    allowance::divide(&reading.quantity, price.free_threshold).chargeable;
                Ok(MeterCost::Credits {
                    credits: credits_for(&chargeable, meter_units_per_credit, terms.precision),
                    quantity: reading.quantity,
                })
            }
        }
    }
}
