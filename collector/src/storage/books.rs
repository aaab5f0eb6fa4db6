//! Whether a settlement's ledger says the same as its documents, checked before anything is written.
//!
//! A transfer is balanced by its shape: what one account gives another receives. What can go wrong is that
//! the transfers and the documents disagree. So per kind of credits the transfers have to move exactly
//! what the grants show as moved, and in money exactly the invoice's total.

use std::collections::BTreeMap;

use crate::billing::{InvoiceChange, Settlement};
use crate::credits::Grant;
use crate::ledger::{Account, LedgerUnit, Transfer};
use crate::money::Decimal;

/// How a settlement contradicts itself. It is a fault of whoever computed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BooksError {
    /// A transfer that moves nothing, or from an account to itself.
    #[error("transfer {0} must move an amount above zero between two accounts")]
    Transfer(String),
    /// Somebody else's.
    #[error("{0} belongs to another customer than the subscription")]
    Customer(String),
    /// A grant after the change is not the grant before it, or less than empty.
    #[error("grant {0} must stay itself and must not be overdrawn")]
    Grant(String),
    /// The transfers move another amount than the documents show.
    #[error("the transfers move {moved} on {account:?} in {unit:?}, the documents {shown}")]
    Unbalanced {
        /// The account.
        account: Account,
        /// What is moved.
        unit: LedgerUnit,
        /// By the transfers.
        moved: Decimal,
        /// By the documents.
        shown: Decimal,
    },
}

type Balances = BTreeMap<(LedgerUnit, Account), Decimal>;

/// Checks that a settlement's transfers, grants and invoice tell one story.
///
/// # Errors
/// The first contradiction found.
pub(super) fn check(settlement: &Settlement) -> Result<(), BooksError> {
    check_customers(settlement)?;
    let moved = moved(&settlement.transfers)?;
    let shown = shown(settlement)?;
    let zero = Decimal::zero();
    for key in moved
        .keys()
        .chain(shown.keys())
        .filter(|(_, account)| is_shown(*account))
    {
        let (moved, shown) = (
            moved.get(key).unwrap_or(&zero),
            shown.get(key).unwrap_or(&zero),
        );
        if moved != shown {
            let (unit, account) = key.clone();
            return Err(BooksError::Unbalanced {
                account,
                unit,
                moved: moved.clone(),
                shown: shown.clone(),
            });
        }
    }
    Ok(())
}

/// Checks that the transfers of a change to an invoice move what its documents show: the receivable by as much as the invoice
/// shows less or more, and cash by what was paid.
///
/// # Errors
/// The first contradiction found.
pub(super) fn check_change(change: &InvoiceChange) -> Result<(), BooksError> {
    let (before, after) = (&change.before, &change.after);
    for transfer in &change.transfers {
        if transfer.customer_id != after.customer_id {
            return Err(BooksError::Customer(transfer.transfer_id.to_string()));
        }
    }
    let moved = moved(&change.transfers)?;
    let unit = LedgerUnit::Money(after.currency);
    let shown = [
        (
            Account::Receivable,
            difference(after.receivable(), before.receivable()),
        ),
        (
            Account::Cash,
            difference(after.collection.paid, before.collection.paid),
        ),
    ];
    for (account, shown) in shown {
        let key = (unit.clone(), account);
        let moved = moved.get(&key).cloned().unwrap_or_else(Decimal::zero);
        if moved != shown {
            return Err(BooksError::Unbalanced {
                account,
                unit,
                moved,
                shown,
            });
        }
    }
    Ok(())
}

fn difference(after: i64, before: i64) -> Decimal {
    &Decimal::from(after) - &Decimal::from(before)
}

/// Accounts whose balance documents show; the others are their counterparts.
const fn is_shown(account: Account) -> bool {
    matches!(
        account,
        Account::CreditsAvailable | Account::CreditsExpired | Account::Receivable
    )
}

fn check_customers(settlement: &Settlement) -> Result<(), BooksError> {
    let customer = &settlement.subscription.customer_id;
    let grants = settlement
        .grants_changed
        .iter()
        .map(|change| &change.after)
        .chain(&settlement.grants_new);
    let named = grants
        .map(|grant| (&grant.customer_id, grant.grant_id.to_string()))
        .chain(
            settlement
                .transfers
                .iter()
                .map(|transfer| (&transfer.customer_id, transfer.transfer_id.to_string())),
        )
        .chain(
            settlement
                .invoice
                .iter()
                .map(|invoice| (&invoice.customer_id, invoice.invoice_id.to_string())),
        );
    for (owner, what) in named {
        if owner != customer {
            return Err(BooksError::Customer(what));
        }
    }
    Ok(())
}

fn moved(transfers: &[Transfer]) -> Result<Balances, BooksError> {
    let mut balances = Balances::new();
    for transfer in transfers {
        if !transfer.amount.is_positive() || transfer.debit == transfer.credit {
            return Err(BooksError::Transfer(transfer.transfer_id.to_string()));
        }
        add(
            &mut balances,
            &transfer.unit,
            transfer.debit,
            &transfer.amount,
        );
        add(
            &mut balances,
            &transfer.unit,
            transfer.credit,
            &-&transfer.amount,
        );
    }
    Ok(balances)
}

fn shown(settlement: &Settlement) -> Result<Balances, BooksError> {
    let mut balances = Balances::new();
    for change in &settlement.grants_changed {
        let (before, after) = (&change.before, &change.after);
        let same = before.grant_id == after.grant_id
            && before.customer_id == after.customer_id
            && before.credit_entitlement_id == after.credit_entitlement_id
            && before.amount == after.amount;
        if !same || after.remaining.is_negative() || after.expired.is_negative() {
            return Err(BooksError::Grant(after.grant_id.to_string()));
        }
        add_grant(
            &mut balances,
            after,
            &(&after.remaining - &before.remaining),
            &(&after.expired - &before.expired),
        );
    }
    for grant in &settlement.grants_new {
        add_grant(&mut balances, grant, &grant.remaining, &grant.expired);
    }
    if let Some(invoice) = &settlement.invoice {
        let unit = LedgerUnit::Money(invoice.currency);
        add(
            &mut balances,
            &unit,
            Account::Receivable,
            &Decimal::from(invoice.total),
        );
    }
    Ok(balances)
}

fn add_grant(balances: &mut Balances, grant: &Grant, remaining: &Decimal, expired: &Decimal) {
    let unit = LedgerUnit::Credits(grant.credit_entitlement_id.clone());
    add(balances, &unit, Account::CreditsAvailable, remaining);
    add(balances, &unit, Account::CreditsExpired, expired);
}

fn add(balances: &mut Balances, unit: &LedgerUnit, account: Account, amount: &Decimal) {
    *balances
        .entry((unit.clone(), account))
        .or_insert_with(Decimal::zero) += amount;
}
