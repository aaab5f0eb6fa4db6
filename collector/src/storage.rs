//! What the collector keeps, as traits by room.
//!
//! The domain and the surfaces name only these traits; an engine implements them. Each operation is a
//! whole business act (`apply_frame`, `settle`), not a key-value access, because that is the unit that
//! has to be atomic: an engine makes each one a single durable write, or none at all. What returns
//! `Ok` is on stable storage.
//!
//! Not promised: no transaction spans two operations, and a list that is paged while others write may
//! repeat or skip an entry at a page's edge.
//!
//! One conformance suite (`tests/storage_conformance.rs`) says what every engine has to do.

mod agent;
mod alert;
mod audit;
mod catalog;
mod customer;
mod health;
mod invoice;
mod job;
mod key;
mod ledger;
mod outbox;
mod page;
mod payment;
pub mod rocksdb;
pub mod shard;
mod subscription;
mod test_clock;
mod trust;
mod usage;

pub use agent::{AcknowledgeOutcome, AgentStore, Registration, RetireOutcome};
pub use alert::{AddOutcome, AlertStore, TellOutcome, Telling, ThresholdFilter, Touch};
pub use audit::{AuditEntry, AuditRecord, AuditStore};
pub use catalog::{CatalogSnapshot, CatalogStore};
pub use customer::{CustomerFilter, CustomerStore, InsertOutcome};
pub use health::{DiskRoom, HealthStore};
pub use invoice::{ChangeOutcome, CreditNoteFilter, InvoiceFilter, InvoiceStore, SettleOutcome};
pub use job::JobStore;
pub use key::{KeyStore, RevokeOutcome};
pub use ledger::{EntryFilter, LedgerStore, PostOutcome, RebuildOutcome};
pub use outbox::OutboxStore;
pub use page::Page;
pub use payment::{CollectionCursor, PaymentStore};
pub use subscription::{
    CreateOutcome, DueCursor, SubscriptionFilter, SubscriptionOutcome, SubscriptionStore,
};
pub use test_clock::TestClockStore;
pub use trust::{TrustStore, TrustedKey};
pub use usage::{IncomingFrame, QuarantinedRow, UsageStore};

/// What an engine answers when it cannot do as asked, by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The engine cannot serve now (stopping, overloaded): the caller may try again later.
    /// Whether a write took place is unknown; every write here may be repeated safely.
    #[error("the storage is unavailable: {0}")]
    Unavailable(String),
    /// There is too little room on the disk: the caller may try again when somebody has made some. Else as
    /// [`StorageError::Unavailable`]. The text tells nothing of what is stored.
    #[error("{0}")]
    DiskFull(String),
    /// What is stored cannot be read: a person has to look. Nothing was changed.
    #[error("the stored {what} cannot be read: {detail}")]
    Corrupt {
        /// The kind of record and its key.
        what: String,
        /// What was found.
        detail: String,
    },
    /// The request breaks an invariant of the books (unbalanced transfers, a settlement of a
    /// subscription that does not exist). It is a fault of the caller; nothing was written.
    #[error("refused to write: {0}")]
    Refused(String),
}

impl StorageError {
    /// Whether the engine as a whole cannot serve now. Else it is about the record that was asked for, and work on others goes on.
    #[must_use]
    pub const fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::DiskFull(_))
    }
}

/// Whether a document was written over the one its author had read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum PutOutcome {
    /// Written.
    Written,
    /// What is stored is not what the author had read (or, for a new document, the id is taken):
    /// nothing was written. Read again and decide again.
    Conflict,
}

/// All of an engine's rooms.
pub trait Storage:
    AgentStore
    + AlertStore
    + AuditStore
    + CatalogStore
    + CustomerStore
    + HealthStore
    + InvoiceStore
    + JobStore
    + KeyStore
    + LedgerStore
    + OutboxStore
    + PaymentStore
    + SubscriptionStore
    + TestClockStore
    + TrustStore
    + UsageStore
    + std::fmt::Debug
{
}

impl<T> Storage for T where
    T: AgentStore
        + AlertStore
        + AuditStore
        + CatalogStore
        + CustomerStore
        + HealthStore
        + InvoiceStore
        + JobStore
        + KeyStore
        + LedgerStore
        + OutboxStore
        + PaymentStore
        + SubscriptionStore
        + TestClockStore
        + TrustStore
        + UsageStore
        + std::fmt::Debug
{
}
