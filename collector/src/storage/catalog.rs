//! Meters, products and credit entitlements: global, small, versioned.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use submeter_common::id::MeterId;
use submeter_common::meter::Meter;
use submeter_common::protocol::Catalog;

use super::{PutOutcome, StorageError};
use crate::catalog::Product;
use crate::credits::CreditEntitlement;
use crate::id::{EntitlementId, ProductId};

/// The whole catalog as of one version.
#[derive(Debug, Clone, Default)]
pub struct CatalogSnapshot {
    /// Grows by one with each change of a meter: what agents compare to know whether to pull.
    pub version: u64,
    /// All meters, archived ones too.
    pub meters: BTreeMap<MeterId, Meter>,
    /// All products, archived ones too.
    pub products: BTreeMap<ProductId, Product>,
    /// All credit entitlements, deleted ones too.
    pub entitlements: BTreeMap<EntitlementId, CreditEntitlement>,
}

impl CatalogSnapshot {
    /// Returns what agents pull: every meter, under the catalog's version.
    pub fn for_agents(&self) -> Catalog {
        Catalog {
            version: self.version,
            meters: self.meters.values().cloned().collect(),
        }
    }
}

/// Keeps the catalog. Reads are answered from memory.
#[async_trait]
pub trait CatalogStore: Send + Sync + 'static {
    /// Returns the current catalog.
    async fn catalog(&self) -> Result<Arc<CatalogSnapshot>, StorageError>;

    /// Writes a meter over `previous` (`None`: a new one) and raises the catalog's version.
    async fn put_meter(
        &self,
        previous: Option<&Meter>,
        meter: &Meter,
    ) -> Result<PutOutcome, StorageError>;

    /// Writes a product over `previous` (`None`: a new one).
    async fn put_product(
        &self,
        previous: Option<&Product>,
        product: &Product,
    ) -> Result<PutOutcome, StorageError>;

    /// Writes a credit entitlement over `previous` (`None`: a new one).
    async fn put_entitlement(
        &self,
        previous: Option<&CreditEntitlement>,
        entitlement: &CreditEntitlement,
    ) -> Result<PutOutcome, StorageError>;
}
