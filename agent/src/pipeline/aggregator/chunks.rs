//! How much journal there is, in runs of records: fine enough to reclaim by, coarse enough to keep in memory.

use std::collections::VecDeque;
use std::time::Duration;

use submeter_common::time::Timestamp;

use crate::store::meta::Chunk;

/// A run holds at most this part of the byte budget and of the age budget.
const CHUNKS_PER_BUDGET: u32 = 64;

/// The journal's runs, oldest first.
#[derive(Debug)]
pub(super) struct Chunks {
    chunks: VecDeque<Chunk>,
    bytes: u64,
    chunk_bytes_max: u64,
    chunk_age_max: Duration,
    /// When the newest run began.
    began_at: Timestamp,
}

impl Chunks {
    pub(super) fn new(chunks: Vec<Chunk>, bytes_max: u64, age_max: Duration) -> Self {
        Self {
            bytes: chunks.iter().map(|chunk| chunk.bytes).sum(),
            began_at: chunks
                .last()
                .map_or(Timestamp::from_micros(0), |chunk| chunk.newest_at),
            chunks: chunks.into(),
            chunk_bytes_max: bytes_max / u64::from(CHUNKS_PER_BUDGET),
            chunk_age_max: age_max / CHUNKS_PER_BUDGET,
        }
    }

    /// Adds a record at the young end.
    pub(super) fn add(&mut self, seq: u64, bytes: u64, at: Timestamp) {
        self.bytes += bytes;
        let end = self.began_at.saturating_add(self.chunk_age_max);
        match self.chunks.back_mut() {
            Some(last) if last.bytes < self.chunk_bytes_max && at < end => {
                last.last = seq;
                last.bytes += bytes;
                last.newest_at = last.newest_at.max(at);
            }
            _ => {
                self.began_at = at;
                self.chunks.push_back(Chunk {
                    first: seq,
                    last: seq,
                    bytes,
                    newest_at: at,
                });
            }
        }
    }

    /// When the newest record of the oldest run was accepted.
    pub(super) fn oldest_at(&self) -> Option<Timestamp> {
        self.chunks.front().map(|chunk| chunk.newest_at)
    }

    /// The runs that changed since the checkpoint at `cursor`.
    pub(super) fn changed_since(&self, cursor: u64) -> impl Iterator<Item = &Chunk> {
        self.chunks
            .iter()
            .rev()
            .take_while(move |chunk| chunk.last > cursor)
    }

    /// The oldest run that a budget no longer keeps, if all its records are at most `covered`.
    pub(super) fn disposable(
        &self,
        bytes_max: u64,
        older_than: Timestamp,
        covered: u64,
    ) -> Option<Chunk> {
        let oldest = self.chunks.front()?;
        let due = self.bytes > bytes_max || oldest.newest_at < older_than;
        (due && oldest.last <= covered).then_some(*oldest)
    }

    /// Says whether there is such a run.
    pub(super) fn is_disposable(
        &self,
        bytes_max: u64,
        older_than: Timestamp,
        covered: u64,
    ) -> bool {
        self.disposable(bytes_max, older_than, covered).is_some()
    }

    /// Forgets the oldest run.
    pub(super) fn forget_oldest(&mut self) {
        if let Some(oldest) = self.chunks.pop_front() {
            self.bytes -= oldest.bytes;
        }
    }

    /// The oldest retained record.
    pub(super) fn first_record(&self) -> Option<u64> {
        self.chunks.front().map(|chunk| chunk.first)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}
