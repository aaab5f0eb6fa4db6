//! Usage history: what each meter came to in each period, as billed; the open period as it would be billed now.

use super::{BillingError, Invoice, InvoiceLine, LineKind, gather, preview};
use crate::{
    catalog::{MeterPrice, MeterPricing},
    money::{Currency, Decimal},
    rating::allowance,
    storage::{CatalogSnapshot, Storage},
    subscription::{Subscription, SubscriptionStatus},
};
use submeter_common::{MeterId, Period, Timestamp};

/// One period's usage of a subscription.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct PeriodUsage {
    /// The period.
    pub period: Period,
    /// Whether it is still open; then everything is provisional.
    pub open: bool,
    /// One entry per priced meter, in the order of the price.
    pub meters: Vec<MeterUsage>,
}

/// One meter's usage in a period.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct MeterUsage {
    /// The meter.
    pub id: MeterId,
    /// Its name now.
    pub name: String,
    /// What was used, late usage that was adjusted included.
    pub consumed_units: Decimal,
    /// Units that are free.
    pub free_threshold: i64,
    /// What is above the threshold, in the units that have a price.
    pub chargeable_units: Decimal,
    /// Minor units per unit; zero where there is no one price: for tiers, packages and groups, and for a meter that credits pay.
    pub price_per_unit: Decimal,
    /// What the price is in.
    pub currency: Currency,
    /// Minor units billed for it, adjustments and credit overage included.
    pub total_price: i64,
}

/// Returns up to `take` periods of a subscription, newest first and the open one before all, after skipping `skip`.
///
/// # Errors
/// As for closing the open period.
pub async fn history<S: Storage + ?Sized>(
    storage: &S,
    subscription: &Subscription,
    now: Timestamp,
    skip: usize,
    take: usize,
) -> Result<Vec<PeriodUsage>, BillingError> {
    let catalog = storage.catalog().await?;
    let mut lines: Vec<InvoiceLine> = gather::invoices(storage, subscription)
        .await?
        .into_iter()
        .flat_map(|invoice: Invoice| invoice.lines)
        .collect();
    let is_open = subscription.status == SubscriptionStatus::Active;
    if is_open {
        lines.extend(preview(storage, subscription, now).await?.lines);
    }
    let newest = if is_open {
        Some(subscription.next_period)
    } else {
        subscription.next_period.checked_sub(1)
    };
    let mut periods = Vec::new();
    for n in (0..=newest.unwrap_or(0)).rev().skip(skip).take(take) {
        let Some(period) = subscription.period(n)? else {
            continue;
        };
        let open = is_open && n == subscription.next_period;
        let meters = &subscription.plan_of(n).price.usage_based().meters;
        let meters = meters
            .iter()
            .map(|price| meter_usage(price, subscription, period, &lines, &catalog))
            .collect();
        periods.push(PeriodUsage {
            period,
            open,
            meters,
        });
    }
    Ok(periods)
}

fn meter_usage(
    price: &MeterPrice,
    subscription: &Subscription,
    period: Period,
    lines: &[InvoiceLine],
    catalog: &CatalogSnapshot,
) -> MeterUsage {
    let of_meter = |line: &&InvoiceLine| {
        line.meter_id.as_ref() == Some(&price.meter_id) && line.service_period.start == period.start
    };
    let mut consumed_units = Decimal::zero();
    let mut billed_units = Decimal::zero();
    let mut total_price = 0_i64;
    for line in lines.iter().filter(of_meter) {
        total_price = total_price.saturating_add(line.amount);
        if line.kind != LineKind::CreditOverage {
            consumed_units = line.quantity.clone();
            // An adjustment bills what it adds.
            billed_units += &line.billed_quantity;
        }
    }
    let (chargeable_units, price_per_unit) = match &price.pricing {
        MeterPricing::Money { tariff } => (billed_units, tariff.plain_unit_price().cloned()),
        MeterPricing::Credits { .. } => {
            let divided = allowance::divide(&consumed_units, price.free_threshold);
            (divided.chargeable, None)
        }
    };
    MeterUsage {
        id: price.meter_id.clone(),
        name: catalog
            .meters
            .get(&price.meter_id)
            .map_or_else(String::new, |meter| meter.name.clone()),
        chargeable_units,
        consumed_units,
        free_threshold: price.free_threshold,
        price_per_unit: price_per_unit.unwrap_or_default(),
        currency: subscription.currency,
        total_price,
    }
}
