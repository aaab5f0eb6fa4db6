//! What the journal records after the last checkpoint add to it: counted as a start would count them, and thrown away.
//!
//! The checkpoint's interval and bytes bound the work.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use submeter_common::aggregate::Partial;
use submeter_common::event::Event;
use submeter_common::protocol::{Catalog, Receipts};

use crate::aggregate::{Account, MeterIndex, OpenPartials};
use crate::store::key::OpenKey;
use crate::store::meta::Progress;
use crate::store::record::Record;
use crate::store::{Snapshot, StoreError};

/// The derived state as of the newest record.
pub(crate) struct Replayed {
    /// Counts, the checkpoint's included.
    pub(crate) receipts: Receipts,
    /// The newest record.
    pub(crate) last_record: u64,
    /// Bytes of the records after the checkpoint.
    pub(crate) bytes: u64,
    /// Events after the checkpoint.
    pub(crate) events: u64,
    /// What the records after the checkpoint add to the open set, in the store's order.
    pub(crate) open: BTreeMap<Vec<u8>, (OpenKey, Partial)>,
    /// Events in quarantine, the checkpoint's included.
    pub(crate) quarantined: u64,
}

/// The count in the making.
struct Counting {
    meters: MeterIndex,
    open: OpenPartials,
    replayed: Replayed,
}

impl Replayed {
    /// Counts the records after `progress`.
    pub(crate) fn of(
        snapshot: &Snapshot<'_>,
        progress: &Progress,
        catalog: &Catalog,
        groups_per_meter_max: usize,
    ) -> Result<Self, StoreError> {
        let mut counting = Counting {
            meters: MeterIndex::default(),
            open: OpenPartials::new(groups_per_meter_max),
            replayed: Self {
                receipts: progress.receipts.clone(),
                last_record: progress.cursor,
                bytes: 0,
                events: 0,
                open: BTreeMap::new(),
                quarantined: progress.quarantined,
            },
        };
        counting.meters.replace(&catalog.meters);
        snapshot.walk_records(progress.cursor + 1, |seq, bytes| {
            counting.count_record(seq, bytes);
            Ok(ControlFlow::Continue(()))
        })?;
        counting.finish()
    }
}

impl Counting {
    fn count_record(&mut self, seq: u64, bytes: &[u8]) {
        self.replayed.last_record = seq;
        self.replayed.bytes += bytes.len() as u64;
        let Ok(record) = Record::decode(bytes) else {
            self.replayed.quarantined += 1;
            return;
        };
        record.deltas.apply(&mut self.replayed.receipts);
        let matched: u64 = record
            .events()
            .map(|event| u64::from(self.count_event(event)))
            .sum();
        let accepted = u64::from(record.event_count);
        self.replayed.events += accepted;
        let receipts = &mut self.replayed.receipts;
        receipts.received += accepted;
        receipts.accepted += accepted;
        receipts.matched += matched;
        receipts.unmatched += accepted - matched;
    }

    fn count_event(&mut self, bytes: &[u8]) -> bool {
        let Ok(event) = Event::decode(bytes) else {
            self.replayed.quarantined += 1;
            return false;
        };
        let mut matched = false;
        let mut account = Account::default();
        for metered in self.meters.matching(&event) {
            matched = true;
            if self.open.observe(metered, &event, &mut account).is_err() {
                self.replayed.quarantined += 1;
            }
        }
        matched
    }

    fn finish(mut self) -> Result<Replayed, StoreError> {
        for open in self.open.take() {
            let key = OpenKey {
                part: open.part,
                customer: open.customer.into_string(),
                meter: self.meters.id(open.meter).to_string(),
                window: open.window,
                group: open.group,
            };
            let sorted = key.sorted_bytes()?;
            self.replayed.open.insert(sorted, (key, open.partial));
        }
        Ok(self.replayed)
    }
}
