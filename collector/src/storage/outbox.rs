//! The outbox: messages, in order of the writes that brought them about.

use async_trait::async_trait;

use super::StorageError;
use crate::outbox::Message;

/// Keeps messages. They are written by the acts that bring them about, never alone.
#[async_trait]
pub trait OutboxStore: Send + Sync + 'static {
    /// Returns up to `limit` messages behind the sequence `after` (0: from the first), in order.
    async fn messages(&self, after: u64, limit: usize) -> Result<Vec<Message>, StorageError>;

    /// Drops every message up to the sequence `through`.
    async fn prune_messages(&self, through: u64) -> Result<(), StorageError>;
}
