//! The disk under the data directory: how much of it is free, and what is refused when it gets short.
//!
//! Usage is what fills the disk, and it can wait: agents keep it. So frames are refused while there is still room, which
//! is left to what the collector does with all it has (write buffers out, compact, close periods). Two lines are drawn:
//!
//! | free                               | what happens                                                         |
//! |------------------------------------|----------------------------------------------------------------------|
//! | below the reserve                  | *short*: frames are refused                                          |
//! | below a quarter of it              | *spent*: somebody else fills the disk; every write is refused        |
//! | nothing                            | a write fails; see [`super::transaction`]                            |
//!
//! Measured before each write, so that somebody else's files count at once and no restart is needed when they are gone.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::storage::{DiskRoom, StorageError};

/// The disk of one data directory.
#[derive(Debug)]
pub(super) struct Disk {
    directory: PathBuf,
    /// What must stay free for frames to be taken; 0: nobody cares.
    reserve: u64,
    /// Whether it was short when asked last.
    short: AtomicBool,
}

impl Disk {
    pub(super) fn new(directory: &Path, reserve: u64) -> Self {
        Self {
            directory: directory.to_owned(),
            reserve,
            short: AtomicBool::new(false),
        }
    }

    /// Measures. Takes a microsecond or two.
    pub(super) fn room(&self) -> DiskRoom {
        DiskRoom {
            free: free(&self.directory),
            reserve: self.reserve,
        }
    }

    /// Refuses when there is too little room for frames.
    pub(super) fn expect_room_for_frames(&self) -> Result<(), StorageError> {
        let room = self.room();
        let is_short = room.free < room.reserve;
        self.tell(is_short, room.free);
        expect(!is_short, room, room.reserve)
    }

    /// Refuses when there is too little room for anything.
    pub(super) fn expect_room(&self) -> Result<(), StorageError> {
        let room = self.room();
        let least = room.reserve / 4;
        expect(room.free >= least, room, least)
    }

    /// Logs when the disk got short and when it has room again, not each refusal.
    fn tell(&self, is_short: bool, free: u64) {
        if self.short.swap(is_short, Ordering::Relaxed) == is_short {
            return;
        }
        let reserve = self.reserve;
        if is_short {
            tracing::error!(
                free,
                reserve,
                "too little free disk: frames are refused until there is room again; agents keep them"
            );
        } else {
            tracing::info!(free, "the disk has room again: frames are taken");
        }
    }
}

fn expect(is_enough: bool, room: DiskRoom, least: u64) -> Result<(), StorageError> {
    if is_enough {
        return Ok(());
    }
    Err(StorageError::DiskFull(format!(
        "too little free disk: {} bytes, expected at least {least} (disk_free_bytes_min: {})",
        room.free, room.reserve
    )))
}

/// Free bytes; when the system does not say, all there could be: a write will tell.
fn free(directory: &Path) -> u64 {
    match rustix::fs::statvfs(directory) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => {
            tracing::warn!(%error, "the free disk cannot be measured");
            u64::MAX
        }
    }
}

/// Says whether a failure means that the disk is full. RocksDB has no kind of error for it that its binding shows; the
/// text is the C library's. RocksDB recovers by itself from this failure alone.
pub(super) fn is_full(error: &::rocksdb::Error) -> bool {
    error.as_ref().contains("No space left on device")
}

/// Says whether a failure passes when there is room: on the disk, or in this user's share of it, which RocksDB does not see
/// grow again. A start after that does.
pub(super) fn is_for_want_of_room(error: &::rocksdb::Error) -> bool {
    is_full(error) || error.as_ref().contains("Disk quota exceeded")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn frames_are_refused_before_anything_else_is() {
        let place = tempfile::TempDir::new().unwrap();
        let free = free(place.path());
        for (reserve, frames, others) in [
            (0, true, true),
            (free / 2, true, true),
            // Others may fill this machine's disk meanwhile, or free it: far from the lines.
            (free * 2, false, true),
            (u64::MAX, false, false),
        ] {
            let disk = Disk::new(place.path(), reserve);
            let told = (
                disk.expect_room_for_frames().is_ok(),
                disk.expect_room().is_ok(),
            );
            assert_eq!(told, (frames, others), "{reserve} of {free}");
        }
    }

    #[test]
    fn a_refusal_says_how_much_is_free_and_how_much_is_wanted() {
        let place = tempfile::TempDir::new().unwrap();
        let disk = Disk::new(place.path(), u64::MAX);
        let refusal = disk.expect_room().unwrap_err().to_string();
        let wanted = format!("at least {}", u64::MAX / 4);
        assert!(
            refusal.contains(&wanted) && refusal.contains("disk_free_bytes_min"),
            "{refusal}"
        );
    }
}
