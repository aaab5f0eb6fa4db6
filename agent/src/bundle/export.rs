//! A bundle in the making: which frames, under which signed head.

use std::ops::ControlFlow;

use submeter_common::bundle::{BundleError, BundleHead, BundledFrame, encode_bundle_head};
use submeter_common::id::Digest;
use submeter_common::limits::BUNDLE_FRAMES_BYTES_MAX;
use submeter_common::signature::PublicKey;
use submeter_common::time::Timestamp;
use thiserror::Error;

use crate::store::outbox::FrameMeta;
use crate::store::{Snapshot, Store, StoreError};

/// Frames in one bundle; their list stays far below the head's limit.
const FRAMES_MAX: usize = 20_000;

/// Why there is no bundle.
#[derive(Debug, Error)]
pub(crate) enum ExportError {
    /// No agent has ever got ready in this directory.
    #[error("no agent has ever got ready in this state directory")]
    Unborn,
    /// There is no such frame.
    #[error("frame {0} is not in the outbox any more")]
    NotRetained(u64),
    /// There are no frames that a bundle would hold.
    #[error("nothing to export: every sealed frame is acknowledged")]
    Nothing,
    /// The state directory cannot be read.
    #[error("the state directory cannot be read: {0}")]
    Store(#[from] StoreError),
    /// The head cannot be written.
    #[error("the bundle cannot be written: {0}")]
    Bundle(#[from] BundleError),
}

/// A bundle whose head is signed and whose frames are still to be read.
#[derive(Debug)]
pub(crate) struct Export {
    /// The file's beginning.
    pub(crate) head: Vec<u8>,
    /// The frames that follow it.
    pub(crate) frames: Vec<(u64, Digest)>,
}

impl Export {
    /// The frames from `from` on, or those that are not acknowledged, as many as one bundle takes.
    pub(crate) fn prepare(
        store: &Store,
        from: Option<u64>,
        now: Timestamp,
    ) -> Result<Self, ExportError> {
        let snapshot = store.snapshot();
        let acknowledged = snapshot.acknowledged()?.position.seq;
        let frames = frames_from(&snapshot, from.unwrap_or(acknowledged.saturating_add(1)))?;
        match (frames.first(), from) {
            (Some(first), Some(from)) if first.seq != from => {
                return Err(ExportError::NotRetained(from));
            }
            (None, Some(from)) => return Err(ExportError::NotRetained(from)),
            (None, None) => return Err(ExportError::Nothing),
            _ => {}
        }
        let (Some(identity), Some(key)) = (snapshot.identity()?, snapshot.signing_key()?) else {
            return Err(ExportError::Unborn);
        };
        let head = BundleHead {
            agent_id: identity.agent_id,
            state_nonce: identity.nonce(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            acknowledged,
            written_at: now,
            public_key: key.public(),
            frames: frames.iter().map(bundled).collect(),
        };
        Ok(Self {
            head: encode_bundle_head(&head, &key)?,
            frames: frames.iter().map(|meta| (meta.seq, meta.digest)).collect(),
        })
    }

    /// Hands over the file piece by piece, one frame in memory at a time, until `write` breaks.
    pub(crate) fn write(
        self,
        store: &Store,
        mut write: impl FnMut(Vec<u8>) -> ControlFlow<()>,
    ) -> Result<(), ExportError> {
        if write(self.head).is_break() {
            return Ok(());
        }
        for (seq, _) in self.frames {
            // A frame may be acknowledged and dropped meanwhile; the file then ends early and is refused as cut.
            let bytes = store.frame(seq)?.ok_or(ExportError::NotRetained(seq))?;
            if write(bytes).is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The key by which this directory's bundles are known.
    pub(crate) fn public_key(store: &Store) -> Result<PublicKey, ExportError> {
        let key = store.snapshot().signing_key()?;
        key.map(|key| key.public()).ok_or(ExportError::Unborn)
    }
}

fn frames_from(snapshot: &Snapshot<'_>, from: u64) -> Result<Vec<FrameMeta>, StoreError> {
    let mut frames: Vec<FrameMeta> = Vec::new();
    let mut bytes = 0u64;
    snapshot.walk_frames(from, |meta| {
        bytes = bytes.saturating_add(meta.bytes);
        let fits = usize::try_from(bytes).is_ok_and(|bytes| bytes <= BUNDLE_FRAMES_BYTES_MAX);
        if !fits || frames.len() >= FRAMES_MAX {
            return Ok(ControlFlow::Break(()));
        }
        frames.push(meta);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(frames)
}

fn bundled(meta: &FrameMeta) -> BundledFrame {
    BundledFrame {
        seq: meta.seq,
        digest: meta.digest,
        bytes: meta.bytes,
    }
}
