//! API keys, known by the hash of their secret only.

use async_trait::async_trait;
use submeter_common::time::Timestamp;

use super::{InsertOutcome, StorageError};
use crate::auth::{ApiKey, KeyHash};

/// Whether a key was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum RevokeOutcome {
    /// It is refused from now on.
    Revoked,
    /// It was before.
    AlreadyRevoked,
    /// No such key.
    NotFound,
}

/// Keeps API keys.
#[async_trait]
pub trait KeyStore: Send + Sync + 'static {
    /// Writes a new key.
    async fn insert_key(&self, key: &ApiKey) -> Result<InsertOutcome, StorageError>;

    /// Returns the key with this hash, revoked ones too. Answered from memory: it is asked for with each request.
    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<ApiKey>, StorageError>;

    /// Lists all keys, newest first, revoked ones too.
    async fn keys(&self) -> Result<Vec<ApiKey>, StorageError>;

    /// Revokes a key for ever.
    async fn revoke_key(&self, key_id: &str, now: Timestamp)
    -> Result<RevokeOutcome, StorageError>;
}
