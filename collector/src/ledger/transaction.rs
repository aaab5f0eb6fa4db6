//! What kind of transaction an entry is, in the words that callers know.

use super::{Account, Cause, Entry};
use serde::{Deserialize, Serialize};

/// Kinds of transactions on credits.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransactionType {
    /// Credits were given.
    CreditAdded,
    /// Credits were used, or set aside.
    CreditDeducted,
    /// Credits were forfeited at an expiry.
    CreditExpired,
    /// Credits went from one grant to its successor.
    CreditRolledOver,
    /// What of a rest did not go over.
    RolloverForfeited,
    /// Usage went beyond the credits.
    OverageCharged,
    /// Overage was invoiced, forgiven or repaid.
    OverageReset,
    /// Credits were taken back.
    ManualAdjustment,
    /// Credits came back: by a correction, or out of a reservation.
    Refund,
}

impl Entry {
    /// Whether the entry moves anything on `account`.
    #[must_use]
    pub fn touches(&self, account: Account) -> bool {
        self.transfer.debit == account || self.transfer.credit == account
    }

    /// Returns the kind of transaction on credits; none for money.
    #[must_use]
    pub fn transaction_type(&self) -> Option<TransactionType> {
        let comes_back = self.transfer.debit == Account::CreditsAvailable;
        Some(match self.transfer.cause {
            Cause::Granted { .. } => TransactionType::CreditAdded,
            Cause::Burned { .. } | Cause::Committed { .. } if comes_back => TransactionType::Refund,
            Cause::Burned { .. }
            | Cause::Debited { .. }
            | Cause::Held { .. }
            | Cause::Committed { .. } => TransactionType::CreditDeducted,
            Cause::Released { .. } => TransactionType::Refund,
            Cause::Voided { .. } => TransactionType::ManualAdjustment,
            Cause::Expired { .. } => TransactionType::CreditExpired,
            Cause::Forfeited { .. } => TransactionType::RolloverForfeited,
            Cause::CarriedOver { .. } => TransactionType::CreditRolledOver,
            Cause::Overage { .. } => TransactionType::OverageCharged,
            Cause::OverageInvoiced { .. }
            | Cause::OverageForgiven { .. }
            | Cause::OverageRepaid { .. } => TransactionType::OverageReset,
            Cause::Invoiced { .. }
            | Cause::Credited { .. }
            | Cause::Paid { .. }
            | Cause::WalletApplied { .. }
            | Cause::WalletAdjusted => return None,
        })
    }
}
