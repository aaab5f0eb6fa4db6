//! Whether a posting's transfers say the same as its documents, checked before anything is written.
//!
//! A transfer is balanced by its shape: what one account gives another receives. What can go wrong is that
//! the transfers and the documents disagree. So per kind of credits the transfers have to move exactly
//! what the grants show as moved, and in money exactly what the documents say is owed.

use std::collections::{BTreeMap, BTreeSet};

use super::Posting;
use crate::credits::Grant;
use crate::ledger::{Account, LedgerUnit, Transfer};
use crate::money::{Currency, Decimal};

/// How a posting contradicts itself. It is a fault of whoever computed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// A transfer that moves nothing, or from an account to itself.
    #[error("transfer {0} must move an amount above zero between two accounts")]
    Transfer(String),
    /// Two transfers under one key: only one of them would be booked.
    #[error("the key {0} is given to two transfers")]
    Key(String),
    /// Somebody else's.
    #[error("{0} belongs to another customer than the posting")]
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

/// What the documents beside a posting (an invoice and how it stands) show as moved in money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoneyShown {
    /// In which currency.
    pub currency: Currency,
    /// What is owed more, or less.
    pub receivable: Decimal,
    /// What was received.
    pub cash: Decimal,
}

/// Checks that a posting's transfers and grants tell one story, and that money moves as the documents beside it show. Without
/// such documents nothing that is owed may move; money that comes into a wallet has no other document.
///
/// # Errors
/// The first contradiction found.
pub fn check(posting: &Posting, money: Option<&MoneyShown>) -> Result<(), Contradiction> {
    check_customers(posting)?;
    let moved = moved(&posting.transfers)?;
    let mut shown = shown(posting)?;
    if let Some(money) = money {
        let unit = LedgerUnit::Money(money.currency);
        add(&mut shown, &unit, Account::Receivable, &money.receivable);
        add(&mut shown, &unit, Account::Cash, &money.cash);
    }
    let is_shown = |account| is_shown(account) || (account == Account::Cash && money.is_some());
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
            return Err(Contradiction::Unbalanced {
                account,
                unit,
                moved: moved.clone(),
                shown: shown.clone(),
            });
        }
    }
    Ok(())
}

/// Accounts whose balance documents show, and the one that is always empty; the others are their counterparts.
const fn is_shown(account: Account) -> bool {
    matches!(
        account,
        Account::CreditsAvailable
            | Account::CreditsHeld
            | Account::CreditsExpired
            | Account::CreditsCarried
            | Account::Receivable
    )
}

fn check_customers(posting: &Posting) -> Result<(), Contradiction> {
    let changed = posting.grants_changed.iter().map(|change| &change.after);
    let grants = changed
        .chain(&posting.grants_new)
        .map(|grant| (&grant.customer_id, grant.grant_id.to_string()));
    let transfers = posting
        .transfers
        .iter()
        .map(|transfer| (&transfer.customer_id, transfer.transfer_id.to_string()));
    let reservations = posting
        .reservation
        .iter()
        .map(|held| (&held.customer_id, held.reservation_id.to_string()));
    for (owner, what) in grants.chain(transfers).chain(reservations) {
        if *owner != posting.customer_id {
            return Err(Contradiction::Customer(what));
        }
    }
    Ok(())
}

fn moved(transfers: &[Transfer]) -> Result<Balances, Contradiction> {
    let mut balances = Balances::new();
    let mut keys = BTreeSet::new();
    for transfer in transfers {
        if !keys.insert(transfer.idempotency_key.as_str()) {
            return Err(Contradiction::Key(transfer.idempotency_key.clone()));
        }
        if !transfer.amount.is_positive() || transfer.debit == transfer.credit {
            return Err(Contradiction::Transfer(transfer.transfer_id.to_string()));
        }
        let (unit, amount) = (&transfer.unit, &transfer.amount);
        add(&mut balances, unit, transfer.debit, amount);
        add(&mut balances, unit, transfer.credit, &-amount);
    }
    Ok(balances)
}

fn shown(posting: &Posting) -> Result<Balances, Contradiction> {
    let mut balances = Balances::new();
    for change in &posting.grants_changed {
        let (before, after) = (&change.before, &change.after);
        let same = before.grant_id == after.grant_id
            && before.customer_id == after.customer_id
            && before.credit_entitlement_id == after.credit_entitlement_id
            && before.amount == after.amount;
        if !same || is_overdrawn(after) {
            return Err(Contradiction::Grant(after.grant_id.to_string()));
        }
        let difference = [
            (
                Account::CreditsAvailable,
                &after.remaining - &before.remaining,
            ),
            (Account::CreditsHeld, &after.held - &before.held),
            (Account::CreditsExpired, &after.expired - &before.expired),
        ];
        add_grant(&mut balances, after, &difference);
    }
    for grant in &posting.grants_new {
        if is_overdrawn(grant) {
            return Err(Contradiction::Grant(grant.grant_id.to_string()));
        }
        let whole = [
            (Account::CreditsAvailable, grant.remaining.clone()),
            (Account::CreditsHeld, grant.held.clone()),
            (Account::CreditsExpired, grant.expired.clone()),
        ];
        add_grant(&mut balances, grant, &whole);
    }
    Ok(balances)
}

fn is_overdrawn(grant: &Grant) -> bool {
    grant.remaining.is_negative() || grant.held.is_negative() || grant.expired.is_negative()
}

fn add_grant(balances: &mut Balances, grant: &Grant, amounts: &[(Account, Decimal)]) {
    let unit = LedgerUnit::Credits(grant.credit_entitlement_id.clone());
    for (account, amount) in amounts {
        add(balances, &unit, *account, amount);
    }
}

fn add(balances: &mut Balances, unit: &LedgerUnit, account: Account, amount: &Decimal) {
    *balances
        .entry((unit.clone(), account))
        .or_insert_with(Decimal::zero) += amount;
}
