//! Whether an engine can serve.

use async_trait::async_trait;

use super::StorageError;

/// Tells how an engine is.
#[async_trait]
pub trait HealthStore: Send + Sync + 'static {
    /// Succeeds when reads and durable writes are to be expected to succeed now. Cheap enough to be asked every second.
    async fn health(&self) -> Result<(), StorageError>;
}
