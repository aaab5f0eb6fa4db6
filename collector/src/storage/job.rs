//! Leases of background work: who is at it, and until when.

use async_trait::async_trait;
use submeter_common::time::Timestamp;

use super::StorageError;

/// Keeps leases. A lease spares double work; it is no lock: every job is safe when two runners do it at once.
#[async_trait]
pub trait JobStore: Send + Sync + 'static {
    /// Takes or prolongs the lease of `job` for `holder` until `until`, unless another holds it at `now`. Tells whether the
    /// holder has it.
    async fn take_lease(
        &self,
        job: &str,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StorageError>;

    /// Gives the lease back, if it is the holder's.
    async fn release_lease(&self, job: &str, holder: &str) -> Result<(), StorageError>;
}
