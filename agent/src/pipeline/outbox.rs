//! The flusher's view of sealed frames: oldest unacknowledged first, bytes never changed.

use submeter_common::id::Digest;
use submeter_common::protocol::Position;

use super::PipelineError;

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

/// A handle on the outbox; clones share it. Its methods block on the disk for microseconds to milliseconds.
#[derive(Clone)]
pub struct Outbox;

impl Outbox {
    /// The oldest frame the collector has not acknowledged; none when all are.
    pub fn next(&self) -> Result<Option<StoredFrame>, PipelineError> {
        todo!()
    }

    /// Notes that the collector holds everything up to and including `position`.
    ///
    /// `Invalid` when the digest is not the one sealed under that number, or the number was never sealed.
    pub fn acknowledge(&self, _position: Position) -> Result<(), PipelineError> {
        todo!()
    }

    /// Steps back so that `seq` is sent next again (the collector was restored from an older backup).
    ///
    /// False when that frame is no longer retained; nothing changes then.
    pub fn rewind(&self, _seq: u64) -> Result<bool, PipelineError> {
        todo!()
    }

    /// The digest sealed under `seq`, while retained; `Digest::ZERO` for 0.
    pub fn digest_of(&self, _seq: u64) -> Option<Digest> {
        todo!()
    }

    /// The newest frame sealed, acknowledged or not.
    pub fn sealed(&self) -> Position {
        todo!()
    }

    /// The newest frame acknowledged.
    pub fn acknowledged(&self) -> Position {
        todo!()
    }

    /// Notes the epoch the collector gave at register; later frames carry it.
    pub fn set_epoch(&self, _epoch: u64) -> Result<(), PipelineError> {
        todo!()
    }

    /// The last epoch noted; 0 before the first register.
    pub fn epoch(&self) -> u64 {
        todo!()
    }
}
