//! The flusher's view of sealed frames: oldest unacknowledged first, bytes never changed.

use std::collections::VecDeque;
use std::sync::Arc;

use submeter_common::id::Digest;
use submeter_common::protocol::Position;
use submeter_common::time::Timestamp;

use super::PipelineError;
use super::shared::{Shared, lock};
use crate::fail_point::fail_point;
use crate::store::meta::{Acknowledged, StoredPosition};
use crate::store::outbox::FrameMeta;
use crate::store::{Durability, StoreError};

/// A sealed frame as it goes over the wire.
#[derive(Clone, Debug)]
pub struct StoredFrame {
    /// Its number, from 1 without holes.
    pub seq: u64,
    /// Its digest.
    pub digest: Digest,
    /// The frozen bytes.
    pub bytes: Vec<u8>,
}

/// What is known of the retained frames without reading them.
#[derive(Debug)]
pub(super) struct Frames {
    retained: VecDeque<FrameMeta>,
    /// Bytes of the frames the collector does not hold.
    unacknowledged_bytes: u64,
    pub(super) acknowledged: Acknowledged,
    pub(super) sealed: Position,
    pub(super) epoch: u64,
    /// The newest frame that this life has handed to the collector; for people only.
    pub(super) sent: u64,
}

impl Frames {
    pub(super) fn new(
        retained: Vec<FrameMeta>,
        acknowledged: Acknowledged,
        sealed: Position,
        epoch: u64,
    ) -> Self {
        let mut frames = Self {
            retained: retained.into(),
            unacknowledged_bytes: 0,
            acknowledged,
            sealed,
            epoch,
            sent: 0,
        };
        frames.weigh();
        frames
    }

    fn weigh(&mut self) {
        self.unacknowledged_bytes = self.unacknowledged().map(|frame| frame.bytes).sum();
    }

    /// Bytes of the frames the collector does not hold.
    pub(super) fn unacknowledged_bytes(&self) -> u64 {
        self.unacknowledged_bytes
    }

    /// Bytes of the frames the collector holds that are kept all the same.
    pub(super) fn acknowledged_bytes(&self) -> u64 {
        self.acknowledged_frames().map(|frame| frame.bytes).sum()
    }

    /// When the oldest of those was sealed.
    pub(super) fn oldest_acknowledged_at(&self) -> Option<Timestamp> {
        self.acknowledged_frames()
            .next()
            .map(|frame| frame.sealed_at)
    }

    fn acknowledged_frames(&self) -> impl Iterator<Item = &FrameMeta> {
        let acknowledged = self.acknowledged.position.seq;
        let held = move |frame: &&FrameMeta| frame.seq <= acknowledged;
        self.retained.iter().take_while(held)
    }

    fn find(&self, seq: u64) -> Option<&FrameMeta> {
        let first = self.retained.front()?.seq;
        let index = usize::try_from(seq.checked_sub(first)?).ok()?;
        self.retained.get(index)
    }

    /// Adds a frame that was just sealed.
    pub(super) fn add(&mut self, frame: FrameMeta) {
        self.sealed = Position {
            seq: frame.seq,
            digest: frame.digest,
        };
        self.unacknowledged_bytes += frame.bytes;
        self.retained.push_back(frame);
    }

    /// The frames the collector does not hold, oldest first.
    pub(super) fn unacknowledged(&self) -> impl Iterator<Item = &FrameMeta> {
        let acknowledged = self.acknowledged.position.seq;
        let held = self
            .retained
            .partition_point(|frame| frame.seq <= acknowledged);
        self.retained.range(held..)
    }

    /// All retained frames, oldest first.
    pub(super) fn retained(&self) -> impl Iterator<Item = &FrameMeta> {
        self.retained.iter()
    }

    /// The newest retained frame.
    pub(super) fn newest(&self) -> Option<Position> {
        self.retained.back().map(|frame| Position {
            seq: frame.seq,
            digest: frame.digest,
        })
    }

    /// All retained frames' first and last number.
    pub(super) fn range(&self) -> Option<(u64, u64)> {
        Some((self.retained.front()?.seq, self.retained.back()?.seq))
    }

    /// Starts anew at a position in whose chain none of the retained frames stands.
    pub(super) fn restart(&mut self, position: Position, accepted: u64) {
        self.retained.clear();
        self.unacknowledged_bytes = 0;
        self.sealed = position;
        self.sent = 0;
        self.acknowledged = Acknowledged {
            position: position.into(),
            accepted,
        };
    }

    /// The newest acknowledged frame that the budgets no longer keep.
    pub(super) fn disposable(&self, bytes_max: u64, older_than: Timestamp) -> Option<u64> {
        let acknowledged = self.acknowledged.position.seq;
        let held = |frame: &&FrameMeta| frame.seq <= acknowledged;
        let mut bytes: u64 = self
            .retained
            .iter()
            .take_while(held)
            .map(|frame| frame.bytes)
            .sum();
        let mut last = None;
        for frame in self.retained.iter().take_while(held) {
            if bytes <= bytes_max && frame.sealed_at >= older_than {
                break;
            }
            bytes -= frame.bytes;
            last = Some(frame.seq);
        }
        last
    }

    /// Forgets the frames up to `last`, which are gone from the disk.
    pub(super) fn forget(&mut self, last: u64) {
        while self.retained.front().is_some_and(|frame| frame.seq <= last) {
            self.retained.pop_front();
        }
    }

    fn position_before(&self, seq: u64) -> Option<Acknowledged> {
        let frame = self.find(seq)?;
        let position = StoredPosition {
            seq: seq - 1,
            digest: frame.previous,
        };
        Some(Acknowledged {
            position,
            accepted: frame.accepted_before,
        })
    }
}

/// A handle on the outbox; clones share it. Its methods block on the disk for microseconds to milliseconds.
#[derive(Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
}

impl Outbox {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The oldest frame the collector has not acknowledged; none when all are.
    pub fn next(&self) -> Result<Option<StoredFrame>, PipelineError> {
        let Some(frame) = lock(&self.shared.frames).unacknowledged().next().copied() else {
            return Ok(None);
        };
        match self.shared.store.frame(frame.seq).map_err(failed)? {
            Some(bytes) => Ok(Some(StoredFrame {
                seq: frame.seq,
                digest: frame.digest,
                bytes,
            })),
            // A restart of the chain may have come in between; otherwise the frame is lost.
            None if lock(&self.shared.frames).find(frame.seq).is_none() => Ok(None),
            None => Err(PipelineError::FrameLost(frame.seq)),
        }
    }

    /// Notes that a frame is on its way, for those who look at the outbox.
    pub fn note_sent(&self, seq: u64) {
        let mut frames = lock(&self.shared.frames);
        frames.sent = frames.sent.max(seq);
    }

    /// Notes that the collector holds everything up to and including `position`.
    ///
    /// # Errors
    /// `Invalid` when the digest is not the one sealed under that number, or the number was never sealed.
    pub fn acknowledge(&self, position: Position) -> Result<(), PipelineError> {
        let mut frames = lock(&self.shared.frames);
        if position.seq <= frames.acknowledged.position.seq {
            return Ok(());
        }
        let frame = frames
            .find(position.seq)
            .filter(|frame| frame.digest == position.digest || is_placeholder(frame));
        let accepted = frame.map(|frame| frame.accepted).ok_or_else(|| {
            PipelineError::Invalid(format!(
                "frame {} with digest {} is none of the outbox",
                position.seq, position.digest
            ))
        })?;
        self.set_acknowledged(
            &mut frames,
            Acknowledged {
                position: position.into(),
                accepted,
            },
        )
    }

    /// Steps back so that `seq` is sent next again (the collector was restored from an older backup).
    ///
    /// False when that frame is no longer retained; nothing changes then.
    pub fn rewind(&self, seq: u64) -> Result<bool, PipelineError> {
        let mut frames = lock(&self.shared.frames);
        if seq == frames.acknowledged.position.seq.saturating_add(1) {
            return Ok(true);
        }
        let before = frames.position_before(seq);
        match before.filter(|before| before.position.seq < frames.acknowledged.position.seq) {
            Some(before) => self.set_acknowledged(&mut frames, before).map(|()| true),
            None => Ok(false),
        }
    }

    fn set_acknowledged(
        &self,
        frames: &mut Frames,
        acknowledged: Acknowledged,
    ) -> Result<(), PipelineError> {
        let mut batch = self.shared.store.batch();
        batch.put_acknowledged(&acknowledged);
        // Losing it re-sends a frame, which the collector knows already.
        fail_point!(AcknowledgeStaged);
        self.shared
            .write(batch, Durability::Buffered)
            .map_err(failed)?;
        fail_point!(AcknowledgeWritten);
        frames.acknowledged = acknowledged;
        frames.weigh();
        Ok(())
    }

    /// The digest sealed under `seq`, while retained; `Digest::ZERO` for 0.
    #[must_use]
    pub fn digest_of(&self, seq: u64) -> Option<Digest> {
        let frames = lock(&self.shared.frames);
        if seq == 0 {
            return Some(Digest::ZERO);
        }
        let known = [frames.sealed, frames.acknowledged.position.into()];
        let known = known.into_iter().find(|position| position.seq == seq);
        let digest = known
            .map(|position| position.digest)
            .or_else(|| Some(frames.find(seq)?.digest))
            .or_else(|| Some(frames.find(seq.checked_add(1)?)?.previous));
        // Of a frame that damage took, not even that may be left.
        digest.filter(|digest| *digest != Digest::ZERO)
    }

    /// The newest frame sealed, acknowledged or not.
    #[must_use]
    pub fn sealed(&self) -> Position {
        lock(&self.shared.frames).sealed
    }

    /// The newest frame acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> Position {
        lock(&self.shared.frames).acknowledged.position.into()
    }

    /// Notes the epoch the collector gave at register; later frames carry it.
    pub fn set_epoch(&self, epoch: u64) -> Result<(), PipelineError> {
        let mut batch = self.shared.store.batch();
        batch.put_epoch(epoch);
        self.shared
            .write(batch, Durability::Buffered)
            .map_err(failed)?;
        lock(&self.shared.frames).epoch = epoch;
        Ok(())
    }

    /// The last epoch noted; 0 before the first register.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        lock(&self.shared.frames).epoch
    }
}

/// Damage left nothing but the number of the frame.
fn is_placeholder(frame: &FrameMeta) -> bool {
    frame.digest == Digest::ZERO
}

fn failed(error: StoreError) -> PipelineError {
    PipelineError::Failed(error.to_string())
}
