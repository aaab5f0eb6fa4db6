//! Imports of past events: how far each came, and how far back it holds the watermark.

use std::time::Duration;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use submeter_common::time::Timestamp;

/// Asks for an import to begin or go on.
#[derive(Clone, Debug)]
pub struct ImportRequest {
    /// Names the import: the digest of the file, so that the same file is the same import.
    pub id: String,
    /// What the operator calls it (the file's name).
    pub name: String,
    /// How old its events may be; the watermark is held this far behind the import's beginning.
    pub max_age: Duration,
}

/// Where a submission stands in its import; advanced in the same atomic write as the events.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct ImportCursor {
    /// The import's id.
    pub id: String,
    /// The first line (from 0) of this submission; must be the import's `lines_done`.
    pub first_line: u64,
    /// The line after the last one of this submission (refused lines and blank lines included).
    pub next_line: u64,
}

/// What is known of one import.
#[derive(Clone, Eq, PartialEq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct ImportState {
    /// The import's id.
    pub id: String,
    /// What the operator calls it.
    pub name: String,
    /// When it began.
    pub began_at: Timestamp,
    /// The oldest event time it may bring; the watermark does not pass it while the import is open.
    pub oldest: Timestamp,
    /// Lines that are durably dealt with.
    pub lines_done: u64,
    /// Says whether the import is over.
    pub complete: bool,
}
