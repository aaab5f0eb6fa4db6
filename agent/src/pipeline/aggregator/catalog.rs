//! A new catalog: from which record on each meter counts, and which older records it still misses.

use std::collections::HashSet;
use std::sync::Arc;

use submeter_common::id::MeterId;
use submeter_common::meter::Meter;
use submeter_common::protocol::Catalog;
use submeter_common::time::Timestamp;

use super::Aggregator;
use crate::fail_point::fail_point;
use crate::pipeline::shared::lock;
use crate::store::meta::Gap;
use crate::store::record::Record;
use crate::store::{Durability, StoreError};

impl Aggregator {
    /// Puts the catalog in force after the last counted record, durably and together with a checkpoint.
    pub(super) fn replace_catalog(&mut self, catalog: Catalog) -> Result<(), StoreError> {
        if catalog == **lock(&self.shared.catalog) {
            return Ok(());
        }
        self.note_vanished(&catalog);
        self.note_present(&catalog)?;
        self.meters.replace(&catalog.meters);
        fail_point!(CatalogNoted);
        let shared = Arc::clone(&self.shared);
        let mut batch = shared.store.batch();
        batch.put_catalog(&catalog)?;
        let new = self.stage_open(&shared.store, &mut batch)?;
        self.stage(&mut batch);
        fail_point!(CatalogStaged);
        shared.write(batch, Durability::Synced)?;
        fail_point!(CatalogWritten);
        self.settle();
        self.settle_open(new);
        *lock(&shared.catalog) = Arc::new(catalog);
        fail_point!(CatalogDone);
        Ok(())
    }

    /// A catalog may come without a meter it had (the collector was restored from a backup): what happens until the
    /// meter is back is a gap.
    fn note_vanished(&mut self, catalog: &Catalog) {
        let present: HashSet<&MeterId> = catalog.meters.iter().map(|meter| &meter.id).collect();
        let counted = self.progress.cursor;
        for (id, coverage) in &mut self.progress.coverage {
            if !present.contains(id) && coverage.vanished_after.is_none() {
                coverage.vanished_after = Some(counted);
            }
        }
    }

    /// An archived meter counts what was accepted before, also when that has to be counted again, and nothing of the time
    /// in which it is archived.
    fn note_archived(&mut self, meter: &Meter, counted: u64) {
        if let Some(coverage) = self.progress.coverage.get_mut(&meter.id) {
            let open = coverage
                .archived
                .last_mut()
                .filter(|stretch| stretch.to == u64::MAX);
            match open {
                None if meter.archived => coverage.archived.push(Gap {
                    from: counted + 1,
                    to: u64::MAX,
                }),
                Some(stretch) if !meter.archived => stretch.to = counted,
                _ => {}
            }
        }
    }

    /// A meter that is new or back misses what was counted without it, for as far as the journal reaches.
    fn note_present(&mut self, catalog: &Catalog) -> Result<(), StoreError> {
        let counted = self.progress.cursor;
        let first = self.chunks.first_record().unwrap_or(counted + 1);
        let reaches_back_to = self.accepted_at(first)?;
        // What was delivered before this state went its own way is not its to count.
        let own = self.progress.backfill_from;
        for meter in &catalog.meters {
            self.note_archived(meter, counted);
            let missed_from = match self.progress.coverage.get_mut(&meter.id) {
                // An archived meter counts nothing, its past neither.
                None if meter.archived => counted + 1,
                None => own,
                Some(coverage) => match coverage.vanished_after.take() {
                    Some(last) => own.max(last + 1),
                    None => continue,
                },
            };
            let coverage = self.progress.coverage.entry(meter.id.clone()).or_default();
            coverage.miss(missed_from, counted);
            if coverage.is_cut_off_before(first) {
                coverage.counts_since = Some(reaches_back_to);
                tracing::warn!(
                    meter = %meter.id,
                    since = %reaches_back_to,
                    "the journal no longer holds all that this meter missed; it counts what was accepted since then"
                );
            }
            self.note_archived(meter, counted);
        }
        Ok(())
    }

    /// When a record was accepted; now, if it is still to come.
    fn accepted_at(&self, seq: u64) -> Result<Timestamp, StoreError> {
        match self.shared.store.record(seq)? {
            Some(bytes) => Ok(Record::decode(&bytes)?.accepted_at),
            None => Ok(self.shared.clock.now()),
        }
    }
}
