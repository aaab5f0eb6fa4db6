//! The stored form of ids: 32 bytes each, side by side.

use super::{Entry, Fingerprint};

/// Ids in one block of a closed generation: 4 KiB, one read of the disk.
pub(crate) const ENTRIES: usize = 128;
pub(crate) const ENTRY_BYTES: usize = 32;

/// Writes entries side by side, in the order given.
pub(crate) fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * ENTRY_BYTES);
    for entry in entries {
        bytes.extend_from_slice(&entry.fingerprint.to_be_bytes());
        bytes.extend_from_slice(&entry.payload.to_le_bytes());
        bytes.extend_from_slice(&entry.location.to_le_bytes());
    }
    bytes
}

/// Reads them back; none when the bytes are not whole entries.
pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<Entry>> {
    let (entries, rest) = bytes.as_chunks::<ENTRY_BYTES>();
    rest.is_empty().then(|| entries.iter().map(read).collect())
}

/// Finds one entry in a sorted block; the outer none when the bytes are not whole entries.
#[expect(
    clippy::option_option,
    reason = "damaged and absent are different answers"
)]
pub(crate) fn find(bytes: &[u8], fingerprint: Fingerprint) -> Option<Option<Entry>> {
    let (entries, rest) = bytes.as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() {
        return None;
    }
    let found = entries.binary_search_by_key(&fingerprint, |entry| read(entry).fingerprint);
    Some(found.ok().and_then(|index| entries.get(index)).map(read))
}

fn read(bytes: &[u8; ENTRY_BYTES]) -> Entry {
    let [fingerprint, tail] = halves(bytes);
    let (payload, location) = (tail.first_chunk(), tail.last_chunk());
    Entry {
        fingerprint: Fingerprint::from_be_bytes(fingerprint),
        payload: u64::from_le_bytes(payload.copied().unwrap_or_default()),
        location: u64::from_le_bytes(location.copied().unwrap_or_default()),
    }
}

fn halves(bytes: &[u8; ENTRY_BYTES]) -> [[u8; 16]; 2] {
    [
        bytes.first_chunk().copied().unwrap_or_default(),
        bytes.last_chunk().copied().unwrap_or_default(),
    ]
}
