//! What one request hands to the committer: its events, encoded and fingerprinted once, in the caller's thread.

use submeter_common::event::Event;

use super::ImportCursor;

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

/// An arena of encoded events on their way to the journal.
#[derive(Debug)]
pub struct Submission {
    /// All or nothing: any event that is too old refuses the whole submission.
    pub whole: bool,
    /// The import these events belong to; they may be older than the watermark.
    pub import: Option<ImportCursor>,
}

impl Submission {
    /// Encodes and fingerprints one event.
    pub fn push(&mut self, _event: &Event<'_>) {
        todo!()
    }

    /// How many events were pushed.
    pub fn len(&self) -> usize {
        todo!()
    }

    /// Says whether nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the encoded events.
    pub fn bytes(&self) -> usize {
        todo!()
    }
}
