//! Leases, in memory: only one process has the store open, so a lease never outlives the process that took it.

use async_trait::async_trait;
use submeter_common::time::Timestamp;

use super::RocksStore;
use super::database::poisoned;
use crate::storage::{JobStore, StorageError};

/// Who holds a lease.
#[derive(Debug, Clone)]
pub(super) struct Held {
    holder: String,
    until: Timestamp,
}

#[async_trait]
impl JobStore for RocksStore {
    async fn take_lease(
        &self,
        job: &str,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StorageError> {
        let mut leases = self.database.leases.lock().map_err(poisoned)?;
        let is_free = leases
            .get(job)
            .is_none_or(|held| held.holder == holder || held.until <= now);
        if is_free {
            let holder = holder.to_owned();
            leases.insert(job.to_owned(), Held { holder, until });
        }
        Ok(is_free)
    }

    async fn release_lease(&self, job: &str, holder: &str) -> Result<(), StorageError> {
        let mut leases = self.database.leases.lock().map_err(poisoned)?;
        if leases.get(job).is_some_and(|held| held.holder == holder) {
            leases.remove(job);
        }
        Ok(())
    }
}
