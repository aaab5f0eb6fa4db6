//! The outbox: numbered documents, appended with the write of their cause.
//!
//! A message does not say when it was written: its time is that of its cause, which may be told. So it is noted beside them up
//! to which one there were at an instant of the machine's time, and by these notes they are dropped.

use std::collections::VecDeque;
use std::time::Duration;

use ::rocksdb::{IteratorMode, ReadOptions};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use submeter_common::time::Timestamp;

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

    async fn prune_messages(
        &self,
        now: Timestamp,
        retention: Duration,
    ) -> Result<u64, StorageError> {
        self.blocking(move |database| prune(database, now, retention))
            .await
    }
}

/// Into how many steps the retention is cut: so many notes are kept at most.
const AGE_STEPS: u32 = 24;

/// How old the messages are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Ages {
    /// Up to which message there were when, oldest first.
    seen: VecDeque<Seen>,
    /// The last message that was dropped.
    pruned: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    at: Timestamp,
    through: u64,
}

impl Ages {
    /// Notes that there are messages up to `through` at `now`, when it is time to.
    fn note(&mut self, through: u64, now: Timestamp, step: Duration) {
        let is_new = self
            .seen
            .back()
            .is_none_or(|last| last.through < through && last.at.saturating_add(step) <= now);
        if is_new && through > self.pruned {
            self.seen.push_back(Seen { at: now, through });
        }
    }

    /// Forgets what is older than the retention; returns the last message of that.
    fn expire(&mut self, now: Timestamp, retention: Duration) -> Option<u64> {
        let mut last = None;
        while let Some(seen) = self.seen.front()
            && seen.at.saturating_add(retention) <= now
        {
            last = Some(seen.through);
            self.seen.pop_front();
        }
        last
    }
}

fn prune(database: &Database, now: Timestamp, retention: Duration) -> Result<u64, StorageError> {
    let mut write = Transaction::begin(database)?;
    let stored: Ages = database.meta(key::OUTBOX_AGES)?.unwrap_or_default();
    let mut ages = stored.clone();
    ages.note(write.last_message(), now, retention / AGE_STEPS);
    if let Some(through) = ages.expire(now, retention) {
        let documents = database.family(Family::Documents);
        let (first, end) = (place_behind(stored.pruned), place_behind(through));
        write.batch.delete_range_cf(documents, first, end);
        ages.pruned = through;
    }
    if stored == ages {
        return Ok(0);
    }
    let bytes = codec::encode_document(&ages)?;
    let meta = database.family(Family::Meta);
    write.batch.put_cf(meta, key::OUTBOX_AGES, bytes);
    write.commit()?;
    Ok(ages.pruned.saturating_sub(stored.pruned))
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
