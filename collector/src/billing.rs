//! Billing: turns a closed period into one invoice, once.
//!
//! [`run`] finds due subscriptions and waits for completeness; a *close* is a pure computation from (subscription, usage,
//! grants, invoices so far) to a [`Settlement`], which the engine writes in one atomic write if the subscription still has
//! the expected open period. A crash anywhere and a second run give the same invoice, because every id in a settlement is
//! derived from its cause and the compare-and-set lets only one through.

#![deny(clippy::float_arithmetic)]

mod adjustment;
pub mod alert;
mod base_fee;
mod billed;
mod blocked;
pub mod change;
mod close;
pub mod collect;
mod credit_lines;
mod credit_note;
pub mod explain;
mod gather;
pub mod history;
mod holdings;
pub mod invoice;
mod line;
pub mod messages;
pub mod number;
mod open_periods;
mod opening;
pub mod paper;
mod prepaid;
mod preview;
mod reading;
mod reset;
pub mod run;
mod settlement;
pub mod simulation;
pub mod verify;

pub use crate::id::InvoiceId;
pub use blocked::BlockedDraft;
pub use change::{ChangeError, InvoiceChange, PaymentChange, SubscriptionChange};
pub use credit_note::{CreditNote, CreditedLine, NewCreditNote};
pub use history::{MeterUsage, PeriodUsage, history};
pub use holdings::holdings;
pub use invoice::{
    Collection, CreditUse, GrantUse, Invoice, InvoiceLine, InvoiceStatus, LineKind, NewInvoice,
};
pub use opening::{CycleTerms, NewSubscription, OpeningError, open};
pub use prepaid::pay_from_wallet;
pub use preview::preview;
pub use run::{RunReport, RunTerms, Waiting, close_due, close_due_at};
pub use settlement::Settlement;

use crate::{money::MoneyError, storage::StorageError, subscription::period::OutOfCalendar};
use submeter_common::{AggregateError, MeterId};

/// Why a period could not be billed. Nothing was written; the period stays open.
#[derive(Debug, thiserror::Error)]
pub enum BillingError {
    /// The storage failed; the next run tries again.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// An amount does not fit; a person has to look.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// What a meter comes to does not fit an amount; a person has to look.
    #[error("meter {meter_id}: {error}")]
    Rating {
        /// The meter.
        meter_id: MeterId,
        /// Why it cannot be rated.
        error: MoneyError,
    },
    /// A date does not exist; a person has to look.
    #[error(transparent)]
    Calendar(#[from] OutOfCalendar),
    /// Usage of one meter cannot be added up; a person has to look.
    #[error("the usage of meter {meter_id} cannot be added up: {error}")]
    Usage {
        /// The meter.
        meter_id: MeterId,
        /// What is wrong with it.
        error: AggregateError,
    },
    /// The subscription prices a meter that the catalog does not have; a person has to look.
    #[error("the subscription prices meter {0}, which the catalog does not have")]
    UnknownMeter(MeterId),
    /// The subscription burns credits that it does not attach; a person has to look.
    #[error("the subscription burns credits of {0}, which it does not attach")]
    UnattachedCredits(crate::credits::EntitlementId),
}

impl BillingError {
    /// Names the meter that cannot be rated.
    fn rating(meter_id: &MeterId) -> impl FnOnce(MoneyError) -> Self {
        |error| Self::Rating {
            meter_id: meter_id.clone(),
            error,
        }
    }
}

#[cfg(test)]
mod tests;
