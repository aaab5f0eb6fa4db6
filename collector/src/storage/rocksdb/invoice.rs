//! Invoices and credit notes: reading them.

use ::rocksdb::Direction;
use async_trait::async_trait;

use super::RocksStore;
use super::database::Database;
use super::key::{Index, Key, Kind};
use super::{change, draft, settle};
use crate::billing::{BlockedDraft, CreditNote, Invoice, InvoiceChange, Settlement};
use crate::id::{CreditNoteId, InvoiceId};
use crate::storage::{
    ChangeOutcome, CreditNoteFilter, InvoiceFilter, InvoiceStore, Page, SettleOutcome, StorageError,
};

#[async_trait]
impl InvoiceStore for RocksStore {
    async fn settle(&self, settlement: Settlement) -> Result<SettleOutcome, StorageError> {
        self.blocking(move |database| settle::settle(database, settlement))
            .await
    }

    async fn settle_all(
        &self,
        settlements: Vec<Settlement>,
    ) -> Result<Vec<Result<SettleOutcome, StorageError>>, StorageError> {
        self.blocking(move |database| settle::settle_all(database, settlements))
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

    async fn change_invoice(&self, change: InvoiceChange) -> Result<ChangeOutcome, StorageError> {
        self.blocking(move |database| change::change(database, change))
            .await
    }

    async fn credit_note(&self, id: &CreditNoteId) -> Result<Option<CreditNote>, StorageError> {
        let id = id.clone();
        self.blocking(move |database| database.document(Kind::CreditNote, id.as_str()))
            .await
    }

    async fn credit_notes(
        &self,
        filter: &CreditNoteFilter,
        page: Page,
    ) -> Result<Vec<CreditNote>, StorageError> {
        let filter = filter.clone();
        self.blocking(move |database| credit_notes(database, &filter, page))
            .await
    }

    async fn block_draft(&self, draft: BlockedDraft) -> Result<(), StorageError> {
        self.blocking(move |database| draft::block(database, draft))
            .await
    }

    async fn blocked_drafts(
        &self,
        filter: &InvoiceFilter,
        page: Page,
    ) -> Result<Vec<BlockedDraft>, StorageError> {
        let filter = filter.clone();
        self.blocking(move |database| {
            let wanted = |draft: &BlockedDraft| {
                let (customer, subscription) = (&filter.customer_id, &filter.subscription_id);
                customer.as_ref().is_none_or(|id| *id == draft.customer_id)
                    && subscription
                        .as_ref()
                        .is_none_or(|id| *id == draft.subscription_id)
            };
            let all: Vec<BlockedDraft> = database.documents(Kind::Draft)?;
            Ok(page.of(all.into_iter().filter(wanted)))
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
    if filter.status.is_none() && (filter.subscription_id.is_none() || filter.customer_id.is_none())
    {
        return database.indexed_page(Kind::Invoice, prefix.as_bytes(), page);
    }
    let wanted = |invoice: &Invoice| {
        let of_customer = filter.customer_id.as_ref();
        of_customer.is_none_or(|customer| *customer == invoice.customer_id)
            && filter.status.is_none_or(|status| status == invoice.status)
    };
    let all = database.indexed(Kind::Invoice, prefix.as_bytes(), Direction::Reverse);
    let wanted = |invoice: &Result<Invoice, _>| invoice.as_ref().map_or(true, wanted);
    page.of(all.filter(wanted)).into_iter().collect()
}

fn credit_notes(
    database: &Database,
    filter: &CreditNoteFilter,
    page: Page,
) -> Result<Vec<CreditNote>, StorageError> {
    let prefix = match (&filter.invoice_id, &filter.customer_id) {
        (Some(invoice), _) => Key::of_index(Index::CreditNotesOfInvoice).text(invoice.as_str()),
        (None, Some(customer)) => {
            Key::of_index(Index::CreditNotesOfCustomer).text(customer.as_str())
        }
        (None, None) => Key::of_index(Index::CreditNotes),
    };
    let wanted = |note: &Result<CreditNote, _>| {
        note.as_ref().map_or(true, |note| {
            let of_customer = filter.customer_id.as_ref();
            of_customer.is_none_or(|customer| *customer == note.note.customer_id)
        })
    };
    let all = database.indexed(Kind::CreditNote, prefix.as_bytes(), Direction::Reverse);
    page.of(all.filter(wanted)).into_iter().collect()
}
