//! What creates and changes a product, as the official clients send it.

use serde::Deserialize;
use submeter_common::time::Timestamp;

use super::super::error::ApiError;
use super::super::field::{Ignored, Unsupported, check_metadata, check_text, patch};
use super::attachment::AttachmentRequest;
use super::price::PriceRequest;
use crate::catalog::{NewProduct, ProductUpdate};
use crate::credits::CreditAttachment;
use crate::metadata::Metadata;
use crate::storage::CatalogSnapshot;

/// Tax categories that official clients know; no tax is computed here.
const TAX_CATEGORIES: [&str; 5] = [
    "digital_products",
    "saas",
    "e_book",
    "edtech",
    "live_tutoring",
];

/// What creates a product.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct CreateRequest {
    name: String,
    description: Option<String>,
    tax_category: String,
    price: PriceRequest,
    metadata: Option<Metadata>,
    credit_entitlements: Option<Vec<AttachmentRequest>>,
    #[serde(default, rename = "brand_id")]
    _brand_id: Ignored,
    #[serde(default, rename = "addons")]
    _addons: Unsupported,
    #[serde(default, rename = "entitlements")]
    _entitlements: Unsupported,
    #[serde(default, rename = "digital_product_delivery")]
    _digital_product_delivery: Unsupported,
    #[serde(default, rename = "pricing_mode")]
    _pricing_mode: Unsupported,
    #[serde(default, rename = "license_key_enabled")]
    _license_key_enabled: Unsupported,
    #[serde(default, rename = "license_key_activation_message")]
    _license_key_activation_message: Ignored,
    #[serde(default, rename = "license_key_activations_limit")]
    _license_key_activations_limit: Ignored,
    #[serde(default, rename = "license_key_duration")]
    _license_key_duration: Ignored,
}

/// What changes a product.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct UpdateRequest {
    name: Option<String>,
    #[serde(default, deserialize_with = "patch")]
    description: Option<Option<String>>,
    tax_category: Option<String>,
    price: Option<PriceRequest>,
    #[serde(default, deserialize_with = "patch")]
    metadata: Option<Option<Metadata>>,
    credit_entitlements: Option<Vec<AttachmentRequest>>,
    #[serde(default, rename = "brand_id")]
    _brand_id: Ignored,
    #[serde(default, rename = "image_id")]
    _image_id: Ignored,
    #[serde(default, rename = "addons")]
    _addons: Unsupported,
    #[serde(default, rename = "entitlements")]
    _entitlements: Unsupported,
    #[serde(default, rename = "digital_product_delivery")]
    _digital_product_delivery: Unsupported,
    #[serde(default, rename = "pricing_mode")]
    _pricing_mode: Unsupported,
    #[serde(default, rename = "license_key_enabled")]
    _license_key_enabled: Unsupported,
    #[serde(default, rename = "license_key_activation_message")]
    _license_key_activation_message: Ignored,
    #[serde(default, rename = "license_key_activations_limit")]
    _license_key_activations_limit: Ignored,
    #[serde(default, rename = "license_key_duration")]
    _license_key_duration: Ignored,
}

impl CreateRequest {
    /// Translates; what the product must fulfil is checked where it is made.
    pub(super) fn into_domain(
        self,
        catalog: &CatalogSnapshot,
        now: Timestamp,
    ) -> Result<NewProduct, ApiError> {
        check_description(self.description.as_deref())?;
        check_tax_category(&self.tax_category)?;
        let metadata = self.metadata.unwrap_or_default();
        check_metadata(&metadata)?;
        Ok(NewProduct {
            name: self.name,
            description: self.description,
            tax_category: self.tax_category,
            metadata,
            price: self.price.into_domain()?,
            credit_entitlements: attach(
                self.credit_entitlements.unwrap_or_default(),
                catalog,
                now,
            )?,
        })
    }
}

impl UpdateRequest {
    /// Translates; what the product must fulfil is checked where it is changed.
    pub(super) fn into_domain(
        self,
        catalog: &CatalogSnapshot,
        now: Timestamp,
    ) -> Result<ProductUpdate, ApiError> {
        check_description(
            self.description
                .as_ref()
                .and_then(|description| description.as_deref()),
        )?;
        if let Some(tax_category) = &self.tax_category {
            check_tax_category(tax_category)?;
        }
        let metadata = self.metadata.map(Option::unwrap_or_default);
        metadata.as_ref().map_or(Ok(()), check_metadata)?;
        Ok(ProductUpdate {
            name: self.name,
            description: self.description,
            tax_category: self.tax_category,
            metadata,
            price: self.price.map(PriceRequest::into_domain).transpose()?,
            credit_entitlements: self
                .credit_entitlements
                .map(|attachments| attach(attachments, catalog, now))
                .transpose()?,
        })
    }
}

fn check_description(description: Option<&str>) -> Result<(), ApiError> {
    description.map_or(Ok(()), |description| check_text("description", description))
}

fn check_tax_category(tax_category: &str) -> Result<(), ApiError> {
    if TAX_CATEGORIES.contains(&tax_category) {
        return Ok(());
    }
    Err(ApiError::field(
        "tax_category",
        format!("expected one of {}", TAX_CATEGORIES.join(", ")),
    ))
}

/// Reads the credits that come with a product.
pub(super) fn attach(
    requests: Vec<AttachmentRequest>,
    catalog: &CatalogSnapshot,
    now: Timestamp,
) -> Result<Vec<CreditAttachment>, ApiError> {
    requests
        .into_iter()
        .enumerate()
        .map(|(index, request)| {
            request.into_domain(&format!("credit_entitlements[{index}]"), catalog, now)
        })
        .collect()
}
