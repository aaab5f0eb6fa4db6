//! A customer's balances, and the only door by which they change.

use super::{Account, Entry, LedgerUnit, Side, Standing, Transfer};
use crate::money::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use submeter_common::id::Digest;

/// A customer's balances as of the newest entry of its chain.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Books {
    /// Entries in the chain: the number of the newest.
    pub entries: u64,
    /// Digest of the newest entry; zeros before the first.
    pub head: Digest,
    units: Vec<UnitBooks>,
}

/// The accounts of one unit: debits minus credits. They add up to zero.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
struct UnitBooks {
    unit: LedgerUnit,
    accounts: BTreeMap<Account, Decimal>,
}

/// Why a transfer cannot be posted. Nothing was changed.
#[derive(Clone, Eq, PartialEq, Debug, thiserror::Error)]
pub enum PostError {
    /// It moves nothing, or from an account to itself, or on an account of another unit.
    #[error("transfer {0} must move an amount above zero between two accounts of its unit")]
    Malformed(String),
    /// There is not as much as it would take.
    #[error("transfer {transfer} would leave {balance} on {account:?}")]
    Overdrawn {
        /// The idempotency key.
        transfer: String,
        /// The account that would be overdrawn.
        account: Account,
        /// What would be left.
        balance: Decimal,
    },
    /// The books do not add up; a person has to look.
    #[error("the accounts of {unit:?} add up to {sum}, expected zero")]
    Unbalanced {
        /// The unit.
        unit: LedgerUnit,
        /// What they come to.
        sum: Decimal,
    },
    /// The chain has as many entries as can be numbered.
    #[error("the ledger of this customer is full")]
    Full,
}

impl Default for Books {
    fn default() -> Self {
        Self {
            entries: 0,
            head: Digest::ZERO,
            units: Vec::new(),
        }
    }
}

impl Books {
    /// Returns an account's balance, on the side on which it grows.
    #[must_use]
    pub fn balance(&self, unit: &LedgerUnit, account: Account) -> Decimal {
        let unit = self.units.iter().find(|books| books.unit == *unit);
        unit.map_or_else(Decimal::zero, |books| books.balance(account))
    }

    /// Returns each account of a unit that was ever moved, with its balance.
    pub fn accounts(&self, unit: &LedgerUnit) -> impl Iterator<Item = (Account, Decimal)> {
        let books = self.units.iter().find(|books| books.unit == *unit);
        books.into_iter().flat_map(|books| {
            let accounts = books.accounts.keys();
            accounts.map(|account| (*account, books.balance(*account)))
        })
    }

    /// Returns what the customer has and owes in a unit.
    #[must_use]
    pub fn standing(&self, unit: &LedgerUnit) -> Standing {
        let (has, owes) = match unit {
            LedgerUnit::Credits(_) => (Account::CreditsAvailable, Account::CreditsOwed),
            LedgerUnit::Money(_) => (Account::Wallet, Account::Receivable),
        };
        Standing {
            has: self.balance(unit, has),
            owes: self.balance(unit, owes),
        }
    }

    /// Returns the units in which anything was ever moved.
    pub fn units(&self) -> impl Iterator<Item = &LedgerUnit> {
        self.units.iter().map(|books| &books.unit)
    }

    /// Books a transfer as the next entry of the chain.
    ///
    /// # Errors
    /// As [`PostError`] says; the books are then as before.
    pub fn post(&mut self, transfer: Transfer) -> Result<Entry, PostError> {
        check_form(&transfer)?;
        let sequence = self.entries.checked_add(1).ok_or(PostError::Full)?;
        let found = self
            .units
            .iter()
            .position(|books| books.unit == transfer.unit);
        let mut books = found.map_or_else(
            || UnitBooks::empty(transfer.unit.clone()),
            |place| self.units[place].clone(),
        );
        books.add(transfer.debit, &transfer.amount);
        books.add(transfer.credit, &-&transfer.amount);
        for account in [transfer.debit, transfer.credit] {
            let balance = books.balance(account);
            if balance.is_negative() && !account.can_be_overdrawn() {
                let transfer = transfer.idempotency_key;
                return Err(PostError::Overdrawn {
                    transfer,
                    account,
                    balance,
                });
            }
        }
        books.check()?;
        match found {
            Some(place) => self.units[place] = books,
            None => self.units.push(books),
        }
        let standing = self.standing(&transfer.unit);
        let entry = Entry::seal(sequence, self.head, transfer, standing);
        self.entries = sequence;
        self.head = entry.digest;
        Ok(entry)
    }

    /// Checks that in every unit debits equal credits: to be called after reading.
    ///
    /// # Errors
    /// [`PostError::Unbalanced`].
    pub fn check(&self) -> Result<(), PostError> {
        self.units.iter().try_for_each(UnitBooks::check)
    }
}

impl UnitBooks {
    fn empty(unit: LedgerUnit) -> Self {
        Self {
            unit,
            accounts: BTreeMap::new(),
        }
    }

    fn balance(&self, account: Account) -> Decimal {
        let raw = self.accounts.get(&account).cloned().unwrap_or_default();
        match account.side() {
            Side::Debit => raw,
            Side::Credit => -&raw,
        }
    }

    fn add(&mut self, account: Account, amount: &Decimal) {
        *self.accounts.entry(account).or_default() += amount;
    }

    fn check(&self) -> Result<(), PostError> {
        let sum = self
            .accounts
            .values()
            .fold(Decimal::zero(), |sum, balance| &sum + balance);
        if sum.is_zero() {
            return Ok(());
        }
        let unit = self.unit.clone();
        Err(PostError::Unbalanced { unit, sum })
    }
}

fn check_form(transfer: &Transfer) -> Result<(), PostError> {
    let of_unit = transfer.debit.holds(&transfer.unit) && transfer.credit.holds(&transfer.unit);
    if transfer.amount.is_positive() && transfer.debit != transfer.credit && of_unit {
        return Ok(());
    }
    Err(PostError::Malformed(transfer.idempotency_key.clone()))
}

#[cfg(test)]
mod tests;
