//! Events that could not be counted, kept with the reason, so that a person can decide.

use bincode::{Decode, Encode};

use super::{Batch, Family, key, meta};

/// One event (or one event's share in one meter) that could not be counted.
#[derive(Clone, Eq, PartialEq, Debug, Encode, Decode)]
pub(crate) struct Quarantined {
    /// The journal record that holds it.
    pub(crate) record: u64,
    /// Its index in the record.
    pub(crate) index: u32,
    /// The meter that could not count it; empty when the event itself does not read back.
    pub(crate) meter: String,
    /// Why.
    pub(crate) reason: String,
    /// The event as it stood in the journal.
    pub(crate) event: Vec<u8>,
}

impl Batch<'_> {
    /// Stores it under its place in the journal, so that a replay stores the same again and not another one.
    pub(crate) fn put_quarantined(&mut self, quarantined: &Quarantined) {
        let key = key::quarantine(quarantined.record, quarantined.index, &quarantined.meter);
        self.put(Family::Quarantine, &key, &meta::encode(quarantined));
    }
}
