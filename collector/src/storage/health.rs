//! Whether an engine can serve, and when it did.

use async_trait::async_trait;

use submeter_common::time::Timestamp;

use super::StorageError;
use crate::completeness::Service;

/// Tells how an engine is.
#[async_trait]
pub trait HealthStore: Send + Sync + 'static {
    /// Succeeds when reads and durable writes are to be expected to succeed now. Cheap enough to be asked every second.
    async fn health(&self) -> Result<(), StorageError>;

    /// Notes that the collector begins to serve: since it was last known to, it was away.
    async fn begin_service(&self, now: Timestamp) -> Result<(), StorageError>;

    /// Notes that the collector still serves.
    async fn go_on_serving(&self, now: Timestamp) -> Result<(), StorageError>;

    /// When the collector served.
    async fn service(&self) -> Result<Service, StorageError>;
}
