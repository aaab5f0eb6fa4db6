//! The ledger: every change of credit or money as an immutable, balanced transfer.
//!
//! A [`Transfer`] moves one positive amount of one unit from one account to another, so that per unit Σ debits = Σ credits by
//! construction. Its idempotency key names its cause; the engine writes one transfer per key, ever. Balances are projections.

#![deny(clippy::float_arithmetic)]

mod account;
mod transfer;

pub use account::{Account, LedgerUnit};
pub use transfer::{Reference, Transfer};
