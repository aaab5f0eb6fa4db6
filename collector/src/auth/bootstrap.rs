//! The first key: written once, when the collector starts on an empty data directory.
//!
//! Without it nobody could create a key. It is written to `DIR/bootstrap.key` for its owner alone (mode 0600) *before*
//! its hash is stored: a crash in between leaves a file that is overwritten by the next start, never a stored key whose
//! secret nobody has.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use submeter_common::secrecy::Secrecy;
use submeter_common::time::Timestamp;

use super::key::{ApiKey, Secret};
use super::scope::Scopes;
use crate::storage::{InsertOutcome, KeyStore, StorageError};

/// Name of the file in the data directory that holds the first key's secret.
pub const BOOTSTRAP_FILE: &str = "bootstrap.key";

/// Only the owner may read the secret.
const OWNER_ONLY: u32 = 0o600;

/// Why the first key could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The operating system gave no randomness.
    #[error("no randomness for the bootstrap key: {0}")]
    Randomness(getrandom::Error),
    /// The file could not be written.
    #[error("cannot write the bootstrap key to {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file of an earlier start can be read or replaced by others, who may hold the key by now.
    #[error("{} {secrecy}; revoke the key if others may have seen it, or delete the file if it is revoked", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Who may reach it.
        secrecy: Secrecy,
    },
    /// The new key's id or hash is taken, which 190 random bits never are: the randomness is broken.
    #[error("the new bootstrap key exists already: the system's randomness cannot be trusted")]
    Taken,
    /// The key could not be stored.
    #[error("cannot store the bootstrap key: {0}")]
    Storage(#[from] StorageError),
}

/// Makes the first key when the store holds none, and answers the path of its file; `None` when keys exist already.
///
/// # Errors
/// When there is no randomness, the file cannot be written, the one of an earlier start is open to others, or the store
/// fails.
pub async fn ensure_bootstrap_key(
    keys: &dyn KeyStore,
    data_dir: &Path,
    now: Timestamp,
) -> Result<Option<PathBuf>, BootstrapError> {
    let path = data_dir.join(BOOTSTRAP_FILE);
    if !keys.keys().await?.is_empty() {
        check_secrecy(path)?;
        return Ok(None);
    }
    let secret = Secret::generate().map_err(BootstrapError::Randomness)?;
    write_secret(&path, &secret).map_err(|source| BootstrapError::Write {
        path: path.clone(),
        source,
    })?;
    let key = ApiKey::new("bootstrap".to_owned(), Scopes::all(), &secret, now);
    match keys.insert_key(&key).await? {
        InsertOutcome::Inserted => Ok(Some(path)),
        InsertOutcome::Exists => Err(BootstrapError::Taken),
    }
}

/// A first key that is still there must still be its owner's alone: it opens everything.
fn check_secrecy(path: PathBuf) -> Result<(), BootstrapError> {
    let Ok(metadata) = fs::metadata(&path) else {
        return Ok(());
    };
    match Secrecy::of(metadata.permissions().mode()) {
        Secrecy::Private => {}
        secrecy @ Secrecy::Shared { .. } => {
            tracing::warn!("{} {secrecy}", path.display());
        }
        secrecy @ Secrecy::Exposed { .. } => {
            return Err(BootstrapError::Exposed { path, secrecy });
        }
    }
    Ok(())
}

/// Writes the secret so that it is on disk, complete and private, before anything refers to it.
fn write_secret(path: &Path, secret: &Secret) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(OWNER_ONLY)
        .open(path)?;
    writeln!(file, "{}", secret.reveal())?;
    file.sync_all()
}
