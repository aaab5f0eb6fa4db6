//! `pricing` in replies: as it can be sent again.

use serde::Serialize;

use crate::money::{Decimal, Rounding};
use crate::rating::{Conversion, Factor, Matrix, Model, Package, Tariff, Tier, ZeroUsage};

/// A price in money, and the form of a group's own price.
#[derive(Default, Serialize)]
pub(in super::super) struct PricingReply {
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<Vec<String>>,
    model: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fixed_price: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price_per_unit: Option<Decimal>,
    #[serde(flatten)]
    package: Option<PackageReply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price_per_package: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tiers: Option<Vec<TierReply>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    convert: Option<ConversionReply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<GroupsReply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price_per_event: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    free_events: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minimum: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zero_usage: Option<ZeroUsage>,
}

#[derive(Serialize)]
struct TierReply {
    up_to: Option<Decimal>,
    price_per_unit: Decimal,
    flat_price: i64,
    #[serde(flatten)]
    package: Option<PackageReply>,
}

#[derive(Serialize)]
struct PackageReply {
    package_size: Decimal,
    package_rounding: Rounding,
}

#[derive(Serialize)]
struct ConversionReply {
    #[serde(skip_serializing_if = "Option::is_none")]
    multiply_by: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    divide_by: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rounding: Option<Rounding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digits: Option<u8>,
}

#[derive(Serialize)]
struct GroupsReply {
    by: Vec<String>,
    prices: Vec<PricingReply>,
}

impl From<&Tariff> for PricingReply {
    fn from(tariff: &Tariff) -> Self {
        let events = tariff.events.as_ref();
        Self {
            convert: tariff.conversion.as_ref().map(ConversionReply::from),
            groups: tariff.matrix.as_ref().map(GroupsReply::from),
            price_per_event: events.map(|price| price.price_per_event.clone()),
            free_events: events.map(|price| price.free_events),
            minimum: tariff.minimum,
            maximum: tariff.maximum,
            zero_usage: Some(tariff.zero_usage),
            ..Self::of_model(&tariff.model)
        }
    }
}

impl PricingReply {
    fn of_model(model: &Model) -> Self {
        let named = Self {
            model: model.name(),
            ..Self::default()
        };
        match model {
            Model::Flat { fixed_price } => Self {
                fixed_price: Some(*fixed_price),
                ..named
            },
            Model::PerUnit {
                price_per_unit,
                fixed_price,
            } => Self {
                price_per_unit: Some(price_per_unit.clone()),
                fixed_price: Some(*fixed_price),
                ..named
            },
            Model::Package {
                package,
                price_per_package,
                fixed_price,
            } => Self {
                package: Some(package.into()),
                price_per_package: Some(price_per_package.clone()),
                fixed_price: Some(*fixed_price),
                ..named
            },
            Model::Percentage {
                percent,
                fixed_price,
            } => Self {
                percent: Some(percent.clone()),
                fixed_price: Some(*fixed_price),
                ..named
            },
            Model::Graduated { tiers } | Model::Volume { tiers } => Self {
                tiers: Some(tiers.iter().map(TierReply::from).collect()),
                ..named
            },
        }
    }
}

impl From<&Tier> for TierReply {
    fn from(tier: &Tier) -> Self {
        Self {
            up_to: tier.up_to.clone(),
            price_per_unit: tier.price_per_unit.clone(),
            flat_price: tier.flat_price,
            package: tier.package.as_ref().map(PackageReply::from),
        }
    }
}

impl From<&Package> for PackageReply {
    fn from(package: &Package) -> Self {
        Self {
            package_size: package.package_size.clone(),
            package_rounding: package.package_rounding,
        }
    }
}

impl From<&Conversion> for ConversionReply {
    fn from(conversion: &Conversion) -> Self {
        let (multiply_by, divide_by) = match conversion.factor.clone() {
            Factor::MultiplyBy(factor) => (Some(factor), None),
            Factor::DivideBy(divisor) => (None, Some(divisor)),
        };
        Self {
            multiply_by,
            divide_by,
            rounding: conversion.rounding.map(|(rounding, _)| rounding),
            digits: conversion.rounding.map(|(_, digits)| digits),
        }
    }
}

impl From<&Matrix> for GroupsReply {
    fn from(matrix: &Matrix) -> Self {
        let prices = matrix.rows.iter().map(|row| PricingReply {
            values: Some(row.values.clone()),
            ..PricingReply::of_model(&row.model)
        });
        Self {
            by: matrix.keys.clone(),
            prices: prices.collect(),
        }
    }
}
