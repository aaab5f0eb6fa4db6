//! A settlement: everything one step of billing changes, in one write.

use super::database::Database;
use super::draft;
use super::key::{Index, Key, Kind};
use super::subscription;
use super::transaction::Transaction;
use crate::billing::number::Series;
use crate::billing::{GrantChange, Invoice, NewInvoice, Settlement, messages};
use crate::credits::Grant;
use crate::ledger::Transfer;
use crate::storage::{SettleOutcome, StorageError, books};
use crate::subscription::Subscription;

/// What staging a settlement came to.
pub(super) enum Staged {
    /// All of it is in the write; the invoice as issued.
    Ready(Option<Box<Invoice>>),
    /// A grant is no longer as it was read: the write must not be committed.
    Stale,
}

/// Closes a period if it is still the open one.
pub(super) fn settle(
    database: &Database,
    settlement: Settlement,
) -> Result<SettleOutcome, StorageError> {
    let mut write = Transaction::begin(database)?;
    let after = settlement.subscription.clone();
    let id = after.subscription_id.as_str();
    let before: Subscription = database.document(Kind::Subscription, id)?.ok_or_else(|| {
        StorageError::Refused(format!("a settlement of {id}, which does not exist"))
    })?;
    let is_next = before.version.checked_add(1) == Some(after.version);
    if before.next_period != settlement.expected_next_period || !is_next {
        return Ok(SettleOutcome::Stale);
    }
    let Staged::Ready(invoice) = stage(&mut write, settlement)? else {
        return Ok(SettleOutcome::Stale);
    };
    subscription::put(&mut write, Some(&before), &after)?;
    draft::unblock(&mut write, &after.subscription_id)?;
    write.commit()?;
    Ok(SettleOutcome::Settled(invoice))
}

/// Puts invoice, grants and transfers into the write, after checking that the books will balance.
pub(super) fn stage(
    write: &mut Transaction<'_>,
    settlement: Settlement,
) -> Result<Staged, StorageError> {
    books::check(&settlement).map_err(|error| StorageError::Refused(error.to_string()))?;
    for change in &settlement.grants_changed {
        if !change_grant(write, change)? {
            return Ok(Staged::Stale);
        }
    }
    for grant in &settlement.grants_new {
        if !add_grant(write, grant)? {
            return Ok(Staged::Stale);
        }
    }
    for transfer in &settlement.transfers {
        add_transfer(write, transfer)?;
    }
    let invoice = settlement
        .invoice
        .map(|new| issue(write, new))
        .transpose()?;
    for message in settlement.messages {
        write.put_message(message)?;
    }
    Ok(Staged::Ready(invoice))
}

fn change_grant(write: &mut Transaction<'_>, change: &GrantChange) -> Result<bool, StorageError> {
    let id = change.before.grant_id.as_str();
    if !write.is_stored(Kind::Grant, id, &change.before)? {
        return Ok(false);
    }
    write.put_document(Kind::Grant, id, &change.after)?;
    Ok(true)
}

fn add_grant(write: &mut Transaction<'_>, grant: &Grant) -> Result<bool, StorageError> {
    let id = grant.grant_id.as_str();
    if write.database.document::<Grant>(Kind::Grant, id)?.is_some() {
        return Ok(false);
    }
    write.put_document(Kind::Grant, id, grant)?;
    let order = write.next_order()?;
    write.put_index(
        &Key::of_index(Index::GrantsOfCustomer)
            .text(grant.customer_id.as_str())
            .order(order),
        id,
    );
    Ok(true)
}

pub(super) fn add_transfer(
    write: &mut Transaction<'_>,
    transfer: &Transfer,
) -> Result<(), StorageError> {
    let cause = Key::of_index(Index::TransferByCause).last(transfer.idempotency_key.as_bytes());
    if write.database.looked_up(&cause)?.is_some() {
        return Ok(());
    }
    let id = transfer.transfer_id.as_str();
    write.put_document(Kind::Transfer, id, transfer)?;
    write.put_index(&cause, id);
    let order = write.next_order()?;
    write.put_index(
        &Key::of_index(Index::TransfersOfCustomer)
            .text(transfer.customer_id.as_str())
            .order(order),
        id,
    );
    Ok(())
}

/// Gives the invoice the next number of its year. The number is taken in the same write, so that one
/// that is not committed leaves no gap.
fn issue(write: &mut Transaction<'_>, new: NewInvoice) -> Result<Box<Invoice>, StorageError> {
    if write
        .database
        .document::<Invoice>(Kind::Invoice, new.invoice_id.as_str())?
        .is_some()
    {
        return Err(StorageError::Refused(format!(
            "{} is issued already",
            new.invoice_id
        )));
    }
    let number = write.next_number(Series::Invoice, new.issued_at)?;
    let invoice = new.issue(number);
    let id = invoice.invoice_id.as_str();
    write.put_document(Kind::Invoice, id, &invoice)?;
    if let Some(at) = invoice.collection.next_attempt_at {
        write.put_index(&Key::collection(at, &invoice.invoice_id), id);
    }
    write.put_message(messages::issued(&invoice))?;
    let order = write.next_order()?;
    let lists = [
        Key::of_index(Index::Invoices),
        Key::of_index(Index::InvoicesOfCustomer).text(invoice.customer_id.as_str()),
        Key::of_index(Index::InvoicesOfSubscription).text(invoice.subscription_id.as_str()),
    ];
    for list in lists {
        write.put_index(&list.order(order), id);
    }
    Ok(Box::new(invoice))
}
