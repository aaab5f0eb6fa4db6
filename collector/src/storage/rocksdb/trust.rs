//! Trusted keys, and the seed of the collector's own.

use async_trait::async_trait;
use submeter_common::signature::PublicKey;

use super::RocksStore;
use super::key::Kind;
use super::transaction::Transaction;
use crate::storage::{InsertOutcome, StorageError, TrustStore, TrustedKey};

/// There is one seed.
const SEED: &str = "receipts";

#[async_trait]
impl TrustStore for RocksStore {
    async fn trust_key(&self, key: &TrustedKey) -> Result<InsertOutcome, StorageError> {
        let key = key.clone();
        self.blocking(move |database| {
            let mut write = Transaction::begin(database)?;
            let id = key.public_key.to_string();
            if database
                .document::<TrustedKey>(Kind::TrustedKey, &id)?
                .is_some()
            {
                return Ok(InsertOutcome::Exists);
            }
            write.put_document(Kind::TrustedKey, &id, &key)?;
            write.commit()?;
            Ok(InsertOutcome::Inserted)
        })
        .await
    }

    async fn trusted_keys(&self) -> Result<Vec<TrustedKey>, StorageError> {
        self.blocking(|database| database.documents(Kind::TrustedKey))
            .await
    }

    async fn distrust_key(&self, key: &PublicKey) -> Result<bool, StorageError> {
        let id = key.to_string();
        self.blocking(move |database| {
            let mut write = Transaction::begin(database)?;
            if database
                .document::<TrustedKey>(Kind::TrustedKey, &id)?
                .is_none()
            {
                return Ok(false);
            }
            write.delete_document(Kind::TrustedKey, &id);
            write.commit()?;
            Ok(true)
        })
        .await
    }

    async fn signing_seed(&self, fresh: [u8; 32]) -> Result<[u8; 32], StorageError> {
        self.blocking(move |database| {
            let mut write = Transaction::begin(database)?;
            if let Some(seed) = database.document(Kind::SigningSeed, SEED)? {
                return Ok(seed);
            }
            write.put_document(Kind::SigningSeed, SEED, &fresh)?;
            write.commit()?;
            Ok(fresh)
        })
        .await
    }
}
