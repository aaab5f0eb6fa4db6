//! Deriving again, record by record, what the journal says and nothing derived holds.

use submeter_common::event::Event;

use crate::dedup::Entry;
use crate::pipeline::aggregator::Aggregator;
use crate::pipeline::shared::{Shared, lock};
use crate::pipeline::work::Committed;
use crate::store::StoreError;
use crate::store::record::{Location, Record};

impl Aggregator {
    /// Counts one record again, as it was counted before the crash or would have been.
    pub(super) fn replay(&mut self, seq: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.count(&Committed {
            seq,
            record: bytes.to_vec(),
        });
        if self.is_checkpoint_due() {
            self.checkpoint()?;
        }
        Ok(())
    }
}

impl Shared {
    /// Puts a record's event ids into the open dedup generation again.
    pub(super) fn remember(&self, seq: u64, bytes: &[u8]) {
        let mut dedup = lock(&self.dedup);
        self.entries_of(seq, bytes)
            .for_each(|entry| dedup.remember(entry));
    }

    /// The same with those alone that no run has, of which damage may have taken any; answers how many that were.
    pub(super) fn remember_missing(&self, seq: u64, bytes: &[u8]) -> Result<u64, StoreError> {
        let mut added = 0;
        let mut dedup = lock(&self.dedup);
        for entry in self.entries_of(seq, bytes) {
            if dedup.find(entry.fingerprint, &self.store)?.is_none() {
                dedup.insert(entry);
                added += 1;
            }
        }
        Ok(added)
    }

    /// The ids of a record's events.
    fn entries_of(&self, seq: u64, bytes: &[u8]) -> impl Iterator<Item = Entry> {
        let fingerprinter = self.fingerprinter;
        // What does not read back goes to quarantine when it is counted.
        let record = Record::decode(bytes).ok();
        let events = record.into_iter().flat_map(|record| record.events());
        (0..).zip(events).filter_map(move |(index, bytes)| {
            let event = Event::decode(bytes).ok()?;
            let payload = Event::encoded_payload(bytes).ok()?;
            Some(Entry {
                fingerprint: fingerprinter.id(&event.event_id),
                payload: fingerprinter.payload(&event, payload),
                location: Location::new(seq, index).as_u64(),
            })
        })
    }
}
