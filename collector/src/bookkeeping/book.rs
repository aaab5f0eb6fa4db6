//! Writes transfers: one balanced transfer per change, keyed by its cause.

use crate::{
    credits::{Grant, burn_down::Draw},
    id::{CreditNoteId, EntitlementId, GrantId, InvoiceId, PaymentId, ReservationId, TransferId},
    ledger::{Account, Cause, LedgerUnit, Note, Transfer},
    money::{Currency, Decimal},
};
use submeter_common::{CustomerId, Timestamp};

/// Writes transfers of one customer at one instant.
#[derive(Clone, Debug)]
pub struct Book {
    customer_id: CustomerId,
    at: Timestamp,
    note: Note,
    transfers: Vec<Transfer>,
}

impl Book {
    /// Opens the book of `customer_id` for what happens at `at`.
    #[must_use]
    pub fn new(customer_id: CustomerId, at: Timestamp) -> Self {
        Self {
            customer_id,
            at,
            note: Note::default(),
            transfers: Vec::new(),
        }
    }

    /// Remembers `note` with every transfer from here on.
    #[must_use]
    pub fn with_note(self, note: Note) -> Self {
        Self { note, ..self }
    }

    /// Books credits given.
    pub fn granted(&mut self, grant: &Grant) {
        let grant_id = grant.grant_id.clone();
        self.granted_as(format!("grant:{grant_id}"), grant);
    }

    /// Books credits given by a request that has a key of its own.
    pub fn granted_as(&mut self, key: String, grant: &Grant) {
        let grant_id = grant.grant_id.clone();
        self.credits(
            &grant.credit_entitlement_id,
            (Account::CreditsIssued, Account::CreditsAvailable),
            &grant.amount,
            key,
            Cause::Granted { grant_id },
        );
    }

    /// Books credits burned for a line of `invoice` (or given back, when the draw is negative); `line` tells one line of the
    /// invoice from another.
    pub fn burned(
        &mut self,
        entitlement: &EntitlementId,
        invoice: &InvoiceId,
        line: &str,
        draw: &Draw,
    ) {
        let parts = [
            (Account::CreditsAvailable, "live", &draw.from_remaining),
            (Account::CreditsExpired, "late", &draw.from_expired),
        ];
        for (from, label, amount) in parts {
            let key = format!("burn:{invoice}:{line}:{}:{label}", draw.grant_id);
            let cause = Cause::Burned {
                grant_id: draw.grant_id.clone(),
                invoice_id: invoice.clone(),
            };
            self.credits(
                entitlement,
                (from, Account::CreditsConsumed),
                amount,
                key,
                cause,
            );
        }
    }

    /// Books credits that a call took from a grant.
    pub fn debited(
        &mut self,
        entitlement: &EntitlementId,
        grant: &GrantId,
        amount: &Decimal,
        key: String,
    ) {
        let cause = Cause::Debited {
            grant_id: grant.clone(),
        };
        let accounts = (Account::CreditsAvailable, Account::CreditsConsumed);
        self.credits(entitlement, accounts, amount, key, cause);
    }

    /// Books credits taken back.
    pub fn voided(
        &mut self,
        entitlement: &EntitlementId,
        grant: &GrantId,
        amount: &Decimal,
        key: String,
    ) {
        let cause = Cause::Voided {
            grant_id: grant.clone(),
        };
        let accounts = (Account::CreditsAvailable, Account::CreditsVoided);
        self.credits(entitlement, accounts, amount, key, cause);
    }

    /// Books the rest of a grant as forfeited. A grant can expire more than once, when credits come back to it after its end;
    /// `occasion` tells the times apart.
    pub fn expired(
        &mut self,
        entitlement: &EntitlementId,
        grant: &GrantId,
        rest: &Decimal,
        occasion: &str,
    ) {
        let cause = Cause::Expired {
            grant_id: grant.clone(),
        };
        let key = format!("expire:{grant}:{occasion}");
        let accounts = (Account::CreditsAvailable, Account::CreditsExpired);
        self.credits(entitlement, accounts, rest, key, cause);
    }

    /// Books what of a grant's rest is not carried over.
    pub fn forfeited(&mut self, entitlement: &EntitlementId, grant: &GrantId, amount: &Decimal) {
        let cause = Cause::Forfeited {
            grant_id: grant.clone(),
        };
        let key = format!("forfeit:{grant}");
        let accounts = (Account::CreditsAvailable, Account::CreditsExpired);
        self.credits(entitlement, accounts, amount, key, cause);
    }

    /// Books what of a grant's rest goes over into its successor, which gets `successor.amount`; `carried` of it comes from the
    /// rest and what is more is given on top.
    pub fn carried_over(&mut self, from: &GrantId, carried: &Decimal, successor: &Grant) {
        let entitlement = &successor.credit_entitlement_id;
        let of = |grant: &GrantId| Cause::CarriedOver {
            grant_id: grant.clone(),
        };
        let key = format!("carry:{from}");
        let out = (Account::CreditsAvailable, Account::CreditsCarried);
        self.credits(entitlement, out, carried, format!("{key}:out"), of(from));
        let into = (Account::CreditsCarried, Account::CreditsAvailable);
        let heir = &successor.grant_id;
        self.credits(entitlement, into, carried, format!("{key}:in"), of(heir));
        let extra = &successor.amount - carried;
        let given = (Account::CreditsIssued, Account::CreditsAvailable);
        let cause = Cause::Granted {
            grant_id: heir.clone(),
        };
        self.credits(entitlement, given, &extra, format!("{key}:extra"), cause);
    }

    /// Books what a reservation moves of one grant.
    pub fn reserved(
        &mut self,
        entitlement: &EntitlementId,
        (reservation, grant): (&ReservationId, &GrantId),
        step: ReservationStep,
        amount: &Decimal,
    ) {
        let (grant_id, reservation_id) = (grant.clone(), reservation.clone());
        let cause = match step {
            ReservationStep::Hold => Cause::Held {
                grant_id,
                reservation_id,
            },
            ReservationStep::Commit | ReservationStep::CommitMore => Cause::Committed {
                grant_id,
                reservation_id,
            },
            ReservationStep::Release => Cause::Released {
                grant_id,
                reservation_id,
            },
        };
        let (accounts, name) = (step.accounts(), step.name());
        let key = format!("{name}:{reservation}:{grant}");
        self.credits(entitlement, accounts, amount, key, cause);
    }

    /// Books usage beyond the credits as owed (or no longer owed, when the amount is negative).
    pub fn overage(
        &mut self,
        entitlement: &EntitlementId,
        invoice: &InvoiceId,
        line: &str,
        amount: &Decimal,
    ) {
        let cause = Cause::Overage {
            invoice_id: invoice.clone(),
        };
        let key = format!("overage:{invoice}:{line}");
        let accounts = (Account::CreditsOwed, Account::CreditsConsumed);
        self.credits(entitlement, accounts, amount, key, cause);
    }

    /// Books overage that is paid in money: credits are sold after the fact (or taken back, when the amount is negative).
    pub fn overage_invoiced(
        &mut self,
        entitlement: &EntitlementId,
        invoice: &InvoiceId,
        line: &str,
        amount: &Decimal,
    ) {
        let cause = Cause::OverageInvoiced {
            invoice_id: invoice.clone(),
        };
        let key = format!("overage-invoiced:{invoice}:{line}");
        let accounts = (Account::CreditsIssued, Account::CreditsOwed);
        self.credits(entitlement, accounts, amount, key, cause);
    }

    /// Books overage that is forgiven.
    pub fn overage_forgiven(
        &mut self,
        entitlement: &EntitlementId,
        invoice: &InvoiceId,
        line: &str,
        amount: &Decimal,
    ) {
        let cause = Cause::OverageForgiven {
            invoice_id: invoice.clone(),
        };
        let key = format!("overage-forgiven:{invoice}:{line}");
        let accounts = (Account::CreditsIssued, Account::CreditsOwed);
        self.credits(entitlement, accounts, amount, key, cause);
    }

    /// Books overage repaid from a grant; `occasion` tells one repayment by a grant from another.
    pub fn overage_repaid(
        &mut self,
        entitlement: &EntitlementId,
        grant: &GrantId,
        amount: &Decimal,
        occasion: &str,
    ) {
        let cause = Cause::OverageRepaid {
            grant_id: grant.clone(),
        };
        let key = format!("repay:{grant}:{occasion}");
        let accounts = (Account::CreditsAvailable, Account::CreditsOwed);
        self.credits(entitlement, accounts, amount, key, cause);
    }

    /// Books the total of an invoice as owed.
    pub fn invoiced(&mut self, invoice: &InvoiceId, total: i64, currency: Currency) {
        let cause = Cause::Invoiced {
            invoice_id: invoice.clone(),
        };
        let accounts = (Account::Revenue, Account::Receivable);
        let key = format!("invoice:{invoice}");
        self.money(currency, accounts, &Decimal::from(total), key, cause);
    }

    /// Books money received for an invoice.
    pub fn paid(&mut self, payment: &PaymentId, amount: i64, currency: Currency) {
        let cause = Cause::Paid {
            payment_id: payment.clone(),
        };
        let accounts = (Account::Receivable, Account::Cash);
        let key = format!("payment:{payment}");
        self.money(currency, accounts, &Decimal::from(amount), key, cause);
    }

    /// Books what a credit note takes back.
    pub fn credited(&mut self, note: &CreditNoteId, amount: i64, currency: Currency) {
        let cause = Cause::Credited {
            credit_note_id: note.clone(),
        };
        let accounts = (Account::Receivable, Account::Revenue);
        let key = format!("credit_note:{note}");
        self.money(currency, accounts, &Decimal::from(amount), key, cause);
    }

    /// Books the withdrawal of what is owed on an invoice.
    pub fn withdrawn(&mut self, invoice: &InvoiceId, owed: i64, currency: Currency) {
        let cause = Cause::Invoiced {
            invoice_id: invoice.clone(),
        };
        let accounts = (Account::Receivable, Account::Revenue);
        let key = format!("void:{invoice}");
        self.money(currency, accounts, &Decimal::from(owed), key, cause);
    }

    /// Books money of the wallet that pays for an invoice when it is issued.
    pub fn wallet_applied(&mut self, invoice: &InvoiceId, amount: i64, currency: Currency) {
        self.of_wallet(format!("wallet:{invoice}"), invoice, amount, currency);
    }

    /// Books money of the wallet that pays for an invoice after its issue, `before` having come from it since then.
    pub fn wallet_applied_later(
        &mut self,
        invoice: &InvoiceId,
        before: i64,
        amount: i64,
        currency: Currency,
    ) {
        let key = format!("wallet:{invoice}:{before}");
        self.of_wallet(key, invoice, amount, currency);
    }

    /// Books money that goes back into the wallet, because the invoice that it paid is withdrawn.
    pub fn wallet_returned(&mut self, invoice: &InvoiceId, amount: i64, currency: Currency) {
        let cause = Cause::WalletApplied {
            invoice_id: invoice.clone(),
        };
        let accounts = (Account::Wallet, Account::Receivable);
        let key = format!("wallet-returned:{invoice}");
        self.money(currency, accounts, &Decimal::from(amount), key, cause);
    }

    /// Books money put into the wallet, or taken out when the amount is negative.
    pub fn wallet_adjusted(&mut self, amount: i64, currency: Currency, key: String) {
        let accounts = (Account::Wallet, Account::Cash);
        let amount = Decimal::from(amount);
        self.money(currency, accounts, &amount, key, Cause::WalletAdjusted);
    }

    fn of_wallet(&mut self, key: String, invoice: &InvoiceId, amount: i64, currency: Currency) {
        let cause = Cause::WalletApplied {
            invoice_id: invoice.clone(),
        };
        let accounts = (Account::Receivable, Account::Wallet);
        self.money(currency, accounts, &Decimal::from(amount), key, cause);
    }

    /// Closes the book.
    #[must_use]
    pub fn into_transfers(self) -> Vec<Transfer> {
        self.transfers
    }

    fn credits(
        &mut self,
        entitlement: &EntitlementId,
        accounts: (Account, Account),
        amount: &Decimal,
        key: String,
        cause: Cause,
    ) {
        let unit = LedgerUnit::Credits(entitlement.clone());
        self.write(unit, accounts, amount, key, cause);
    }

    fn money(
        &mut self,
        currency: Currency,
        accounts: (Account, Account),
        amount: &Decimal,
        key: String,
        cause: Cause,
    ) {
        self.write(LedgerUnit::Money(currency), accounts, amount, key, cause);
    }

    /// Writes `amount` from one account to another; a negative amount the other way round, and nothing for zero.
    fn write(
        &mut self,
        unit: LedgerUnit,
        (from, to): (Account, Account),
        amount: &Decimal,
        idempotency_key: String,
        cause: Cause,
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
            transfer_id: TransferId::derived(&[self.customer_id.as_str(), &idempotency_key]),
            customer_id: self.customer_id.clone(),
            unit,
            debit,
            credit,
            amount,
            idempotency_key,
            at: self.at,
            cause,
            note: self.note.clone(),
        });
    }
}

/// What happens to a reservation.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum ReservationStep {
    /// Credits are set aside.
    Hold,
    /// Credits that were set aside are used.
    Commit,
    /// More is used than was set aside.
    CommitMore,
    /// What was set aside comes back.
    Release,
}

impl ReservationStep {
    /// Returns the account that gives, and the one that gets.
    #[must_use]
    pub const fn accounts(self) -> (Account, Account) {
        match self {
            Self::Hold => (Account::CreditsAvailable, Account::CreditsHeld),
            Self::Commit => (Account::CreditsHeld, Account::CreditsConsumed),
            Self::CommitMore => (Account::CreditsAvailable, Account::CreditsConsumed),
            Self::Release => (Account::CreditsHeld, Account::CreditsAvailable),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Commit => "commit",
            Self::CommitMore => "more",
            Self::Release => "release",
        }
    }
}
