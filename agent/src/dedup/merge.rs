//! Many sorted sources of ids as one, without what has expired.

use super::Entry;

/// One source: its ids sorted by fingerprint, and the first journal record whose ids are still wanted.
pub(crate) struct Source<I> {
    pub(crate) entries: I,
    pub(crate) first_record: u64,
}

/// Yields each id once, in the order of fingerprints.
pub(crate) struct Merge<I, E> {
    sources: Vec<Source<I>>,
    heads: Vec<Option<Entry>>,
    failed: Option<E>,
}

impl<E, I: Iterator<Item = Result<Entry, E>>> Merge<I, E> {
    pub(crate) fn new(sources: Vec<Source<I>>) -> Self {
        let mut merge = Self {
            heads: vec![None; sources.len()],
            sources,
            failed: None,
        };
        for source in 0..merge.sources.len() {
            merge.advance(source);
        }
        merge
    }

    /// Draws the next wanted id of a source.
    fn advance(&mut self, source: usize) {
        let Some(from) = self.sources.get_mut(source) else {
            return;
        };
        let wanted = from.first_record;
        let next = from.entries.find(|entry| {
            entry
                .as_ref()
                .map_or(true, |entry| entry.record() >= wanted)
        });
        self.heads[source] = match next {
            Some(Ok(entry)) => Some(entry),
            Some(Err(error)) => {
                self.failed = Some(error);
                None
            }
            None => None,
        };
    }
}

impl<E, I: Iterator<Item = Result<Entry, E>>> Iterator for Merge<I, E> {
    type Item = Result<Entry, E>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            return Some(Err(error));
        }
        let heads = self.heads.iter().flatten();
        let least = *heads.min_by_key(|entry| entry.fingerprint)?;
        for source in 0..self.heads.len() {
            // The same id twice is the same entry twice: a crash came between its run and the journal's cursor.
            if self.heads[source].is_some_and(|entry| entry.fingerprint == least.fingerprint) {
                self.advance(source);
            }
        }
        Some(Ok(least))
    }
}
