//! A run of ids on disk, as memory knows it: a filter for each slice of the fingerprints.

use super::{Filter, Fingerprint};

/// A run cut into 2^`log2` slices. A slice without a filter holds nothing: not written yet, or moved on to another run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) id: u32,
    /// Ids it holds; 0 while they are still counted where they came from.
    pub(crate) ids: u64,
    log2: u32,
    slices: Box<[Option<Filter>]>,
    bytes: usize,
}

impl Run {
    /// A run of which nothing is there yet.
    pub(crate) fn empty(id: u32, log2: u32) -> Self {
        Self {
            id,
            ids: 0,
            log2,
            slices: (0..1u64 << log2).map(|_| None).collect(),
            bytes: 0,
        }
    }

    /// Says where the slice's ids are found from now on.
    pub(crate) fn put(&mut self, slice: u32, filter: Filter) {
        self.bytes += filter.bytes();
        if let Some(place) = self.slices.get_mut(slice as usize) {
            *place = Some(filter);
        }
    }

    /// Lets go of the first `slices` slices: another run has their ids.
    pub(crate) fn release(&mut self, slices: u32) {
        for filter in self.slices.iter_mut().take(slices as usize) {
            self.bytes -= filter.take().map_or(0, |filter| filter.bytes());
        }
    }

    /// False only when the id is surely not here.
    #[inline]
    pub(crate) fn may_contain(&self, fingerprint: Fingerprint) -> bool {
        let slice = self.slices.get(fingerprint.slice(self.log2) as usize);
        matches!(slice, Some(Some(filter)) if filter.may_contain(fingerprint.low()))
    }

    /// Bytes of memory in use.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.slices.len() * size_of::<Option<Filter>>()
    }
}
