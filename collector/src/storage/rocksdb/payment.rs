//! Payments, and which invoices are to be asked for.

use ::rocksdb::Direction;
use async_trait::async_trait;
use submeter_common::time::Timestamp;

use super::RocksStore;
use super::change;
use super::database::{Database, Family};
use super::key::{Index, Key, Kind, behind};
use crate::billing::Invoice;
use crate::id::{InvoiceId, PaymentId, SubscriptionId, TestClockId};
use crate::payment::Payment;
use crate::storage::{CollectionCursor, PaymentStore, StorageError};

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
        timeline: Option<&TestClockId>,
        until: Timestamp,
        after: Option<&CollectionCursor>,
        limit: usize,
    ) -> Result<Vec<Invoice>, StorageError> {
        let after = after.map(|cursor| Key::collection(timeline, cursor.at, &cursor.invoice_id));
        let all = Key::collections(timeline);
        self.blocking(move |database| collectable(database, all, until, after, limit))
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

fn collectable(
    database: &Database,
    all: Key,
    until: Timestamp,
    after: Option<Vec<u8>>,
    limit: usize,
) -> Result<Vec<Invoice>, StorageError> {
    let start = after.map_or_else(
        || all.as_bytes().to_vec(),
        |key| [key.as_slice(), &[0]].concat(),
    );
    let bound = behind(all.time(until).as_bytes());
    database
        .walk_between(Family::Indexes, start, bound, Direction::Forward)
        .take(limit)
        .map(|entry| entry.and_then(|(_, id)| database.named_by(Kind::Invoice, &id)))
        .collect()
}
