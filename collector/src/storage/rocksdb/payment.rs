//! Payments, and which invoices are to be asked for.

use ::rocksdb::Direction;
use async_trait::async_trait;
use submeter_common::time::Timestamp;

use super::RocksStore;
use super::change;
use super::key::{Index, Key, Kind};
use crate::billing::Invoice;
use crate::id::{InvoiceId, PaymentId, SubscriptionId};
use crate::payment::Payment;
use crate::storage::{PaymentStore, StorageError};

#[async_trait]
impl PaymentStore for RocksStore {
    async fn payment(&self, id: &PaymentId) -> Result<Option<Payment>, StorageError> {
        let id = id.clone();
        self.blocking(move |database| database.document(Kind::Payment, id.as_str()))
            .await
    }

    async fn payments(&self, invoice: &InvoiceId) -> Result<Vec<Payment>, StorageError> {
        let prefix = Key::of_index(Index::PaymentsOfInvoice).text(invoice.as_str());
        self.blocking(move |database| {
            database
                .indexed(Kind::Payment, prefix.as_bytes(), Direction::Forward)
                .collect()
        })
        .await
    }

    async fn collectable(
        &self,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<Invoice>, StorageError> {
        self.blocking(move |database| change::collectable(database, until, limit))
            .await
    }

    async fn past_due_since(
        &self,
        subscription: &SubscriptionId,
    ) -> Result<Option<Timestamp>, StorageError> {
        let subscription = subscription.clone();
        self.blocking(move |database| {
            let unpaid = change::past_due(database, &subscription)?;
            Ok(unpaid
                .iter()
                .filter_map(|invoice| invoice.collection.past_due_since)
                .min())
        })
        .await
    }
}
