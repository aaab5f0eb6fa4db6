//! Whether an engine can serve, and when it did.

use async_trait::async_trait;

use submeter_common::time::Timestamp;

use super::StorageError;
use crate::completeness::Service;

/// The disk an engine writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskRoom {
    /// Bytes free on it.
    pub free: u64,
    /// Bytes that have to be free for frames to be taken.
    pub reserve: u64,
}

/// Tells how an engine is.
#[async_trait]
pub trait HealthStore: Send + Sync + 'static {
    /// Succeeds when reads and durable writes are to be expected to succeed now. Cheap enough to be asked every second.
    async fn health(&self) -> Result<(), StorageError>;

    /// Waits until the engine has failed in a way that only a restart mends; says how.
    async fn failed(&self) -> String;

    /// The disk it writes to, where it has one of its own.
    fn disk(&self) -> Option<DiskRoom>;

    /// Notes that the collector begins to serve: since it was last known to, it was away.
    async fn begin_service(&self, now: Timestamp) -> Result<(), StorageError>;

    /// Notes that the collector still serves.
    async fn go_on_serving(&self, now: Timestamp) -> Result<(), StorageError>;

    /// When the collector served.
    async fn service(&self) -> Result<Service, StorageError>;
}
