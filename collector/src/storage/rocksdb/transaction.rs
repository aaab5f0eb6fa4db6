//! One write: decided and collected under the writer's lock, committed as one durable batch.
//!
//! Reads within a transaction see what is committed, not what the transaction has collected.
//!
//! **A write that failed** may be in the log or not, and RocksDB takes no further one. Where the disk was full it waits for
//! room, writes all families out at one cut, lets go of that log, and goes on; whoever wrote tries again. After any other
//! failure nobody knows what the disk holds: only a start that reads it again does, so the process is to end.

use std::collections::BTreeMap;
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use ::rocksdb::WriteBatch;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use submeter_common::time::Timestamp;

use super::codec;
use super::database::{Database, Family, failed, poisoned};
use super::disk;
use super::key::{self, Key, Kind};
use super::open;
use super::watch::Change;
use crate::billing::number::{self, Series};
use crate::outbox::{Message, NewMessage};
use crate::storage::{AuditEntry, AuditRecord, StorageError};

/// What is counted without gaps. Stored with each write that moves one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counters {
    /// Raised with each change of a meter.
    pub(super) catalog_version: u64,
    /// Place of the newest document in lists by age.
    order: u64,
    /// Entries of the audit log.
    audit: u64,
    /// Rows set aside.
    quarantine: u64,
    /// Agents that ever registered.
    agents: u32,
    /// Papers issued, by series and year.
    papers: BTreeMap<String, u64>,
    /// Messages of the outbox.
    messages: u64,
}

/// A write in the making. Dropped without [`Transaction::commit`] it never was.
pub(super) struct Transaction<'a> {
    pub(super) database: &'a Database,
    committed: MutexGuard<'a, Counters>,
    counters: Counters,
    pub(super) batch: WriteBatch,
    /// What becomes of what is watched, once the write is durable.
    watch: Vec<Change>,
}

impl<'a> Transaction<'a> {
    /// Waits for the writer's lock.
    ///
    /// # Errors
    /// When there is no room for a write.
    pub(super) fn begin(database: &'a Database) -> Result<Self, StorageError> {
        database.disk.expect_room()?;
        let committed = database.writer.lock().map_err(poisoned)?;
        let counters = committed.clone();
        Ok(Self {
            database,
            committed,
            counters,
            batch: WriteBatch::default(),
            watch: Vec::new(),
        })
    }

    pub(super) fn put_document<T: Serialize>(
        &mut self,
        kind: Kind,
        id: &str,
        document: &T,
    ) -> Result<(), StorageError> {
        self.put_document_at(&Key::of_document(kind, id), document)
    }

    pub(super) fn put_document_at<T: Serialize>(
        &mut self,
        key: &[u8],
        document: &T,
    ) -> Result<(), StorageError> {
        let bytes = codec::encode_document(document)?;
        self.batch
            .put_cf(self.database.family(Family::Documents), key, bytes);
        Ok(())
    }

    pub(super) fn delete_document(&mut self, kind: Kind, id: &str) {
        let key = Key::of_document(kind, id);
        self.batch
            .delete_cf(self.database.family(Family::Documents), key);
    }

    /// Names the document `id` in an index.
    pub(super) fn put_index(&mut self, key: &[u8], id: &str) {
        self.batch
            .put_cf(self.database.family(Family::Indexes), key, id);
    }

    pub(super) fn delete_index(&mut self, key: &[u8]) {
        self.batch
            .delete_cf(self.database.family(Family::Indexes), key);
    }

    /// Tells whether what is stored under an id is what its author had read.
    pub(super) fn is_stored<T: Serialize + DeserializeOwned>(
        &self,
        kind: Kind,
        id: &str,
        read: &T,
    ) -> Result<bool, StorageError> {
        let read = codec::encode_document(read)?;
        let Some(stored) = self.database.document_bytes(&Key::of_document(kind, id))? else {
            return Ok(false);
        };
        // Bytes may differ where a field was added since: then it is what they say that counts.
        Ok(*stored == *read || {
            let stored: T = codec::decode_document(id, &stored)?;
            codec::encode_document(&stored)? == read
        })
    }

    /// Adds an entry to the audit log.
    pub(super) fn put_audit(&mut self, entry: AuditEntry) -> Result<AuditRecord, StorageError> {
        let audit_id = raise(&mut self.counters.audit)?;
        let record = AuditRecord { audit_id, entry };
        self.put_document_at(&Key::of_numbered(Kind::Audit, audit_id), &record)?;
        Ok(record)
    }

    /// Returns the place of a new document in lists by age.
    pub(super) fn next_order(&mut self) -> Result<u64, StorageError> {
        raise(&mut self.counters.order)
    }

    pub(super) fn next_catalog_version(&mut self) -> Result<u64, StorageError> {
        raise(&mut self.counters.catalog_version)
    }

    /// Returns the number of a new agent, from 1.
    pub(super) fn next_agent(&mut self) -> Result<u32, StorageError> {
        let exhausted =
            || StorageError::Refused("there are no numbers for further agents".to_owned());
        self.counters.agents = self.counters.agents.checked_add(1).ok_or_else(exhausted)?;
        Ok(self.counters.agents)
    }

    pub(super) fn next_quarantine(&mut self) -> Result<u64, StorageError> {
        raise(&mut self.counters.quarantine)
    }

    /// Takes the next number of a series in the year of `issued_at`. It is given out with the write: one that is not
    /// committed leaves no gap.
    pub(super) fn next_number(
        &mut self,
        series: Series,
        issued_at: Timestamp,
    ) -> Result<String, StorageError> {
        let year = number::year(issued_at);
        let name = format!("{}-{year:04}", series.prefix());
        let position = raise(self.counters.papers.entry(name).or_default())?;
        Ok(number::format(series, year, position))
    }

    /// Adds what happened to the outbox.
    pub(super) fn put_message(&mut self, message: NewMessage) -> Result<(), StorageError> {
        let sequence = raise(&mut self.counters.messages)?;
        let key = Key::of_numbered(Kind::Message, sequence);
        self.put_document_at(&key, &Message { sequence, message })
    }

    /// Changes what is watched when the write is durable.
    pub(super) fn watch(&mut self, change: Change) {
        self.watch.push(change);
    }

    /// Returns the sequence of the outbox's newest message; 0 before the first.
    pub(super) const fn last_message(&self) -> u64 {
        self.counters.messages
    }

    /// Makes the write durable, and only then its counters the current ones.
    pub(super) fn commit(mut self) -> Result<(), StorageError> {
        if self.counters != *self.committed {
            let bytes = codec::encode_document(&self.counters)?;
            self.batch
                .put_cf(self.database.family(Family::Meta), key::COUNTERS, bytes);
        }
        self.write()
    }

    /// Writes the counters as they are, to find out whether a write succeeds.
    pub(super) fn probe(mut self) -> Result<(), StorageError> {
        let bytes = codec::encode_document(&self.counters)?;
        self.batch
            .put_cf(self.database.family(Family::Meta), key::COUNTERS, bytes);
        self.write()
    }

    #[cfg(not(test))]
    fn write(self) -> Result<(), StorageError> {
        self.write_now()
    }

    #[cfg(test)]
    fn write(self) -> Result<(), StorageError> {
        let database = self.database;
        database.doom.write(|| self.write_now())
    }

    fn write_now(mut self) -> Result<(), StorageError> {
        let written = self.database.db.write_opt(self.batch, &open::synced());
        self.database.note_write(&written);
        written.map_err(failed)?;
        *self.committed = self.counters;
        if !self.watch.is_empty() {
            // Still under the writer's lock: whoever writes next sees it.
            let mut watch = self.database.watch.write().map_err(poisoned)?;
            watch.make(self.watch);
        }
        Ok(())
    }
}

impl Database {
    /// Remembers how the last write ended; tells a failure once, not with every write after it.
    fn note_write(&self, written: &Result<(), ::rocksdb::Error>) {
        let had_failed = self.write_failed.swap(written.is_err(), Ordering::Relaxed);
        match written {
            Ok(()) if had_failed => tracing::info!("the store writes again"),
            Err(error) if disk::is_full(error) => {
                if !had_failed {
                    tracing::error!(%error, "the disk is full: nothing is written until there is room; nothing is lost");
                }
            }
            Err(error) => {
                self.failure.send_replace(Some(error.to_string()));
            }
            Ok(()) => {}
        }
    }
}

fn raise(counter: &mut u64) -> Result<u64, StorageError> {
    *counter = counter
        .checked_add(1)
        .ok_or_else(|| StorageError::Refused("a counter of the store is exhausted".to_owned()))?;
    Ok(*counter)
}
