//! Adding a customer's ledger up again, and writing its projections anew.

use ::rocksdb::Direction;
use submeter_common::id::CustomerId;

use super::database::Database;
use super::key::{Index, Key, Kind};
use super::ledger;
use super::transaction::Transaction;
use crate::credits::Grant;
use crate::ledger::{Audit, Books, Fault, GrantBalance};
use crate::storage::{RebuildOutcome, StorageError};

/// Compares everything that is derived from a customer's entries. A damaged entry ends the comparison: nothing behind it
/// proves anything.
pub(super) fn audit(
    database: &Database,
    customer: &CustomerId,
) -> Result<Vec<Fault>, StorageError> {
    // Under the writer's lock, so that chain, books and grants are of one moment.
    let _still = Transaction::begin(database)?;
    match added_up(database, customer)? {
        Err(fault) => Ok(vec![fault]),
        Ok(audit) => differences(database, customer, &audit),
    }
}

/// Writes books and grants as the entries say, where they differ.
pub(super) fn rebuild(
    database: &Database,
    customer: &CustomerId,
) -> Result<RebuildOutcome, StorageError> {
    let mut write = Transaction::begin(database)?;
    let audit = match added_up(database, customer)? {
        Err(fault) => return Ok(RebuildOutcome::Damaged(Box::new(fault))),
        Ok(audit) => audit,
    };
    let faults = differences(database, customer, &audit)?;
    if faults.is_empty() {
        return Ok(RebuildOutcome::Unchanged);
    }
    write.put_document(Kind::Books, customer.as_str(), audit.books())?;
    for grant in grants(database, customer) {
        let grant = grant?;
        let GrantBalance {
            remaining,
            held,
            expired,
        } = audit.grant(&grant.grant_id);
        let rebuilt = Grant {
            remaining,
            held,
            expired,
            ..grant.clone()
        };
        if rebuilt != grant {
            write.put_document(Kind::Grant, grant.grant_id.as_str(), &rebuilt)?;
        }
    }
    write.commit()?;
    Ok(RebuildOutcome::Rebuilt(faults))
}

fn added_up(
    database: &Database,
    customer: &CustomerId,
) -> Result<Result<Audit, Fault>, StorageError> {
    let mut audit = Audit::default();
    for entry in ledger::entries(database, customer, Direction::Forward) {
        if let Err(fault) = audit.add(&entry?) {
            return Ok(Err(fault));
        }
    }
    Ok(Ok(audit))
}

fn differences(
    database: &Database,
    customer: &CustomerId,
    audit: &Audit,
) -> Result<Vec<Fault>, StorageError> {
    let stored: Option<Books> = database.document(Kind::Books, customer.as_str())?;
    let mut faults: Vec<Fault> = audit
        .compare_books(&stored.unwrap_or_default())
        .err()
        .into_iter()
        .collect();
    let mut known = std::collections::BTreeSet::new();
    for grant in grants(database, customer) {
        let grant = grant?;
        let balance = GrantBalance {
            remaining: grant.remaining,
            held: grant.held,
            expired: grant.expired,
        };
        faults.extend(audit.compare_grant(&grant.grant_id, balance).err());
        known.insert(grant.grant_id);
    }
    for lost in audit.unknown_grants(|id| known.contains(id)) {
        let stored = GrantBalance::default();
        faults.extend(audit.compare_grant(lost, stored).err());
    }
    Ok(faults)
}

fn grants<'a>(
    database: &'a Database,
    customer: &CustomerId,
) -> impl Iterator<Item = Result<Grant, StorageError>> + use<'a> {
    let prefix = Key::of_index(Index::GrantsOfCustomer).text(customer.as_str());
    database.indexed(Kind::Grant, prefix.as_bytes(), Direction::Forward)
}
