//! The outbox of a rebuilt database: which frames are there, and a place for each that is not.

use submeter_common::id::Digest;
use submeter_common::protocol::decode_frame;

use super::Salvaged;
use crate::store::damage::Area;
use crate::store::meta::{Acknowledged, Progress, StoredPosition};
use crate::store::outbox::FrameMeta;
use crate::store::{Batch, Durability, Store, StoreError};

/// Brings the frames to one run that ends at `end`, the newest one frozen.
///
/// A frame that does not read keeps its place: the collector may hold it already. If it does not, the flusher finds out
/// and has the journal counted again.
pub(super) fn settle(
    store: &Store,
    progress: &Progress,
    end: StoredPosition,
    acknowledged: Option<Acknowledged>,
    salvaged: &mut Salvaged,
) -> Result<(), StoreError> {
    let last = end.seq;
    let acknowledged = acknowledged.filter(|held| held.position.seq <= last);
    let metas = store.frames()?;
    let known = |seq: u64| metas.iter().find(|meta| meta.seq == seq);
    // Unless it is known what the collector holds: everything that is not here any more.
    let held = acknowledged.map_or_else(
        || {
            metas
                .first()
                .map_or(last, |first| first.seq.saturating_sub(1))
        },
        |held| held.position.seq,
    );
    let mut batch = store.batch();
    let mut lost = Vec::new();
    let mut oldest = held + 1;
    for seq in held + 1..=last {
        let next = known(seq + 1).map(|next| next.previous);
        let digest = if seq == last {
            end.digest
        } else {
            next.or(known(seq).map(|meta| meta.digest))
                .unwrap_or(Digest::ZERO)
        };
        let sound = known(seq).is_some_and(|meta| {
            (digest == Digest::ZERO || meta.digest == digest) && is_sound(store, meta)
        });
        if !sound {
            let meta = known(seq).filter(|meta| meta.digest == digest).copied();
            let previous = known(seq - 1).map(|before| before.digest);
            let meta = meta.unwrap_or(placeholder(seq, digest, previous, progress));
            put_lost(&mut batch, &meta);
            lost.push(seq);
        }
    }
    // Acknowledged frames are kept as far back as they are one run.
    while oldest > 1 && known(oldest - 1).is_some_and(|meta| is_sound(store, meta)) {
        oldest -= 1;
    }
    if oldest > 1 {
        batch.delete_frames(0, oldest - 1);
    }
    batch.delete_frames(last + 1, u64::MAX - 1);
    let acknowledged = acknowledged.unwrap_or_else(|| guess(&metas, held, end, progress));
    batch.put_acknowledged(&acknowledged);
    store.write(batch, Durability::Buffered)?;
    report(store, &lost, end, salvaged)
}

fn report(
    store: &Store,
    lost: &[u64],
    end: StoredPosition,
    salvaged: &mut Salvaged,
) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (lost.first(), lost.last()) else {
        return Ok(());
    };
    // Progress at a seal that was lost with its frame is known again once the journal is replayed.
    let known = |seq: u64| seq == end.seq || matches!(store.sealed_progress(seq), Ok(Some(_)));
    let recountable = lost.iter().all(|seq| known(*seq)) && known(first - 1);
    let fate = if recountable {
        "is counted again from the journal"
    } else {
        "is lost"
    };
    let message = format!(
        "{} of the frames {first} to {last} do not read; what the collector does not hold of them {fate}",
        lost.len()
    );
    salvaged.found(Area::Outbox, !recountable, message);
    Ok(())
}

/// Whether a frame's bytes are there and are those that were frozen.
fn is_sound(store: &Store, meta: &FrameMeta) -> bool {
    let Ok(Some(bytes)) = store.frame(meta.seq) else {
        return false;
    };
    decode_frame(&bytes).is_ok_and(|(frame, digest)| {
        digest == meta.digest
            && frame.header.seq == meta.seq
            && frame.header.previous == meta.previous
    })
}

fn put_lost(batch: &mut Batch<'_>, meta: &FrameMeta) {
    batch.put_frame_meta(meta);
    batch.delete_frame_bytes(meta.seq);
}

fn placeholder(
    seq: u64,
    digest: Digest,
    previous: Option<Digest>,
    progress: &Progress,
) -> FrameMeta {
    FrameMeta {
        seq,
        digest,
        previous: previous.unwrap_or(Digest::ZERO),
        sealed_at: progress
            .sealed_at
            .unwrap_or(submeter_common::time::Timestamp::from_micros(0)),
        bytes: 0,
        rows: 0,
        accepted: progress.sealed_receipts.accepted,
        accepted_before: progress.sealed_receipts.accepted,
        oldest: 1,
        record: progress.cursor,
    }
}

fn guess(metas: &[FrameMeta], held: u64, end: StoredPosition, progress: &Progress) -> Acknowledged {
    let next = metas.iter().find(|meta| meta.seq == held + 1);
    match next {
        Some(next) => Acknowledged {
            position: StoredPosition {
                seq: held,
                digest: next.previous,
            },
            accepted: next.accepted_before,
        },
        None => Acknowledged {
            position: end,
            accepted: progress.sealed_receipts.accepted,
        },
    }
}
