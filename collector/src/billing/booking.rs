//! The ledger's side of billing: one balanced transfer per change, keyed by its cause.

use crate::{
    credits::{EntitlementId, Grant, GrantId, burn_down::Draw},
    id::{CreditNoteId, InvoiceId, PaymentId, TransferId},
    ledger::{Account, LedgerUnit, Reference, Transfer},
    money::{Currency, Decimal},
};
use submeter_common::{CustomerId, Timestamp};

/// Writes transfers of one customer at one instant.
#[derive(Clone, Debug)]
pub(super) struct Book {
    customer_id: CustomerId,
    at: Timestamp,
    transfers: Vec<Transfer>,
}

impl Book {
    /// Opens the book of `customer_id` for what happens at `at`.
    pub(super) fn new(customer_id: CustomerId, at: Timestamp) -> Self {
        Self {
            customer_id,
            at,
            transfers: Vec::new(),
        }
    }

    /// Books credits given.
    pub(super) fn granted(&mut self, grant: &Grant) {
        let unit = LedgerUnit::Credits(grant.credit_entitlement_id.clone());
        let key = format!("grant:{}", grant.grant_id);
        let reference = Reference::Grant(grant.grant_id.clone());
        self.write(
            unit,
            Account::CreditsIssued,
            Account::CreditsAvailable,
            &grant.amount,
            key,
            reference,
        );
    }

    /// Books credits burned for a line of `invoice` (or given back, when the draw is negative); `cause` tells one line of the
    /// invoice from another.
    pub(super) fn burned(
        &mut self,
        entitlement: &EntitlementId,
        invoice: &InvoiceId,
        cause: &str,
        draw: &Draw,
    ) {
        let parts = [
            (Account::CreditsAvailable, "live", &draw.from_remaining),
            (Account::CreditsExpired, "late", &draw.from_expired),
        ];
        for (from, label, amount) in parts {
            let unit = LedgerUnit::Credits(entitlement.clone());
            let key = format!("burn:{invoice}:{cause}:{}:{label}", draw.grant_id);
            let reference = Reference::Burn {
                grant_id: draw.grant_id.clone(),
                invoice_id: invoice.clone(),
            };
            self.write(unit, from, Account::CreditsConsumed, amount, key, reference);
        }
    }

    /// Books the rest of a grant as forfeited.
    pub(super) fn expired(&mut self, entitlement: &EntitlementId, grant: &GrantId, rest: &Decimal) {
        let unit = LedgerUnit::Credits(entitlement.clone());
        let key = format!("expire:{grant}");
        self.write(
            unit,
            Account::CreditsAvailable,
            Account::CreditsExpired,
            rest,
            key,
            Reference::Grant(grant.clone()),
        );
    }

    /// Books the total of an invoice as owed.
    pub(super) fn invoiced(&mut self, invoice: &InvoiceId, total: i64, currency: Currency) {
        let key = format!("invoice:{invoice}");
        let reference = Reference::Invoice(invoice.clone());
        self.write(
            LedgerUnit::Money(currency),
            Account::Revenue,
            Account::Receivable,
            &Decimal::from(total),
            key,
            reference,
        );
    }

    /// Books money received for an invoice.
    pub(super) fn paid(&mut self, payment: &PaymentId, amount: i64, currency: Currency) {
        self.write(
            LedgerUnit::Money(currency),
            Account::Receivable,
            Account::Cash,
            &Decimal::from(amount),
            format!("payment:{payment}"),
            Reference::Payment(payment.clone()),
        );
    }

    /// Books what a credit note takes back.
    pub(super) fn credited(&mut self, note: &CreditNoteId, amount: i64, currency: Currency) {
        self.write(
            LedgerUnit::Money(currency),
            Account::Receivable,
            Account::Revenue,
            &Decimal::from(amount),
            format!("credit_note:{note}"),
            Reference::CreditNote(note.clone()),
        );
    }

    /// Books the withdrawal of what is owed on an invoice.
    pub(super) fn voided(&mut self, invoice: &InvoiceId, owed: i64, currency: Currency) {
        self.write(
            LedgerUnit::Money(currency),
            Account::Receivable,
            Account::Revenue,
            &Decimal::from(owed),
            format!("void:{invoice}"),
            Reference::Invoice(invoice.clone()),
        );
    }

    /// Closes the book.
    pub(super) fn into_transfers(self) -> Vec<Transfer> {
        self.transfers
    }

    /// Writes `amount` from one account to another; a negative amount the other way round, and nothing for zero.
    fn write(
        &mut self,
        unit: LedgerUnit,
        from: Account,
        to: Account,
        amount: &Decimal,
        idempotency_key: String,
        reference: Reference,
    ) {
        if amount.is_zero() {
            return;
        }
        let (debit, credit, amount) = if amount.is_negative() {
            (from, to, -amount)
        } else {
            (to, from, amount.clone())
        };
        self.transfers.push(Transfer {
            transfer_id: TransferId::derived(&[&idempotency_key]),
            customer_id: self.customer_id.clone(),
            unit,
            debit,
            credit,
            amount,
            idempotency_key,
            at: self.at,
            reference,
        });
    }
}
