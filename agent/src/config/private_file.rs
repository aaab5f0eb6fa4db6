//! Files that hold secrets, read only when they are kept from others.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use submeter_common::secrecy::Secrecy;
use thiserror::Error;

/// Longest file that is read: a chain of certificates is some kilobytes.
const BYTES_MAX: u64 = 1 << 20;

/// The text of a secret's file.
pub(crate) struct PrivateFile {
    /// What is in it.
    pub(crate) text: String,
    /// Who may reach it.
    pub(crate) secrecy: Secrecy,
}

/// Why a secret's file was not used. What is in it is in no message.
#[derive(Debug, Error)]
pub(crate) enum PrivateFileError {
    /// It is not there, not readable or no text.
    #[error("{}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// Others may read or replace it.
    #[error("{} {secrecy}", path.display())]
    Exposed { path: PathBuf, secrecy: Secrecy },
}

impl PrivateFile {
    /// Reads the file, judging the very file that was opened.
    pub(crate) fn read(path: &Path) -> Result<Self, PrivateFileError> {
        let unreadable = |source| PrivateFileError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(unreadable)?;
        let secrecy = Secrecy::of(file.metadata().map_err(unreadable)?.permissions().mode());
        if let Secrecy::Exposed { .. } = secrecy {
            let path = path.to_owned();
            return Err(PrivateFileError::Exposed { path, secrecy });
        }
        let mut text = String::new();
        file.take(BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
        Ok(Self { text, secrecy })
    }
}

impl PrivateFileError {
    /// Whether the file is not there, and may still come.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Unreadable { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}
