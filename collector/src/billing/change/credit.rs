//! Taking back some of an issued invoice by a credit note.

use super::{ChangeError, InvoiceChange, expect_settled};
use crate::{
    billing::{CreditedLine, Invoice, InvoiceStatus, NewCreditNote},
    bookkeeping::Book,
    id::CreditNoteId,
};
use std::collections::BTreeMap;
use submeter_common::Timestamp;

/// What a caller wants taken back.
#[derive(Clone, Debug)]
pub struct CreditRequest {
    /// Why, for people.
    pub reason: String,
    /// Of which lines how much; none: all that is left of every line.
    pub lines: Option<Vec<CreditedAmount>>,
    /// Names the request: the same one gives the same credit note.
    pub key: String,
}

/// How much to take back of one line.
#[derive(Copy, Clone, Debug)]
pub struct CreditedAmount {
    /// The line, from 1.
    pub line: u32,
    /// Minor units.
    pub amount: i64,
}

/// Takes back what `request` says of `invoice`.
///
/// # Errors
/// When the invoice was withdrawn, a line has less left, or a payment is under way.
pub fn credit(
    invoice: &Invoice,
    request: CreditRequest,
    at: Timestamp,
) -> Result<InvoiceChange, ChangeError> {
    if invoice.status == InvoiceStatus::Void {
        return Err(ChangeError::Status {
            status: invoice.status,
            expected: "there is nothing to take back of it",
        });
    }
    expect_settled(invoice)?;
    let lines = match request.lines {
        Some(lines) => chosen(invoice, &lines)?,
        None => all_that_is_left(invoice),
    };
    let sum = |total: i64, line: &CreditedLine| total.checked_add(line.amount);
    let total = lines.iter().try_fold(0_i64, sum);
    let left = invoice.total.saturating_sub(invoice.credited());
    let total = total
        .filter(|total| (1..=left).contains(total))
        .ok_or_else(|| {
            let message =
                format!("expected amounts that sum to 1 to {left}, what is left of the invoice");
            ChangeError::invalid("lines", message)
        })?;
    let mut change = InvoiceChange::of(invoice);
    let credited = &mut change.after.collection.credited;
    for line in &lines {
        let taken = credited.entry(line.line).or_default();
        *taken = taken.saturating_add(line.amount);
    }
    let note = NewCreditNote {
        credit_note_id: CreditNoteId::derived(&[invoice.invoice_id.as_str(), &request.key]),
        invoice_id: invoice.invoice_id.clone(),
        invoice_number: invoice.number.clone(),
        customer_id: invoice.customer_id.clone(),
        subscription_id: invoice.subscription_id.clone(),
        currency: invoice.currency,
        issued_at: at,
        reason: request.reason,
        lines,
        total,
    };
    let mut book = Book::new(invoice.customer_id.clone(), at);
    book.credited(&note.credit_note_id, total, note.currency);
    change.transfers = book.into_transfers();
    change.credit_note = Some(note);
    Ok(change.close_if_settled(at))
}

fn chosen(invoice: &Invoice, wanted: &[CreditedAmount]) -> Result<Vec<CreditedLine>, ChangeError> {
    let mut lines: BTreeMap<u32, CreditedLine> = BTreeMap::new();
    for (place, CreditedAmount { line, amount }) in wanted.iter().copied().enumerate() {
        let field = |name: &str| format!("lines[{place}].{name}");
        let left = left_of(invoice, line).ok_or_else(|| {
            let message = format!(
                "expected 1 to {}, a line of the invoice",
                invoice.lines.len()
            );
            ChangeError::invalid(field("line"), message)
        })?;
        if !(1..=left).contains(&amount) {
            let message = format!("expected 1 to {left}, what is left of the line, found {amount}");
            return Err(ChangeError::invalid(field("amount"), message));
        }
        let credited = CreditedLine {
            line,
            description: description(invoice, line),
            amount,
        };
        if lines.insert(line, credited).is_some() {
            return Err(ChangeError::invalid(
                field("line"),
                "expected each line once",
            ));
        }
    }
    Ok(lines.into_values().collect())
}

/// Takes back the whole invoice: each line's rest, and what lines in the customer's favour have reduced stays reduced.
fn all_that_is_left(invoice: &Invoice) -> Vec<CreditedLine> {
    let mut left = invoice.total.saturating_sub(invoice.credited());
    let mut lines = Vec::new();
    for line in (1..).take(invoice.lines.len()) {
        let amount = left_of(invoice, line).unwrap_or(0).min(left);
        if amount > 0 {
            left -= amount;
            lines.push(CreditedLine {
                line,
                description: description(invoice, line),
                amount,
            });
        }
    }
    lines
}

fn left_of(invoice: &Invoice, line: u32) -> Option<i64> {
    let place = usize::try_from(line.checked_sub(1)?).ok()?;
    let amount = invoice.lines.get(place)?.amount;
    let credited = invoice.collection.credited.get(&line).copied();
    Some(amount.saturating_sub(credited.unwrap_or(0)))
}

fn description(invoice: &Invoice, line: u32) -> String {
    let place = usize::try_from(line).unwrap_or(usize::MAX);
    let found = place
        .checked_sub(1)
        .and_then(|place| invoice.lines.get(place));
    found.map_or_else(String::new, |line| line.description.clone())
}
