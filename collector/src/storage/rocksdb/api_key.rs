//! API keys: documents on disk, all of them in memory.

use async_trait::async_trait;
use submeter_common::time::Timestamp;

use super::RocksStore;
use super::database::poisoned;
use super::key::Kind;
use super::transaction::Transaction;
use crate::auth::{ApiKey, KeyHash};
use crate::storage::{InsertOutcome, KeyStore, RevokeOutcome, StorageError};

#[async_trait]
impl KeyStore for RocksStore {
    async fn insert_key(&self, key: &ApiKey) -> Result<InsertOutcome, StorageError> {
        let key = key.clone();
        self.blocking(move |database| {
            let mut write = Transaction::begin(database)?;
            let mut keys = database.api_keys.write().map_err(poisoned)?;
            if keys.contains_key(&key.hash) || keys.values().any(|known| known.key_id == key.key_id)
            {
                return Ok(InsertOutcome::Exists);
            }
            write.put_document(Kind::ApiKey, &key.key_id, &key)?;
            write.commit()?;
            keys.insert(key.hash, key);
            Ok(InsertOutcome::Inserted)
        })
        .await
    }

    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<ApiKey>, StorageError> {
        Ok(self
            .database
            .api_keys
            .read()
            .map_err(poisoned)?
            .get(hash)
            .cloned())
    }

    async fn keys(&self) -> Result<Vec<ApiKey>, StorageError> {
        let mut keys: Vec<ApiKey> = self
            .database
            .api_keys
            .read()
            .map_err(poisoned)?
            .values()
            .cloned()
            .collect();
        keys.sort_by(|one, other| {
            (other.created_at, &other.key_id).cmp(&(one.created_at, &one.key_id))
        });
        Ok(keys)
    }

    async fn revoke_key(
        &self,
        key_id: &str,
        now: Timestamp,
    ) -> Result<RevokeOutcome, StorageError> {
        let key_id = key_id.to_owned();
        self.blocking(move |database| {
            let mut write = Transaction::begin(database)?;
            let mut keys = database.api_keys.write().map_err(poisoned)?;
            let Some(key) = keys.values_mut().find(|key| key.key_id == key_id) else {
                return Ok(RevokeOutcome::NotFound);
            };
            if key.revoked_at.is_some() {
                return Ok(RevokeOutcome::AlreadyRevoked);
            }
            let revoked = ApiKey {
                revoked_at: Some(now),
                ..key.clone()
            };
            write.put_document(Kind::ApiKey, &key_id, &revoked)?;
            write.commit()?;
            *key = revoked;
            Ok(RevokeOutcome::Revoked)
        })
        .await
    }
}
