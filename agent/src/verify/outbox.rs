//! The outbox: every frame is what was frozen, and names the one before it.

use submeter_common::protocol::{decode_frame, events_by_meter};

use super::Check;
use crate::pipeline::Area;
use crate::store::outbox::FrameMeta;
use crate::store::{Store, StoreError};

pub(super) fn check(store: &Store) -> Check {
    let mut check = Check::of(Area::Outbox);
    let ended = walk(store, &mut check);
    check.note(ended);
    check
}

fn walk(store: &Store, check: &mut Check) -> Result<(), StoreError> {
    let frames = store.frames()?;
    let held = store.acknowledged()?.position.seq;
    let mut before: Option<&FrameMeta> = None;
    let (mut bytes, mut lost) = (0, 0);
    for frame in &frames {
        if let Some(before) = before {
            let gap = frame.seq != before.seq + 1;
            let broken = frame.previous != before.digest && frame.bytes > 0 && before.bytes > 0;
            if gap || broken {
                check.problem(format!(
                    "frame {} does not follow frame {}",
                    frame.seq, before.seq
                ));
            }
        }
        before = Some(frame);
        match store.frame(frame.seq)? {
            Some(frozen) => {
                bytes += frozen.len();
                check_frame(frame, &frozen, check);
            }
            // Recovery has told of it; whether the collector holds it is known when it is asked.
            None if frame.seq > held => lost += 1,
            None => check.problem(format!("the bytes of frame {} are gone", frame.seq)),
        }
    }
    let sealed = match store.resume()? {
        Some(resume) => resume.sealed,
        None => {
            store
                .progress()?
                .unwrap_or_else(crate::store::meta::Progress::new)
                .sealed
        }
    };
    let newest = frames.last().map_or(held, |frame| frame.seq);
    if newest != sealed.seq && store.reseat()?.is_none() {
        check.problem(format!(
            "the newest frame is {newest}, frame {} was sealed last",
            sealed.seq
        ));
    }
    check.checked = format!("{} frames of {bytes} bytes, up to {newest}", frames.len());
    if lost > 0 {
        check.checked.push_str(&format!(
            "; {lost} lost to damage, to be settled with the collector"
        ));
    }
    Ok(())
}

fn check_frame(meta: &FrameMeta, frozen: &[u8], check: &mut Check) {
    let seq = meta.seq;
    let (frame, digest) = match decode_frame(frozen) {
        Ok(decoded) => decoded,
        Err(error) => return check.problem(format!("frame {seq}: {error}")),
    };
    if digest != meta.digest {
        check.problem(format!(
            "frame {seq} has another digest than it was sealed with"
        ));
    }
    if frame.header.seq != seq || frame.header.previous != meta.previous {
        check.problem(format!("frame {seq} says that it is another one"));
    }
    if !frame.header.receipts.is_conserved() {
        check.problem(format!("frame {seq}: its receipts do not add up"));
    }
    let told = frame.header.meter_events;
    if !events_by_meter(&frame.rows).is_ok_and(|counted| counted == told) {
        check.problem(format!(
            "frame {seq}: its rows hold other events than its header says"
        ));
    }
}
