//! Transfers: the only way a balance changes.

use super::{Account, LedgerUnit};
use crate::{
    id::{CreditNoteId, GrantId, InvoiceId, PaymentId, ReservationId, TransferId},
    metadata::Metadata,
    money::Decimal,
};
use serde::{Deserialize, Serialize};
use submeter_common::{id::CustomerId, time::Timestamp};

/// One immutable movement of an amount from the credited account to the debited one.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Transfer {
    /// The id, derived from customer and idempotency key.
    pub transfer_id: TransferId,
    /// Whose accounts.
    pub customer_id: CustomerId,
    /// What is moved.
    pub unit: LedgerUnit,
    /// Account that receives the amount.
    pub debit: Account,
    /// Account that gives the amount.
    pub credit: Account,
    /// How much; always above zero.
    pub amount: Decimal,
    /// Names the cause. A second transfer of the customer with the same key is the same transfer and is not written again.
    pub idempotency_key: String,
    /// When it was booked.
    pub at: Timestamp,
    /// Why.
    pub cause: Cause,
    /// What whoever asked for it wants to be remembered.
    #[serde(default, skip_serializing_if = "Note::is_empty")]
    pub note: Note,
}

/// Why something is moved, and what it belongs to. The transfer's direction tells a giving back from a taking.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Cause {
    /// A grant was made.
    Granted {
        /// The grant.
        grant_id: GrantId,
    },
    /// Metered usage burned credits of a grant, or a correction gave them back.
    Burned {
        /// The grant they came from.
        grant_id: GrantId,
        /// The invoice that names them.
        invoice_id: InvoiceId,
    },
    /// A call of the API took credits.
    Debited {
        /// The grant they came from.
        grant_id: GrantId,
    },
    /// Credits were taken back.
    Voided {
        /// The grant they came from.
        grant_id: GrantId,
    },
    /// The rest of a grant was forfeited at its expiry.
    Expired {
        /// The grant.
        grant_id: GrantId,
    },
    /// The part of a rest that did not carry over was forfeited.
    Forfeited {
        /// The grant.
        grant_id: GrantId,
    },
    /// A rest was carried over: out of one grant, then into its successor.
    CarriedOver {
        /// The grant that gives or gets.
        grant_id: GrantId,
    },
    /// Credits were reserved.
    Held {
        /// The grant they came from.
        grant_id: GrantId,
        /// For what.
        reservation_id: ReservationId,
    },
    /// Reserved credits were used.
    Committed {
        /// The grant they came from.
        grant_id: GrantId,
        /// Which reservation.
        reservation_id: ReservationId,
    },
    /// Reserved credits came back.
    Released {
        /// The grant they go back to.
        grant_id: GrantId,
        /// Which reservation.
        reservation_id: ReservationId,
    },
    /// Usage went beyond the credits, or a correction says it did not.
    Overage {
        /// The invoice that names it.
        invoice_id: InvoiceId,
    },
    /// Overage was invoiced in money, and so is not owed in credits.
    OverageInvoiced {
        /// The invoice.
        invoice_id: InvoiceId,
    },
    /// Overage was forgiven at the period's end.
    OverageForgiven {
        /// The invoice of the period.
        invoice_id: InvoiceId,
    },
    /// Overage was repaid from a grant.
    OverageRepaid {
        /// The grant.
        grant_id: GrantId,
    },
    /// The total of an invoice, or its withdrawal.
    Invoiced {
        /// The invoice.
        invoice_id: InvoiceId,
    },
    /// What a credit note took back.
    Credited {
        /// The credit note.
        credit_note_id: CreditNoteId,
    },
    /// Money was received.
    Paid {
        /// The payment.
        payment_id: PaymentId,
    },
    /// Money of the wallet paid for an invoice.
    WalletApplied {
        /// The invoice.
        invoice_id: InvoiceId,
    },
    /// Money was put into the wallet, or taken out.
    WalletAdjusted,
}

impl Cause {
    /// Returns the grant whose balance the transfer changes.
    #[must_use]
    pub const fn grant_id(&self) -> Option<&GrantId> {
        match self {
            Self::Granted { grant_id }
            | Self::Burned { grant_id, .. }
            | Self::Debited { grant_id }
            | Self::Voided { grant_id }
            | Self::Expired { grant_id }
            | Self::Forfeited { grant_id }
            | Self::CarriedOver { grant_id }
            | Self::Held { grant_id, .. }
            | Self::Committed { grant_id, .. }
            | Self::Released { grant_id, .. }
            | Self::OverageRepaid { grant_id } => Some(grant_id),
            _ => None,
        }
    }

    /// Returns the invoice that the transfer belongs to.
    #[must_use]
    pub const fn invoice_id(&self) -> Option<&InvoiceId> {
        match self {
            Self::Burned { invoice_id, .. }
            | Self::Overage { invoice_id }
            | Self::OverageInvoiced { invoice_id }
            | Self::OverageForgiven { invoice_id }
            | Self::Invoiced { invoice_id }
            | Self::WalletApplied { invoice_id } => Some(invoice_id),
            _ => None,
        }
    }

    /// Returns the reservation that the transfer belongs to.
    #[must_use]
    pub const fn reservation_id(&self) -> Option<&ReservationId> {
        match self {
            Self::Held { reservation_id, .. }
            | Self::Committed { reservation_id, .. }
            | Self::Released { reservation_id, .. } => Some(reservation_id),
            _ => None,
        }
    }
}

/// What whoever asks for a transfer wants to be remembered with it.
#[derive(Clone, Eq, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Note {
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the application attaches.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
}

impl Note {
    /// Whether there is nothing to remember.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.reason.is_none() && self.metadata.is_empty()
    }
}
