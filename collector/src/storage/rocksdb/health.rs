//! Whether the store can still be read and written.
//!
//! RocksDB refuses every write after one that failed, until it has recovered by itself (a disk that was full) or until a
//! restart. So the fate of the last write says it; after a failed one a small write finds out whether that is over.

use std::sync::atomic::Ordering;

use async_trait::async_trait;

use super::RocksStore;
use super::database::{Database, half_way, poisoned};
use super::transaction::Transaction;
use crate::storage::{HealthStore, StorageError};

#[async_trait]
impl HealthStore for RocksStore {
    async fn health(&self) -> Result<(), StorageError> {
        if self.frames.has_ended() {
            let reason = "frames are not applied any more; restart the collector";
            return Err(StorageError::Unavailable(reason.to_owned()));
        }
        self.blocking(Database::health).await
    }
}

impl Database {
    fn health(&self) -> Result<(), StorageError> {
        // Asked without waiting for whoever writes.
        if self.writer.is_poisoned() {
            return Err(half_way());
        }
        drop(self.catalog.read().map_err(poisoned)?);
        drop(self.api_keys.read().map_err(poisoned)?);
        drop(self.roster.read().map_err(poisoned)?);
        self.check_readable()?;
        if self.write_failed.load(Ordering::Relaxed) {
            Transaction::begin(self)?.probe()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn a_store_is_well_until_something_failed_half_way() {
        let place = tempfile::TempDir::new().unwrap();
        let store = RocksStore::open(place.path()).unwrap();
        store.health().await.unwrap();
        let database = std::sync::Arc::clone(&store.database);
        let panicked = std::thread::spawn(move || {
            let _writer = database.writer.lock().unwrap();
            panic!("on purpose");
        });
        assert!(panicked.join().is_err());
        let told = store.health().await;
        assert!(
            matches!(told, Err(StorageError::Unavailable(_))),
            "{told:?}"
        );
    }

    #[tokio::test]
    async fn a_store_that_writes_again_is_well_again() {
        let place = tempfile::TempDir::new().unwrap();
        let store = RocksStore::open(place.path()).unwrap();
        store.database.write_failed.store(true, Ordering::Relaxed);
        store.health().await.unwrap();
        assert!(!store.database.write_failed.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn a_store_that_applies_no_frames_is_not_well() {
        let place = tempfile::TempDir::new().unwrap();
        let mut store = RocksStore::open(place.path()).unwrap();
        store.frames.end();
        let told = store.health().await;
        assert!(
            matches!(told, Err(StorageError::Unavailable(_))),
            "{told:?}"
        );
    }
}
