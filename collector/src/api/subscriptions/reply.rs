//! A subscription in replies: as created, as an entry of a list, and whole with its meters and credits.

use serde::Serialize;
use submeter_common::id::{CustomerId, MeterId};
use submeter_common::time::Timestamp;

use super::super::error::ApiError;
use super::super::pricing::PricingReply;
use super::super::reply::BRAND_ID;
use super::standing::Standing;
use crate::billing::{Invoice, NewInvoice};
use crate::catalog::{Interval, MeterPricing};
use crate::credits::{CreditAttachment, Grant, OverageBehavior};
use crate::customer::Customer;
use crate::id::{EntitlementId, InvoiceId, ProductId, SubscriptionId};
use crate::metadata::Metadata;
use crate::money::{Currency, Decimal};
use crate::storage::CatalogSnapshot;
use crate::subscription::{BillingAddress, Subscription, SubscriptionStatus};

/// A list that compatible replies carry and that has nothing in it here.
type Nothing = [(); 0];

/// The customer of a subscription.
#[derive(Serialize)]
struct CustomerBrief {
    customer_id: CustomerId,
    name: String,
    email: String,
    phone_number: Option<String>,
    metadata: Metadata,
}

impl From<Customer> for CustomerBrief {
    fn from(customer: Customer) -> Self {
        Self {
            customer_id: customer.customer_id,
            name: customer.name,
            email: customer.email,
            phone_number: customer.phone_number,
            metadata: customer.metadata,
        }
    }
}

/// The answer to a create.
#[derive(Serialize)]
pub(in super::super) struct CreatedReply {
    subscription_id: SubscriptionId,
    customer: CustomerBrief,
    product_id: ProductId,
    status: SubscriptionStatus,
    /// Start of the first period.
    start_date: Timestamp,
    next_billing_date: Timestamp,
    recurring_pre_tax_amount: i64,
    /// The invoice of the first base fee, if there is one.
    invoice_id: Option<InvoiceId>,
    /// Compatible clients need one; no payment is taken, so it names nothing.
    payment_id: String,
    payment_method_required: bool,
    addons: Nothing,
    metadata: Metadata,
}

impl CreatedReply {
    /// Tells what was made.
    pub(super) fn new(
        subscription: Subscription,
        customer: Customer,
        opening: Option<Box<Invoice>>,
    ) -> Result<Self, ApiError> {
        let bare = subscription
            .subscription_id
            .as_str()
            .trim_start_matches(SubscriptionId::PREFIX);
        Ok(Self {
            payment_id: format!("pay_{bare}"),
            recurring_pre_tax_amount: recurring_amount(&subscription)?,
            subscription_id: subscription.subscription_id,
            customer: customer.into(),
            product_id: subscription.plan.product_id,
            status: subscription.status,
            start_date: subscription.starts_at,
            next_billing_date: subscription.current_period.end,
            invoice_id: opening.map(|invoice| invoice.invoice_id),
            payment_method_required: false,
            addons: [],
            metadata: subscription.metadata,
        })
    }
}

/// A subscription, without and with its [`Details`].
#[derive(Serialize)]
pub(in super::super) struct SubscriptionReply {
    subscription_id: SubscriptionId,
    brand_id: &'static str,
    customer: CustomerBrief,
    product_id: ProductId,
    product_name: String,
    quantity: u32,
    currency: Currency,
    recurring_pre_tax_amount: i64,
    tax_inclusive: bool,
    payment_frequency_count: u32,
    payment_frequency_interval: Interval,
    subscription_period_count: u32,
    subscription_period_interval: Interval,
    /// Start of the first period.
    start_date: Timestamp,
    #[serde(flatten)]
    standing: Standing,
    has_payment_method: bool,
    on_demand: bool,
    addons: Nothing,
    discounts: Nothing,
    billing: BillingAddress,
    metadata: Metadata,
    created_at: Timestamp,
    updated_at: Timestamp,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

/// What only the reply about one subscription has.
#[derive(Serialize)]
pub(super) struct Details {
    meters: Vec<MeterCart>,
    meter_credit_entitlement_cart: Vec<MeterCreditCart>,
    credit_entitlement_cart: Vec<CreditCart>,
}

#[derive(Serialize)]
struct MeterCart {
    meter_id: MeterId,
    name: String,
    description: Option<String>,
    measurement_unit: String,
    currency: Currency,
    free_threshold: i64,
    price_per_unit: Option<Decimal>,
    /// Where one price per unit is not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pricing: Option<PricingReply>,
}

#[derive(Serialize)]
struct MeterCreditCart {
    meter_id: MeterId,
    meter_name: String,
    credit_entitlement_id: EntitlementId,
    meter_units_per_credit: Decimal,
    product_id: ProductId,
}

#[derive(Serialize)]
struct CreditCart {
    credit_entitlement_id: EntitlementId,
    credit_entitlement_name: String,
    unit: String,
    product_id: ProductId,
    credits_amount: Decimal,
    remaining_balance: Decimal,
    overage_balance: Decimal,
    overage_enabled: bool,
    overage_behavior: OverageBehavior,
    overage_limit: Option<Decimal>,
    expires_after_days: Option<u32>,
    low_balance_threshold_percent: Option<u32>,
    rollover_enabled: bool,
    rollover_percentage: Option<u32>,
    max_rollover_count: Option<u32>,
    rollover_timeframe_count: Option<u32>,
    rollover_timeframe_interval: Option<Interval>,
}

impl SubscriptionReply {
    /// Writes a subscription as of `now`, with its customer as it is, and since when an invoice of it should have been paid.
    pub(super) fn new(
        subscription: Subscription,
        customer: Customer,
        details: Option<Details>,
        past_due_since: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Self, ApiError> {
        let subscription = subscription.as_of(now).map_err(ApiError::internal)?;
        let recurring_pre_tax_amount = recurring_amount(&subscription)?;
        let standing = Standing::of(&subscription, past_due_since, now);
        let price = subscription.plan.price.usage_based();
        Ok(Self {
            brand_id: BRAND_ID,
            customer: customer.into(),
            recurring_pre_tax_amount,
            tax_inclusive: price.tax_inclusive,
            payment_frequency_count: price.payment_frequency.count,
            payment_frequency_interval: price.payment_frequency.interval,
            subscription_period_count: price.subscription_period.count,
            subscription_period_interval: price.subscription_period.interval,
            subscription_id: subscription.subscription_id,
            product_id: subscription.plan.product_id,
            product_name: subscription.plan.product_name,
            quantity: subscription.plan.quantity,
            currency: subscription.currency,
            start_date: subscription.starts_at,
            standing,
            has_payment_method: false,
            on_demand: false,
            addons: [],
            discounts: [],
            billing: subscription.billing,
            metadata: subscription.metadata,
            created_at: subscription.created_at,
            updated_at: subscription.updated_at,
            details,
        })
    }
}

impl Details {
    /// Writes meters and credits. `preview` is what the open period would be invoiced as now: what it burns is deducted
    /// from the balances at once, though it is booked when the period closes.
    pub(super) fn new(
        subscription: &Subscription,
        catalog: &CatalogSnapshot,
        grants: &[Grant],
        preview: Option<&NewInvoice>,
        now: Timestamp,
    ) -> Self {
        let credits = subscription.plan.credit_entitlements.iter();
        Self {
            meters: meters(subscription, catalog),
            meter_credit_entitlement_cart: credit_meters(subscription, catalog),
            credit_entitlement_cart: credits
                .map(|attached| CreditCart::new(subscription, attached, grants, preview, now))
                .collect(),
        }
    }
}

fn meters(subscription: &Subscription, catalog: &CatalogSnapshot) -> Vec<MeterCart> {
    let priced = subscription.plan.price.usage_based().meters.iter();
    let cart = priced.filter_map(|priced| {
        let meter = catalog.meters.get(&priced.meter_id)?;
        let price_per_unit = match &priced.pricing {
            MeterPricing::Money { tariff } => tariff.plain_unit_price().cloned(),
            MeterPricing::Credits { .. } => None,
        };
        Some(MeterCart {
            meter_id: priced.meter_id.clone(),
            name: meter.name.clone(),
            description: meter.description.clone(),
            measurement_unit: meter.measurement_unit.clone(),
            currency: subscription.currency,
            free_threshold: priced.free_threshold,
            pricing: priced
                .tariff()
                .filter(|_| price_per_unit.is_none())
                .map(PricingReply::from),
            price_per_unit,
        })
    });
    cart.collect()
}

fn credit_meters(subscription: &Subscription, catalog: &CatalogSnapshot) -> Vec<MeterCreditCart> {
    let priced = subscription.plan.price.usage_based().meters.iter();
    let cart = priced.filter_map(|priced| match &priced.pricing {
        MeterPricing::Money { .. } => None,
        MeterPricing::Credits {
            credit_entitlement_id,
            meter_units_per_credit,
        } => Some(MeterCreditCart {
            meter_id: priced.meter_id.clone(),
            meter_name: catalog.meters.get(&priced.meter_id)?.name.clone(),
            credit_entitlement_id: credit_entitlement_id.clone(),
            meter_units_per_credit: meter_units_per_credit.clone(),
            product_id: subscription.plan.product_id.clone(),
        }),
    });
    cart.collect()
}

impl CreditCart {
    fn new(
        subscription: &Subscription,
        attached: &CreditAttachment,
        grants: &[Grant],
        preview: Option<&NewInvoice>,
        now: Timestamp,
    ) -> Self {
        let id = &attached.credit_entitlement_id;
        let mut remaining_balance = super::super::balance::of_grants(grants, id, now);
        let mut overage_balance = Decimal::zero();
        let lines = preview
            .map(|preview| preview.lines.as_slice())
            .unwrap_or_default();
        for credits in lines.iter().filter_map(|line| line.credits.as_ref()) {
            if credits.credit_entitlement_id == *id {
                remaining_balance = &remaining_balance - &credits.credits_used;
                overage_balance = &overage_balance + &credits.overage_credits;
            }
        }
        Self {
            credit_entitlement_id: id.clone(),
            credit_entitlement_name: attached.credit_entitlement_name.clone(),
            unit: attached.credit_entitlement_unit.clone(),
            product_id: subscription.plan.product_id.clone(),
            credits_amount: attached.credits_amount.clone(),
            remaining_balance: remaining_balance.or_zero(),
            overage_balance,
            overage_enabled: attached.overage_enabled,
            overage_behavior: attached.overage_behavior,
            overage_limit: attached.overage_limit.clone(),
            expires_after_days: attached.expires_after_days,
            low_balance_threshold_percent: attached.low_balance_threshold_percent,
            rollover_enabled: attached.rollover.enabled,
            rollover_percentage: attached.rollover.percentage,
            max_rollover_count: attached.rollover.count_max,
            rollover_timeframe_count: attached.rollover.timeframe.map(|timeframe| timeframe.count),
            rollover_timeframe_interval: attached
                .rollover
                .timeframe
                .map(|timeframe| timeframe.interval),
        }
    }
}

/// The fixed fee of one period.
fn recurring_amount(subscription: &Subscription) -> Result<i64, ApiError> {
    let fee = subscription
        .plan
        .price
        .usage_based()
        .fixed_price
        .checked_mul(i64::from(subscription.plan.quantity));
    fee.ok_or_else(|| ApiError::internal("a subscription's fixed fee does not fit"))
}
