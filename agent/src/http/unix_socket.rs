//! The Unix socket: made with its mode bits before anyone can connect, removed at the end, and never in another's place.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixSocket, UnixStream};

/// Connections that wait to be accepted; the system bounds it further.
const BACKLOG: u32 = 1024;

/// Time for whoever holds a socket to show itself.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// A socket in the file system, removed when it is dropped.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode: what was put there, not what somebody else put there since.
    made: (u64, u64),
}

/// Binds `path` with `mode`. A socket that a killed process left is replaced; one that is answered, and anything that is no
/// socket, stays and is an error.
pub(crate) async fn bind(path: &Path, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    remove_stale(path).await?;
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    let metadata = fs::symlink_metadata(path)?;
    let file = SocketFile {
        path: path.to_owned(),
        made: (metadata.dev(), metadata.ino()),
    };
    // Nobody can connect before `listen`, so there is no moment with other mode bits.
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok((socket.listen(BACKLOG)?, file))
}

async fn remove_stale(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "something that is no socket is in its place, and stays there",
        ));
    }
    let probe = tokio::time::timeout(PROBE_TIMEOUT, UnixStream::connect(path)).await;
    match probe {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "replacing the socket of a process that is gone");
            fs::remove_file(path)
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens on it",
        )),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours =
            fs::symlink_metadata(&self.path).is_ok_and(|now| (now.dev(), now.ino()) == self.made);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the Unix socket");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).expect("the socket").permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn a_socket_has_its_mode_is_removed_and_replaces_only_a_dead_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.sock");
        for mode in [0o600, 0o660, 0o666] {
            let (_listener, _file) = bind(&path, mode).await.expect("binds");
            assert_eq!(mode_of(&path), mode);
            let taken = bind(&path, mode).await.expect_err("in use");
            assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
            UnixStream::connect(&path).await.expect("still there");
        }
        assert!(!path.exists());

        // What a killed process leaves: nobody listens, the file is there.
        drop(std::os::unix::net::UnixListener::bind(&path).expect("binds"));
        assert!(path.exists());
        drop(bind(&path, 0o600).await.expect("replaces it"));

        fs::write(&path, "precious").expect("a file");
        let kept = bind(&path, 0o600).await.expect_err("no socket");
        assert_eq!(kept.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).expect("a file"), "precious");
    }

    #[tokio::test]
    async fn a_socket_that_another_process_put_there_since_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.sock");
        let (_listener, file) = bind(&path, 0o600).await.expect("binds");
        // Its inode is kept alive by the other name, so that the number is not used again.
        fs::rename(&path, directory.path().join("kept")).expect("renames");
        let _other = std::os::unix::net::UnixListener::bind(&path).expect("binds");
        drop(file);
        assert!(path.exists());
    }
}
