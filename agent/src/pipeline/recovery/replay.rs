//! Deriving again, record by record, what the journal says and no checkpoint holds.

use std::ops::ControlFlow;
use std::sync::Arc;

use submeter_common::event::Event;

use crate::dedup::Entry;
use crate::pipeline::aggregator::Aggregator;
use crate::pipeline::compactor::Compactor;
use crate::pipeline::shared::lock;
use crate::pipeline::work::Committed;
use crate::store::StoreError;
use crate::store::record::{Location, Record};

impl Aggregator {
    /// Counts one record again, as it was counted before the crash or would have been.
    pub(super) fn replay(&mut self, seq: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let ids = self.remember(seq, bytes);
        self.count(Committed {
            seq,
            record: bytes.to_vec(),
            ids,
        });
        self.close_full_generation();
        if self.is_checkpoint_due() {
            self.checkpoint()?;
        }
        Ok(())
    }

    /// Adds the ids of the retained records up to `last` that damage took.
    pub(super) fn remember_retained(
        &mut self,
        last: u64,
        compactor: &mut Compactor,
    ) -> Result<(), StoreError> {
        let shared = Arc::clone(self.shared_arc());
        let mut added = 0;
        shared.store.walk_records(1, |seq, bytes| {
            if seq > last {
                return Ok::<_, StoreError>(ControlFlow::Break(()));
            }
            for entry in self.entries_of(seq, bytes) {
                let mut dedup = lock(&shared.dedup);
                if dedup.find(entry.fingerprint, &shared.store)?.is_none() {
                    dedup.insert(entry);
                    added += 1;
                }
            }
            self.close_full_generation();
            compactor.close_waiting()?;
            Ok(ControlFlow::Continue(()))
        })?;
        if added > 0 {
            tracing::warn!(ids = added, "took event ids from the journal again");
        }
        // What was found so far goes to disk whole: a tail of this very cursor may be there and must not be written over.
        let open = {
            let mut dedup = lock(&shared.dedup);
            let open = dedup.close_open(shared.clock.now());
            open.map(|open| (open, dedup.open()))
        };
        if let Some((open, next)) = open {
            self.close_generation(open, next);
        }
        compactor.close_waiting()
    }

    fn close_full_generation(&mut self) {
        let now = self.shared().clock.now();
        let full = {
            let mut dedup = lock(&self.shared().dedup);
            let full = dedup.rotate(now);
            full.map(|full| (full, dedup.open()))
        };
        if let Some((full, next)) = full {
            self.close_generation(full, next);
        }
    }

    /// Puts the record's event ids into the open dedup generation again.
    fn remember(&self, seq: u64, bytes: &[u8]) -> Vec<Entry> {
        let ids = self.entries_of(seq, bytes);
        let mut dedup = lock(&self.shared().dedup);
        ids.iter().for_each(|entry| dedup.remember(*entry));
        ids
    }

    /// The ids of a record's events.
    fn entries_of(&self, seq: u64, bytes: &[u8]) -> Vec<Entry> {
        let fingerprinter = self.shared().fingerprinter;
        let Ok(record) = Record::decode(bytes) else {
            return Vec::new();
        };
        let mut ids = Vec::new();
        for (index, bytes) in (0..).zip(record.events()) {
            // What does not read back goes to quarantine when it is counted.
            let (Ok(event), Ok(payload)) = (Event::decode(bytes), Event::encoded_payload(bytes))
            else {
                continue;
            };
            ids.push(Entry {
                fingerprint: fingerprinter.id(&event.event_id),
                payload: fingerprinter.payload(&event, payload),
                location: Location::new(seq, index).as_u64(),
            });
        }
        ids
    }
}
