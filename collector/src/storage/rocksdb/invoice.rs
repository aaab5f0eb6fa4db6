//! Invoices, grants and transfers: reading them.

use ::rocksdb::Direction;
use async_trait::async_trait;
use submeter_common::id::CustomerId;

use super::RocksStore;
use super::database::Database;
use super::key::{Index, Key, Kind};
use super::settle;
use crate::billing::{Invoice, Settlement};
use crate::credits::Grant;
use crate::id::{EntitlementId, InvoiceId};
use crate::ledger::Transfer;
use crate::storage::{InvoiceFilter, InvoiceStore, Page, SettleOutcome, StorageError};

#[async_trait]
impl InvoiceStore for RocksStore {
    async fn settle(&self, settlement: Settlement) -> Result<SettleOutcome, StorageError> {
        self.blocking(move |database| settle::settle(database, settlement))
            .await
    }

    async fn invoice(&self, id: &InvoiceId) -> Result<Option<Invoice>, StorageError> {
        let id = id.clone();
        self.blocking(move |database| database.document(Kind::Invoice, id.as_str()))
            .await
    }

    async fn invoices(
        &self,
        filter: &InvoiceFilter,
        page: Page,
    ) -> Result<Vec<Invoice>, StorageError> {
        let filter = filter.clone();
        self.blocking(move |database| invoices(database, &filter, page))
            .await
    }

    async fn grants(
        &self,
        customer: &CustomerId,
        entitlement: Option<&EntitlementId>,
    ) -> Result<Vec<Grant>, StorageError> {
        let prefix = Key::of_index(Index::GrantsOfCustomer).text(customer.as_str());
        let entitlement = entitlement.cloned();
        self.blocking(move |database| {
            let wanted = |grant: &Grant| {
                entitlement
                    .as_ref()
                    .is_none_or(|id| *id == grant.credit_entitlement_id)
            };
            database
                .indexed(Kind::Grant, prefix.as_bytes(), Direction::Forward)
                .filter(|grant: &Result<Grant, _>| grant.as_ref().map_or(true, wanted))
                .collect()
        })
        .await
    }

    async fn transfers(
        &self,
        customer: &CustomerId,
        page: Page,
    ) -> Result<Vec<Transfer>, StorageError> {
        let prefix = Key::of_index(Index::TransfersOfCustomer).text(customer.as_str());
        self.blocking(move |database| {
            database.indexed_page(Kind::Transfer, prefix.as_bytes(), page)
        })
        .await
    }
}

fn invoices(
    database: &Database,
    filter: &InvoiceFilter,
    page: Page,
) -> Result<Vec<Invoice>, StorageError> {
    let prefix = match (&filter.subscription_id, &filter.customer_id) {
        (Some(subscription), _) => {
            Key::of_index(Index::InvoicesOfSubscription).text(subscription.as_str())
        }
        (None, Some(customer)) => Key::of_index(Index::InvoicesOfCustomer).text(customer.as_str()),
        (None, None) => Key::of_index(Index::Invoices),
    };
    let (Some(_), Some(customer)) = (&filter.subscription_id, &filter.customer_id) else {
        return database.indexed_page(Kind::Invoice, prefix.as_bytes(), page);
    };
    // A subscription has one customer: all of its invoices pass, or none.
    let all = database.indexed(Kind::Invoice, prefix.as_bytes(), Direction::Reverse);
    let of_customer = |invoice: &Result<Invoice, _>| {
        invoice
            .as_ref()
            .map_or(true, |invoice| invoice.customer_id == *customer)
    };
    page.of(all.filter(of_customer)).into_iter().collect()
}
