//! A store that dies at a chosen write, for tests of what must follow.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Mutex;

use super::RocksStore;
use super::database::half_way;
use crate::storage::StorageError;

/// Where the store dies, if anywhere.
#[derive(Debug, Default)]
pub(super) struct Doom(Mutex<Option<Death>>);

/// A write that does not return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// The process is gone before the write: this many writes are made before that.
    Before(u32),
    /// The process is gone after the write, before anybody hears of it.
    After(u32),
    /// It is gone.
    Dead,
}

impl Doom {
    /// Runs a write, unless the store is dead or dies at it.
    pub(super) fn write<T>(
        &self,
        act: impl FnOnce() -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let mut doom = self.0.lock().unwrap();
        match *doom {
            None => act(),
            Some(Death::Dead) => Err(half_way()),
            Some(Death::Before(0)) => {
                *doom = Some(Death::Dead);
                Err(half_way())
            }
            Some(Death::After(0)) => {
                *doom = Some(Death::Dead);
                act()?;
                Err(half_way())
            }
            Some(Death::Before(left)) => {
                *doom = Some(Death::Before(left - 1));
                act()
            }
            Some(Death::After(left)) => {
                *doom = Some(Death::After(left - 1));
                act()
            }
        }
    }
}

impl RocksStore {
    /// Lets the store die at a write from now.
    pub(crate) fn die(&self, death: Death) {
        *self.database.doom.0.lock().unwrap() = Some(death);
    }

    /// Tells whether the death has come.
    pub(crate) fn is_dead(&self) -> bool {
        *self.database.doom.0.lock().unwrap() == Some(Death::Dead)
    }
}
