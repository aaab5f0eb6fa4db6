//! The audit log, by number.

use async_trait::async_trait;

use super::RocksStore;
use super::key::Kind;
use super::transaction::Transaction;
use crate::storage::{AuditEntry, AuditRecord, AuditStore, Page, StorageError};

#[async_trait]
impl AuditStore for RocksStore {
    async fn append_audit(&self, entry: AuditEntry) -> Result<AuditRecord, StorageError> {
        self.blocking(move |database| {
            let mut write = Transaction::begin(database)?;
            let record = write.put_audit(entry)?;
            write.commit()?;
            Ok(record)
        })
        .await
    }

    async fn audit(&self, page: Page) -> Result<Vec<AuditRecord>, StorageError> {
        self.blocking(move |database| database.newest_documents(Kind::Audit, page))
            .await
    }
}
