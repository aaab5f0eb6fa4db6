//! Adding a customer's ledger up again, and writing its projections anew.
//!
//! A chain can be long. It is added up from what the database held at one instant, and nobody waits; a rebuild takes the
//! writer's lock only for the entries that came meanwhile and for what it writes.

use std::collections::BTreeSet;

use submeter_common::id::CustomerId;

use super::codec;
use super::database::{Database, Family};
use super::key::{Index, Key, Kind};
use super::ledger;
use super::still::Still;
use super::transaction::Transaction;
use crate::credits::Grant;
use crate::id::GrantId;
use crate::ledger::{Audit, Books, Entry, Fault, GrantBalance};
use crate::storage::{RebuildOutcome, StorageError};

/// Compares everything that is derived from a customer's entries. A damaged entry ends the comparison: nothing behind it
/// proves anything.
pub(super) fn audit(
    database: &Database,
    customer: &CustomerId,
) -> Result<Vec<Fault>, StorageError> {
    let still = Still::of(database);
    let mut audit = Audit::default();
    match add_up(&still, customer, &mut audit)? {
        Some(fault) => Ok(vec![fault]),
        None => differences(&still, customer, &audit),
    }
}

/// Writes books and grants as the entries say, where they differ.
pub(super) fn rebuild(
    database: &Database,
    customer: &CustomerId,
) -> Result<RebuildOutcome, StorageError> {
    let mut audit = Audit::default();
    if let Some(fault) = add_up(&Still::of(database), customer, &mut audit)? {
        return Ok(RebuildOutcome::Damaged(Box::new(fault)));
    }
    let mut write = Transaction::begin(database)?;
    let still = Still::of(database);
    if let Some(fault) = add_up(&still, customer, &mut audit)? {
        return Ok(RebuildOutcome::Damaged(Box::new(fault)));
    }
    let faults = differences(&still, customer, &audit)?;
    if faults.is_empty() {
        return Ok(RebuildOutcome::Unchanged);
    }
    write.put_document(Kind::Books, customer.as_str(), audit.books())?;
    let (mut rebuilt, mut lost) = (Vec::new(), Vec::new());
    for fault in faults {
        let is_rebuilt = match fault.grant_id() {
            Some(grant_id) => rebuild_grant(&mut write, &still, grant_id, &audit)?,
            None => true,
        };
        if is_rebuilt {
            rebuilt.push(fault);
        } else {
            lost.push(fault);
        }
    }
    write.commit()?;
    Ok(RebuildOutcome::Rebuilt { rebuilt, lost })
}

/// Lets a grant hold what the entries say; false for one whose terms are gone, of which entries tell nothing.
fn rebuild_grant(
    write: &mut Transaction<'_>,
    still: &Still<'_>,
    grant_id: &GrantId,
    audit: &Audit,
) -> Result<bool, StorageError> {
    let stored: Option<Grant> = legible(still.document(Kind::Grant, grant_id.as_str()))?;
    let Some(stored) = stored else {
        return Ok(false);
    };
    let GrantBalance {
        remaining,
        held,
        expired,
    } = audit.grant(grant_id);
    let grant = Grant {
        remaining,
        held,
        expired,
        ..stored
    };
    write.put_document(Kind::Grant, grant_id.as_str(), &grant)?;
    // Whatever was in the list before.
    ledger::expect_expiry(write, None, &grant)?;
    if !listed(still, &grant.customer_id)?.contains(grant_id) {
        ledger::list_grant(write, &grant)?;
    }
    Ok(true)
}

/// Adds up the entries behind those that are added up already; returns what is wrong with the first that does not fit.
fn add_up(
    still: &Still<'_>,
    customer: &CustomerId,
    audit: &mut Audit,
) -> Result<Option<Fault>, StorageError> {
    let prefix = Key::of_ledger(customer).into_bytes();
    let next = Key::of_ledger(customer).order(audit.books().entries + 1);
    let what = format!("ledger entry of {customer}");
    for entry in still.walk_from(Family::Documents, &prefix, next) {
        let (_, bytes) = entry?;
        let entry: Option<Entry> = legible(codec::decode_document(&what, &bytes).map(Some))?;
        let added = match &entry {
            Some(entry) => audit.add(entry),
            None => Err(Fault::Digest(audit.books().entries + 1)),
        };
        if let Err(fault) = added {
            return Ok(Some(fault));
        }
    }
    Ok(None)
}

fn differences(
    still: &Still<'_>,
    customer: &CustomerId,
    audit: &Audit,
) -> Result<Vec<Fault>, StorageError> {
    let stored: Option<Books> = legible(still.document(Kind::Books, customer.as_str()))?;
    let compared = audit.compare_books(&stored.unwrap_or_default());
    let mut faults: Vec<Fault> = compared.err().into_iter().collect();
    let mut known = BTreeSet::new();
    for grant_id in listed(still, customer)? {
        let stored: Option<Grant> = legible(still.document(Kind::Grant, grant_id.as_str()))?;
        if let Some(grant) = stored {
            let balance = GrantBalance {
                remaining: grant.remaining,
                held: grant.held,
                expired: grant.expired,
            };
            faults.extend(audit.compare_grant(&grant_id, balance).err());
            known.insert(grant_id);
        }
    }
    faults.extend(audit.lost_grants(|id| known.contains(id)));
    Ok(faults)
}

/// The grants that the customer's list names.
fn listed(still: &Still<'_>, customer: &CustomerId) -> Result<BTreeSet<GrantId>, StorageError> {
    let prefix = Key::of_index(Index::GrantsOfCustomer)
        .text(customer.as_str())
        .into_bytes();
    still
        .walk_from(Family::Indexes, &prefix, prefix.clone())
        .map(|entry| {
            let (_, id) = entry?;
            Ok(GrantId::from_text(String::from_utf8_lossy(&id)))
        })
        .collect()
}

/// What cannot be read is as good as not there: it is to be found and told, not to end the search.
fn legible<T>(read: Result<Option<T>, StorageError>) -> Result<Option<T>, StorageError> {
    match read {
        Err(StorageError::Corrupt { .. }) => Ok(None),
        other => other,
    }
}
