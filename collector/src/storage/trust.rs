//! Whose bundles are taken, and the key that signs what goes back for them.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use submeter_common::signature::PublicKey;
use submeter_common::time::Timestamp;

use super::{InsertOutcome, StorageError};

/// A key whose bundles are taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedKey {
    /// The key, as `submeter-agent export --public-key` prints it.
    pub public_key: PublicKey,
    /// What people call the site.
    pub name: String,
    /// Since when.
    pub trusted_at: Timestamp,
}

/// Keeps trusted keys and the collector's own seed.
#[async_trait]
pub trait TrustStore: Send + Sync + 'static {
    /// Trusts a key.
    async fn trust_key(&self, key: &TrustedKey) -> Result<InsertOutcome, StorageError>;

    /// Returns all trusted keys, by key.
    async fn trusted_keys(&self) -> Result<Vec<TrustedKey>, StorageError>;

    /// Trusts a key no longer; false when it was not trusted.
    async fn distrust_key(&self, key: &PublicKey) -> Result<bool, StorageError>;

    /// Returns the seed of the key that signs receipts. The first call keeps `fresh`; all others return what it kept.
    async fn signing_seed(&self, fresh: [u8; 32]) -> Result<[u8; 32], StorageError>;
}
