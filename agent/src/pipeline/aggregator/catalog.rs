//! A new catalog: from which record on each meter counts, and which older records it still misses.

use std::collections::HashSet;
use std::sync::Arc;

use submeter_common::id::MeterId;
use submeter_common::protocol::Catalog;

use super::Aggregator;
use crate::fail_point::fail_point;
use crate::pipeline::shared::lock;
use crate::store::meta::{Coverage, Gap};
use crate::store::{Durability, StoreError};

impl Aggregator {
    /// Puts the catalog in force after the last counted record, durably and together with a checkpoint.
    pub(super) fn replace_catalog(&mut self, catalog: Catalog) -> Result<(), StoreError> {
        if catalog == **lock(&self.shared.catalog) {
            return Ok(());
        }
        self.note_vanished(&catalog);
        self.note_present(&catalog);
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

    /// A meter that is new or back misses what was counted without it, for as far as the journal reaches.
    fn note_present(&mut self, catalog: &Catalog) {
        let counted = self.progress.cursor;
        let first = self.chunks.first_record().unwrap_or(counted + 1);
        for meter in &catalog.meters {
            let missed_from = match self.progress.coverage.get_mut(&meter.id) {
                None => {
                    self.progress
                        .coverage
                        .insert(meter.id.clone(), Coverage::default());
                    // An archived meter counts nothing, its past neither.
                    if meter.archived { counted + 1 } else { first }
                }
                Some(coverage) => match coverage.vanished_after.take() {
                    Some(last) => first.max(last + 1),
                    None => continue,
                },
            };
            if missed_from <= counted
                && let Some(coverage) = self.progress.coverage.get_mut(&meter.id)
            {
                coverage.gaps.push(Gap {
                    from: missed_from,
                    to: counted,
                });
            }
        }
    }
}
