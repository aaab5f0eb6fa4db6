//! The audit log: who changed what, and what looked wrong.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use submeter_common::time::Timestamp;

use super::{Page, StorageError};

/// Something to remember for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When it happened.
    pub at: Timestamp,
    /// Who did it: a key's id, `agent:<id>`, or `collector`.
    pub actor: String,
    /// What was done, as `noun.verb` (`meter.created`, `agent.forked`).
    pub action: String,
    /// To what: an id.
    pub subject: String,
    /// Further facts.
    pub detail: serde_json::Value,
}

/// An entry with its place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Place in the log, from 1, without gaps.
    pub audit_id: u64,
    /// What happened.
    #[serde(flatten)]
    pub entry: AuditEntry,
}

/// Keeps the audit log.
#[async_trait]
pub trait AuditStore: Send + Sync + 'static {
    /// Appends an entry.
    async fn append_audit(&self, entry: AuditEntry) -> Result<AuditRecord, StorageError>;

    /// Lists the log, newest first.
    async fn audit(&self, page: Page) -> Result<Vec<AuditRecord>, StorageError>;
}
