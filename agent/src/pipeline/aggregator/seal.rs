//! The seal: the open set becomes frozen frames in the outbox, in the same atomic write that empties it.

use std::collections::BTreeMap;
use std::sync::Arc;

use submeter_common::id::{CustomerId, MeterId};
use submeter_common::protocol::{Position, Row};
use submeter_common::time::Timestamp;

use super::Aggregator;
use super::frames::{Claim, Rows, Seal};
use crate::aggregate::OpenPartial;
use crate::fail_point::fail_point;
use crate::pipeline::SealReason;
use crate::pipeline::shared::lock;
use crate::pipeline::work::SealOrder;
use crate::store::key::OpenKey;
use crate::store::outbox::FrameMeta;
use crate::store::{Batch, Durability, StoreError};

impl Aggregator {
    /// Seals what is open, if there is anything to say; answers the newest frozen position.
    pub(in crate::pipeline) fn seal(
        &mut self,
        mut order: SealOrder,
    ) -> Result<Position, StoreError> {
        self.apply(&order.deltas);
        if order.deltas != crate::store::meta::Deltas::default() {
            self.changed = true;
        }
        if order.reason == SealReason::Farewell {
            // Who leaves for good leaves nothing uncounted behind.
            if !self.finish_backfill()? {
                // There is no time for it: what is open stays open, safe on disk, and nothing is claimed.
                return Ok(self.progress.sealed.into());
            }
        }
        if self.is_backfilling() {
            // A new meter's past is still on its way: no new claim of completeness until it is in.
            let before = self.progress.watermark.unwrap_or(Timestamp::from_micros(0));
            order.watermark = order.watermark.min(before);
        }
        if !self.is_worth_sealing(&order) {
            return Ok(self.progress.sealed.into());
        }
        if self.spilled {
            self.seal_from_disk(&order)?;
        } else {
            self.seal_from_memory(&order)?;
        }
        Ok(self.progress.sealed.into())
    }

    /// The newest catalog whose meters have all counted whatever was accepted: none whose past is still on its way.
    fn vouched_catalog(&self) -> u64 {
        let version = lock(&self.shared.catalog).version;
        if self.is_backfilling() {
            version.min(self.progress.sealed_catalog)
        } else {
            version
        }
    }

    fn is_worth_sealing(&self, order: &SealOrder) -> bool {
        let Some(sealed_at) = self.progress.sealed_at else {
            return true;
        };
        let news = !self.is_empty() || self.progress.receipts != self.progress.sealed_receipts;
        let further = Some(order.watermark) != self.progress.watermark;
        let heartbeat = sealed_at.saturating_add(self.shared.config.heartbeat_interval) <= order.at;
        // Who said farewell in a previous life says at once that it is back.
        let returned = self.has_returned();
        // Periods wait for this word.
        let vouches = self.vouched_catalog() != self.progress.sealed_catalog;
        match order.reason {
            SealReason::Interval => !self.is_empty() || heartbeat || returned || vouches,
            SealReason::Requested => news || further || vouches || self.progress.farewell,
            SealReason::Farewell => news || further || vouches || !self.progress.farewell,
        }
    }

    /// Everything open is in memory: one write, however many frames.
    fn seal_from_memory(&mut self, order: &SealOrder) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let mut seal = self.begin_seal(order.at);
        let mut batch = shared.store.batch();
        let mut metas = Vec::new();
        let mut rows = Rows::new(shared.config.frame_rows_max);
        for open in self.take_sorted() {
            let part = open.part;
            if let Some(full) = rows.add(part, self.row_of(open)) {
                metas.push(put_frame(
                    &mut batch,
                    seal.freeze(full, self.claim_between(order))?,
                ));
                fail_point!(SealFrameFrozen);
            }
        }
        metas.push(put_frame(
            &mut batch,
            seal.freeze(rows.take(), self.claim_last(order))?,
        ));
        self.finish_seal(batch, order, &mut seal, metas)
    }

    /// The open set is larger than memory: a checkpoint brings all of it to disk, then each frame but the last is a
    /// write of its own that also removes its rows. A crash in between leaves the rest open.
    fn seal_from_disk(&mut self, order: &SealOrder) -> Result<(), StoreError> {
        self.changed = true;
        self.checkpoint()?;
        fail_point!(SealFromDiskBegun);
        let shared = Arc::clone(&self.shared);
        let mut seal = self.begin_seal(order.at);
        let mut rows = Rows::new(shared.config.frame_rows_max);
        let mut gathered: Vec<OpenKey> = Vec::new();
        for stored in shared.store.open_partials(self.progress.open_set) {
            let (key, partial) = stored?;
            let row = Row {
                customer_id: parse_id(CustomerId::new(key.customer.as_str()))?,
                meter_id: parse_id(MeterId::new(key.meter.as_str()))?,
                group: key.group.clone(),
                window: key.window,
                partial,
            };
            if let Some(full) = rows.add(key.part, row) {
                let frozen = seal.freeze(full, self.claim_between(order))?;
                self.write_between(&mut seal, frozen, &gathered)?;
                gathered.clear();
            }
            gathered.push(key);
        }
        let mut batch = shared.store.batch();
        let last = put_frame(
            &mut batch,
            seal.freeze(rows.take(), self.claim_last(order))?,
        );
        self.finish_seal(batch, order, &mut seal, vec![last])
    }

    fn begin_seal(&self, at: Timestamp) -> Seal {
        let frames = lock(&self.shared.frames);
        Seal {
            agent_id: lock(&self.shared.identity).agent_id,
            epoch: frames.epoch,
            at,
            receipts: self.progress.receipts.clone(),
            accepted_before: self.progress.sealed_receipts.accepted,
            position: self.progress.sealed.into(),
            meter_events: BTreeMap::new(),
            oldest: self.progress.open_oldest,
            record: self.progress.cursor,
            backfilling: self.is_backfilling(),
        }
    }

    /// Adds what was frozen to what each meter has sealed.
    fn note_sealed(&mut self, seal: &mut Seal) {
        for (meter, events) in std::mem::take(&mut seal.meter_events) {
            // Every meter that ever counted is known; what is not must not look as if it had no gap.
            if let Some(coverage) = self.progress.coverage.get_mut(&meter) {
                coverage.sealed_events = coverage.sealed_events.saturating_add(events);
            }
        }
    }

    /// A frame that is not the last of its seal claims nothing new; and when the last one takes a claim back (an import
    /// has begun, or who said farewell has returned), it claims no more than that, for the rows behind it may be as old.
    fn claim_between(&self, order: &SealOrder) -> Claim {
        let before = self.progress.watermark.unwrap_or(Timestamp::from_micros(0));
        Claim {
            watermark: before.min(order.watermark),
            farewell: false,
            catalog_version: self.vouched_catalog().min(self.progress.sealed_catalog),
            accepted: self.progress.sealed_receipts.accepted,
            whole: false,
        }
    }

    fn claim_last(&self, order: &SealOrder) -> Claim {
        Claim {
            watermark: order.watermark,
            farewell: order.reason == SealReason::Farewell,
            catalog_version: self.vouched_catalog(),
            accepted: self.progress.receipts.accepted,
            whole: true,
        }
    }

    fn write_between(
        &mut self,
        seal: &mut Seal,
        (meta, bytes): (FrameMeta, Vec<u8>),
        keys: &[OpenKey],
    ) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let mut batch = shared.store.batch();
        batch.put_frame(&meta, &bytes);
        for key in keys {
            batch.delete_open(self.progress.open_set, key)?;
        }
        self.progress.sealed = seal.position.into();
        self.progress.farewell = false;
        self.note_sealed(seal);
        batch.put_progress(&self.progress);
        shared.write(batch, Durability::Synced)?;
        fail_point!(SealFromDiskBetweenFrames);
        lock(&shared.frames).add(meta);
        self.make_room_between_frames()
    }

    fn finish_seal(
        &mut self,
        mut batch: Batch<'_>,
        order: &SealOrder,
        seal: &mut Seal,
        metas: Vec<FrameMeta>,
    ) -> Result<(), StoreError> {
        batch.delete_open_set(self.progress.open_set);
        self.progress.open_set += 1;
        self.progress.open_oldest = self.progress.cursor + 1;
        self.progress.sealed = seal.position.into();
        self.note_sealed(seal);
        self.progress.sealed_at = Some(order.at);
        self.progress.sealed_receipts = self.progress.receipts.clone();
        self.progress.sealed_catalog = self.vouched_catalog();
        self.progress.watermark = Some(order.watermark);
        self.progress.farewell = order.reason == SealReason::Farewell;
        self.progress.floor = order.floor;
        self.stage(&mut batch);
        let shared = Arc::clone(&self.shared);
        // Frames the collector holds are never counted again.
        let needed_from = lock(&shared.frames).acknowledged.position.seq;
        batch.put_sealed_progress(seal.position.seq, needed_from, &self.progress);
        fail_point!(SealStaged);
        shared.write(batch, Durability::Synced)?;
        fail_point!(SealWritten);
        self.settle();
        self.spilled = false;
        self.spilled_partials = 0;
        self.spilled_bytes = 0;
        self.seal_is_asked = false;
        self.open.forget_groups();
        let mut frames = lock(&shared.frames);
        metas.into_iter().for_each(|meta| frames.add(meta));
        fail_point!(SealDone);
        Ok(())
    }

    /// Takes the partials out of memory, by part and then by key, as frames want them.
    fn take_sorted(&mut self) -> Vec<OpenPartial> {
        let mut taken = self.open.take();
        taken.sort_unstable_by(|a, b| {
            (a.part, &a.customer, a.meter, &a.group, a.window).cmp(&(
                b.part,
                &b.customer,
                b.meter,
                &b.group,
                b.window,
            ))
        });
        taken
    }

    fn row_of(&self, open: OpenPartial) -> Row {
        Row {
            customer_id: open.customer,
            meter_id: self.meters.id(open.meter).clone(),
            group: open.group,
            window: open.window,
            partial: open.partial,
        }
    }
}

fn put_frame(batch: &mut Batch<'_>, (meta, bytes): (FrameMeta, Vec<u8>)) -> FrameMeta {
    batch.put_frame(&meta, &bytes);
    meta
}

fn parse_id<T>(id: Result<T, submeter_common::id::IdError>) -> Result<T, StoreError> {
    id.map_err(|error| StoreError::Corrupt(format!("the key of an open partial: {error}")))
}
