//! Which runs are merged next, and how a run looks on paper.
//!
//! Runs have a *level*: a closed generation is of level 0, four runs of one level become one of the next. So an id is
//! rewritten once a level, and however many ids there are, at most three settled runs a level are asked for a new one:
//! with 10^8 ids in generations of 100 000, that is fifteen at the very most, mostly seven or eight.
//!
//! Time is kept by *marks*: "what this run holds of the records up to this one was accepted before then". A merge drops
//! what the marks call expired; a run that holds much of it is rewritten alone; a run that holds nothing else is dropped.

use std::time::Duration;

use bincode::{Decode, Encode};
use submeter_common::time::Timestamp;

use super::filter;

/// Runs of one level that become one of the next.
pub(crate) const FAN_IN: usize = 4;
/// A run is rewritten when its oldest ids outlive the retention by this part of it.
const SLACK_PER_RETENTION: u32 = 4;
/// Marks of a merged run are at least this part of the retention apart.
const MARKS_PER_RETENTION: u32 = 32;

/// Ids up to a journal record were accepted by a time.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Encode, Decode)]
pub(crate) struct Mark {
    pub(crate) record: u64,
    pub(crate) at: Timestamp,
}

/// A run of ids on disk.
#[derive(Clone, Eq, PartialEq, Debug, Encode, Decode)]
pub(crate) struct StoredRun {
    pub(crate) id: u32,
    pub(crate) level: u8,
    pub(crate) ids: u64,
    /// It is cut into 2^`slices_log2` equal slices of the fingerprints.
    pub(crate) slices_log2: u8,
    /// How many slices it has; all of them once it is no longer merged into.
    pub(crate) slices_done: u32,
    /// The runs it is being merged from: they still hold the slices behind `slices_done`.
    pub(crate) inputs: Vec<u32>,
    /// No id is older.
    pub(crate) opened_at: Timestamp,
    /// Oldest first; the last one covers all ids.
    pub(crate) marks: Vec<Mark>,
}

impl StoredRun {
    pub(crate) fn slices(&self) -> u32 {
        1 << self.slices_log2
    }

    /// Bits of its filters' cells. Young runs are many and small: wider cells cost little and answer for all of them.
    pub(crate) fn filter_bits(&self) -> u8 {
        filter::BITS
            .end()
            .saturating_sub(self.level)
            .max(*filter::BITS.start())
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.inputs.is_empty()
    }

    /// When its youngest id was accepted at the latest.
    pub(crate) fn closed_at(&self) -> Timestamp {
        // Not simply the last mark's: a clock may have been set back.
        let latest = self.marks.iter().map(|mark| mark.at).max();
        latest.unwrap_or(self.opened_at)
    }

    /// Its last journal record; runs are ordered by it.
    pub(crate) fn last_record(&self) -> u64 {
        self.marks.last().map_or(0, |mark| mark.record)
    }

    /// How many of this run's slices `output`, which is being merged from it, holds by now.
    pub(crate) fn moved_to(&self, output: &StoredRun) -> u32 {
        let moved = u64::from(output.slices_done) << self.slices_log2 >> output.slices_log2;
        u32::try_from(moved).unwrap_or(u32::MAX)
    }

    fn is_forgotten(&self, oldest: Timestamp) -> bool {
        self.closed_at() < oldest
    }

    /// The first record whose ids may still be wanted.
    pub(crate) fn first_record(&self, oldest: Timestamp) -> u64 {
        let expired = self.marks.iter().take_while(|mark| mark.at < oldest);
        expired
            .last()
            .map_or(0, |mark| mark.record.saturating_add(1))
    }
}

/// What is to be done next.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(crate) enum Next {
    /// Nothing.
    Rest,
    /// These runs hold only expired ids.
    Forget(Vec<u32>),
    /// Go on with the merge into this run.
    Continue(u32),
    /// Begin to merge these into a run of this level.
    Begin { inputs: Vec<u32>, level: u8 },
}

/// Decides; `runs` are in the order of time. Small merges come before large ones, so that runs stay few meanwhile.
pub(crate) fn next(runs: &[StoredRun], now: Timestamp, retention: Duration) -> Next {
    let oldest = now.saturating_sub(retention);
    let is_input = |run: &StoredRun| runs.iter().any(|output| output.inputs.contains(&run.id));
    let free: Vec<&StoredRun> = runs
        .iter()
        .filter(|run| run.is_complete() && !is_input(run))
        .collect();
    let forgotten: Vec<u32> = free
        .iter()
        .filter(|run| run.is_forgotten(oldest))
        .map(|run| run.id)
        .collect();
    if !forgotten.is_empty() {
        return Next::Forget(forgotten);
    }
    let levels = runs.iter().map(|run| run.level).max().unwrap_or_default();
    for level in 0..=levels {
        if let Some(output) = runs
            .iter()
            .find(|run| !run.is_complete() && run.level == level)
        {
            return Next::Continue(output.id);
        }
        let equals = free
            .iter()
            .filter(|run| run.level == level)
            .map(|run| run.id);
        let inputs: Vec<u32> = equals.take(FAN_IN).collect();
        let output = level.saturating_add(1);
        let busy = runs
            .iter()
            .any(|run| !run.is_complete() && run.level == output);
        if inputs.len() == FAN_IN && !busy {
            return Next::Begin {
                inputs,
                level: output,
            };
        }
    }
    let overdue = oldest.saturating_sub(retention / SLACK_PER_RETENTION);
    let is_overdue = |run: &&&StoredRun| run.marks.first().is_some_and(|mark| mark.at < overdue);
    match free.iter().find(is_overdue) {
        Some(run) => Next::Begin {
            inputs: vec![run.id],
            level: run.level,
        },
        None => Next::Rest,
    }
}

/// The run that `inputs` are merged into, before anything is in it. `slice_ids` is how many ids a slice should hold.
pub(crate) fn output(
    id: u32,
    level: u8,
    inputs: &[&StoredRun],
    slice_ids: u64,
    now: Timestamp,
    retention: Duration,
) -> StoredRun {
    let ids: u64 = inputs.iter().map(|run| run.ids).sum();
    let opened_at = inputs.iter().map(|run| run.opened_at).min().unwrap_or(now);
    let mut marks: Vec<Mark> = inputs.iter().flat_map(|run| &run.marks).copied().collect();
    marks.sort_by_key(|mark| (mark.record, mark.at));
    // A clock that was set back must not let an earlier record look older than it is.
    let mut latest = Timestamp::from_micros(i64::MIN);
    for mark in &mut marks {
        latest = latest.max(mark.at);
        mark.at = latest;
    }
    let oldest = now.saturating_sub(retention);
    let expired = marks.iter().take_while(|mark| mark.at < oldest).count();
    let opened_at = marks[..expired]
        .last()
        .map_or(opened_at, |mark| mark.at.max(opened_at));
    marks.drain(..expired);
    thin(&mut marks, retention / MARKS_PER_RETENTION);
    StoredRun {
        id,
        level,
        ids: 0,
        slices_log2: slices_log2(ids, slice_ids),
        slices_done: 0,
        inputs: inputs.iter().map(|run| run.id).collect(),
        opened_at,
        marks,
    }
}

/// How finely a run of `ids` is cut. A slice may be a quarter over what it should hold, so that four generations make
/// four slices even when each is a little over its measure.
pub(crate) fn slices_log2(ids: u64, slice_ids: u64) -> u8 {
    let most = slice_ids.saturating_add(slice_ids / 4).max(1);
    let slices = ids.div_ceil(most).max(1).next_power_of_two();
    u8::try_from(slices.trailing_zeros()).unwrap_or(u8::MAX)
}

/// Keeps the last mark, and of the others those that are `apart` from the next one kept.
fn thin(marks: &mut Vec<Mark>, apart: Duration) {
    let mut kept: Vec<Mark> = Vec::new();
    for mark in marks.iter().rev() {
        let far = kept
            .last()
            .is_none_or(|next| mark.at.saturating_add(apart) <= next.at);
        if far {
            kept.push(*mark);
        }
    }
    kept.reverse();
    *marks = kept;
}
