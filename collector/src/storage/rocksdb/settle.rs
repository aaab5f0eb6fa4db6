//! A settlement: everything one step of billing changes, in one write.

use super::database::Database;
use super::draft;
use super::key::{Index, Key, Kind};
use super::ledger;
use super::subscription;
use super::transaction::Transaction;
use crate::billing::number::Series;
use crate::billing::{Invoice, NewInvoice, Settlement, messages};
use crate::bookkeeping::consistency::MoneyShown;
use crate::money::Decimal;
use crate::storage::{PostOutcome, SettleOutcome, StorageError};
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

/// Puts invoice and posting into the write, after checking that the books will balance.
pub(super) fn stage(
    write: &mut Transaction<'_>,
    settlement: Settlement,
) -> Result<Staged, StorageError> {
    let shown = settlement.invoice.as_ref().map(|invoice| MoneyShown {
        currency: invoice.currency,
        receivable: Decimal::from(invoice.total),
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
