//! What one request hands to the committer: its events, encoded and fingerprinted once, in the caller's thread.

use submeter_common::event::Event;
use submeter_common::time::Timestamp;

use super::ImportCursor;
use crate::dedup::{Fingerprint, Fingerprinter};
use crate::store::record;

/// Most events in one submission; several share a journal record, whose events are numbered in 20 bits.
pub const SUBMISSION_EVENTS_MAX: usize = 100_000;

const _: () = assert!(SUBMISSION_EVENTS_MAX * 4 < record::RECORD_EVENTS_MAX);

/// What became of one event of a submission.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum EventOutcome {
    /// New: it is on stable storage and will be counted.
    Accepted,
    /// Seen before with the same payload: it is counted already.
    Duplicate,
    /// Seen before with another payload: the first one stays counted.
    Conflict,
    /// Older than the sealed watermark: refused.
    TooOld,
}

/// What the committer needs to know of an event without reading it.
#[derive(Copy, Clone, Debug)]
pub(super) struct Item {
    pub(super) fingerprint: Fingerprint,
    pub(super) payload: u64,
    pub(super) timestamp: Timestamp,
    /// Where its frame ends in the arena.
    pub(super) end: usize,
}

/// An arena of encoded events on their way to the journal.
#[derive(Debug)]
pub struct Submission {
    /// All or nothing: any event that is too old refuses the whole submission.
    pub whole: bool,
    /// The import these events belong to; they may be older than the watermark.
    pub import: Option<ImportCursor>,
    fingerprinter: Fingerprinter,
    pub(super) arena: Vec<u8>,
    pub(super) items: Vec<Item>,
}

impl Submission {
    pub(super) fn new(fingerprinter: Fingerprinter) -> Self {
        Self {
            whole: false,
            import: None,
            fingerprinter,
            arena: Vec::new(),
            items: Vec::new(),
        }
    }

    /// Encodes and fingerprints one event.
    pub fn push(&mut self, event: &Event<'_>) {
        let payload = record::push_event(&mut self.arena, |arena| event.encode(arena));
        self.items.push(Item {
            fingerprint: self.fingerprinter.id(&event.event_id),
            payload: self.fingerprinter.payload(event, &self.arena[payload]),
            timestamp: event.timestamp,
            end: self.arena.len(),
        });
    }

    /// Makes room for the events of a request of so many bytes: their journal form is about half as long.
    pub fn reserve(&mut self, request_bytes: usize) {
        self.arena.reserve(request_bytes * 3 / 4);
    }

    /// How many events were pushed.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Says whether nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes of the encoded events.
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }
}
