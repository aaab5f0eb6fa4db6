//! The ledger: every change of credit or money as an immutable, balanced transfer.
//!
//! Each customer has a chain of [`Entry`]s, numbered without gaps; each entry holds one [`Transfer`], the digest of the entry
//! before it, and its own. A transfer moves one positive amount of one unit from one account to another, so that per unit
//! Σ debits = Σ credits. Its idempotency key names its cause: an engine writes one entry per key and customer, ever.
//!
//! Balances are projections. [`Books`] are the customer's, kept beside the chain so that nothing has to be added up to know
//! them; [`Audit`] adds the chain up again and says whether books and grants are what it comes to.
//!
//! No account but those of money owed and earned can be overdrawn: [`Books::post`] refuses, and an engine posts under its
//! writer's lock, so that no two writers can spend the same credit.

#![deny(clippy::float_arithmetic)]

mod account;
mod audit;
mod books;
mod entry;
mod transaction;
mod transfer;

pub use account::{Account, LedgerUnit, Side};
pub use audit::{Audit, Fault, GrantBalance};
pub use books::{Books, PostError};
pub use entry::{Entry, Standing};
pub use transaction::TransactionType;
pub use transfer::{Cause, Note, Transfer};
