//! Products: a name, a price, and the credits that come with each period.

use super::{CatalogError, Price, check};
use crate::{
    credits::{CreditAttachment, CreditEntitlement},
    id::ProductId,
    metadata::Metadata,
};
use serde::{Deserialize, Serialize};
use submeter_common::{meter::Meter, time::Timestamp};

/// Something a customer can subscribe to.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Product {
    /// The id.
    pub product_id: ProductId,
    /// Display name; the text of the base-fee line.
    pub name: String,
    /// What it is, for people.
    pub description: Option<String>,
    /// Tax category, as told; no tax is computed.
    pub tax_category: String,
    /// What the application attached.
    #[serde(default)]
    pub metadata: Metadata,
    /// The price. A subscription keeps the price it was made with.
    pub price: Price,
    /// Credits granted at the start of each period.
    pub credit_entitlements: Vec<CreditAttachment>,
    /// An archived product takes no new subscriptions.
    pub archived: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// What a caller tells about a product to be made.
#[derive(Clone, Debug)]
pub struct NewProduct {
    /// Display name.
    pub name: String,
    /// What it is, for people.
    pub description: Option<String>,
    /// Tax category, as told.
    pub tax_category: String,
    /// What the application attaches.
    pub metadata: Metadata,
    /// The price.
    pub price: Price,
    /// Credits granted at the start of each period.
    pub credit_entitlements: Vec<CreditAttachment>,
}

/// A change of a product: `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct ProductUpdate {
    /// New name.
    pub name: Option<String>,
    /// New description; `Some(None)` clears it.
    pub description: Option<Option<String>>,
    /// New tax category.
    pub tax_category: Option<String>,
    /// New metadata.
    pub metadata: Option<Metadata>,
    /// New price, for subscriptions made from now on.
    pub price: Option<Price>,
    /// New credits, for subscriptions made from now on.
    pub credit_entitlements: Option<Vec<CreditAttachment>>,
}

impl Product {
    /// Makes a product after checking everything that billing will rely on.
    ///
    /// `meters` and `entitlements` are those the catalog knows by the ids in the request.
    ///
    /// # Errors
    /// The first field that cannot be billed correctly.
    pub fn create(
        new: NewProduct,
        meters: &[Meter],
        entitlements: &[CreditEntitlement],
        now: Timestamp,
    ) -> Result<Self, CatalogError> {
        let product = Self {
            product_id: ProductId::fresh(now),
            name: new.name,
            description: new.description,
            tax_category: new.tax_category,
            metadata: new.metadata,
            price: new.price,
            credit_entitlements: new.credit_entitlements,
            archived: false,
            created_at: now,
            updated_at: now,
        };
        check::product(&product, meters, entitlements)?;
        Ok(product)
    }

    /// Returns the product with `update` applied, checked as at its creation.
    ///
    /// # Errors
    /// The first field that cannot be billed correctly.
    pub fn updated(
        &self,
        update: ProductUpdate,
        meters: &[Meter],
        entitlements: &[CreditEntitlement],
        now: Timestamp,
    ) -> Result<Self, CatalogError> {
        let before = self.clone();
        let product = Self {
            name: update.name.unwrap_or(before.name),
            description: update.description.unwrap_or(before.description),
            tax_category: update.tax_category.unwrap_or(before.tax_category),
            metadata: update.metadata.unwrap_or(before.metadata),
            price: update.price.unwrap_or(before.price),
            credit_entitlements: update
                .credit_entitlements
                .unwrap_or(before.credit_entitlements),
            updated_at: now,
            ..before
        };
        check::product(&product, meters, entitlements)?;
        Ok(product)
    }
}
