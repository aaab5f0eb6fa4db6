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
/// Credits flow `Issued → Available → Consumed | Expired`; money owed flows
/// `Revenue → Receivable → Cash`.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    /// Where granted credits come from; its balance is minus all that was ever granted.
    CreditsIssued,
    /// Credits the customer can burn.
    CreditsAvailable,
    /// Credits that usage burned.
    CreditsConsumed,
    /// Credits that were forfeited.
    CreditsExpired,
    /// What the customer was invoiced and owes.
    Receivable,
    /// What was earned by invoices.
    Revenue,
    /// Money received.
    Cash,
}
