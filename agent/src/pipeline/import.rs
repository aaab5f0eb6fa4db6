//! Imports of past events: how far each came, and how far back it holds the watermark.
//!
//! An import's events are older than any dedup memory, so its line is what keeps them from counting twice. The line is
//! therefore kept for ever, on disk: of a finished import as of one that was given up. In memory are those that are open,
//! because they hold the watermark, and the newest of the others, for people.

use std::collections::{BTreeMap, VecDeque};
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
    /// Whether it takes lines.
    pub status: ImportStatus,
}

/// Of all stored imports those that are shown: the open ones and the youngest of the others, oldest first.
pub(crate) fn listed_imports(stored: Vec<ImportState>) -> Vec<ImportState> {
    Imports::new(stored).listed()
}

impl ImportState {
    pub(super) fn is_open(&self) -> bool {
        self.status == ImportStatus::Open
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.status == ImportStatus::Abandoned
    }

    pub(super) fn with(self, status: ImportStatus) -> Self {
        Self { status, ..self }
    }
}

/// Where an import is in its life.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportStatus {
    /// It takes lines, and holds the watermark at its oldest possible event.
    Open,
    /// All its lines are done. The same file again is known to be done.
    Complete,
    /// Given up after some lines, which stay counted. Begun again, it goes on behind them.
    Abandoned,
}

/// Imports that are over and still in memory, to be listed.
const CLOSED_LISTED_MAX: usize = 100;

/// The imports in memory.
#[derive(Default, Debug)]
pub(super) struct Imports {
    open: BTreeMap<String, ImportState>,
    /// The youngest that are over, in the order they came to be so.
    closed: VecDeque<ImportState>,
}

impl Imports {
    pub(super) fn new(mut stored: Vec<ImportState>) -> Self {
        stored.sort_by_key(|import| import.began_at);
        let mut imports = Self::default();
        stored.into_iter().for_each(|import| imports.put(import));
        imports
    }

    /// Takes note of an import's new state.
    pub(super) fn put(&mut self, import: ImportState) {
        self.remove(&import.id);
        if import.status == ImportStatus::Open {
            self.open.insert(import.id.clone(), import);
            return;
        }
        self.closed.push_back(import);
        if self.closed.len() > CLOSED_LISTED_MAX {
            self.closed.pop_front();
        }
    }

    /// Forgets an import.
    pub(super) fn remove(&mut self, id: &str) {
        self.open.remove(id);
        self.closed.retain(|import| import.id != id);
    }

    /// An open import.
    pub(super) fn open(&self, id: &str) -> Option<&ImportState> {
        self.open.get(id)
    }

    /// How many are open.
    pub(super) fn open_count(&self) -> usize {
        self.open.len()
    }

    /// The oldest event time that any open import may still bring.
    pub(super) fn oldest_open(&self) -> Option<Timestamp> {
        self.open.values().map(|import| import.oldest).min()
    }

    /// All in memory, oldest first.
    pub(super) fn listed(&self) -> Vec<ImportState> {
        let mut listed: Vec<_> = self.open.values().chain(&self.closed).cloned().collect();
        listed.sort_by_key(|import| import.began_at);
        listed
    }
}
