//! Sealed frames on disk: frozen bytes, and beside them what the flusher must know without reading them.

use bincode::{Decode, Encode};
use rocksdb::{Direction, IteratorMode};
use submeter_common::id::Digest;
use submeter_common::protocol::Position;
use submeter_common::time::Timestamp;

use super::meta::Progress;
use super::{Batch, Family, Store, StoreError, key, meta};

pub(super) const META: u8 = b'm';
pub(super) const FRAME: u8 = b'f';
/// Progress as it was when a frame was sealed: what was counted after it can be counted again.
const PROGRESS: u8 = b'@';
/// It stands in two families, so that neither the loss of the frames nor that of progress takes it along.
const PROGRESS_FAMILIES: [Family; 2] = [Family::Meta, Family::Outbox];

/// What is known of a stored frame without reading it.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Encode, Decode)]
pub(crate) struct FrameMeta {
    pub(crate) seq: u64,
    pub(crate) digest: Digest,
    pub(crate) previous: Digest,
    pub(crate) sealed_at: Timestamp,
    pub(crate) bytes: u64,
    pub(crate) rows: u64,
    /// Events accepted since the directory was born that this frame and those before it hold.
    pub(crate) accepted: u64,
    /// The same for the frame before it.
    pub(crate) accepted_before: u64,
    /// The oldest journal record whose events it may hold; older than all of its seal where a new meter counted the past.
    pub(crate) oldest: u64,
    /// The newest journal record whose events it may hold.
    pub(crate) record: u64,
}

impl Batch<'_> {
    pub(crate) fn put_frame(&mut self, frame: &FrameMeta, bytes: &[u8]) {
        self.put(
            Family::Outbox,
            &key::tagged(META, frame.seq),
            &meta::encode(frame),
        );
        self.put(Family::Outbox, &key::tagged(FRAME, frame.seq), bytes);
    }

    pub(super) fn put_frame_meta(&mut self, frame: &FrameMeta) {
        self.put(
            Family::Outbox,
            &key::tagged(META, frame.seq),
            &meta::encode(frame),
        );
    }

    pub(super) fn delete_frame_bytes(&mut self, seq: u64) {
        self.delete(Family::Outbox, &key::tagged(FRAME, seq));
    }

    /// Keeps progress as of the seal that ended with frame `seq`, and forgets that of the frames before `needed_from`.
    pub(crate) fn put_sealed_progress(&mut self, seq: u64, needed_from: u64, progress: &Progress) {
        for family in PROGRESS_FAMILIES {
            self.delete_range(
                family,
                &key::tagged(PROGRESS, 0),
                &key::tagged(PROGRESS, needed_from),
            );
            self.put(family, &key::tagged(PROGRESS, seq), &meta::encode(progress));
        }
    }

    /// Forgets progress at the seals of a chain that ended, and keeps `base` as what the new one begins with.
    pub(crate) fn restart_sealed_progress(&mut self, position: Position, base: Option<Progress>) {
        let last = key::tagged(PROGRESS, u64::MAX);
        for family in PROGRESS_FAMILIES {
            self.delete_range(family, &key::tagged(PROGRESS, 0), &last);
        }
        if let Some(mut base) = base {
            base.sealed = position.into();
            self.put_sealed_progress(position.seq, 0, &base);
        }
    }

    /// Deletes the frames `first..=last`.
    pub(crate) fn delete_frames(&mut self, first: u64, last: u64) {
        let end = last.saturating_add(1);
        self.delete_range(
            Family::Outbox,
            &key::tagged(META, first),
            &key::tagged(META, end),
        );
        self.delete_range(
            Family::Outbox,
            &key::tagged(FRAME, first),
            &key::tagged(FRAME, end),
        );
    }
}

impl Store {
    /// Where the frames `..=last` lie.
    pub(super) fn frame_ranges(last: u64) -> [([u8; 9], [u8; 9]); 2] {
        [META, FRAME].map(|tag| (key::tagged(tag, 0), key::tagged(tag, last)))
    }

    /// The frozen bytes of a frame, while retained.
    pub(crate) fn frame(&self, seq: u64) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self
            .get(Family::Outbox, &key::tagged(FRAME, seq))?
            .map(|bytes| bytes.to_vec()))
    }

    /// Progress as it was when frame `seq` was sealed, the last one of its seal; none when that is not kept. Before the
    /// first frame it is that of a new directory.
    pub(crate) fn sealed_progress(&self, seq: u64) -> Result<Option<Progress>, StoreError> {
        for family in PROGRESS_FAMILIES {
            if let Some(bytes) = self.get(family, &key::tagged(PROGRESS, seq))? {
                return meta::decode("progress at a seal", &bytes).map(Some);
            }
        }
        Ok(None)
    }

    /// Progress as it was at the newest seal of which that is kept.
    pub(super) fn newest_sealed_progress(&self) -> Result<Option<Progress>, StoreError> {
        let mut newest: Option<Progress> = None;
        for family in PROGRESS_FAMILIES {
            let mut walk = self.db.raw_iterator_cf(self.family(family));
            walk.seek_for_prev(key::tagged(PROGRESS, u64::MAX));
            walk.status()?;
            if let (Some([PROGRESS, 0, ..]), Some(bytes)) = (walk.key(), walk.value()) {
                let found: Progress = meta::decode("progress at a seal", bytes)?;
                if newest
                    .as_ref()
                    .is_none_or(|known| known.sealed.seq < found.sealed.seq)
                {
                    newest = Some(found);
                }
            }
        }
        Ok(newest)
    }

    /// All retained frames, oldest first.
    pub(crate) fn frames(&self) -> Result<Vec<FrameMeta>, StoreError> {
        let mut frames = Vec::new();
        let mode = IteratorMode::From(&[META], Direction::Forward);
        for entry in self.db.iterator_cf(self.family(Family::Outbox), mode) {
            let (key, value) = entry?;
            if key.first() != Some(&META) {
                break;
            }
            frames.push(meta::decode("a frame's entry in the outbox", &value)?);
        }
        Ok(frames)
    }
}
