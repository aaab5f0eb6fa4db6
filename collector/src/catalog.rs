//! The catalog of what is sold: products, their prices, and the credits attached to them.
//!
//! Meters are the other half of the catalog; they are in `submeter_common`, because agents count by them. Everything here
//! is checked when it is made ([`Product::create`]), so that rating and billing never meet a price they cannot compute.

#![deny(clippy::float_arithmetic)]

pub(crate) mod check;
mod price;
mod product;

pub use crate::{
    credits::{CreditAttachment, CreditEntitlement},
    id::{EntitlementId, ProductId},
};
pub(crate) use check::{money_price as check_money_price, unit_price as check_unit_price};
pub use price::{Frequency, Interval, MeterPrice, MeterPricing, Price, UsageBasedPrice};
pub use product::{NewProduct, Product, ProductUpdate};

use serde::Serialize;

/// A definition that cannot be billed correctly, with the field that is wrong and what was expected there.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, thiserror::Error)]
#[error("{field}: {message}")]
pub struct CatalogError {
    /// What kind of mistake it is; decides the code and status the caller sees.
    pub kind: CatalogErrorKind,
    /// Path of the field in the request, such as `price.meters[1].price_per_unit`.
    pub field: String,
    /// What was expected, as a sentence for the caller.
    pub message: String,
}

/// Kinds of mistakes in a definition.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize)]
pub enum CatalogErrorKind {
    /// The value is outside what the field may hold.
    Invalid,
    /// The value is right elsewhere, but this version cannot bill it.
    Unsupported,
    /// One meter is priced twice.
    DuplicateMeters,
    /// A meter is unknown or archived.
    MissingMeters,
    /// An entitlement is unknown, archived, or used by a meter without being attached.
    MissingEntitlement,
}

impl CatalogErrorKind {
    /// Returns the code that API replies carry.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Invalid => "INVALID_FIELD",
            Self::Unsupported => "UNSUPPORTED_FIELD",
            Self::DuplicateMeters => "DUPLICATE_METER_IDS_IN_REQUEST",
            Self::MissingMeters => "MISSING_METER_IDS",
            Self::MissingEntitlement => "MISSING_CREDIT_ENTITLEMENT_IDS",
        }
    }
}

impl CatalogError {
    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::of(CatalogErrorKind::Invalid, field, message)
    }

    pub(crate) fn unsupported(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::of(CatalogErrorKind::Unsupported, field, message)
    }

    pub(crate) fn of(
        kind: CatalogErrorKind,
        field: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            field: field.into(),
            message: message.into(),
        }
    }
}
