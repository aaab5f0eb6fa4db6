//! A store that dies at a chosen write, or in which a row is damaged, for tests of what must follow.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Mutex;

use super::RocksStore;
use submeter_common::id::{CustomerId, MeterId};
use submeter_common::time::Timestamp;

use super::codec;
use super::database::{Family, half_way};
use super::key::{Key, Kind};
use crate::billing::Invoice;
use crate::storage::StorageError;
use crate::usage::Level;

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

/// Damage to what is stored, beside every rule.
impl RocksStore {
    /// Lets one cell say another number of events and another value.
    pub(crate) fn damage_cell(
        &self,
        customer: &CustomerId,
        meter: &MeterId,
        level: Level,
        at: Timestamp,
    ) {
        let minute = level.start_of(at.window().minute());
        let prefix = Key::of_meter(customer, meter)
            .window(level, minute)
            .into_bytes();
        let family = self.database.family(Family::Usage);
        let mut walk = self
            .database
            .walk(Family::Usage, &prefix, rocksdb::Direction::Forward);
        let (key, bytes) = walk.next().unwrap().unwrap();
        let mut cell = codec::decode_cell(&bytes).unwrap();
        let again = cell.clone();
        cell.merge(&again).unwrap();
        let mut bytes = Vec::new();
        codec::encode_cell(&cell, &mut bytes).unwrap();
        self.database.db.put_cf(family, key, bytes).unwrap();
    }

    /// Writes another invoice over the stored one.
    pub(crate) fn damage_invoice(&self, invoice: &Invoice) {
        let key = Key::of_document(Kind::Invoice, invoice.invoice_id.as_str());
        let bytes = codec::encode_document(invoice).unwrap();
        let family = self.database.family(Family::Documents);
        self.database.db.put_cf(family, key, bytes).unwrap();
    }
}
