//! Whether a process holds the directory: RocksDB's own lock, looked at without taking it.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::process::{Flock, FlockType, fcntl_getlk};

/// The file that RocksDB locks for as long as it has the directory open.
const LOCK_FILE: &str = "LOCK";

/// Says whether another process holds the directory. Opening the file and closing it again leaves that lock alone.
pub(super) fn is_held(path: &Path) -> io::Result<bool> {
    let file = match File::open(path.join(LOCK_FILE)) {
        Ok(file) => file,
        // A copy of a directory may come without it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let asked = Flock::from(FlockType::WriteLock);
    Ok(fcntl_getlk(&file, &asked)?.is_some())
}
