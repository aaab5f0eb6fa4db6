//! Keys of every family, built and read in one place.

use submeter_common::aggregate::Group;
use submeter_common::time::Window;

use super::StoreError;

pub(super) const LAYOUT: &[u8] = b"layout";
pub(super) const IDENTITY: &[u8] = b"identity";
pub(super) const PROGRESS: &[u8] = b"progress";
pub(super) const REVISION: &[u8] = b"revision";
pub(super) const RUNS_REVISION: &[u8] = b"runs_revision";
pub(super) const RESUME: &[u8] = b"resume";
pub(super) const CATALOG: &[u8] = b"catalog";
pub(super) const ACKNOWLEDGED: &[u8] = b"acknowledged";
pub(super) const EPOCH: &[u8] = b"epoch";
pub(super) const LINEAGE: &[u8] = b"lineage";
pub(super) const INCIDENTS: &[u8] = b"incidents";
pub(super) const RESEAT: &[u8] = b"reseat";
pub(super) const SIGNING_SEED: &[u8] = b"signing_seed";
pub(super) const COLLECTOR_KEY: &[u8] = b"collector_key";
pub(super) const IMPORT_PREFIX: &[u8] = b"import/";
pub(super) const CHUNK_PREFIX: &[u8] = b"chunk/";
pub(super) const CONFLICT_PREFIX: &[u8] = b"conflict/";
pub(super) const RUN_PREFIX: &[u8] = b"run/";
pub(super) const RUNS_CURSOR: &[u8] = b"runs_cursor";

/// A run's number and the first fingerprint of a block; anything else under the number is longer.
pub(super) const DEDUP_BLOCK_BYTES: usize = 4 + 16;

/// The key of an import.
pub(super) fn import(id: &str) -> Vec<u8> {
    [IMPORT_PREFIX, id.as_bytes()].concat()
}

/// The key of a journal chunk.
pub(super) fn chunk(first: u64) -> Vec<u8> {
    [CHUNK_PREFIX, &first.to_be_bytes()].concat()
}

/// The key of a quarantined event: its place in the journal, and the meter that could not count it.
pub(super) fn quarantine(record: u64, index: u32, meter: &str) -> Vec<u8> {
    let mut key = record.to_be_bytes().to_vec();
    key.extend_from_slice(&index.to_be_bytes());
    key.extend_from_slice(meter.as_bytes());
    key
}

/// A one-letter prefix and a number.
pub(super) fn tagged(tag: u8, number: u64) -> [u8; 9] {
    let mut key = [tag; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The key of a listed conflict.
pub(super) fn conflict(number: u64) -> Vec<u8> {
    [CONFLICT_PREFIX, &number.to_be_bytes()].concat()
}

/// The key of a run's name.
pub(super) fn run(id: u32) -> Vec<u8> {
    [RUN_PREFIX, &id.to_be_bytes()].concat()
}

/// A key of dedup ids: the number of their generation or run, then the rest.
pub(super) fn dedup(id: u32, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(DEDUP_BLOCK_BYTES + 1);
    key.extend_from_slice(&id.to_be_bytes());
    key.extend_from_slice(rest);
    key
}

/// Reads a big-endian number that ends a key.
pub(super) fn trailing_u64(key: &[u8]) -> Result<u64, StoreError> {
    key.last_chunk::<8>()
        .map(|bytes| u64::from_be_bytes(*bytes))
        .ok_or_else(|| {
            StoreError::Corrupt(format!(
                "key of {} bytes, expected a number at its end",
                key.len()
            ))
        })
}

/// The parts of an open partial's key.
#[derive(Clone, Eq, PartialEq, Hash, Debug)]
pub(crate) struct OpenKey {
    pub(crate) part: u16,
    pub(crate) customer: String,
    pub(crate) meter: String,
    pub(crate) window: Window,
    pub(crate) group: Group,
}

impl OpenKey {
    /// The key without its set, as the store sorts it.
    pub(crate) fn sorted_bytes(&self) -> Result<Vec<u8>, StoreError> {
        Ok(self.encode(0)?.split_off(8))
    }

    /// Builds the key under the open set `set`.
    pub(super) fn encode(&self, set: u64) -> Result<Vec<u8>, StoreError> {
        let mut key = Vec::with_capacity(32 + self.customer.len() + self.meter.len());
        key.extend_from_slice(&set.to_be_bytes());
        key.extend_from_slice(&self.part.to_be_bytes());
        push_text(&mut key, &self.customer)?;
        push_text(&mut key, &self.meter)?;
        key.extend_from_slice(&self.window.minute().to_be_bytes());
        bincode::encode_into_std_write(&self.group, &mut key, bincode::config::standard())
            .map_err(|error| StoreError::Corrupt(format!("group: {error}")))?;
        Ok(key)
    }

    /// Reads a key back.
    pub(super) fn decode(key: &[u8]) -> Result<Self, StoreError> {
        Self::parse(key).ok_or_else(|| {
            StoreError::Corrupt("the key of an open partial does not read back".into())
        })
    }

    fn parse(key: &[u8]) -> Option<Self> {
        let (_set, rest) = key.split_first_chunk::<8>()?;
        let (part, rest) = rest.split_first_chunk::<2>()?;
        let (customer, rest) = take_text(rest)?;
        let (meter, rest) = take_text(rest)?;
        let (minute, rest) = rest.split_first_chunk::<4>()?;
        let (group, read) = bincode::decode_from_slice(rest, bincode::config::standard()).ok()?;
        (read == rest.len()).then(|| Self {
            part: u16::from_be_bytes(*part),
            customer: customer.to_owned(),
            meter: meter.to_owned(),
            window: Window::from_minute(i32::from_be_bytes(*minute)),
            group,
        })
    }
}

fn push_text(key: &mut Vec<u8>, text: &str) -> Result<(), StoreError> {
    let length = u16::try_from(text.len()).map_err(|_| {
        StoreError::Corrupt(format!(
            "a key part of {} bytes, expected at most 65535",
            text.len()
        ))
    })?;
    key.extend_from_slice(&length.to_be_bytes());
    key.extend_from_slice(text.as_bytes());
    Ok(())
}

fn take_text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}
