//! A settlement: everything one step of billing changes, in one write.

use std::collections::BTreeSet;

use super::database::Database;
use super::draft;
use super::key::{Index, Key, Kind};
use super::ledger;
use super::subscription::{self, Standing};
use super::transaction::Transaction;
use crate::billing::number::Series;
use crate::billing::{Invoice, NewInvoice, Settlement, messages};
use crate::bookkeeping::consistency::MoneyShown;
use crate::money::Decimal;
use crate::storage::{PostOutcome, SettleOutcome, StorageError};

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
    match close(&mut write, settlement)? {
        Staged::Ready(invoice) => {
            write.commit()?;
            Ok(SettleOutcome::Settled(invoice))
        }
        Staged::Stale => Ok(SettleOutcome::Stale),
    }
}

/// Closes many periods, as many as can be with one write.
///
/// A transaction does not see what it has collected, so the settlements of one write are of different customers. When one of
/// them does not pass, none of that write is kept, and each is tried alone: that is rare, and then only time is lost.
pub(super) fn settle_all(
    database: &Database,
    settlements: Vec<Settlement>,
) -> Result<Vec<Result<SettleOutcome, StorageError>>, StorageError> {
    let mut outcomes = Vec::with_capacity(settlements.len());
    for group in of_different_customers(settlements) {
        match settle_together(database, &group)? {
            Some(settled) => outcomes.extend(settled.into_iter().map(Ok)),
            None => {
                for settlement in group {
                    match settle(database, settlement) {
                        Err(error @ (StorageError::Unavailable(_) | StorageError::DiskFull(_))) => {
                            return Err(error);
                        }
                        outcome => outcomes.push(outcome),
                    }
                }
            }
        }
    }
    Ok(outcomes)
}

/// Cuts settlements, in their order, into groups in which no customer comes twice.
fn of_different_customers(settlements: Vec<Settlement>) -> Vec<Vec<Settlement>> {
    let mut groups: Vec<Vec<Settlement>> = Vec::new();
    let mut customers = BTreeSet::new();
    for settlement in settlements {
        let is_new = customers.insert(settlement.subscription.customer_id.clone());
        match groups.last_mut().filter(|_| is_new) {
            Some(group) => group.push(settlement),
            None => {
                customers = BTreeSet::from([settlement.subscription.customer_id.clone()]);
                groups.push(vec![settlement]);
            }
        }
    }
    groups
}

/// Settles all of a group in one write; none when one of them does not pass, and then nothing was written.
fn settle_together(
    database: &Database,
    group: &[Settlement],
) -> Result<Option<Vec<SettleOutcome>>, StorageError> {
    let mut write = Transaction::begin(database)?;
    let mut settled = Vec::with_capacity(group.len());
    for settlement in group {
        match close(&mut write, settlement.clone()) {
            Ok(Staged::Ready(invoice)) => settled.push(SettleOutcome::Settled(invoice)),
            Ok(Staged::Stale) | Err(StorageError::Refused(_) | StorageError::Corrupt { .. }) => {
                return Ok(None);
            }
            Err(unavailable) => return Err(unavailable),
        }
    }
    write.commit()?;
    Ok(Some(settled))
}

/// Puts a settlement into the write, if its period is still the open one.
fn close(write: &mut Transaction<'_>, settlement: Settlement) -> Result<Staged, StorageError> {
    let after = settlement.subscription.clone();
    let id = after.subscription_id.as_str();
    let stored: Option<Standing> = write.database.document(Kind::Subscription, id)?;
    let before = stored.ok_or_else(|| {
        StorageError::Refused(format!("a settlement of {id}, which does not exist"))
    })?;
    let is_next = before.version.checked_add(1) == Some(after.version);
    if before.next_period != settlement.expected_next_period || !is_next {
        return Ok(Staged::Stale);
    }
    let staged = stage(write, settlement)?;
    if matches!(staged, Staged::Ready(_)) {
        subscription::put(write, Some(&before), &after)?;
        draft::unblock(write, &after.subscription_id)?;
        write.touch_subscriber(&after)?;
    }
    Ok(staged)
}

/// Puts invoice and posting into the write, after checking that the books will balance.
pub(super) fn stage(
    write: &mut Transaction<'_>,
    settlement: Settlement,
) -> Result<Staged, StorageError> {
    let shown = settlement.invoice.as_ref().map(|invoice| MoneyShown {
        currency: invoice.currency,
        receivable: &Decimal::from(invoice.total) - &Decimal::from(invoice.wallet_applied),
        cash: Decimal::zero(),
    });
    if settlement.posting.customer_id != settlement.subscription.customer_id {
        return Err(StorageError::Refused(
            "a posting of another customer than the subscription's".to_owned(),
        ));
    }
    if ledger::post(write, settlement.posting, shown.as_ref())? == PostOutcome::Stale {
        return Ok(Staged::Stale);
    }
    let invoice = settlement
        .invoice
        .map(|new| issue(write, new))
        .transpose()?;
    Ok(Staged::Ready(invoice))
}

/// Gives the invoice the next number of its year. The number is taken in the same write, so that one
/// that is not committed leaves no gap.
fn issue(write: &mut Transaction<'_>, new: NewInvoice) -> Result<Box<Invoice>, StorageError> {
    if write
        .database
        .has_document(Kind::Invoice, new.invoice_id.as_str())?
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
        let timeline = invoice.test_clock.as_ref();
        write.put_index(&Key::collection(timeline, at, &invoice.invoice_id), id);
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
