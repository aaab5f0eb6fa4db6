//! The ledger: posting, and reading what was posted.

use ::rocksdb::Direction;
use async_trait::async_trait;
use submeter_common::id::CustomerId;
use submeter_common::time::Timestamp;

use super::RocksStore;
use super::codec;
use super::database::{Database, Family};
use super::key::{Index, Key, Kind, behind};
use super::ledger_audit;
use super::transaction::Transaction;
use crate::bookkeeping::consistency::{self, MoneyShown};
use crate::bookkeeping::{GrantChange, Posting, credit_entry};
use crate::credits::{Grant, Reservation, ReservationStatus};
use crate::customer::Customer;
use crate::id::{EntitlementId, GrantId, ReservationId, TestClockId};
use crate::ledger::{Books, Entry, Fault, LedgerUnit, Transfer};
use crate::storage::{EntryFilter, LedgerStore, Page, PostOutcome, RebuildOutcome, StorageError};

#[async_trait]
impl LedgerStore for RocksStore {
    async fn post(&self, posting: Posting) -> Result<PostOutcome, StorageError> {
        self.blocking(move |database| {
            let mut write = Transaction::begin(database)?;
            let outcome = post(&mut write, posting, None)?;
            if outcome == PostOutcome::Posted {
                write.commit()?;
            }
            Ok(outcome)
        })
        .await
    }

    async fn books(&self, customer: &CustomerId) -> Result<Books, StorageError> {
        let customer = customer.clone();
        self.blocking(move |database| books(database, &customer))
            .await
    }

    async fn entries(
        &self,
        customer: &CustomerId,
        filter: &EntryFilter,
        page: Page,
    ) -> Result<Vec<Entry>, StorageError> {
        let (customer, filter) = (customer.clone(), filter.clone());
        self.blocking(move |database| {
            let all = entries(database, &customer, Direction::Reverse);
            let wanted =
                |entry: &Result<Entry, _>| entry.as_ref().map_or(true, |entry| filter.wants(entry));
            page.of(all.filter(wanted)).into_iter().collect()
        })
        .await
    }

    async fn entry_of_key(
        &self,
        customer: &CustomerId,
        idempotency_key: &str,
    ) -> Result<Option<Entry>, StorageError> {
        let (customer, key) = (customer.clone(), idempotency_key.to_owned());
        self.blocking(move |database| entry_of_key(database, &customer, &key))
            .await
    }

    async fn audit_ledger(&self, customer: &CustomerId) -> Result<Vec<Fault>, StorageError> {
        let customer = customer.clone();
        self.blocking(move |database| ledger_audit::audit(database, &customer))
            .await
    }

    async fn rebuild_ledger(&self, customer: &CustomerId) -> Result<RebuildOutcome, StorageError> {
        let customer = customer.clone();
        self.blocking(move |database| ledger_audit::rebuild(database, &customer))
            .await
    }

    async fn ledgers(
        &self,
        after: Option<&CustomerId>,
        limit: usize,
    ) -> Result<Vec<CustomerId>, StorageError> {
        let after = after.cloned();
        self.blocking(move |database| ledgers(database, after.as_ref(), limit))
            .await
    }

    async fn grants(
        &self,
        customer: &CustomerId,
        entitlement: Option<&EntitlementId>,
    ) -> Result<Vec<Grant>, StorageError> {
        let prefix = Key::of_index(Index::GrantsOfCustomer).text(customer.as_str());
        let entitlement = entitlement.cloned();
        self.blocking(move |database| {
            let wanted = |grant: &Grant| {
                entitlement
                    .as_ref()
                    .is_none_or(|id| *id == grant.credit_entitlement_id)
            };
            database
                .indexed(Kind::Grant, prefix.as_bytes(), Direction::Forward)
                .filter(|grant: &Result<Grant, _>| grant.as_ref().map_or(true, wanted))
                .collect()
        })
        .await
    }

    async fn grant(&self, id: &GrantId) -> Result<Option<Grant>, StorageError> {
        let id = id.clone();
        self.blocking(move |database| database.document(Kind::Grant, id.as_str()))
            .await
    }

    async fn holders(
        &self,
        entitlement: &EntitlementId,
        page: Page,
    ) -> Result<Vec<CustomerId>, StorageError> {
        let prefix = Key::of_index(Index::HoldersOfEntitlement).text(entitlement.as_str());
        self.blocking(move |database| {
            let all = database.walk(Family::Indexes, prefix.as_bytes(), Direction::Forward);
            page.of(all)
                .into_iter()
                .map(|entry| entry.and_then(|(_, id)| customer_id(&id)))
                .collect()
        })
        .await
    }

    async fn reservation(&self, id: &ReservationId) -> Result<Option<Reservation>, StorageError> {
        let id = id.clone();
        self.blocking(move |database| database.document(Kind::Reservation, id.as_str()))
            .await
    }

    async fn reservations(
        &self,
        customer: &CustomerId,
        page: Page,
    ) -> Result<Vec<Reservation>, StorageError> {
        let prefix = Key::of_index(Index::ReservationsOfCustomer).text(customer.as_str());
        self.blocking(move |database| {
            database.indexed_page(Kind::Reservation, prefix.as_bytes(), page)
        })
        .await
    }

    async fn overdue_reservations(
        &self,
        timeline: Option<&TestClockId>,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Reservation>, StorageError> {
        let prefix = Key::reservations_due(timeline);
        self.blocking(move |database| {
            let due = database.indexed(Kind::Reservation, prefix.as_bytes(), Direction::Forward);
            let is_overdue = |held: &Result<Reservation, _>| {
                held.as_ref().map_or(true, |held| held.expires_at <= now)
            };
            due.take_while(is_overdue).take(limit).collect()
        })
        .await
    }

    async fn overdue_grants(
        &self,
        timeline: Option<&TestClockId>,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Grant>, StorageError> {
        let prefix = Key::grants_due(timeline);
        self.blocking(move |database| overdue_grants(database, &prefix, now, limit))
            .await
    }
}

/// What expires by itself as of `now` for those who live by `timeline`.
fn overdue_grants(
    database: &Database,
    prefix: &Key,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Grant>, StorageError> {
    let due = database.indexed(Kind::Grant, prefix.as_bytes(), Direction::Forward);
    let is_over = |grant: &Result<Grant, _>| {
        grant.as_ref().map_or(true, |grant: &Grant| {
            grant.expires_at.is_some_and(|end| end <= now)
        })
    };
    due.take_while(is_over).take(limit).collect()
}

impl EntryFilter {
    fn wants(&self, entry: &Entry) -> bool {
        let transfer = &entry.transfer;
        self.unit.as_ref().is_none_or(|unit| *unit == transfer.unit)
            && (self.accounts.is_empty()
                || self.accounts.iter().any(|account| entry.touches(*account)))
            && (self.transaction_type.is_none()
                || self.transaction_type == entry.transaction_type())
            && self.from.is_none_or(|from| from <= transfer.at)
            && self.until.is_none_or(|until| transfer.at < until)
    }
}

/// Reads a customer's balances, and checks that they add up.
pub(super) fn books(database: &Database, customer: &CustomerId) -> Result<Books, StorageError> {
    let stored: Option<Books> = database.document(Kind::Books, customer.as_str())?;
    let books = stored.unwrap_or_default();
    books
        .check()
        .map_err(|error| codec::corrupt(format_args!("books of {customer}"), error))?;
    Ok(books)
}

/// Walks a customer's entries, in order or against it.
pub(super) fn entries<'a>(
    database: &'a Database,
    customer: &CustomerId,
    direction: Direction,
) -> impl Iterator<Item = Result<Entry, StorageError>> + use<'a> {
    let prefix = Key::of_ledger(customer).into_bytes();
    let what = format!("ledger entry of {customer}");
    database
        .walk(Family::Documents, &prefix, direction)
        .map(move |entry| entry.and_then(|(_, bytes)| codec::decode_document(&what, &bytes)))
}

/// Puts a posting into the write, after checking that it agrees with itself and that the books will balance.
pub(super) fn post(
    write: &mut Transaction<'_>,
    posting: Posting,
    shown: Option<&MoneyShown>,
) -> Result<PostOutcome, StorageError> {
    consistency::check(&posting, shown).map_err(refused)?;
    let customer = &posting.customer_id;
    let mut books = books(write.database, customer)?;
    if posting
        .expected_entries
        .is_some_and(|expected| expected != books.entries)
    {
        return Ok(PostOutcome::Stale);
    }
    for change in &posting.grants_changed {
        if !change_grant(write, change)? {
            return Ok(PostOutcome::Stale);
        }
    }
    for grant in &posting.grants_new {
        if !add_grant(write, grant)? {
            return Ok(PostOutcome::Stale);
        }
    }
    if let Some(reservation) = &posting.reservation {
        put_reservation(write, reservation)?;
    }
    for message in posting.messages {
        write.put_message(message)?;
    }
    let is_of_credits = |transfer: &Transfer| matches!(transfer.unit, LedgerUnit::Credits(_));
    if posting.transfers.iter().any(is_of_credits) && write.database.watch()?.minds_credits() {
        write.touch(customer)?;
    }
    let before = books.entries;
    for transfer in posting.transfers {
        add_entry(write, &mut books, transfer)?;
    }
    if books.entries != before {
        books.check().map_err(refused)?;
        write.put_document(Kind::Books, posting.customer_id.as_str(), &books)?;
    }
    Ok(PostOutcome::Posted)
}

fn change_grant(write: &mut Transaction<'_>, change: &GrantChange) -> Result<bool, StorageError> {
    let id = change.before.grant_id.as_str();
    if !write.is_stored(Kind::Grant, id, &change.before)? {
        return Ok(false);
    }
    write.put_document(Kind::Grant, id, &change.after)?;
    expect_expiry(write, Some(&change.before), &change.after)?;
    Ok(true)
}

fn add_grant(write: &mut Transaction<'_>, grant: &Grant) -> Result<bool, StorageError> {
    let id = grant.grant_id.as_str();
    if write.database.has_document(Kind::Grant, id)? {
        return Ok(false);
    }
    write.put_document(Kind::Grant, id, grant)?;
    list_grant(write, grant)?;
    expect_expiry(write, None, grant)?;
    Ok(true)
}

/// Puts a grant into the list of what expires by itself, or takes it out, as it is afterwards.
pub(super) fn expect_expiry(
    write: &mut Transaction<'_>,
    before: Option<&Grant>,
    after: &Grant,
) -> Result<(), StorageError> {
    let (was, is) = (
        before.and_then(Grant::expires_itself),
        after.expires_itself(),
    );
    if was == is {
        return Ok(());
    }
    let test_clock = test_clock_of(write.database, &after.customer_id)?;
    let id = after.grant_id.as_str();
    let key = |at| {
        Key::grants_due(test_clock.as_ref())
            .time(at)
            .last(id.as_bytes())
    };
    if let Some(at) = was {
        write.delete_index(&key(at));
    }
    if let Some(at) = is {
        write.put_index(&key(at), id);
    }
    Ok(())
}

/// Puts a grant into the list of its customer's, and its customer into that of who holds such credits.
pub(super) fn list_grant(write: &mut Transaction<'_>, grant: &Grant) -> Result<(), StorageError> {
    let id = grant.grant_id.as_str();
    let order = write.next_order()?;
    let of_customer = Key::of_index(Index::GrantsOfCustomer).text(grant.customer_id.as_str());
    write.put_index(&of_customer.order(order), id);
    let holder = Key::of_index(Index::HoldersOfEntitlement)
        .text(grant.credit_entitlement_id.as_str())
        .last(grant.customer_id.as_str().as_bytes());
    write.put_index(&holder, grant.customer_id.as_str());
    Ok(())
}

/// Books a transfer as the next entry. A key that is taken is a fault of the caller, who has to look first: the documents
/// beside the transfer would change again.
fn add_entry(
    write: &mut Transaction<'_>,
    books: &mut Books,
    transfer: Transfer,
) -> Result<(), StorageError> {
    let customer = transfer.customer_id.clone();
    let key = transfer.idempotency_key.clone();
    if write
        .database
        .looked_up(&Key::entry_by_key(&customer, &key))?
        .is_some()
    {
        return Err(refused(format!(
            "something was booked under the key {key} before"
        )));
    }
    let entry = books.post(transfer).map_err(refused)?;
    if let Some(message) = credit_entry::message(&entry) {
        write.put_message(message)?;
    }
    let place = Key::of_ledger(&customer).order(entry.sequence);
    write.put_document_at(&place, &entry)?;
    let number = entry.sequence.to_string();
    write.put_index(&Key::entry_by_key(&customer, &key), &number);
    Ok(())
}

fn entry_of_key(
    database: &Database,
    customer: &CustomerId,
    key: &str,
) -> Result<Option<Entry>, StorageError> {
    let Some(number) = database.looked_up(&Key::entry_by_key(customer, key))? else {
        return Ok(None);
    };
    let what = format!("ledger entry {number} of {customer}");
    let sequence: u64 = number
        .parse()
        .map_err(|error| codec::corrupt(&what, error))?;
    let place = Key::of_ledger(customer).order(sequence);
    let entry = database.document_at(&place)?;
    let missing = || codec::corrupt(&what, "an index names it, but it is not there");
    entry.map(Some).ok_or_else(missing)
}

/// Puts a reservation in its place in the lists: of its customer when it is new, of what is due while it is held.
fn put_reservation(
    write: &mut Transaction<'_>,
    reservation: &Reservation,
) -> Result<(), StorageError> {
    let id = reservation.reservation_id.as_str();
    let stored: Option<Reservation> = write.database.document(Kind::Reservation, id)?;
    if stored.is_none() {
        let order = write.next_order()?;
        let of_customer =
            Key::of_index(Index::ReservationsOfCustomer).text(reservation.customer_id.as_str());
        write.put_index(&of_customer.order(order), id);
    }
    let test_clock = test_clock_of(write.database, &reservation.customer_id)?;
    let due = Key::reservations_due(test_clock.as_ref())
        .time(reservation.expires_at)
        .last(id.as_bytes());
    if reservation.status == ReservationStatus::Held {
        write.put_index(&due, id);
    } else {
        write.delete_index(&due);
    }
    write.put_document(Kind::Reservation, id, reservation)
}

fn test_clock_of(
    database: &Database,
    customer: &CustomerId,
) -> Result<Option<TestClockId>, StorageError> {
    let customer: Option<Customer> = database.document(Kind::Customer, customer.as_str())?;
    Ok(customer.and_then(|customer| customer.test_clock))
}

fn ledgers(
    database: &Database,
    after: Option<&CustomerId>,
    limit: usize,
) -> Result<Vec<CustomerId>, StorageError> {
    let prefix = Key::of_kind(Kind::Books);
    let start = after.map_or_else(
        || prefix.clone(),
        |after| [&Key::of_document(Kind::Books, after.as_str())[..], &[0]].concat(),
    );
    let bound = behind(&prefix);
    database
        .walk_between(Family::Documents, start, bound, Direction::Forward)
        .take(limit)
        .map(|entry| {
            let (key, _) = entry?;
            customer_id(key.get(prefix.len()..).unwrap_or_default())
        })
        .collect()
}

fn customer_id(bytes: &[u8]) -> Result<CustomerId, StorageError> {
    let damaged = |error: String| codec::corrupt("customer of a ledger", error);
    let text = std::str::from_utf8(bytes).map_err(|error| damaged(error.to_string()))?;
    CustomerId::new(text).map_err(|error| damaged(error.to_string()))
}

fn refused(error: impl std::fmt::Display) -> StorageError {
    StorageError::Refused(error.to_string())
}
