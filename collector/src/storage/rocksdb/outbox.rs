//! The outbox: numbered documents, appended with the write of their cause.

use ::rocksdb::{IteratorMode, ReadOptions};
use async_trait::async_trait;

use super::RocksStore;
use super::codec;
use super::database::{Database, Family, failed};
use super::key::{self, Key, Kind};
use super::transaction::Transaction;
use crate::outbox::Message;
use crate::storage::{OutboxStore, StorageError};

#[async_trait]
impl OutboxStore for RocksStore {
    async fn messages(&self, after: u64, limit: usize) -> Result<Vec<Message>, StorageError> {
        self.blocking(move |database| messages(database, after, limit))
            .await
    }

    async fn prune_messages(&self, through: u64) -> Result<(), StorageError> {
        self.blocking(move |database| {
            let mut write = Transaction::begin(database)?;
            let documents = database.family(Family::Documents);
            let first = Key::of_numbered(Kind::Message, 0);
            write
                .batch
                .delete_range_cf(documents, first, place_behind(through));
            write.commit()
        })
        .await
    }
}

fn messages(database: &Database, after: u64, limit: usize) -> Result<Vec<Message>, StorageError> {
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(place_behind(after));
    if let Some(bound) = key::behind(&Key::of_kind(Kind::Message)) {
        options.set_iterate_upper_bound(bound);
    }
    let family = database.family(Family::Documents);
    database
        .db
        .iterator_cf_opt(family, options, IteratorMode::Start)
        .take(limit)
        .map(|entry| {
            let (_, bytes) = entry.map_err(failed)?;
            codec::decode_document("message", &bytes)
        })
        .collect()
}

fn place_behind(sequence: u64) -> Vec<u8> {
    let place = Key::of_numbered(Kind::Message, sequence);
    // The first key behind this very one, also behind the last number.
    [place.as_slice(), &[0]].concat()
}
