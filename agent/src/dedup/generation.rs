//! A run of ids that arrived in the same stretch of time, exact in memory.

use hashbrown::HashTable;
use submeter_common::time::Timestamp;

use super::Fingerprint;
use crate::store::record::Location;

/// Parts in which a generation is sorted: the more, the less memory and the more passes over the table.
const SORTED_PARTS_LOG2: u32 = 3;

/// One remembered id: 32 bytes.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct Entry {
    /// The id.
    pub(crate) fingerprint: Fingerprint,
    /// What came with it, to tell a retry from a conflict.
    pub(crate) payload: u64,
    /// Its place in the journal, packed.
    pub(crate) location: u64,
}

impl Entry {
    /// The journal record that holds the event: the higher, the later it was accepted.
    pub(crate) fn record(&self) -> u64 {
        Location::from_u64(self.location).record()
    }
}

/// An exact set of ids.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) id: u32,
    pub(crate) opened_at: Timestamp,
    // A fingerprint is a keyed hash already: half of it serves as the table's hash.
    entries: HashTable<Entry>,
}

impl Generation {
    pub(crate) fn new(id: u32, opened_at: Timestamp) -> Self {
        Self {
            id,
            opened_at,
            entries: HashTable::new(),
        }
    }

    /// Begins a generation that is expected to take as many ids as the last one: the map then never grows under load.
    pub(crate) fn sized(id: u32, opened_at: Timestamp, ids: usize) -> Self {
        Self {
            id,
            opened_at,
            entries: HashTable::with_capacity(ids),
        }
    }

    pub(crate) fn get(&self, fingerprint: Fingerprint) -> Option<&Entry> {
        self.entries
            .find(fingerprint.low(), |entry| entry.fingerprint == fingerprint)
    }

    pub(crate) fn insert(&mut self, entry: Entry) {
        self.entries
            .insert_unique(entry.fingerprint.low(), entry, |entry| {
                entry.fingerprint.low()
            });
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.entries.allocation_size()
    }

    /// The last journal record that holds one of the ids.
    pub(crate) fn last_record(&self) -> u64 {
        let records = self.entries.iter().map(Entry::record);
        records.max().unwrap_or_default()
    }

    /// All entries, sorted by fingerprint. They are taken out and sorted a part at a time, so that they are not in memory
    /// twice.
    pub(crate) fn sorted(&self) -> impl Iterator<Item = Entry> {
        (0..1 << SORTED_PARTS_LOG2).flat_map(|part| {
            let in_part = |entry: &&Entry| entry.fingerprint.slice(SORTED_PARTS_LOG2) == part;
            let mut entries: Vec<Entry> = self.entries.iter().filter(in_part).copied().collect();
            entries.sort_unstable_by_key(|entry| entry.fingerprint);
            entries
        })
    }
}
