//! A new place in a chain of frames: what was sealed but never applied is opened again and sealed behind it.

use std::sync::Arc;

use submeter_common::id::{AgentId, Digest};
use submeter_common::protocol::{Position, decode_frame};
use uuid::Uuid;

use super::Aggregator;
use crate::fail_point::fail_point;
use crate::pipeline::shared::lock;
use crate::pipeline::{Identity, PipelineError};
use crate::store::meta::StoredIdentity;
use crate::store::outbox::FrameMeta;
use crate::store::{Durability, StoreError};

impl Aggregator {
    /// Takes a new random identity, whose chain begins at frame 1.
    pub(super) fn take_new_identity(&mut self) -> Result<Identity, StoreError> {
        let old = lock(&self.shared.identity).clone();
        let identity = StoredIdentity {
            agent_id: AgentId::new(Uuid::now_v7()),
            state_nonce: Uuid::new_v4().into_bytes(),
            fingerprint_key: old.fingerprint_key,
        };
        let reopened = lock(&self.shared.frames)
            .unacknowledged()
            .copied()
            .collect();
        let start = Position {
            seq: 0,
            digest: Digest::ZERO,
        };
        self.reseat(start, reopened, Some(&identity))?;
        let taken = Identity {
            agent_id: identity.agent_id,
            state_nonce: identity.nonce(),
        };
        *lock(&self.shared.identity) = identity;
        Ok(taken)
    }

    /// Goes on behind the collector's position.
    ///
    /// What a previous life had accepted is in the collector's frames up to there: this directory is an older copy of
    /// one that went on. What this life has accepted is not.
    pub(super) fn skip_to(
        &mut self,
        position: Position,
    ) -> Result<Result<(), PipelineError>, StoreError> {
        let sealed = self.progress.sealed.seq;
        if position.seq <= sealed {
            let message = format!(
                "cannot skip to frame {}: frame {sealed} is sealed",
                position.seq
            );
            return Ok(Err(PipelineError::Invalid(message)));
        }
        let first = self.life_first_seq;
        let frames = lock(&self.shared.frames);
        let reopened = frames
            .unacknowledged()
            .filter(|frame| frame.seq >= first)
            .copied()
            .collect();
        drop(frames);
        self.reseat(position, reopened, None)?;
        Ok(Ok(()))
    }

    fn reseat(
        &mut self,
        position: Position,
        reopened: Vec<FrameMeta>,
        identity: Option<&StoredIdentity>,
    ) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let sealed = self.progress.sealed_receipts.accepted;
        let accepted = reopened
            .first()
            .map_or(sealed, |frame| frame.accepted_before);
        for frame in &reopened {
            self.reopen(frame.seq)?;
        }
        fail_point!(ReseatReopened);
        let mut batch = shared.store.batch();
        let new = self.stage_open(&shared.store, &mut batch)?;
        if let Some((first, last)) = lock(&shared.frames).range() {
            batch.delete_frames(first, last);
        }
        if let Some(identity) = identity {
            batch.put_identity(identity);
        }
        self.progress.sealed = position.into();
        self.progress.sealed_receipts.accepted = accepted;
        // What was claimed stood on frames that are open again: nothing is claimed before they are sealed anew.
        self.progress.watermark = None;
        self.progress.sealed_catalog = 0;
        let mut frames = lock(&shared.frames);
        frames.restart(position, accepted);
        batch.put_acknowledged(&frames.acknowledged);
        self.stage(&mut batch);
        fail_point!(ReseatStaged);
        shared.write(batch, Durability::Synced)?;
        fail_point!(ReseatWritten);
        drop(frames);
        self.settle();
        self.settle_open(new);
        self.life_first_seq = position.seq + 1;
        fail_point!(ReseatDone);
        Ok(())
    }

    /// Adds a frame's rows to the open partials again.
    fn reopen(&mut self, seq: u64) -> Result<(), StoreError> {
        let lost = || StoreError::Corrupt(format!("frame {seq} is gone from the outbox"));
        let bytes = self.shared.store.frame(seq)?.ok_or_else(lost)?;
        let (frame, _) = decode_frame(&bytes).map_err(|error| {
            StoreError::Corrupt(format!("frame {seq} does not read back: {error}"))
        })?;
        for (meter, events) in &frame.header.meter_events {
            if let Some(coverage) = self.progress.coverage.get_mut(meter) {
                coverage.sealed_events = coverage.sealed_events.saturating_sub(*events);
            }
        }
        for row in frame.rows {
            let slot = self.meters.slot(&row.meter_id);
            self.open
                .merge(slot, &row.customer_id, row.window, row.group, &row.partial)
                .map_err(|error| StoreError::Corrupt(format!("frame {seq}: {error}")))?;
        }
        self.changed = true;
        Ok(())
    }
}
