//! The price of a product as clients send and read it.
//!
//! The forms are flat on purpose: a tagged enum would make serde buffer the value, and decimals would lose digits and
//! complaints their paths.

use serde::{Deserialize, Serialize};
use submeter_common::id::MeterId;

use super::super::error::ApiError;
use super::super::field::{Exact, Ignored, Unsupported};
use super::super::pricing::{self, PricingReply, PricingRequest};
use crate::catalog::{Frequency, Interval, MeterPrice, MeterPricing, Price, UsageBasedPrice};
use crate::id::EntitlementId;
use crate::money::{Currency, Decimal};
use crate::storage::CatalogSnapshot;

/// The one kind of price that is sold.
const USAGE_BASED: &str = "usage_based_price";

/// A price in requests.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PriceRequest {
    #[serde(rename = "type")]
    kind: String,
    currency: Option<Currency>,
    fixed_price: Option<i64>,
    payment_frequency_count: Option<u32>,
    payment_frequency_interval: Option<Interval>,
    subscription_period_count: Option<u32>,
    subscription_period_interval: Option<Interval>,
    meters: Option<Vec<MeterPriceRequest>>,
    #[serde(default, rename = "discount")]
    _discount: Unsupported,
    #[serde(default, rename = "discount_bps")]
    _discount_bps: Unsupported,
    #[serde(default, rename = "purchasing_power_parity")]
    _purchasing_power_parity: Unsupported,
    #[serde(default, rename = "tax_inclusive")]
    _tax_inclusive: Unsupported,
    // Fields of the other two kinds of price: known, so that the complaint is about the kind.
    price: Option<Ignored>,
    #[serde(default, rename = "pay_what_you_want")]
    _pay_what_you_want: Unsupported,
    #[serde(default, rename = "suggested_price")]
    _suggested_price: Unsupported,
    #[serde(default, rename = "trial_period_days")]
    _trial_period_days: Unsupported,
    #[serde(default, rename = "trial_amount")]
    _trial_amount: Unsupported,
    #[serde(default, rename = "trial_apply_discounts")]
    _trial_apply_discounts: Ignored,
    #[serde(default, rename = "trial_payment_method_optional")]
    _trial_payment_method_optional: Ignored,
    #[serde(default, rename = "zero_amount_payment_method_optional")]
    _zero_amount_payment_method_optional: Ignored,
}

/// What one meter costs, in requests. Name, description and unit are the meter's own, as in the compatible API.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MeterPriceRequest {
    meter_id: MeterId,
    free_threshold: Option<i64>,
    price_per_unit: Option<Exact>,
    pricing: Option<PricingRequest>,
    credit_entitlement_id: Option<String>,
    meter_units_per_credit: Option<Exact>,
    #[serde(default, rename = "name")]
    _name: Ignored,
    #[serde(default, rename = "description")]
    _description: Ignored,
    #[serde(default, rename = "measurement_unit")]
    _measurement_unit: Ignored,
}

impl PriceRequest {
    /// Translates; what a price must fulfil is checked where the product is made.
    pub(super) fn into_domain(self) -> Result<Price, ApiError> {
        self.expect_usage_based()?;
        let meters = self.meters.unwrap_or_default();
        let meters = meters
            .into_iter()
            .enumerate()
            .map(|(index, meter)| meter.into_domain(index));
        Ok(Price::UsageBased(UsageBasedPrice {
            currency: needed(self.currency, "currency")?,
            fixed_price: needed(self.fixed_price, "fixed_price")?,
            payment_frequency: Frequency {
                count: needed(self.payment_frequency_count, "payment_frequency_count")?,
                interval: needed(
                    self.payment_frequency_interval,
                    "payment_frequency_interval",
                )?,
            },
            subscription_period: Frequency {
                count: needed(self.subscription_period_count, "subscription_period_count")?,
                interval: needed(
                    self.subscription_period_interval,
                    "subscription_period_interval",
                )?,
            },
            meters: meters.collect::<Result<_, _>>()?,
            discount: 0,
            purchasing_power_parity: false,
            tax_inclusive: false,
        }))
    }

    fn expect_usage_based(&self) -> Result<(), ApiError> {
        match self.kind.as_str() {
            USAGE_BASED if self.price.is_some() => Err(ApiError::invalid(
                "UNKNOWN_FIELD",
                "price.price",
                "a usage_based_price has no such field; its fee is fixed_price",
            )),
            USAGE_BASED => Ok(()),
            "recurring_price" | "one_time_price" => Err(ApiError::invalid(
                "UNSUPPORTED_FIELD",
                "price.type",
                "expected usage_based_price; a plain recurring fee is one with fixed_price and no meters",
            )),
            _ => Err(ApiError::field("price.type", "expected usage_based_price")),
        }
    }
}

fn needed<T>(value: Option<T>, name: &str) -> Result<T, ApiError> {
    value.ok_or_else(|| {
        ApiError::invalid(
            "MISSING_FIELD",
            format!("price.{name}"),
            "this field is needed",
        )
    })
}

impl MeterPriceRequest {
    fn into_domain(self, index: usize) -> Result<MeterPrice, ApiError> {
        let path = |name: &str| format!("price.meters[{index}].{name}");
        let at = format!("price.meters[{index}]");
        let money = pricing::tariff(&at, self.price_per_unit, self.pricing)?;
        let pricing = match (
            money,
            self.credit_entitlement_id,
            self.meter_units_per_credit,
        ) {
            (Some(tariff), None, None) => MeterPricing::money(tariff),
            (None, Some(entitlement), Some(units)) => MeterPricing::Credits {
                credit_entitlement_id: EntitlementId::from_text(entitlement),
                meter_units_per_credit: units.into(),
            },
            (None, None, None) => {
                let message = "this field is needed, or pricing, or credit_entitlement_id with meter_units_per_credit";
                return Err(ApiError::invalid(
                    "MISSING_FIELD",
                    path("price_per_unit"),
                    message,
                ));
            }
            (None, None, Some(_)) => {
                let message = "this field is needed with meter_units_per_credit";
                return Err(ApiError::invalid(
                    "MISSING_FIELD",
                    path("credit_entitlement_id"),
                    message,
                ));
            }
            (None, Some(_), None) => {
                let message = "this field is needed with credit_entitlement_id";
                return Err(ApiError::invalid(
                    "MISSING_FIELD",
                    path("meter_units_per_credit"),
                    message,
                ));
            }
            (Some(_), _, _) => {
                let message = "expected either a price in money or one in credits, not both";
                return Err(ApiError::field(path("price_per_unit"), message));
            }
        };
        Ok(MeterPrice {
            meter_id: self.meter_id,
            free_threshold: self.free_threshold.unwrap_or(0),
            pricing,
        })
    }
}

/// A price in replies.
#[derive(Serialize)]
pub(super) struct PriceReply {
    #[serde(rename = "type")]
    kind: &'static str,
    currency: Currency,
    fixed_price: i64,
    payment_frequency_count: u32,
    payment_frequency_interval: Interval,
    subscription_period_count: u32,
    subscription_period_interval: Interval,
    meters: Vec<MeterPriceReply>,
    discount: i64,
    discount_bps: i64,
    purchasing_power_parity: bool,
    tax_inclusive: bool,
}

/// What one meter costs, in replies.
#[derive(Serialize)]
struct MeterPriceReply {
    meter_id: MeterId,
    name: Option<String>,
    description: Option<String>,
    measurement_unit: Option<String>,
    free_threshold: i64,
    price_per_unit: Option<Decimal>,
    /// Where one price per unit is not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pricing: Option<PricingReply>,
    credit_entitlement_id: Option<EntitlementId>,
    meter_units_per_credit: Option<Decimal>,
}

impl PriceReply {
    /// Writes a price, with the meters' names as they are now.
    pub(super) fn new(price: &Price, catalog: &CatalogSnapshot) -> Self {
        let price = price.usage_based();
        Self {
            kind: USAGE_BASED,
            currency: price.currency,
            fixed_price: price.fixed_price,
            payment_frequency_count: price.payment_frequency.count,
            payment_frequency_interval: price.payment_frequency.interval,
            subscription_period_count: price.subscription_period.count,
            subscription_period_interval: price.subscription_period.interval,
            meters: price
                .meters
                .iter()
                .map(|meter| MeterPriceReply::new(meter, catalog))
                .collect(),
            discount: price.discount,
            discount_bps: 0,
            purchasing_power_parity: price.purchasing_power_parity,
            tax_inclusive: price.tax_inclusive,
        }
    }
}

impl MeterPriceReply {
    fn new(priced: &MeterPrice, catalog: &CatalogSnapshot) -> Self {
        let meter = catalog.meters.get(&priced.meter_id);
        let (price_per_unit, credit_entitlement_id, meter_units_per_credit) = match &priced.pricing
        {
            MeterPricing::Money { tariff } => (tariff.plain_unit_price().cloned(), None, None),
            MeterPricing::Credits {
                credit_entitlement_id,
                meter_units_per_credit,
            } => (
                None,
                Some(credit_entitlement_id.clone()),
                Some(meter_units_per_credit.clone()),
            ),
        };
        Self {
            meter_id: priced.meter_id.clone(),
            name: meter.map(|meter| meter.name.clone()),
            description: meter.and_then(|meter| meter.description.clone()),
            measurement_unit: meter.map(|meter| meter.measurement_unit.clone()),
            free_threshold: priced.free_threshold,
            pricing: priced
                .tariff()
                .filter(|_| price_per_unit.is_none())
                .map(PricingReply::from),
            price_per_unit,
            credit_entitlement_id,
            meter_units_per_credit,
        }
    }
}
