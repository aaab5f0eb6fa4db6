//! Sealed frames on disk: frozen bytes, and beside them what the flusher must know without reading them.

use bincode::{Decode, Encode};
use rocksdb::{Direction, IteratorMode};
use submeter_common::id::Digest;
use submeter_common::time::Timestamp;

use super::{Batch, Family, Store, StoreError, key, meta};

pub(super) const META: u8 = b'm';
pub(super) const FRAME: u8 = b'f';

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
