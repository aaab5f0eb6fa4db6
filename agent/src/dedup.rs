//! Which event ids were seen: exact for the retention, bounded in memory, no disk read for a new id.
//!
//! Ids live in *generations*, by time of arrival. The **open** generation is an exact map in memory. A full or old one
//! becomes **closing**: still the same map, while its sorted ids and a filter go to disk. Then it is **closed**: nine
//! bits an id in memory say "surely new" or "look it up", and only the latter reads the disk. A closed generation is
//! forgotten as a whole when its youngest id has passed the retention.
//!
//! The room is pure: what is on disk is asked through [`ClosedIds`], and time is handed in.

pub(crate) mod block;
mod filter;
mod fingerprint;
mod generation;

use std::sync::Arc;
use std::time::Duration;

use submeter_common::time::Timestamp;

pub(crate) use filter::Filter;
pub(crate) use fingerprint::{Fingerprint, Fingerprinter};
pub(crate) use generation::{Entry, Generation};

/// A generation is closed after this part of the retention at the latest, so that expiry is never much too late.
const GENERATIONS_PER_RETENTION: u32 = 24;

/// Looks ids up in closed generations.
pub(crate) trait ClosedIds {
    /// Why a look-up failed.
    type Error;

    /// The entry of `fingerprint` in a closed generation, if it is there.
    fn find(&self, generation: u32, fingerprint: Fingerprint)
    -> Result<Option<Entry>, Self::Error>;
}

/// A generation whose ids are on disk.
#[derive(Debug)]
struct Closed {
    id: u32,
    ids: u64,
    filter: Filter,
}

/// All ids within the retention.
#[derive(Debug)]
pub(crate) struct Dedup {
    open: Generation,
    closing: Option<Arc<Generation>>,
    closed: Vec<Closed>,
    ids_max: usize,
    age_max: Duration,
}

impl Dedup {
    /// Starts with an empty open generation `id`. `ids_max` ids or a 24th of `retention` fill a generation.
    pub(crate) fn new(id: u32, opened_at: Timestamp, ids_max: usize, retention: Duration) -> Self {
        Self {
            open: Generation::new(id, opened_at),
            closing: None,
            closed: Vec::new(),
            ids_max,
            age_max: retention / GENERATIONS_PER_RETENTION,
        }
    }

    /// Adds a closed generation; oldest first.
    pub(crate) fn add_closed(&mut self, id: u32, ids: u64, filter: Filter) {
        self.closed.push(Closed { id, ids, filter });
    }

    /// Finds an id wherever it is.
    pub(crate) fn find<D: ClosedIds>(
        &self,
        fingerprint: Fingerprint,
        disk: &D,
    ) -> Result<Option<Entry>, D::Error> {
        let in_memory = self
            .open
            .get(fingerprint)
            .or_else(|| self.closing.as_ref()?.get(fingerprint));
        if let Some(entry) = in_memory {
            return Ok(Some(*entry));
        }
        // Youngest first: a retry mostly comes soon.
        for closed in self
            .closed
            .iter()
            .rev()
            .filter(|closed| closed.filter.may_contain(fingerprint))
        {
            if let Some(entry) = disk.find(closed.id, fingerprint)? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Notes a new id. The caller has made sure with [`Dedup::find`] that it is new.
    pub(crate) fn insert(&mut self, entry: Entry) {
        self.open.insert(entry);
    }

    /// Begins a new generation when the open one is full or old and none is closing; answers the one to be closed.
    pub(crate) fn rotate(&mut self, now: Timestamp) -> Option<Arc<Generation>> {
        let due = self.open.len() >= self.ids_max
            || (self.open.len() > 0 && self.open.opened_at.saturating_add(self.age_max) <= now);
        if !due || self.closing.is_some() {
            return None;
        }
        let next = Generation::sized(self.open.id.saturating_add(1), now, self.open.len());
        let full = Arc::new(std::mem::replace(&mut self.open, next));
        self.closing = Some(Arc::clone(&full));
        Some(full)
    }

    /// Replaces the closing generation's map by its filter, now that its ids are on disk.
    pub(crate) fn closed(&mut self, id: u32, filter: Filter) {
        if let Some(closing) = self.closing.take_if(|closing| closing.id == id) {
            self.add_closed(id, closing.len() as u64, filter);
        }
    }

    /// Forgets the closed generations that `keep` does not know; their ids are gone from the disk.
    pub(crate) fn retain_closed(&mut self, keep: impl Fn(u32) -> bool) {
        self.closed.retain(|closed| keep(closed.id));
    }

    /// Ids remembered.
    pub(crate) fn ids(&self) -> u64 {
        let in_memory = self.open.len() + self.closing.as_ref().map_or(0, |closing| closing.len());
        self.closed.iter().fold(in_memory as u64, |ids, closed| {
            ids.saturating_add(closed.ids)
        })
    }

    /// Bytes of memory in use.
    pub(crate) fn bytes(&self) -> u64 {
        let maps = self.open.bytes() + self.closing.as_ref().map_or(0, |closing| closing.bytes());
        let filters: usize = self.closed.iter().map(|closed| closed.filter.bytes()).sum();
        (maps + filters) as u64
    }
}

#[cfg(test)]
mod tests;
