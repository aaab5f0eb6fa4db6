//! What a definition must fulfil so that every later bill can be computed.

mod tariff;

use super::{
    CatalogError, CatalogErrorKind as Kind, Frequency, Interval, MeterPrice, MeterPricing, Price,
    Product,
};
use crate::{
    credits::{CreditAttachment, CreditEntitlement},
    money::Decimal,
    rating::Tariff,
};
use std::collections::BTreeSet;
use submeter_common::meter::Meter;

/// Meters one product may price: a bound on the lines of an invoice.
const METERS_MAX: usize = 50;
/// Entitlements one product may attach.
const ATTACHMENTS_MAX: usize = 5;
/// Characters of a product's name.
const NAME_CHARS_MAX: usize = 256;
/// Digits of a unit price before the point, and after it.
const PRICE_WHOLE_DIGITS_MAX: usize = 5;
const PRICE_FRACTION_DIGITS_MAX: usize = 12;
/// Digits of `meter_units_per_credit` before the point: a credit may stand for a terabyte's bytes.
const UNITS_PER_CREDIT_WHOLE_DIGITS_MAX: usize = 18;
/// Longest billing period and subscription: 20 years, counted in each interval.
const YEARS_MAX: u32 = 20;

/// Checks a product against the meters and entitlements the catalog knows.
pub(super) fn product(
    product: &Product,
    meters: &[Meter],
    entitlements: &[CreditEntitlement],
) -> Result<(), CatalogError> {
    name("name", &product.name)?;
    price(&product.price, meters)?;
    attachments(
        &product.credit_entitlements,
        product.price.currency(),
        entitlements,
    )?;
    credit_meters(
        &product.price.usage_based().meters,
        &product.credit_entitlements,
    )
}

/// Checks a name for people.
pub(crate) fn name(field: &str, value: &str) -> Result<(), CatalogError> {
    let length = value.chars().count();
    if length == 0 || length > NAME_CHARS_MAX || value.chars().any(char::is_control) {
        let message =
            format!("expected 1 to {NAME_CHARS_MAX} characters, none of them a control character");
        return Err(CatalogError::invalid(field, message));
    }
    Ok(())
}

fn price(price: &Price, meters: &[Meter]) -> Result<(), CatalogError> {
    let price = price.usage_based();
    if price.fixed_price < 0 {
        return Err(CatalogError::invalid(
            "price.fixed_price",
            "expected 0 or more minor units",
        ));
    }
    if price.discount != 0 {
        return Err(CatalogError::unsupported(
            "price.discount",
            "expected 0: discounts are not billed by this version",
        ));
    }
    if price.purchasing_power_parity {
        let message = "expected false: purchasing power parity is not billed by this version";
        return Err(CatalogError::unsupported(
            "price.purchasing_power_parity",
            message,
        ));
    }
    frequency("price.payment_frequency", price.payment_frequency)?;
    frequency("price.subscription_period", price.subscription_period)?;
    if price.meters.len() > METERS_MAX {
        return Err(CatalogError::invalid(
            "price.meters",
            format!("expected at most {METERS_MAX} meters"),
        ));
    }
    let mut seen = BTreeSet::new();
    for (index, entry) in price.meters.iter().enumerate() {
        let path = format!("price.meters[{index}]");
        if !seen.insert(&entry.meter_id) {
            let message = format!(
                "expected each meter once; {} is priced twice",
                entry.meter_id
            );
            return Err(CatalogError::of(
                Kind::DuplicateMeters,
                format!("{path}.meter_id"),
                message,
            ));
        }
        let known = |meter: &&Meter| meter.id == entry.meter_id && !meter.archived;
        let Some(meter) = meters.iter().find(known) else {
            let message = format!(
                "expected an active meter; {} is unknown or archived",
                entry.meter_id
            );
            return Err(CatalogError::of(
                Kind::MissingMeters,
                format!("{path}.meter_id"),
                message,
            ));
        };
        meter_price(&path, entry, meter)?;
    }
    Ok(())
}

fn frequency(field: &str, frequency: Frequency) -> Result<(), CatalogError> {
    let count_max = match frequency.interval {
        Interval::Day => YEARS_MAX * 366,
        Interval::Week => YEARS_MAX * 53,
        Interval::Month => YEARS_MAX * 12,
        Interval::Year => YEARS_MAX,
    };
    if frequency.count == 0 || frequency.count > count_max {
        let message = format!(
            "expected 1 to {count_max} for the interval {}",
            frequency.interval.as_str()
        );
        return Err(CatalogError::invalid(format!("{field}_count"), message));
    }
    Ok(())
}

fn meter_price(path: &str, entry: &MeterPrice, meter: &Meter) -> Result<(), CatalogError> {
    match &entry.pricing {
        MeterPricing::Money { tariff } => {
            money_price(path, entry.free_threshold, tariff, Some(&meter.group_by))
        }
        MeterPricing::Credits {
            meter_units_per_credit,
            ..
        } => {
            free_threshold(path, entry.free_threshold)?;
            let whole = meter_units_per_credit.whole_digits() <= UNITS_PER_CREDIT_WHOLE_DIGITS_MAX;
            let fraction = meter_units_per_credit.fraction_digits() <= PRICE_FRACTION_DIGITS_MAX;
            if meter_units_per_credit.is_positive() && whole && fraction {
                return Ok(());
            }
            let message =
                "expected more than 0, with at most 18 digits before and 12 after the point";
            Err(CatalogError::invalid(
                format!("{path}.meter_units_per_credit"),
                message,
            ))
        }
    }
}

/// Checks the price in money at `path` of a meter that groups by `group_by`; by anything, where there is no meter.
pub(crate) fn money_price(
    path: &str,
    free_units: i64,
    tariff: &Tariff,
    group_by: Option<&[String]>,
) -> Result<(), CatalogError> {
    free_threshold(path, free_units)?;
    match tariff.plain_unit_price() {
        Some(price) => unit_price(&format!("{path}.price_per_unit"), price),
        None => tariff::check(&format!("{path}.pricing"), tariff, group_by),
    }
}

fn free_threshold(path: &str, units: i64) -> Result<(), CatalogError> {
    if units >= 0 {
        return Ok(());
    }
    Err(CatalogError::invalid(
        format!("{path}.free_threshold"),
        "expected 0 or more units",
    ))
}

/// Checks a price of one unit in minor units: above zero, at most 5 digits before and 12 after the point.
pub(crate) fn unit_price(field: &str, price: &Decimal) -> Result<(), CatalogError> {
    let whole = price.whole_digits() <= PRICE_WHOLE_DIGITS_MAX;
    let fraction = price.fraction_digits() <= PRICE_FRACTION_DIGITS_MAX;
    if price.is_positive() && whole && fraction {
        return Ok(());
    }
    let message =
        "expected minor units above 0, with at most 5 digits before and 12 after the point";
    Err(CatalogError::invalid(field, message))
}

fn attachments(
    attachments: &[CreditAttachment],
    currency: crate::money::Currency,
    entitlements: &[CreditEntitlement],
) -> Result<(), CatalogError> {
    if attachments.len() > ATTACHMENTS_MAX {
        let message = format!("expected at most {ATTACHMENTS_MAX} entitlements");
        return Err(CatalogError::invalid("credit_entitlements", message));
    }
    let mut seen = BTreeSet::new();
    for (index, attachment) in attachments.iter().enumerate() {
        let path = format!("credit_entitlements[{index}]");
        let id = &attachment.credit_entitlement_id;
        if !seen.insert(id) {
            return Err(CatalogError::invalid(
                format!("{path}.credit_entitlement_id"),
                "expected each entitlement once",
            ));
        }
        if !entitlements
            .iter()
            .any(|known| known.id == *id && !known.archived)
        {
            let message =
                format!("expected an active credit entitlement; {id} is unknown or deleted");
            return Err(CatalogError::of(
                Kind::MissingEntitlement,
                format!("{path}.credit_entitlement_id"),
                message,
            ));
        }
        attachment.check(&path, currency)?;
    }
    Ok(())
}

fn credit_meters(
    meters: &[MeterPrice],
    attachments: &[CreditAttachment],
) -> Result<(), CatalogError> {
    for (index, entry) in meters.iter().enumerate() {
        let MeterPricing::Credits {
            credit_entitlement_id,
            ..
        } = &entry.pricing
        else {
            continue;
        };
        if attachments
            .iter()
            .all(|attachment| attachment.credit_entitlement_id != *credit_entitlement_id)
        {
            let message = format!(
                "expected an entitlement of this product's credit_entitlements, not {credit_entitlement_id}"
            );
            let field = format!("price.meters[{index}].credit_entitlement_id");
            return Err(CatalogError::of(Kind::MissingEntitlement, field, message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
