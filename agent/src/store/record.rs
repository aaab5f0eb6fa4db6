//! The form of one journal record: what one group commit made durable.
//!
//! `version u8 = 1 | accepted_at i64 | events u32 | deltas_len u32 | deltas (bincode) | { len u32 | event } …`,
//! fixed integers little-endian. Integrity is RocksDB's: every log record and every block has its checksum.

use bincode::{Decode, Encode};
use submeter_common::time::Timestamp;

use super::StoreError;
use super::meta::Deltas;

const VERSION: u8 = 1;
/// Version, time, count, length of the deltas.
const FIXED_BYTES: usize = 1 + 8 + 4 + 4;

/// Most events in one record, so that an event's place in the journal packs into 64 bits.
pub(crate) const RECORD_EVENTS_MAX: usize = 1 << 20;

/// Appends one event's frame to an arena: its length, then what `write` appends. Answers what `write` answers.
pub(crate) fn push_event<T>(arena: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let start = arena.len();
    arena.extend_from_slice(&[0; 4]);
    let written = write(arena);
    // An event is bounded by its limits to some 100 KiB.
    let length = u32::try_from(arena.len() - start - 4).expect("an event is shorter than 4 GiB");
    arena[start..start + 4].copy_from_slice(&length.to_le_bytes());
    written
}

/// Builds a record around the framed events of a group commit.
pub(crate) fn encode(accepted_at: Timestamp, events: u32, deltas: &Deltas, body: &[u8]) -> Vec<u8> {
    let deltas = bincode::encode_to_vec(deltas, bincode::config::standard())
        .expect("plain numbers and texts always encode");
    let mut record = Vec::with_capacity(FIXED_BYTES + deltas.len() + body.len());
    record.push(VERSION);
    record.extend_from_slice(&accepted_at.as_micros().to_le_bytes());
    record.extend_from_slice(&events.to_le_bytes());
    record.extend_from_slice(
        &u32::try_from(deltas.len())
            .unwrap_or(u32::MAX)
            .to_le_bytes(),
    );
    record.extend_from_slice(&deltas);
    record.extend_from_slice(body);
    record
}

/// The number of events in an encoded record; 0 when it is too short to say.
pub(super) fn event_count(record: &[u8]) -> u32 {
    let count = record.get(9..13).and_then(<[u8]>::first_chunk);
    count.map_or(0, |count| u32::from_le_bytes(*count))
}

/// A record read back; the events are borrowed from its bytes.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) accepted_at: Timestamp,
    pub(crate) event_count: u32,
    pub(crate) deltas: Deltas,
    body: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads the head of a record and checks that the events' frames add up.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, StoreError> {
        let record = Self::parse(bytes).ok_or_else(|| damaged("head"))?;
        let (count, rest) = record
            .events()
            .fold((0u64, 0usize), |(count, read), event| {
                (count + 1, read + 4 + event.len())
            });
        if count == u64::from(record.event_count) && rest == record.body.len() {
            Ok(record)
        } else {
            Err(damaged("events"))
        }
    }

    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        if *version != VERSION {
            return None;
        }
        let (accepted_at, rest) = rest.split_first_chunk::<8>()?;
        let (event_count, rest) = rest.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (deltas, body) =
            rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        let (deltas, read) =
            bincode::decode_from_slice(deltas, bincode::config::standard()).ok()?;
        (read == usize::try_from(u32::from_le_bytes(*length)).ok()?).then_some(Self {
            accepted_at: Timestamp::from_micros(i64::from_le_bytes(*accepted_at)),
            event_count: u32::from_le_bytes(*event_count),
            deltas,
            body,
        })
    }

    /// The encoded events, in the order they were accepted.
    pub(crate) fn events(&self) -> Events<'a> {
        Events { rest: self.body }
    }
}

fn damaged(part: &str) -> StoreError {
    StoreError::Corrupt(format!("the {part} of a journal record do not read back"))
}

/// Walks the framed events of a record or an arena.
#[derive(Clone, Debug)]
pub(crate) struct Events<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Events<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_first_chunk::<4>()?;
        let (event, rest) =
            rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        self.rest = rest;
        Some(event)
    }
}

/// The framed events of a part of an arena.
pub(crate) fn events(framed: &[u8]) -> Events<'_> {
    Events { rest: framed }
}

/// An event's place in the journal: record number and index in it, in one word.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Encode, Decode)]
pub(crate) struct Location(u64);

impl Location {
    const INDEX_BITS: u32 = RECORD_EVENTS_MAX.trailing_zeros();

    /// Packs a place; records are numbered far below 2^44.
    pub(crate) fn new(record: u64, index: u32) -> Self {
        debug_assert!(u64::from(index) < 1 << Self::INDEX_BITS);
        Self((record << Self::INDEX_BITS) | u64::from(index))
    }

    pub(crate) fn record(self) -> u64 {
        self.0 >> Self::INDEX_BITS
    }

    pub(crate) fn index(self) -> usize {
        let mask = (1 << Self::INDEX_BITS) - 1;
        usize::try_from(self.0 & mask).unwrap_or(usize::MAX)
    }

    pub(crate) fn as_u64(self) -> u64 {
        self.0
    }

    pub(crate) fn from_u64(packed: u64) -> Self {
        Self(packed)
    }
}
