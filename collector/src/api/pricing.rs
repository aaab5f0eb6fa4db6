//! Prices in money as clients send and read them: one price per unit as in the compatible API, or `pricing` for the rest.
//!
//! Products, the calculator and the simulation share these forms. They are flat on purpose: a tagged enum would make serde
//! buffer the value, and decimals would lose digits and complaints their paths.

mod reply;
mod request;

use super::error::ApiError;
use super::field::Exact;
use crate::catalog;
use crate::rating::Tariff;

pub(super) use reply::PricingReply;
pub(super) use request::PricingRequest;

/// Reads the price in money at `path`, in whichever of its two forms it came; none without one.
pub(super) fn tariff(
    path: &str,
    price_per_unit: Option<Exact>,
    pricing: Option<PricingRequest>,
) -> Result<Option<Tariff>, ApiError> {
    match (price_per_unit, pricing) {
        (None, None) => Ok(None),
        (Some(price), None) => Ok(Some(Tariff::per_unit(price.into()))),
        (None, Some(pricing)) => {
            let path = format!("{path}.pricing");
            let tariff = pricing.into_domain(&path)?;
            // Once read, it is the same price as in the other form, and would be refused by that form's path.
            if let Some(price) = tariff.plain_unit_price() {
                catalog::check_unit_price(&format!("{path}.price_per_unit"), price)?;
            }
            Ok(Some(tariff))
        }
        (Some(_), Some(_)) => Err(ApiError::field(
            format!("{path}.pricing"),
            "expected either price_per_unit or pricing, not both",
        )),
    }
}
