//! A change to an issued invoice: payment, credit note or withdrawal, in one write.

use ::rocksdb::Direction;

use super::database::Database;
use super::key::{Index, Key, Kind};
use super::ledger;
use super::subscription;
use super::transaction::Transaction;
use crate::billing::number::Series;
use crate::billing::{
    CreditNote, Invoice, InvoiceChange, NewCreditNote, PaymentChange, SubscriptionChange, messages,
};
use crate::bookkeeping::{Posting, consistency::MoneyShown};
use crate::id::SubscriptionId;
use crate::money::Decimal;
use crate::outbox::Topic;
use crate::payment::Payment;
use crate::storage::{ChangeOutcome, PostOutcome, StorageError};

/// Writes a change over the invoice it was computed from.
pub(super) fn change(
    database: &Database,
    change: InvoiceChange,
) -> Result<ChangeOutcome, StorageError> {
    let mut write = Transaction::begin(database)?;
    let (before, after) = (&change.before, &change.after);
    let id = before.invoice_id.as_str();
    if !after.is_same_paper(before) {
        return Err(StorageError::Refused(format!(
            "a change of the paper of {id}, which is issued"
        )));
    }
    if !write.is_stored(Kind::Invoice, id, before)? {
        return Ok(ChangeOutcome::Stale);
    }
    if let Some(payment) = &change.payment
        && !put_payment(&mut write, payment)?
    {
        return Ok(ChangeOutcome::Stale);
    }
    if let Some(subscription) = &change.subscription
        && !put_subscription(&mut write, subscription)?
    {
        return Ok(ChangeOutcome::Stale);
    }
    write.put_document(Kind::Invoice, id, after)?;
    move_collection(&mut write, before, after);
    let posting = Posting {
        expected_entries: change.expected_entries,
        transfers: change.transfers,
        messages: change.messages,
        ..Posting::empty(after.customer_id.clone())
    };
    if ledger::post(&mut write, posting, Some(&money_shown(before, after)))? == PostOutcome::Stale {
        return Ok(ChangeOutcome::Stale);
    }
    // What became of the invoice is told before what that means for its subscription.
    move_past_due(&mut write, before, after)?;
    let note = change.credit_note.clone();
    let note = note.map(|note| issue(&mut write, note)).transpose()?;
    if let Some(entry) = change.audit {
        write.put_audit(entry)?;
    }
    write.commit()?;
    Ok(ChangeOutcome::Changed(note))
}

/// What the invoice shows as moved: what is owed on it, and what was received.
fn money_shown(before: &Invoice, after: &Invoice) -> MoneyShown {
    let difference = |after: i64, before: i64| &Decimal::from(after) - &Decimal::from(before);
    MoneyShown {
        currency: after.currency,
        receivable: difference(after.receivable(), before.receivable()),
        cash: difference(after.collection.paid, before.collection.paid),
    }
}

fn put_payment(
    write: &mut Transaction<'_>,
    PaymentChange { before, after }: &PaymentChange,
) -> Result<bool, StorageError> {
    let id = after.payment_id.as_str();
    let is_as_read = match before {
        Some(before) => write.is_stored(Kind::Payment, id, before)?,
        None => write
            .database
            .document::<Payment>(Kind::Payment, id)?
            .is_none(),
    };
    if !is_as_read {
        return Ok(false);
    }
    write.put_document(Kind::Payment, id, after)?;
    if before.is_none() {
        let order = write.next_order()?;
        let list = Key::of_index(Index::PaymentsOfInvoice).text(after.invoice_id.as_str());
        write.put_index(&list.order(order), id);
    }
    Ok(true)
}

/// Puts the subscription that a change of its invoice ends. An end only cuts what is billed, so no meter is billed twice by it.
fn put_subscription(
    write: &mut Transaction<'_>,
    SubscriptionChange { before, after }: &SubscriptionChange,
) -> Result<bool, StorageError> {
    let id = before.subscription_id.as_str();
    if before.subscription_id != after.subscription_id || before.customer_id != after.customer_id {
        return Err(StorageError::Refused(format!(
            "a change of {id} into another one"
        )));
    }
    if !write.is_stored(Kind::Subscription, id, before)? {
        return Ok(false);
    }
    subscription::put(write, Some(&before.into()), after)?;
    Ok(true)
}

fn move_collection(write: &mut Transaction<'_>, before: &Invoice, after: &Invoice) {
    let id = &after.invoice_id;
    let (was, is) = (
        before.collection.next_attempt_at,
        after.collection.next_attempt_at,
    );
    if was == is {
        return;
    }
    let timeline = after.test_clock.as_ref();
    if let Some(at) = was {
        write.delete_index(&Key::collection(timeline, at, id));
    }
    if let Some(at) = is {
        write.put_index(&Key::collection(timeline, at, id), id.as_str());
    }
}

/// Keeps the list of what is past due, and tells when a subscription comes onto it or leaves it.
fn move_past_due(
    write: &mut Transaction<'_>,
    before: &Invoice,
    after: &Invoice,
) -> Result<(), StorageError> {
    let (was, is) = (
        before.collection.past_due_since,
        after.collection.past_due_since,
    );
    let (topic, at) = match (was, is) {
        (None, Some(at)) => (Topic::SubscriptionPastDue, at),
        (Some(_), None) => {
            let at = after.collection.closed_at.unwrap_or(after.issued_at);
            (Topic::SubscriptionActive, at)
        }
        _ => return Ok(()),
    };
    let subscription = &after.subscription_id;
    let key = Key::past_due(subscription, &after.invoice_id);
    let others = past_due(write.database, subscription)?
        .iter()
        .any(|invoice| invoice.invoice_id != after.invoice_id);
    if is.is_some() {
        write.put_index(&key, after.invoice_id.as_str());
    } else {
        write.delete_index(&key);
    }
    if !others {
        write.put_message(messages::standing(topic, after, at))?;
    }
    Ok(())
}

/// Returns the invoices of a subscription that should have been paid.
pub(super) fn past_due(
    database: &Database,
    subscription: &SubscriptionId,
) -> Result<Vec<Invoice>, StorageError> {
    let prefix = Key::of_index(Index::PastDue).text(subscription.as_str());
    database
        .indexed(Kind::Invoice, prefix.as_bytes(), Direction::Forward)
        .collect()
}

/// Gives the credit note the next number of its year.
fn issue(
    write: &mut Transaction<'_>,
    note: NewCreditNote,
) -> Result<Box<CreditNote>, StorageError> {
    let number = write.next_number(Series::CreditNote, note.issued_at)?;
    let note = CreditNote { number, note };
    let paper = &note.note;
    let id = paper.credit_note_id.as_str();
    write.put_document(Kind::CreditNote, id, &note)?;
    let order = write.next_order()?;
    let lists = [
        Key::of_index(Index::CreditNotes),
        Key::of_index(Index::CreditNotesOfInvoice).text(paper.invoice_id.as_str()),
        Key::of_index(Index::CreditNotesOfCustomer).text(paper.customer_id.as_str()),
    ];
    for list in lists {
        write.put_index(&list.order(order), id);
    }
    write.put_message(messages::credit_note(&note))?;
    Ok(Box::new(note))
}
