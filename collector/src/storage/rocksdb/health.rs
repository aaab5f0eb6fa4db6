//! Whether the store can still be read and written.
//!
//! RocksDB refuses every write after one that failed: until it has recovered by itself where the disk was full, else until
//! a restart. So the fate of the last write says it; after a failed one a small write finds out whether that is over.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use submeter_common::time::Timestamp;

use super::RocksStore;
use super::codec;
use super::database::{Database, Family, half_way, poisoned};
use super::key;
use super::transaction::Transaction;
use crate::completeness::Service;
use crate::storage::{DiskRoom, HealthStore, StorageError};

#[async_trait]
impl HealthStore for RocksStore {
    async fn health(&self) -> Result<(), StorageError> {
        if self.frames.has_ended() {
            let reason = "frames are not applied any more; restart the collector";
            return Err(StorageError::Unavailable(reason.to_owned()));
        }
        self.blocking(Database::health).await
    }

    async fn failed(&self) -> String {
        let mut failure = self.database.failure.subscribe();
        let reason = failure.wait_for(Option::is_some).await;
        let reason = reason.map(|reason| reason.clone().unwrap_or_default());
        reason.expect("the sender lives in the database, which outlives this call")
    }

    fn disk(&self) -> Option<DiskRoom> {
        Some(self.database.disk.room())
    }

    async fn begin_service(&self, now: Timestamp) -> Result<(), StorageError> {
        self.blocking(move |database| database.note_service(|service| service.begin(now)))
            .await
    }

    async fn go_on_serving(&self, now: Timestamp) -> Result<(), StorageError> {
        self.blocking(move |database| database.note_service(|service| service.go_on(now)))
            .await
    }

    async fn service(&self) -> Result<Service, StorageError> {
        self.blocking(|database| database.service()).await
    }
}

impl Database {
    fn service(&self) -> Result<Service, StorageError> {
        Ok(self.meta(key::SERVICE)?.unwrap_or_default())
    }

    fn note_service(&self, note: impl FnOnce(&mut Service)) -> Result<(), StorageError> {
        let mut write = Transaction::begin(self)?;
        let mut service = self.service()?;
        note(&mut service);
        let bytes = codec::encode_document(&service)?;
        write
            .batch
            .put_cf(self.family(Family::Meta), key::SERVICE, bytes);
        write.commit()
    }

    fn health(&self) -> Result<(), StorageError> {
        // Asked without waiting for whoever writes.
        if self.writer.is_poisoned() {
            return Err(half_way());
        }
        drop(self.catalog.read().map_err(poisoned)?);
        drop(self.api_keys.read().map_err(poisoned)?);
        drop(self.roster.read().map_err(poisoned)?);
        self.check_readable()?;
        self.disk.expect_room_for_frames()?;
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
