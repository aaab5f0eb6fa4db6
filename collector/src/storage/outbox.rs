//! The outbox: messages, in order of the writes that brought them about.

use std::time::Duration;

use async_trait::async_trait;
use submeter_common::time::Timestamp;

use super::StorageError;
use crate::outbox::Message;

/// Keeps messages. They are written by the acts that bring them about, never alone.
#[async_trait]
pub trait OutboxStore: Send + Sync + 'static {
    /// Returns up to `limit` messages behind the sequence `after` (0: from the first), in order.
    async fn messages(&self, after: u64, limit: usize) -> Result<Vec<Message>, StorageError>;

    /// Drops the messages that have been there for `retention` at `now`, and returns how many. It is to be called often: a
    /// message's age is counted from the first call after it was written, in steps of a 24th of the retention.
    async fn prune_messages(
        &self,
        now: Timestamp,
        retention: Duration,
    ) -> Result<u64, StorageError>;
}
