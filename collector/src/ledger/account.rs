//! Accounts of the ledger. Each customer has its own set per unit.

use crate::{id::EntitlementId, money::Currency};
use serde::{Deserialize, Serialize};

/// What a transfer moves.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LedgerUnit {
    /// Credits of one kind.
    Credits(EntitlementId),
    /// Minor units of one currency.
    Money(Currency),
}

/// An account of one customer and unit.
///
/// Credits flow `Issued → Available → Consumed | Expired | Voided`, through `Held` while they are reserved, and through `Carried`
/// from a grant to the one that takes its rest over. Usage beyond the credits flows `Owed → Consumed`. Money owed flows
/// `Revenue → Receivable`, and is settled from `Cash` or from the customer's `Wallet`.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    /// Where credits come from: all that was ever given.
    CreditsIssued,
    /// Credits the customer can burn.
    CreditsAvailable,
    /// Credits that are reserved.
    CreditsHeld,
    /// Credits that were used.
    CreditsConsumed,
    /// Credits that were forfeited at an expiry.
    CreditsExpired,
    /// Credits that were taken back.
    CreditsVoided,
    /// Credits on their way from one grant to the next; empty after every posting.
    CreditsCarried,
    /// Credits that were used and never given: overage.
    CreditsOwed,
    /// What the customer was invoiced and owes.
    Receivable,
    /// What was earned by invoices.
    Revenue,
    /// Money the customer paid in advance.
    Wallet,
    /// Money that came in.
    Cash,
}

/// The side on which an account grows.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Side {
    /// By being debited: what somebody has.
    Debit,
    /// By being credited: where something comes from, or what is owed.
    Credit,
}

impl Account {
    /// Returns the side on which the account grows; its balance is told on that side.
    #[must_use]
    pub const fn side(self) -> Side {
        match self {
            Self::CreditsIssued | Self::CreditsOwed | Self::Revenue | Self::Wallet => Side::Credit,
            Self::CreditsAvailable
            | Self::CreditsHeld
            | Self::CreditsConsumed
            | Self::CreditsExpired
            | Self::CreditsVoided
            | Self::CreditsCarried
            | Self::Receivable
            | Self::Cash => Side::Debit,
        }
    }

    /// Whether the balance may fall below zero. A customer can be owed money by a correction, which turns the accounts of
    /// money owed, earned and paid; nothing else can be spent that is not there.
    #[must_use]
    pub const fn can_be_overdrawn(self) -> bool {
        matches!(self, Self::Receivable | Self::Revenue | Self::Cash)
    }

    /// Whether the account is one of `unit`.
    #[must_use]
    pub const fn holds(self, unit: &LedgerUnit) -> bool {
        let money = matches!(
            self,
            Self::Receivable | Self::Revenue | Self::Wallet | Self::Cash
        );
        match unit {
            LedgerUnit::Money(_) => money,
            LedgerUnit::Credits(_) => !money,
        }
    }
}
