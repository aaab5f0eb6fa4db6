//! A product in replies, whole and as an entry of a list.

use serde::Serialize;
use submeter_common::time::Timestamp;

use super::super::reply::{BRAND_ID, BUSINESS_ID};
use super::attachment::AttachmentReply;
use super::price::PriceReply;
use crate::catalog::Product;
use crate::id::ProductId;
use crate::metadata::Metadata;
use crate::money::Currency;
use crate::storage::CatalogSnapshot;

/// A list that compatible replies carry and that has nothing in it here.
type Nothing = [(); 0];

/// A product.
#[derive(Serialize)]
pub(in super::super) struct ProductReply {
    product_id: ProductId,
    business_id: &'static str,
    brand_id: &'static str,
    name: String,
    description: Option<String>,
    tax_category: String,
    is_recurring: bool,
    price: PriceReply,
    credit_entitlements: Vec<AttachmentReply>,
    entitlements: Nothing,
    license_key_enabled: bool,
    metadata: Metadata,
    archived: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// A product as an entry of a list.
#[derive(Serialize)]
pub(in super::super) struct ListedProduct {
    product_id: ProductId,
    business_id: &'static str,
    name: String,
    description: Option<String>,
    tax_category: String,
    is_recurring: bool,
    currency: Currency,
    price: i64,
    price_detail: PriceReply,
    tax_inclusive: bool,
    entitlements: Nothing,
    metadata: Metadata,
    archived: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl ProductReply {
    /// Writes a product, with the names of its meters as they are now.
    pub(super) fn new(product: &Product, catalog: &CatalogSnapshot) -> Self {
        Self {
            product_id: product.product_id.clone(),
            business_id: BUSINESS_ID,
            brand_id: BRAND_ID,
            name: product.name.clone(),
            description: product.description.clone(),
            tax_category: product.tax_category.clone(),
            is_recurring: true,
            price: PriceReply::new(&product.price, catalog),
            credit_entitlements: product
                .credit_entitlements
                .iter()
                .cloned()
                .map(AttachmentReply::from)
                .collect(),
            entitlements: [],
            license_key_enabled: false,
            metadata: product.metadata.clone(),
            archived: product.archived,
            created_at: product.created_at,
            updated_at: product.updated_at,
        }
    }
}

impl ListedProduct {
    /// Writes a product as an entry of a list.
    pub(super) fn new(product: &Product, catalog: &CatalogSnapshot) -> Self {
        let price = product.price.usage_based();
        Self {
            product_id: product.product_id.clone(),
            business_id: BUSINESS_ID,
            name: product.name.clone(),
            description: product.description.clone(),
            tax_category: product.tax_category.clone(),
            is_recurring: true,
            currency: price.currency,
            price: price.fixed_price,
            price_detail: PriceReply::new(&product.price, catalog),
            tax_inclusive: price.tax_inclusive,
            entitlements: [],
            metadata: product.metadata.clone(),
            archived: product.archived,
            created_at: product.created_at,
            updated_at: product.updated_at,
        }
    }
}
