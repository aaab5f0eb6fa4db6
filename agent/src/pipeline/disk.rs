//! The disk under the state directory: how much of it is free, and the ballast.
//!
//! New events are refused while there is still room, because the agent needs some itself: to write out and rewrite what it
//! holds, to seal, and to note what the collector acknowledged, which is what frees space again. A large open set needs
//! more: its frames are written before it is gone. So three lines are drawn around the reserve, `disk_free_bytes_min` and
//! twice what the open set takes up:
//!
//! | free                | what happens                                                                         |
//! |---------------------|--------------------------------------------------------------------------------------|
//! | below 1½ times that | *tight*: what is kept for convenience is given back early, see `aggregator::room`    |
//! | below it            | *short*: new events are refused with 503                                             |
//! | below a quarter     | *spent*: somebody else fills the disk, and the ballast is let go                     |
//!
//! The ballast is a file that only takes up room, so that a start on a disk that somebody else has filled to the last
//! byte can make that room itself. It is laid down again when there is plenty.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FallocateFlags;

/// What a start writes before it has freed anything: a log, a list of files, one checkpoint, the frames of a previous
/// life. A small part of the reserve.
const BALLAST_BYTES_MAX: u64 = 32 * 1024 * 1024;

const BALLAST: &str = "ballast";

/// The disk of one state directory.
#[derive(Debug)]
pub(super) struct Disk {
    directory: PathBuf,
    /// What must stay free for new events to be taken; 0: nobody cares.
    reserve: u64,
    /// What the next seal may need on top, by what the open set takes on disk.
    claim: AtomicU64,
    /// The same by what it takes in all, with what is still to be counted.
    outlook: AtomicU64,
    free: AtomicU64,
}

impl Disk {
    /// The disk under `directory`, measured once.
    pub(super) fn new(directory: &Path, reserve: u64) -> Self {
        let disk = Self {
            directory: directory.to_owned(),
            reserve,
            claim: AtomicU64::new(0),
            outlook: AtomicU64::new(0),
            free: AtomicU64::new(u64::MAX),
        };
        disk.measure();
        disk
    }

    /// Measures what is free; an error leaves the last measure standing. Takes a microsecond or two.
    pub(super) fn measure(&self) {
        match rustix::fs::statvfs(&self.directory) {
            Ok(disk) => {
                let free = disk.f_bavail.saturating_mul(disk.f_frsize);
                self.free.store(free, Ordering::Relaxed);
            }
            Err(error) => tracing::warn!(%error, "the free disk cannot be measured"),
        }
    }

    /// Free bytes, as measured last.
    pub(super) fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    /// Sets what the next seal may need beyond the reserve.
    pub(super) fn claim(&self, bytes: u64) {
        self.claim.store(bytes, Ordering::Relaxed);
    }

    /// Sets what the next seal may need by what has been accepted, which is known before any of it is on disk.
    pub(super) fn foresee(&self, bytes: u64) {
        self.outlook.store(bytes, Ordering::Relaxed);
    }

    /// Says whether new events must be refused soon.
    pub(super) fn is_tight(&self) -> bool {
        self.free() < self.wanted().saturating_add(self.reserve / 2)
    }

    /// Says whether new events must be refused.
    pub(super) fn is_short(&self) -> bool {
        self.free() < self.wanted()
    }

    /// Says whether so much may be written and something still be left for new events.
    pub(super) fn has_room_for(&self, bytes: u64) -> bool {
        self.free() >= self.wanted().saturating_add(bytes)
    }

    fn wanted(&self) -> u64 {
        if self.reserve == 0 {
            return 0;
        }
        let claim = self.claim.load(Ordering::Relaxed);
        let outlook = self.outlook.load(Ordering::Relaxed);
        self.reserve.saturating_add(claim.max(outlook))
    }

    /// Before a write that must not fail for want of room: measures, and lets the ballast go when there may be too little.
    pub(super) fn brace(&self) {
        self.measure();
        let free = self.free();
        if free < self.reserve / 4 && drop_ballast(&self.directory) {
            tracing::warn!(free, "the disk is nearly full: the ballast was let go");
            self.measure();
        }
    }

    /// Lays the ballast down when it is not there and there is plenty of room, as measured last.
    pub(super) fn lay_ballast(&self) {
        let bytes = (self.reserve / 4).min(BALLAST_BYTES_MAX);
        let path = self.directory.join(BALLAST);
        if bytes == 0 || self.free() < self.reserve.saturating_mul(2) || is_laid(&path, bytes) {
            return;
        }
        match lay(&path, bytes) {
            Ok(()) => tracing::debug!(bytes, "ballast was laid down"),
            Err(error) => tracing::debug!(%error, "this file system takes no ballast"),
        }
    }

    /// Why new events are refused, in words and numbers.
    pub(super) fn shortage(&self) -> String {
        format!(
            "too little free disk: {} bytes, expected at least {} (disk_free_bytes_min and the size of the open set)",
            self.free(),
            self.wanted()
        )
    }
}

/// Gives the ballast's room back to the disk; says whether there was any.
pub(crate) fn drop_ballast(directory: &Path) -> bool {
    fs::remove_file(directory.join(BALLAST)).is_ok()
}

fn is_laid(path: &Path, bytes: u64) -> bool {
    fs::metadata(path).is_ok_and(|file| file.len() == bytes)
}

/// Takes room without writing it. Where a file system cannot promise room ahead, there is none to keep.
fn lay(path: &Path, bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    let laid = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes);
    if laid.is_err() {
        fs::remove_file(path)?;
    }
    Ok(laid?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_lines_are_drawn_around_the_reserve() {
        let place = tempfile::TempDir::new().unwrap();
        let disk = Disk::new(place.path(), 100);
        for (free, tight, short) in [
            (150, false, false),
            (149, true, false),
            (100, true, false),
            (99, true, true),
            (0, true, true),
        ] {
            disk.free.store(free, Ordering::Relaxed);
            assert_eq!((disk.is_tight(), disk.is_short()), (tight, short), "{free}");
        }
    }

    #[test]
    fn a_large_open_set_is_refused_earlier() {
        let place = tempfile::TempDir::new().unwrap();
        let disk = Disk::new(place.path(), 100);
        disk.claim(1000);
        for (free, tight, short) in [
            (1150, false, false),
            (1149, true, false),
            (1099, true, true),
        ] {
            disk.free.store(free, Ordering::Relaxed);
            assert_eq!((disk.is_tight(), disk.is_short()), (tight, short), "{free}");
        }
    }

    #[test]
    fn the_ballast_is_there_while_there_is_plenty_and_goes_when_there_is_none() {
        let place = tempfile::TempDir::new().unwrap();
        let ballast = place.path().join(BALLAST);
        let disk = Disk::new(place.path(), 4 * 4096);
        disk.free.store(2 * 4 * 4096 - 1, Ordering::Relaxed);
        disk.lay_ballast();
        assert!(!ballast.exists());
        disk.free.store(2 * 4 * 4096, Ordering::Relaxed);
        disk.lay_ballast();
        assert_eq!(fs::metadata(&ballast).unwrap().len(), 4096);
        disk.brace();
        assert!(ballast.exists(), "this machine's disk has room");
        let spent = Disk::new(place.path(), u64::MAX);
        spent.brace();
        assert!(!ballast.exists());
    }

    #[test]
    fn without_a_reserve_there_is_no_ballast_and_nothing_is_short() {
        let place = tempfile::TempDir::new().unwrap();
        let disk = Disk::new(place.path(), 0);
        disk.free.store(0, Ordering::Relaxed);
        disk.claim(1000);
        disk.lay_ballast();
        assert!(!disk.is_tight() && !disk.is_short());
        assert!(!place.path().join(BALLAST).exists());
    }
}
