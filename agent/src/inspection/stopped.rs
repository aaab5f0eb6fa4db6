//! A state directory that no process holds, opened to be looked at and not to be changed.

use std::path::PathBuf;

use thiserror::Error;

use super::{InspectError, Inspection};
use crate::pipeline::{Status, StoreConfig};
use crate::store::{Store, StoreError};

/// The state directory of an agent that does not run.
pub(crate) struct Stopped {
    store: Store,
    config: StoreConfig,
}

/// Why a state directory was not opened.
#[derive(Debug, Error)]
pub(crate) enum StoppedError {
    /// There is none.
    #[error("there is no state directory at {0}")]
    Absent(PathBuf),
    /// A process holds it: it is to be asked instead.
    #[error("{0} is in use by another process")]
    Running(PathBuf),
    /// It cannot be read.
    #[error("{0} cannot be read: {1}")]
    Unreadable(PathBuf, StoreError),
}

impl Stopped {
    /// Opens the directory of `config`.
    pub(crate) fn open(config: StoreConfig) -> Result<Self, StoppedError> {
        let path = config.data_dir.clone();
        match Store::open_read_only(&path) {
            Ok(store) => Ok(Self { store, config }),
            Err(StoreError::Absent) => Err(StoppedError::Absent(path)),
            Err(StoreError::Locked) => Err(StoppedError::Running(path)),
            Err(error) => Err(StoppedError::Unreadable(path, error)),
        }
    }

    /// The directory itself.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// What looks into it.
    pub(crate) fn inspection(&self) -> Inspection<'_> {
        Inspection::new(&self.store, 0, self.config.groups_per_meter_max)
    }

    /// What the running agent's status would say; none before a first start has come far enough to give it an identity.
    pub(crate) fn status(&self) -> Result<Option<Status>, InspectError> {
        let free = match rustix::fs::statvfs(&self.config.data_dir) {
            Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
            Err(_) => 0,
        };
        self.inspection().status(free)
    }
}
