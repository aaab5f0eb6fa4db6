//! The mark: evidence of what was acknowledged, kept outside the database.
//!
//! A database cannot tell that its own newest part is gone: a log cut at the end of a record, or a list of files cut the
//! same way, reads like one that was never longer. So after each synced write, and before anybody is answered, its
//! essence is written here too: one `pwrite` into the page cache, no fsync. It survives the process, and the machine up
//! to what the system wrote back, so it is never ahead of the database, but behind it after a power loss at worst.
//!
//! Two slots are written in turn, each with its own checksum; the newer sound one counts. The mark also names who the
//! directory is, so that an agent whose database is beyond reading is still itself.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use bincode::{Decode, Encode};
use submeter_common::id::Digest;

use super::meta::{StoredIdentity, StoredPosition};

/// One slot: checksum, length, what was marked. A sector, which a disk writes whole.
const SLOT_BYTES: usize = 512;
const CHECKSUM_BYTES: usize = 16;

/// What was acknowledged, as of the last synced write.
#[derive(Clone, Eq, PartialEq, Debug, Encode, Decode)]
pub(crate) struct Mark {
    /// Grows with each writing.
    turn: u64,
    /// Who the directory is; none before it is born.
    pub(crate) identity: Option<StoredIdentity>,
    /// The last journal record.
    pub(crate) record: u64,
    /// Events in the journal records since the directory was born.
    pub(crate) accepted: u64,
    /// How often progress was written.
    pub(crate) revision: u64,
    /// How often the runs of ids were named.
    pub(crate) runs_revision: u64,
    /// The newest frame frozen.
    pub(crate) sealed: StoredPosition,
    /// The last journal record that it and the frames before it hold.
    pub(crate) sealed_record: u64,
    /// The database's list of files: its number and length.
    pub(crate) manifest: (u64, u64),
}

impl Default for Mark {
    fn default() -> Self {
        Self {
            turn: 0,
            identity: None,
            record: 0,
            accepted: 0,
            revision: 0,
            runs_revision: 0,
            sealed: StoredPosition {
                seq: 0,
                digest: Digest::ZERO,
            },
            sealed_record: 0,
            manifest: (0, 0),
        }
    }
}

/// What the mark's file holds.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(crate) enum Found {
    /// There is no file, as before the first start.
    Missing,
    /// No slot reads back.
    Damaged,
    /// The newest sound slot.
    Mark(Mark),
}

impl Mark {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> io::Result<Found> {
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Missing),
            read => read?,
        };
        let newest = bytes
            .chunks(SLOT_BYTES)
            .filter_map(decode)
            .max_by_key(|mark| mark.turn);
        Ok(newest.map_or(Found::Damaged, Found::Mark))
    }
}

fn encode(mark: &Mark) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    let written = bincode::encode_into_slice(
        mark,
        &mut slot[CHECKSUM_BYTES..],
        bincode::config::standard(),
    )
    .expect("a mark is a few numbers, far below a slot");
    debug_assert!(written < SLOT_BYTES - CHECKSUM_BYTES);
    let checksum = blake3::hash(&slot[CHECKSUM_BYTES..]);
    slot[..CHECKSUM_BYTES].copy_from_slice(&checksum.as_bytes()[..CHECKSUM_BYTES]);
    slot
}

fn decode(slot: &[u8]) -> Option<Mark> {
    let (checksum, rest) = slot.split_at_checked(CHECKSUM_BYTES)?;
    if slot.len() != SLOT_BYTES || blake3::hash(rest).as_bytes()[..CHECKSUM_BYTES] != *checksum {
        return None;
    }
    let (mark, _) = bincode::decode_from_slice(rest, bincode::config::standard()).ok()?;
    Some(mark)
}

/// The mark of an open directory.
#[derive(Debug)]
pub(super) struct Marker {
    /// None when the directory is only read.
    file: Option<File>,
    mark: Mark,
    failed: bool,
}

impl Marker {
    /// Goes on from `mark`.
    pub(super) fn open(path: &Path, mark: Mark) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path)?;
        Ok(Self {
            file: Some(file),
            mark,
            failed: false,
        })
    }

    /// A mark to look at.
    pub(super) fn read_only(mark: Mark) -> Self {
        Self {
            file: None,
            mark,
            failed: false,
        }
    }

    pub(super) fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Changes the mark and writes it. A failure costs evidence, not data: it is said once.
    pub(super) fn set(&mut self, change: impl FnOnce(&mut Mark)) {
        change(&mut self.mark);
        self.mark.turn += 1;
        let at = (self.mark.turn % 2) * SLOT_BYTES as u64;
        if let Some(file) = &self.file
            && let Err(error) = file.write_all_at(&encode(&self.mark), at)
            && !std::mem::replace(&mut self.failed, true)
        {
            tracing::warn!(%error, "the mark of what was acknowledged cannot be written");
        }
    }

    /// Goes on counting where the database stands.
    pub(super) fn raise_revisions(&mut self, revision: u64, runs_revision: u64) {
        self.mark.revision = self.mark.revision.max(revision);
        self.mark.runs_revision = self.mark.runs_revision.max(runs_revision);
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::{Found, Mark, Marker, SLOT_BYTES};

    #[test]
    fn the_newest_sound_slot_counts() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("mark");
        assert_eq!(Mark::read(&path).unwrap(), Found::Missing);
        let mut marker = Marker::open(&path, Mark::default()).unwrap();
        for record in 1..=3 {
            marker.set(|mark| mark.record = record);
        }
        let record = |found: Found| match found {
            Found::Mark(mark) => mark.record,
            other => panic!("{other:?}"),
        };
        assert_eq!(record(Mark::read(&path).unwrap()), 3);
        let mut bytes = std::fs::read(&path).unwrap();
        // Turn 3 is in the second slot.
        bytes[SLOT_BYTES + 20] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(record(Mark::read(&path).unwrap()), 2);
        bytes[20] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(Mark::read(&path).unwrap(), Found::Damaged);
    }
}
