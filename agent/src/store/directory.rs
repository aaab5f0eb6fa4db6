//! The state directory as the file system sees it: what lies where, and who holds it.
//!
//! | name       | what it is                                                                            |
//! |------------|---------------------------------------------------------------------------------------|
//! | `lock`     | held (`flock`) by the process that uses the directory, before it touches anything else |
//! | `db/`      | the database, see `store`                                                              |
//! | `mark`     | what was acknowledged last, see `store::mark`                                          |
//! | `suspect`  | there after a failure of the store: the next start reads everything once               |
//! | `damage`   | what recovery from damage found and could not bring back, see `store::damage`          |
//! | `damaged/` | databases that recovery put aside, one folder each                                     |
//! | `rebuild/` | a database in the making; swapped for `db/` when it is whole                           |

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::StoreError;
use super::mark::{Found, Mark};
use super::wal::{End, read_frames};

/// A state directory that this process holds.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// None when it is only looked at.
    lock: Option<File>,
}

impl Directory {
    /// Creates the directory if there is none, and takes hold of it.
    pub(crate) fn hold(path: &Path) -> Result<Self, StoreError> {
        let failed =
            |error: io::Error| StoreError::of_system(format!("{}: {error}", path.display()));
        create(path).map_err(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(failed)?;
        Self::locked(path, lock)
    }

    /// A directory that no process holds, to be looked at. It is not held: who wants to start there may.
    pub(crate) fn look(path: &Path) -> Result<Self, StoreError> {
        match File::open(path.join("lock")) {
            Ok(lock) => drop(Self::locked(path, lock)?),
            // A copy of a directory may come without it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(StoreError::of_system(format!(
                    "{}/lock: {error}",
                    path.display()
                )));
            }
        }
        Ok(Self {
            path: path.to_owned(),
            lock: None,
        })
    }

    fn locked(path: &Path, lock: File) -> Result<Self, StoreError> {
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            if error == rustix::io::Errno::WOULDBLOCK {
                StoreError::Locked
            } else {
                StoreError::of_system(format!("{}/lock: {error}", path.display()))
            }
        })?;
        Ok(Self {
            path: path.to_owned(),
            lock: Some(lock),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn database(&self) -> PathBuf {
        database(&self.path)
    }

    pub(super) fn mark(&self) -> PathBuf {
        self.path.join("mark")
    }

    pub(super) fn damage(&self) -> PathBuf {
        damage(&self.path)
    }

    pub(super) fn damaged(&self) -> PathBuf {
        self.path.join("damaged")
    }

    pub(super) fn rebuild(&self) -> PathBuf {
        self.path.join("rebuild")
    }

    /// Number and length of the list of the database's files.
    pub(super) fn manifest(&self) -> Option<(u64, u64)> {
        let database = self.database();
        let name = fs::read_to_string(database.join("CURRENT")).ok()?;
        let name = name.trim_end();
        let length = fs::metadata(database.join(name)).ok()?.len();
        Some((name.strip_prefix("MANIFEST-")?.parse().ok()?, length))
    }

    pub(crate) fn read_mark(&self) -> Result<Found, StoreError> {
        Mark::read(&self.mark()).map_err(|error| StoreError::of_system(format!("mark: {error}")))
    }

    /// Whether anything tells that an agent has lived here.
    pub(crate) fn is_known(&self) -> Result<bool, StoreError> {
        Ok(self.has_database()? || self.read_mark()? != Found::Missing)
    }

    /// Whether there is a database, or any file of one.
    pub(crate) fn has_database(&self) -> Result<bool, StoreError> {
        match fs::read_dir(self.database()) {
            Ok(mut entries) => Ok(entries.next().is_some()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::of_system(format!(
                "{}: {error}",
                self.database().display()
            ))),
        }
    }

    /// What is wrong with the list of the database's files, as far as RocksDB would not notice: it takes a missing list
    /// for a new database, and a list that was cut for a shorter one.
    pub(crate) fn manifest_damage(&self, mark: &Mark) -> Option<String> {
        let (number, length) = mark.manifest;
        let Some((found, found_length)) = self.manifest() else {
            return (mark.revision > 0)
                .then(|| "the list of the database's files is missing".into());
        };
        if found < number || (found == number && found_length < length) {
            return Some(format!(
                "the list of the database's files is number {found} of {found_length} bytes, expected at least number {number} of {length} bytes"
            ));
        }
        let path = self.database().join(format!("MANIFEST-{found:06}"));
        let end = read_frames::<io::Error>(&path, None, |_| Ok(())).ok()?;
        match end {
            End::Unreadable { from, .. } if found == number && from < length => Some(format!(
                "the list of the database's files does not read from byte {from} on"
            )),
            _ => None,
        }
    }

    fn suspect(&self) -> PathBuf {
        self.path.join("suspect")
    }

    /// Notes that something stored may not read back. The next start reads everything before it trusts any of it.
    pub(crate) fn suspect_damage(&self, why: &str) {
        if self.lock.is_none() {
            return;
        }
        if let Err(error) = write_durably(&self.suspect(), why.as_bytes()) {
            tracing::warn!(%error, "cannot note that the state directory is to be checked");
        }
    }

    /// Why everything is to be read once, if it is.
    pub(crate) fn suspicion(&self) -> Option<String> {
        let why = fs::read(self.suspect()).ok()?;
        Some(String::from_utf8_lossy(&why).into_owned())
    }

    /// Everything was read, or rebuilt.
    pub(crate) fn clear_suspicion(&self) -> Result<(), StoreError> {
        remove(&self.suspect())
    }
}

/// Where the database of the state directory `path` is.
pub(crate) fn database(path: &Path) -> PathBuf {
    path.join("db")
}

/// Where the accounts of recoveries are.
pub(super) fn damage(path: &Path) -> PathBuf {
    path.join("damage")
}

/// Creates the directory for this user only: it holds customers' usage. Its own name is made durable, too.
fn create(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .map_or(Ok(()), sync)
}

/// Makes the names in a directory durable.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Writes a small file beside, syncs it and renames it, so that a reader never sees half of it.
pub(super) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), sync)
}

/// Removes a file that may not be there.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::of_system(
            format!("{}: {error}", path.display()),
        )),
        _ => Ok(()),
    }
}
