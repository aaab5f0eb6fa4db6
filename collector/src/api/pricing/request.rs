//! `pricing` in requests.

use serde::Deserialize;

use super::super::error::ApiError;
use super::super::field::Exact;
use crate::money::Rounding;
use crate::rating::{
    Conversion, EventPrice, Factor, Matrix, MatrixRow, Model, Package, Tariff, Tier, ZeroUsage,
};

/// Digits to which a conversion rounds when it is not told.
const CONVERSION_DIGITS: u8 = 0;

/// A price in money. Also the form of a group's own price, which has `values` and the fields of its model alone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct PricingRequest {
    model: String,
    fixed_price: Option<i64>,
    price_per_unit: Option<Exact>,
    package_size: Option<Exact>,
    package_rounding: Option<Rounding>,
    price_per_package: Option<Exact>,
    percent: Option<Exact>,
    tiers: Option<Vec<TierRequest>>,
    values: Option<Vec<String>>,
    convert: Option<ConversionRequest>,
    groups: Option<GroupsRequest>,
    price_per_event: Option<Exact>,
    free_events: Option<u64>,
    minimum: Option<i64>,
    maximum: Option<i64>,
    zero_usage: Option<ZeroUsage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TierRequest {
    up_to: Option<Exact>,
    price_per_unit: Option<Exact>,
    flat_price: Option<i64>,
    package_size: Option<Exact>,
    package_rounding: Option<Rounding>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConversionRequest {
    multiply_by: Option<Exact>,
    divide_by: Option<Exact>,
    rounding: Option<Rounding>,
    digits: Option<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupsRequest {
    by: Vec<String>,
    prices: Vec<PricingRequest>,
}

impl PricingRequest {
    /// Translates; what a tariff must fulfil is checked where it is used.
    pub(in super::super) fn into_domain(mut self, path: &str) -> Result<Tariff, ApiError> {
        let model = self.take_model(path)?;
        let conversion = self.convert.take();
        let groups = self.groups.take();
        let tariff = Tariff {
            conversion: conversion
                .map(|convert| convert.into_domain(&format!("{path}.convert")))
                .transpose()?,
            model,
            matrix: groups
                .map(|groups| groups.into_domain(&format!("{path}.groups")))
                .transpose()?,
            events: self.take_events(path)?,
            minimum: self.minimum.take(),
            maximum: self.maximum.take(),
            zero_usage: self.zero_usage.take().unwrap_or_default(),
        };
        self.expect_nothing_left(path)?;
        Ok(tariff)
    }

    fn into_row(mut self, path: &str) -> Result<MatrixRow, ApiError> {
        let row = MatrixRow {
            model: self.take_model(path)?,
            values: needed(self.values.take(), path, "values")?,
        };
        self.expect_nothing_left(path)?;
        Ok(row)
    }

    fn take_model(&mut self, path: &str) -> Result<Model, ApiError> {
        let model = match self.model.as_str() {
            "flat" => Model::Flat {
                fixed_price: needed(self.fixed_price.take(), path, "fixed_price")?,
            },
            "per_unit" => Model::PerUnit {
                price_per_unit: needed(self.price_per_unit.take(), path, "price_per_unit")?.into(),
                fixed_price: self.fixed_price.take().unwrap_or(0),
            },
            "package" => Model::Package {
                package: Package {
                    package_size: needed(self.package_size.take(), path, "package_size")?.into(),
                    package_rounding: self.package_rounding.take().unwrap_or(Rounding::Up),
                },
                price_per_package: needed(
                    self.price_per_package.take(),
                    path,
                    "price_per_package",
                )?
                .into(),
                fixed_price: self.fixed_price.take().unwrap_or(0),
            },
            "percentage" => Model::Percentage {
                percent: needed(self.percent.take(), path, "percent")?.into(),
                fixed_price: self.fixed_price.take().unwrap_or(0),
            },
            "graduated" => Model::Graduated {
                tiers: self.take_tiers(path)?,
            },
            "volume" => Model::Volume {
                tiers: self.take_tiers(path)?,
            },
            _ => {
                let expected =
                    "expected one of flat, per_unit, package, percentage, graduated, volume";
                return Err(ApiError::field(format!("{path}.model"), expected));
            }
        };
        Ok(model)
    }

    fn take_tiers(&mut self, path: &str) -> Result<Vec<Tier>, ApiError> {
        let tiers = needed(self.tiers.take(), path, "tiers")?;
        let tiers = tiers.into_iter().enumerate();
        tiers
            .map(|(index, tier)| tier.into_domain(&format!("{path}.tiers[{index}]")))
            .collect()
    }

    fn take_events(&mut self, path: &str) -> Result<Option<EventPrice>, ApiError> {
        match (self.price_per_event.take(), self.free_events.take()) {
            (Some(price), free_events) => Ok(Some(EventPrice {
                price_per_event: price.into(),
                free_events: free_events.unwrap_or(0),
            })),
            (None, None) => Ok(None),
            (None, Some(_)) => Err(ApiError::field(
                format!("{path}.free_events"),
                "expected only with price_per_event",
            )),
        }
    }

    /// A field that would be ignored is a misunderstanding that would be billed.
    fn expect_nothing_left(&self, path: &str) -> Result<(), ApiError> {
        let of_models = [
            ("fixed_price", self.fixed_price.is_some()),
            ("price_per_unit", self.price_per_unit.is_some()),
            ("package_size", self.package_size.is_some()),
            ("package_rounding", self.package_rounding.is_some()),
            ("price_per_package", self.price_per_package.is_some()),
            ("percent", self.percent.is_some()),
            ("tiers", self.tiers.is_some()),
        ];
        if let Some((name, _)) = of_models.iter().find(|(_, is_left)| *is_left) {
            let message = format!("the model {} has no such field", self.model);
            return Err(ApiError::field(format!("{path}.{name}"), message));
        }
        if self.values.is_some() {
            let message = "expected only in groups.prices";
            return Err(ApiError::field(format!("{path}.values"), message));
        }
        let of_the_whole = [
            ("convert", self.convert.is_some()),
            ("groups", self.groups.is_some()),
            ("price_per_event", self.price_per_event.is_some()),
            ("free_events", self.free_events.is_some()),
            ("minimum", self.minimum.is_some()),
            ("maximum", self.maximum.is_some()),
            ("zero_usage", self.zero_usage.is_some()),
        ];
        match of_the_whole.iter().find(|(_, is_left)| *is_left) {
            None => Ok(()),
            Some((name, _)) => Err(ApiError::field(
                format!("{path}.{name}"),
                "expected beside `groups`: it holds for all groups together",
            )),
        }
    }
}

impl TierRequest {
    fn into_domain(self, path: &str) -> Result<Tier, ApiError> {
        let package = match (self.package_size, self.package_rounding) {
            (Some(size), rounding) => Some(Package {
                package_size: size.into(),
                package_rounding: rounding.unwrap_or(Rounding::Up),
            }),
            (None, None) => None,
            (None, Some(_)) => {
                let message = "expected only with package_size";
                return Err(ApiError::field(format!("{path}.package_rounding"), message));
            }
        };
        if self.price_per_unit.is_none() && self.flat_price.is_none() {
            return Err(missing(path, "price_per_unit", "or flat_price, or both"));
        }
        Ok(Tier {
            up_to: self.up_to.map(Into::into),
            price_per_unit: self.price_per_unit.map(Into::into).unwrap_or_default(),
            package,
            flat_price: self.flat_price.unwrap_or(0),
        })
    }
}

impl ConversionRequest {
    fn into_domain(self, path: &str) -> Result<Conversion, ApiError> {
        let factor = match (self.multiply_by, self.divide_by) {
            (Some(factor), None) => Factor::MultiplyBy(factor.into()),
            (None, Some(divisor)) => Factor::DivideBy(divisor.into()),
            (None, None) => return Err(missing(path, "divide_by", "or multiply_by")),
            (Some(_), Some(_)) => {
                let message = "expected either divide_by or multiply_by, not both";
                return Err(ApiError::field(format!("{path}.multiply_by"), message));
            }
        };
        let rounding = match (self.rounding, self.digits) {
            (Some(rounding), digits) => Some((rounding, digits.unwrap_or(CONVERSION_DIGITS))),
            (None, None) => None,
            (None, Some(_)) => {
                let message = "expected only with rounding";
                return Err(ApiError::field(format!("{path}.digits"), message));
            }
        };
        Ok(Conversion { factor, rounding })
    }
}

impl GroupsRequest {
    fn into_domain(self, path: &str) -> Result<Matrix, ApiError> {
        let rows = self.prices.into_iter().enumerate();
        let rows = rows.map(|(index, price)| price.into_row(&format!("{path}.prices[{index}]")));
        Ok(Matrix {
            keys: self.by,
            rows: rows.collect::<Result<_, _>>()?,
        })
    }
}

fn needed<T>(value: Option<T>, path: &str, name: &str) -> Result<T, ApiError> {
    value.ok_or_else(|| {
        let field = format!("{path}.{name}");
        ApiError::invalid("MISSING_FIELD", field, "this field is needed")
    })
}

fn missing(path: &str, name: &str, otherwise: &str) -> ApiError {
    let message = format!("this field is needed, {otherwise}");
    ApiError::invalid("MISSING_FIELD", format!("{path}.{name}"), message)
}
