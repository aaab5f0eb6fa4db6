//! A new place in a chain of frames: what is sealed but not to be had by the collector otherwise is opened again, and
//! sealed anew behind it.
//!
//! What is this directory's own to deliver is a stretch of its journal: everything after some record. Each piece of
//! derived state (a frame, the open set) holds the events of a stretch, too. Pieces wholly behind the record are kept,
//! pieces wholly before it are dropped. A piece that the record cuts through cannot be divided; then the stretch is counted
//! again from the journal, by the way in which new meters count the past.
//!
//! Frames are opened in steps of bounded size. What is to come of it is written down first, so that a death in between is
//! followed by the rest of it at the next start.

use std::sync::Arc;

use submeter_common::id::{AgentId, Digest};
use submeter_common::protocol::{Incident, IncidentKind, Position, Stretch, decode_frame};
use uuid::Uuid;

use super::Aggregator;
use super::checkpoint::Spilled;
use crate::fail_point::fail_point;
use crate::pipeline::Identity;
use crate::pipeline::rebase::{Delivered, Outcome, Rebase};
use crate::pipeline::shared::lock;
use crate::store::lineage::{StoredIncident, StoredReseat};
use crate::store::meta::Progress;
use crate::store::outbox::FrameMeta;
use crate::store::rebuild::counted_between;
use crate::store::{Durability, StoreError};

/// Frames that are opened in one write, as far as memory allows.
const FRAMES_PER_STEP: usize = 64;

/// Before the first frame.
const START: Position = Position {
    seq: 0,
    digest: Digest::ZERO,
};

/// What becomes of each piece.
struct Plan {
    /// Frames to open again, oldest first.
    reopened: Vec<FrameMeta>,
    keep_open: bool,
    /// Count the journal again from this record; nothing is kept then.
    recount_from: Option<u64>,
    outcome: Outcome,
}

impl Aggregator {
    /// Goes on at another place, under the same identity or a new one.
    pub(super) fn rebase(&mut self, rebase: &Rebase) -> Result<Identity, StoreError> {
        let plan = self.plan(rebase);
        let old = lock(&self.shared.identity).clone();
        let (agent_id, state_nonce) = match rebase.position {
            Some(_) => (old.agent_id, old.nonce()),
            None => (AgentId::new(Uuid::now_v7()), Uuid::new_v4()),
        };
        let now = self.shared.clock.now();
        let reseat = StoredReseat {
            position: rebase.position.unwrap_or(START),
            agent_id,
            state_nonce,
            accepted: self.accepted_before(&plan)?,
            incident: Some(rebase.incident(old.agent_id, agent_id, plan.outcome, now)),
        };
        if let Delivered::Record { last, .. } = rebase.delivered {
            self.forget_past(last);
        }
        // What is open afterwards was counted since the acknowledged frame, unless only a part of it is kept.
        let base = match rebase.delivered {
            Delivered::Record { .. } => None,
            _ => Some(lock(&self.shared.frames).acknowledged.position.seq),
        };
        self.begin_reseat(&reseat, &plan, base)?;
        self.finish_reseat(&reseat)
    }

    /// Goes on behind what the collector holds although frames after it were lost to damage: those that are left are
    /// opened again, and what the others held is counted again.
    pub(super) fn recount_lost(&mut self) -> Result<(), StoreError> {
        let (acknowledged, unacknowledged) = {
            let frames = lock(&self.shared.frames);
            let unacknowledged: Vec<FrameMeta> = frames.unacknowledged().copied().collect();
            (frames.acknowledged, unacknowledged)
        };
        let (mut reopened, mut lost) = (Vec::new(), Vec::new());
        for frame in unacknowledged {
            match self.shared.store.frame(frame.seq)? {
                Some(_) => reopened.push(frame),
                None => lost.push(frame.seq),
            }
        }
        let mut missing = None;
        for run in lost.chunk_by(|seq, next| seq + 1 == *next) {
            missing = hull(missing, self.recount(run[0], run[run.len() - 1])?);
        }
        let outcome = Outcome {
            missing,
            repeated: None,
        };
        let identity = lock(&self.shared.identity).clone();
        let incident = Incident {
            id: Uuid::new_v4(),
            at: self.shared.clock.now(),
            kind: IncidentKind::Damaged,
            former_agent_id: identity.agent_id,
            agent_id: identity.agent_id,
            missing,
            repeated: None,
            message: format!(
                "{} frames behind frame {} were lost to damage of the data directory before the collector had them; what they held is counted again from the journal as far as it reaches",
                lost.len(),
                acknowledged.position.seq
            ),
        };
        let reseat = StoredReseat {
            position: acknowledged.position.into(),
            agent_id: identity.agent_id,
            state_nonce: identity.nonce(),
            accepted: acknowledged.accepted,
            incident: Some(incident),
        };
        let plan = Plan {
            reopened,
            keep_open: true,
            recount_from: None,
            outcome,
        };
        self.begin_reseat(&reseat, &plan, Some(acknowledged.position.seq))?;
        self.finish_reseat(&reseat).map(drop)
    }

    /// Lets the meters count again what the frames `first..=last` held, as a backfill, as far as the journal reaches;
    /// answers the records whose events may be missing.
    fn recount(&mut self, first: u64, last: u64) -> Result<Option<Stretch>, StoreError> {
        let store = &self.shared.store;
        let before = store.sealed_progress(first - 1)?;
        let Some((before, after)) = before.zip(store.sealed_progress(last)?) else {
            tracing::error!(
                first,
                last,
                "frames were lost to damage and the collector does not hold them: their usage is lost"
            );
            return Ok(stretch(1, self.progress.cursor));
        };
        let retained = self.chunks.first_record().unwrap_or(u64::MAX);
        for (meter, gaps) in counted_between(&before, &after) {
            let sealed = |progress: &Progress| {
                let coverage = progress.coverage.get(&meter);
                coverage.map_or(0, |coverage| coverage.sealed_events)
            };
            let events = sealed(&after).saturating_sub(sealed(&before));
            if let Some(coverage) = self.progress.coverage.get_mut(&meter) {
                coverage.sealed_events = coverage.sealed_events.saturating_sub(events);
                for gap in gaps {
                    coverage.miss(gap.from.max(retained), gap.to);
                }
            }
        }
        Ok(stretch(
            before.cursor + 1,
            after.cursor.min(retained.saturating_sub(1)),
        ))
    }

    fn plan(&self, rebase: &Rebase) -> Plan {
        let frames = lock(&self.shared.frames);
        let (last, torn_after) = match rebase.delivered {
            Delivered::Record { last, torn_after } => (last, torn_after),
            Delivered::Acknowledged | Delivered::AcknowledgedAtLeast => {
                let reopened: Vec<FrameMeta> = frames.unacknowledged().copied().collect();
                let first = reopened
                    .first()
                    .map_or(self.progress.open_oldest, |f| f.oldest);
                let doubt = rebase.delivered == Delivered::AcknowledgedAtLeast;
                let repeated = if doubt {
                    stretch(first, self.progress.cursor)
                } else {
                    None
                };
                return Plan {
                    reopened,
                    keep_open: true,
                    recount_from: None,
                    outcome: Outcome {
                        missing: None,
                        repeated,
                    },
                };
            }
        };
        let undelivered: Vec<FrameMeta> = frames
            .retained()
            .filter(|frame| frame.record > last)
            .copied()
            .collect();
        drop(frames);
        let mut plan = self.plan_behind(last, undelivered);
        if let Some(after) = torn_after {
            let torn = stretch(after + 1, last.min(self.progress.cursor));
            plan.outcome.missing = hull(plan.outcome.missing, torn);
        }
        plan
    }

    /// Plans to deliver everything behind the record `last`, from the frames that hold anything of it.
    fn plan_behind(&self, last: u64, undelivered: Vec<FrameMeta>) -> Plan {
        let cursor = self.progress.cursor;
        let open_is_cut = self.progress.open_oldest <= last && last < cursor;
        let (whole, cut): (Vec<_>, Vec<_>) = undelivered
            .into_iter()
            .partition(|frame| frame.oldest > last);
        let keep_open = !open_is_cut && last < cursor;
        let open_from = if keep_open {
            self.progress.open_oldest
        } else {
            cursor + 1
        };
        let kept_from = whole.first().map_or(open_from, |frame| frame.oldest);
        if !open_is_cut && cut.is_empty() && kept_from <= last.saturating_add(1) {
            return Plan {
                reopened: whole,
                keep_open,
                recount_from: None,
                outcome: Outcome::default(),
            };
        }
        let journal_from = self.chunks.first_record().unwrap_or(cursor + 1);
        let recount_from = journal_from.max(last.saturating_add(1));
        if recount_from <= last.saturating_add(1) || recount_from < kept_from {
            return Plan {
                reopened: Vec::new(),
                keep_open: false,
                recount_from: Some(recount_from),
                outcome: Outcome {
                    missing: stretch(last + 1, recount_from - 1),
                    repeated: None,
                },
            };
        }
        let cut_to = cut.iter().map(|frame| frame.record).max().unwrap_or(0);
        let cut_to = if open_is_cut { cursor } else { cut_to };
        Plan {
            reopened: whole,
            keep_open,
            recount_from: None,
            outcome: Outcome {
                missing: stretch(last + 1, cut_to.max(kept_from - 1)),
                repeated: None,
            },
        }
    }

    /// The accepted events before those that are kept.
    fn accepted_before(&self, plan: &Plan) -> Result<u64, StoreError> {
        if let Some(frame) = plan.reopened.first() {
            return Ok(frame.accepted_before);
        }
        let accepted = self.progress.receipts.accepted;
        match plan.recount_from {
            Some(from) => {
                let again = self.shared.store.events_from(from)?;
                Ok(accepted.saturating_sub(again))
            }
            None if plan.keep_open => Ok(self.progress.sealed_receipts.accepted),
            None => Ok(accepted),
        }
    }

    /// No meter counts records up to `last` any more: what they hold was delivered by another, new meters' share included.
    fn forget_past(&mut self, last: u64) {
        self.progress.backfill_from = self.progress.backfill_from.max(last.saturating_add(1));
        for coverage in self.progress.coverage.values_mut() {
            for gap in &mut coverage.gaps {
                gap.from = gap.from.max(last.saturating_add(1));
            }
            coverage.gaps.retain(|gap| gap.from <= gap.to);
        }
    }

    /// Writes down what is to come, and drops what is not kept. `base` is the frame since which all was counted that will
    /// be open.
    fn begin_reseat(
        &mut self,
        reseat: &StoredReseat,
        plan: &Plan,
        base: Option<u64>,
    ) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let base = match base {
            Some(seq) => shared.store.sealed_progress(seq)?,
            None => None,
        };
        let mut batch = shared.store.batch();
        batch.put_reseat(reseat);
        for frame in lock(&shared.frames).retained() {
            if !plan.reopened.contains(frame) {
                batch.delete_frames(frame.seq, frame.seq);
            }
        }
        let new = if plan.keep_open {
            self.stage_open(&shared.store, &mut batch)?
        } else {
            drop(self.open.take());
            batch.delete_open_set(self.progress.open_set);
            self.progress.open_set += 1;
            self.progress.open_oldest = self.progress.cursor + 1;
            self.spilled = false;
            (self.spilled_partials, self.spilled_bytes) = (0, 0);
            Spilled::default()
        };
        if let Some(from) = plan.recount_from {
            self.count_again(from);
        }
        self.stage(&mut batch);
        batch.restart_sealed_progress(reseat.position, base);
        shared.write(batch, Durability::Synced)?;
        self.settle();
        self.settle_open(new);
        Ok(())
    }

    /// Makes every meter miss the records from `from` on, as if it were new.
    fn count_again(&mut self, from: u64) {
        let cursor = self.progress.cursor;
        for coverage in self.progress.coverage.values_mut() {
            coverage.miss_again(from, cursor);
        }
    }

    /// Opens the frames that are left, step by step, and takes the new place; at a start, what a previous life began.
    pub(in crate::pipeline) fn finish_reseat(
        &mut self,
        reseat: &StoredReseat,
    ) -> Result<Identity, StoreError> {
        let mut staged = Vec::new();
        for frame in self.shared.store.frames()? {
            self.reopen(&frame)?;
            staged.push(frame.seq);
            if staged.len() >= FRAMES_PER_STEP || self.is_memory_full() {
                self.write_reopened(&staged)?;
                staged.clear();
            }
        }
        self.write_reopened(&staged)?;
        fail_point!(ReseatReopened);
        self.take_place(reseat)
    }

    fn write_reopened(&mut self, frames: &[u64]) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let mut batch = shared.store.batch();
        let new = self.stage_open(&shared.store, &mut batch)?;
        for seq in frames {
            batch.delete_frames(*seq, *seq);
        }
        self.stage(&mut batch);
        shared.write(batch, Durability::Synced)?;
        self.settle();
        self.settle_open(new);
        Ok(())
    }

    /// The last step: position, identity and what is told of it.
    fn take_place(&mut self, reseat: &StoredReseat) -> Result<Identity, StoreError> {
        let shared = Arc::clone(&self.shared);
        let identity = reseat.identity(lock(&shared.identity).fingerprint_key);
        self.progress.sealed = reseat.position.into();
        self.progress.sealed_receipts.accepted = reseat.accepted;
        // What was claimed stood on frames that are open again: nothing is claimed before they are sealed anew.
        self.progress.watermark = None;
        self.progress.sealed_catalog = 0;
        self.progress.farewell = false;
        let mut batch = shared.store.batch();
        batch.delete_reseat();
        batch.put_identity(&identity);
        let mut incidents = lock(&shared.incidents);
        let told = with_incident(&incidents, reseat.incident.as_ref());
        batch.put_incidents(&told);
        let mut frames = lock(&shared.frames);
        frames.restart(reseat.position, reseat.accepted);
        batch.put_acknowledged(&frames.acknowledged);
        self.stage(&mut batch);
        fail_point!(ReseatStaged);
        shared.write(batch, Durability::Synced)?;
        fail_point!(ReseatWritten);
        drop(frames);
        *incidents = told;
        drop(incidents);
        self.settle();
        self.life_first_seq = reseat.position.seq + 1;
        *lock(&shared.identity) = identity;
        if let Some(incident) = &reseat.incident {
            tracing::error!(former = %incident.former_agent_id, agent = %incident.agent_id, kind = incident.kind.as_str(), "{}", incident.message);
        }
        fail_point!(ReseatDone);
        Ok(Identity {
            agent_id: reseat.agent_id,
            state_nonce: reseat.state_nonce,
        })
    }

    /// Adds a frame's rows to the open partials again.
    fn reopen(&mut self, frame: &FrameMeta) -> Result<(), StoreError> {
        let seq = frame.seq;
        let lost = || StoreError::Corrupt(format!("frame {seq} is gone from the outbox"));
        let bytes = self.shared.store.frame(seq)?.ok_or_else(lost)?;
        let (sealed, _) = decode_frame(&bytes).map_err(|error| {
            StoreError::Corrupt(format!("frame {seq} does not read back: {error}"))
        })?;
        for (meter, events) in &sealed.header.meter_events {
            if let Some(coverage) = self.progress.coverage.get_mut(meter) {
                coverage.sealed_events = coverage.sealed_events.saturating_sub(*events);
            }
        }
        for row in sealed.rows {
            let slot = self.meters.slot(&row.meter_id);
            self.open
                .merge(slot, &row.customer_id, row.window, row.group, &row.partial)
                .map_err(|error| StoreError::Corrupt(format!("frame {seq}: {error}")))?;
        }
        self.progress.open_oldest = self.progress.open_oldest.min(frame.oldest);
        self.changed = true;
        Ok(())
    }
}

/// The incidents with a new one, within their bound.
fn with_incident(known: &[StoredIncident], new: Option<&Incident>) -> Vec<StoredIncident> {
    let mut incidents = known.to_vec();
    incidents.extend(new.map(|incident| StoredIncident {
        incident: incident.clone(),
        told: false,
    }));
    crate::pipeline::incidents::keep_newest(&mut incidents);
    incidents
}

fn stretch(first: u64, last: u64) -> Option<Stretch> {
    (first <= last).then_some(Stretch { first, last })
}

/// The stretch from the first record of both to the last.
fn hull(one: Option<Stretch>, other: Option<Stretch>) -> Option<Stretch> {
    match (one, other) {
        (Some(one), Some(other)) => Some(Stretch {
            first: one.first.min(other.first),
            last: one.last.max(other.last),
        }),
        (one, other) => one.or(other),
    }
}
