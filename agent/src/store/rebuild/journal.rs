//! The journal of a rebuilt database: which records are there, and how much of it there is.

use std::ops::ControlFlow;

use submeter_common::time::Timestamp;

use crate::store::meta::Chunk;
use crate::store::record::{self, Record};
use crate::store::{Durability, Family, Store, StoreError, key};

/// Records in one run of the rebuilt accounting.
const CHUNK_BYTES: u64 = 4 * 1024 * 1024;

/// What a walk over the journal found.
#[derive(Default, Debug)]
pub(super) struct Found {
    pub(super) first: Option<u64>,
    pub(super) last: u64,
    /// Runs of missing records between the first and the last.
    pub(super) holes: Vec<(u64, u64)>,
    /// Events in the records after the cursor.
    pub(super) events_after: u64,
    /// Events in the records after the last seal, up to the cursor.
    pub(super) events_since_seal: u64,
}

/// Drops the records that were given back before, walks the others, and accounts for those up to the cursor anew.
/// `sealed` is the last record of the last seal.
pub(super) fn account(store: &Store, sealed: u64, cursor: u64) -> Result<Found, StoreError> {
    let first = oldest_known(store);
    let mut batch = store.batch();
    if first > 1 {
        batch.delete_records(0, first - 1);
    }
    for old in store.chunks()? {
        batch.delete_chunk(old.first);
    }
    store.write(batch, Durability::Buffered)?;
    let mut found = Found::default();
    let mut chunk: Option<Chunk> = None;
    let mut batch = store.batch();
    store.walk_records(first, |number, bytes| {
        if let Some(missing) = found.last.checked_add(1).filter(|next| *next < number)
            && found.first.is_some()
        {
            found.holes.push((missing, number - 1));
        }
        found.first.get_or_insert(number);
        found.last = number;
        let events = u64::from(record::event_count(bytes));
        if number > sealed && number <= cursor {
            found.events_since_seal += events;
        }
        if number > cursor {
            found.events_after += events;
            // The replay accounts for it.
            return Ok::<_, StoreError>(ControlFlow::Continue(()));
        }
        let at =
            Record::decode(bytes).map_or(Timestamp::from_micros(0), |record| record.accepted_at);
        let full = |chunk: &Chunk| chunk.bytes >= CHUNK_BYTES;
        if let Some(done) = chunk.take_if(|chunk| full(chunk)) {
            batch.put_chunk(&done);
        }
        let chunk = chunk.get_or_insert(Chunk {
            first: number,
            last: number,
            bytes: 0,
            newest_at: at,
        });
        chunk.last = number;
        chunk.bytes += bytes.len() as u64;
        chunk.newest_at = chunk.newest_at.max(at);
        Ok(ControlFlow::Continue(()))
    })?;
    if let Some(chunk) = chunk {
        batch.put_chunk(&chunk);
    }
    store.write(batch, Durability::Buffered)?;
    Ok(found)
}

/// The oldest record that the accounting knows: what is older was given back and may have come up again.
pub(super) fn oldest_known(store: &Store) -> u64 {
    let mut oldest = u64::MAX;
    let prefix = key::CHUNK_PREFIX;
    let mode = rocksdb::IteratorMode::From(prefix, rocksdb::Direction::Forward);
    for entry in store
        .db
        .iterator_cf(store.family(Family::Meta), mode)
        .flatten()
    {
        if !entry.0.starts_with(prefix) {
            break;
        }
        oldest = oldest.min(key::trailing_u64(&entry.0).unwrap_or(u64::MAX));
    }
    if oldest == u64::MAX { 1 } else { oldest }
}
