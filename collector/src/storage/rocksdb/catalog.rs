//! The catalog: documents on disk, one snapshot in memory.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use submeter_common::meter::Meter;

use super::RocksStore;
use super::database::{Database, poisoned};
use super::key::Kind;
use super::transaction::Transaction;
use crate::catalog::Product;
use crate::credits::CreditEntitlement;
use crate::storage::{CatalogSnapshot, CatalogStore, PutOutcome, StorageError};

#[async_trait]
impl CatalogStore for RocksStore {
    async fn catalog(&self) -> Result<Arc<CatalogSnapshot>, StorageError> {
        self.database.current_catalog()
    }

    async fn put_meter(
        &self,
        previous: Option<&Meter>,
        meter: &Meter,
    ) -> Result<PutOutcome, StorageError> {
        let (previous, meter) = (previous.cloned(), meter.clone());
        self.blocking(move |database| {
            let mut write = Transaction::begin(database)?;
            if !put(
                &mut write,
                Kind::Meter,
                meter.id.as_str(),
                previous.as_ref(),
                &meter,
            )? {
                return Ok(PutOutcome::Conflict);
            }
            let mut catalog = database.next_catalog()?;
            catalog.version = write.next_catalog_version()?;
            catalog.meters.insert(meter.id.clone(), meter);
            database.commit_catalog(write, catalog)
        })
        .await
    }

    async fn put_product(
        &self,
        previous: Option<&Product>,
        product: &Product,
    ) -> Result<PutOutcome, StorageError> {
        let (previous, product) = (previous.cloned(), product.clone());
        self.blocking(move |database| {
            let mut write = Transaction::begin(database)?;
            if !put(
                &mut write,
                Kind::Product,
                product.product_id.as_str(),
                previous.as_ref(),
                &product,
            )? {
                return Ok(PutOutcome::Conflict);
            }
            let mut catalog = database.next_catalog()?;
            catalog.products.insert(product.product_id.clone(), product);
            database.commit_catalog(write, catalog)
        })
        .await
    }

    async fn put_entitlement(
        &self,
        previous: Option<&CreditEntitlement>,
        entitlement: &CreditEntitlement,
    ) -> Result<PutOutcome, StorageError> {
        let (previous, entitlement) = (previous.cloned(), entitlement.clone());
        self.blocking(move |database| {
            let mut write = Transaction::begin(database)?;
            let id = entitlement.id.clone();
            if !put(
                &mut write,
                Kind::Entitlement,
                id.as_str(),
                previous.as_ref(),
                &entitlement,
            )? {
                return Ok(PutOutcome::Conflict);
            }
            let mut catalog = database.next_catalog()?;
            catalog.entitlements.insert(id, entitlement);
            database.commit_catalog(write, catalog)
        })
        .await
    }
}

impl Database {
    pub(super) fn current_catalog(&self) -> Result<Arc<CatalogSnapshot>, StorageError> {
        Ok(Arc::clone(&*self.catalog.read().map_err(poisoned)?))
    }

    /// Reads the whole catalog from disk, as a start does.
    pub(super) fn read_catalog(&self, version: u64) -> Result<CatalogSnapshot, StorageError> {
        let meters: Vec<Meter> = self.documents(Kind::Meter)?;
        let products: Vec<Product> = self.documents(Kind::Product)?;
        let entitlements: Vec<CreditEntitlement> = self.documents(Kind::Entitlement)?;
        Ok(CatalogSnapshot {
            version,
            meters: meters
                .into_iter()
                .map(|meter| (meter.id.clone(), meter))
                .collect(),
            products: products
                .into_iter()
                .map(|product| (product.product_id.clone(), product))
                .collect(),
            entitlements: entitlements
                .into_iter()
                .map(|entitlement| (entitlement.id.clone(), entitlement))
                .collect(),
        })
    }

    fn next_catalog(&self) -> Result<CatalogSnapshot, StorageError> {
        Ok(CatalogSnapshot::clone(&*self.current_catalog()?))
    }

    /// Shows the new catalog to readers only after it is durable.
    fn commit_catalog(
        &self,
        write: Transaction<'_>,
        catalog: CatalogSnapshot,
    ) -> Result<PutOutcome, StorageError> {
        let mut shown = self.catalog.write().map_err(poisoned)?;
        write.commit()?;
        *shown = Arc::new(catalog);
        Ok(PutOutcome::Written)
    }
}

/// Puts a document over the one its author had read; `false` when that is no longer the one stored.
fn put<T>(
    write: &mut Transaction<'_>,
    kind: Kind,
    id: &str,
    previous: Option<&T>,
    document: &T,
) -> Result<bool, StorageError>
where
    T: Serialize + DeserializeOwned,
{
    let current = match previous {
        Some(previous) => write.is_stored(kind, id, previous)?,
        None => write.database.document::<T>(kind, id)?.is_none(),
    };
    if current {
        write.put_document(kind, id, document)?;
    }
    Ok(current)
}
