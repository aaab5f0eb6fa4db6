//! Backfill: a new meter counts the retained journal records from before it, between live records, exactly once.
//!
//! A gap's beginning moves on in the same atomic write as the partials that its records made, so a crash repeats
//! exactly what was not written.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use submeter_common::event::Event;
use submeter_common::id::MeterId;

use super::Aggregator;
use crate::aggregate::{Account, Metered};
use crate::fail_point::{fail_point, squeezed};
use crate::store::StoreError;
use crate::store::record::Record;

/// Journal bytes in one step, so that live records wait a few milliseconds at most.
const STEP_BYTES: usize = squeezed(1024 * 1024, 2048);

/// Meters that miss the same stretch of records.
struct Step {
    meters: Vec<(MeterId, Option<Metered>)>,
    from: u64,
    to: u64,
}

impl Aggregator {
    /// Says whether any meter of the catalog still misses records.
    pub(super) fn is_backfilling(&self) -> bool {
        self.first_gap().is_some()
    }

    /// The oldest record that a meter of the catalog still misses: it must not be reclaimed.
    pub(super) fn first_gap(&self) -> Option<u64> {
        let present = self
            .progress
            .coverage
            .values()
            .filter(|c| c.vanished_after.is_none());
        present
            .flat_map(|coverage| &coverage.gaps)
            .map(|gap| gap.from)
            .min()
    }

    /// Counts a bounded stretch of the oldest gap.
    pub(super) fn backfill_step(&mut self) -> Result<(), StoreError> {
        let Some(step) = self.next_step() else {
            return Ok(());
        };
        let shared = Arc::clone(&self.shared);
        let mut bytes = 0_usize;
        let mut reached = step.to;
        shared.store.walk_records(step.from, |seq, record| {
            if seq > step.to {
                return Ok::<_, StoreError>(ControlFlow::Break(()));
            }
            self.backfill_record(&step, seq, record);
            bytes += record.len();
            if bytes < STEP_BYTES {
                return Ok(ControlFlow::Continue(()));
            }
            reached = seq;
            Ok(ControlFlow::Break(()))
        })?;
        fail_point!(BackfillCounted);
        self.advance(&step, reached);
        self.bytes_since_checkpoint += bytes as u64;
        self.changed = true;
        fail_point!(BackfillStepped);
        if !self.is_backfilling() {
            fail_point!(BackfillDone);
        }
        Ok(())
    }

    /// Counts all gaps; false when the process had no time for it.
    pub(super) fn finish_backfill(&mut self) -> Result<bool, StoreError> {
        while self.is_backfilling() {
            if self.shared.hurrying.load(Ordering::SeqCst) {
                return Ok(false);
            }
            self.backfill_step()?;
            if self.is_checkpoint_due() {
                self.checkpoint()?;
            }
        }
        Ok(true)
    }

    /// The meters whose gap begins first, up to where the next meter's gap begins or one of theirs ends.
    fn next_step(&self) -> Option<Step> {
        let from = self.first_gap()?;
        let mut step = Step {
            meters: Vec::new(),
            from,
            to: u64::MAX,
        };
        for (id, coverage) in &self.progress.coverage {
            if coverage.vanished_after.is_some() {
                continue;
            }
            for gap in &coverage.gaps {
                if gap.from == from {
                    step.meters.push((id.clone(), self.meters.get(id).cloned()));
                    step.to = step.to.min(gap.to);
                } else {
                    step.to = step.to.min(gap.from - 1);
                }
            }
        }
        Some(step)
    }

    fn backfill_record(&mut self, step: &Step, seq: u64, bytes: &[u8]) {
        // A record that does not read back is in quarantine since it was counted first.
        let Ok(record) = Record::decode(bytes) else {
            return;
        };
        for (index, bytes) in (0..).zip(record.events()) {
            let Ok(event) = Event::decode(bytes) else {
                continue;
            };
            for metered in step
                .meters
                .iter()
                .filter_map(|(_, metered)| metered.as_ref())
            {
                let named = metered.meter.event_name == event.event_name;
                if named
                    && metered.meter.matches(&event)
                    && let Err(error) = self.open.observe(metered, &event, &mut Account::default())
                {
                    self.quarantine_share(seq, index, metered, error.to_string(), bytes);
                }
            }
        }
    }

    /// Moves the gaps of the step behind `reached`.
    fn advance(&mut self, step: &Step, reached: u64) {
        self.progress.open_oldest = self.progress.open_oldest.min(step.from);
        for (id, _) in &step.meters {
            if let Some(coverage) = self.progress.coverage.get_mut(id) {
                for gap in coverage.gaps.iter_mut().filter(|gap| gap.from == step.from) {
                    gap.from = reached + 1;
                }
                coverage.gaps.retain(|gap| gap.from <= gap.to);
            }
        }
    }
}
