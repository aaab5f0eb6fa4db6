//! A store that dies at a chosen write, or in which a row is damaged, for tests of what must follow.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use super::RocksStore;
use submeter_common::id::{CustomerId, MeterId};
use submeter_common::time::Timestamp;

use super::codec;
use super::database::{Family, half_way};
use super::key::{Index, Key, Kind};
use super::ledger_audit;
use super::transaction::Transaction;
use crate::billing::Invoice;
use crate::credits::Grant;
use crate::id::GrantId;
use crate::ledger::{Entry, Fault};
use crate::money::Decimal;
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
        self.put(&key, Some(&codec::encode_document(invoice).unwrap()));
    }

    /// Lets a customer's balances be these bytes, or none.
    pub(crate) fn damage_books(&self, customer: &CustomerId, bytes: Option<&[u8]>) {
        self.put(&Key::of_document(Kind::Books, customer.as_str()), bytes);
    }

    /// Lets what a customer was told be these bytes.
    pub(crate) fn damage_told(&self, customer: &CustomerId, bytes: &[u8]) {
        let key = Key::of_document(Kind::Told, customer.as_str());
        self.put(&key, Some(bytes));
    }

    /// Writes another grant over the stored one.
    pub(crate) fn damage_grant(&self, grant: &Grant) {
        let key = Key::of_document(Kind::Grant, grant.grant_id.as_str());
        self.put(&key, Some(&codec::encode_document(grant).unwrap()));
    }

    /// Deletes a grant, terms and all.
    pub(crate) fn delete_grant(&self, grant: &GrantId) {
        self.put(&Key::of_document(Kind::Grant, grant.as_str()), None);
    }

    /// Deletes the list of a customer's grants.
    pub(crate) fn forget_grants(&self, customer: &CustomerId) {
        let prefix = Key::of_index(Index::GrantsOfCustomer)
            .text(customer.as_str())
            .into_bytes();
        let family = self.database.family(Family::Indexes);
        let walk = self
            .database
            .walk(Family::Indexes, &prefix, rocksdb::Direction::Forward);
        for entry in walk {
            self.database
                .db
                .delete_cf(family, entry.unwrap().0)
                .unwrap();
        }
    }

    /// Lets an entry of a ledger move one credit more than it did.
    pub(crate) fn damage_entry(&self, customer: &CustomerId, sequence: u64) {
        let key = Key::of_ledger(customer).order(sequence);
        let mut entry: Entry = self.database.document_at(&key).unwrap().unwrap();
        entry.transfer.amount += &Decimal::one();
        self.put(&key, Some(&codec::encode_document(&entry).unwrap()));
    }

    /// Adds a ledger up while somebody else is about to write; none when it waits for that.
    pub(crate) fn audit_beside_a_writer(&self, customer: &CustomerId) -> Option<Vec<Fault>> {
        let _writer = Transaction::begin(&self.database).unwrap();
        let (send, receive) = mpsc::channel();
        let (database, customer) = (Arc::clone(&self.database), customer.clone());
        thread::spawn(move || send.send(ledger_audit::audit(&database, &customer)));
        let found = receive.recv_timeout(Duration::from_secs(30)).ok()?;
        Some(found.unwrap())
    }

    fn put(&self, key: &[u8], bytes: Option<&[u8]>) {
        let family = self.database.family(Family::Documents);
        match bytes {
            Some(bytes) => self.database.db.put_cf(family, key, bytes).unwrap(),
            None => self.database.db.delete_cf(family, key).unwrap(),
        }
    }
}
