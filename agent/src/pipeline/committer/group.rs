//! What becomes of each event of a group, and the body of the journal record that holds the new ones.

use std::collections::BTreeMap;

use submeter_common::event::{Event, RejectionCode};
use submeter_common::time::Timestamp;

use crate::dedup::{Dedup, Entry};
use crate::pipeline::submission::Item;
use crate::pipeline::work::Committed;
use crate::pipeline::{EventOutcome, Submission, SubmitError};
use crate::store::conflicts::Conflict;
use crate::store::meta::{Deltas, Imported};
use crate::store::record::{self, Location};
use crate::store::{Store, StoreError};

/// What a submission is answered.
pub(super) type Answer = Result<Vec<EventOutcome>, SubmitError>;

/// A journal record in the making.
pub(super) struct Group<'a> {
    store: &'a Store,
    seq: u64,
    now: Timestamp,
    body: Vec<u8>,
    accepted: u32,
    /// Counts of this group that belong to no accepted event.
    pub(super) deltas: Deltas,
    /// Imports that advance with this record, and to which line.
    pub(super) advanced: BTreeMap<String, u64>,
}

impl<'a> Group<'a> {
    pub(super) fn new(store: &'a Store, seq: u64, now: Timestamp) -> Self {
        Self {
            store,
            seq,
            now,
            body: Vec::new(),
            accepted: 0,
            deltas: Deltas::default(),
            advanced: BTreeMap::new(),
        }
    }

    /// Says whether the group holds anything that must survive.
    pub(super) fn must_be_written(&self) -> bool {
        self.accepted > 0 || !self.advanced.is_empty()
    }

    /// New events; a group is bounded far below 2^20 of them.
    pub(super) fn accepted(&self) -> u32 {
        self.accepted
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(super) fn into_committed(self, record: Vec<u8>) -> Committed {
        Committed {
            seq: self.seq,
            record,
        }
    }

    /// Says what becomes of each event of a submission and adds the new ones. Nothing new may be older than `oldest`.
    pub(super) fn decide(
        &mut self,
        dedup: &mut Dedup,
        submission: &Submission,
        oldest: Timestamp,
    ) -> Result<Answer, StoreError> {
        if submission.whole {
            let indices = self.too_old(dedup, submission, oldest)?;
            if !indices.is_empty() {
                self.reject(indices.len());
                return Ok(Err(SubmitError::TooOld { indices }));
            }
        }
        let first = self.accepted();
        let mut outcomes = Vec::with_capacity(submission.items.len());
        let mut start = 0;
        // Runs of accepted events are copied in one step; mostly that is the whole arena.
        let mut run = 0..0;
        let suspects = dedup.screen(submission.items.iter().map(|item| item.fingerprint));
        for (item, suspects) in submission.items.iter().zip(suspects) {
            let event = submission.arena.get(start..item.end).unwrap_or_default();
            let seen = dedup.find_among(item.fingerprint, suspects, self.store)?;
            let outcome = self.admit(dedup, item, event, seen, oldest);
            if outcome == EventOutcome::Accepted {
                if run.end != start {
                    self.body.extend_from_slice(&submission.arena[run]);
                    run = start..start;
                }
                run.end = item.end;
            }
            outcomes.push(outcome);
            start = item.end;
        }
        self.body.extend_from_slice(&submission.arena[run]);
        if let Some(cursor) = &submission.import {
            self.advanced.insert(cursor.id.clone(), cursor.next_line);
            if self.accepted() > first {
                self.deltas.imported.push(Imported {
                    import: cursor.id.clone(),
                    from: first,
                    to: self.accepted(),
                });
            }
        }
        Ok(Ok(outcomes))
    }

    /// Decides on one event, by what came `seen` before under its id, and, when it is new, notes its id at once, so that a copy behind it sees it.
    fn admit(
        &mut self,
        dedup: &mut Dedup,
        item: &Item,
        event: &[u8],
        seen: Option<Entry>,
        oldest: Timestamp,
    ) -> EventOutcome {
        match seen {
            Some(seen) if seen.payload == item.payload => {
                self.deltas.duplicate += 1;
                EventOutcome::Duplicate
            }
            Some(seen) => {
                self.note_conflict(event, seen);
                EventOutcome::Conflict
            }
            None if item.timestamp < oldest => {
                self.reject(1);
                EventOutcome::TooOld
            }
            None => {
                let location = Location::new(self.seq, self.accepted()).as_u64();
                dedup.insert(Entry {
                    fingerprint: item.fingerprint,
                    payload: item.payload,
                    location,
                });
                self.accepted += 1;
                EventOutcome::Accepted
            }
        }
    }

    /// Counts and lists a framed event that came again with another payload.
    fn note_conflict(&mut self, event: &[u8], first: Entry) {
        self.deltas.conflict += 1;
        let event = record::events(event).next().map(Event::decode);
        if let Some(Ok(event)) = event {
            self.deltas.list(Conflict {
                event_id: event.event_id.into_owned(),
                customer_id: event.customer_id.into_owned(),
                event_name: event.event_name.into_owned(),
                timestamp: event.timestamp,
                refused_at: self.now,
                first: first.location,
            });
        }
    }

    /// The events that would be refused: new and too old. A retry of an accepted event is never too old.
    fn too_old(
        &self,
        dedup: &mut Dedup,
        submission: &Submission,
        oldest: Timestamp,
    ) -> Result<Vec<usize>, StoreError> {
        let mut indices = Vec::new();
        for (index, item) in submission.items.iter().enumerate() {
            if item.timestamp < oldest && dedup.find(item.fingerprint, self.store)?.is_none() {
                indices.push(index);
            }
        }
        Ok(indices)
    }

    fn reject(&mut self, events: usize) {
        let code = RejectionCode::TimestampTooOld.as_str().to_owned();
        *self.deltas.rejected.entry(code).or_default() += events as u64;
    }
}
