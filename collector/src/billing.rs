//! Billing: turns a closed period into one invoice, once.
//!
//! [`run`] finds due subscriptions and waits for completeness; a *close* is a pure computation from (subscription, usage,
//! grants, invoices so far) to a [`Settlement`], which the engine writes in one atomic write if the subscription still has
//! the expected open period. A crash anywhere and a second run give the same invoice, because every id in a settlement is
//! derived from its cause and the compare-and-set lets only one through.

#![deny(clippy::float_arithmetic)]

pub mod invoice;
pub mod number;
mod settlement;

pub use invoice::{
    CreditUse, GrantUse, Invoice, InvoiceLine, InvoiceStatus, LineKind, LineSource, NewInvoice,
};
pub use crate::id::InvoiceId;
pub use settlement::{GrantChange, Settlement};
