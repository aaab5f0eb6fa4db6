//! Drops what the world was told long ago.

use crate::storage::Storage;
use std::time::{Duration, Instant};
use submeter_common::Timestamp;

/// How often is looked. Short beside any retention that makes sense, long beside a write.
const PRUNED_EVERY: Duration = Duration::from_secs(60);

/// Prunes the outbox from time to time.
#[derive(Debug, Default)]
pub(super) struct Pruning {
    last: Option<Instant>,
}

impl Pruning {
    /// Drops messages that are older than `retention`, when it is time to look.
    pub(super) async fn turn<S: Storage + ?Sized>(
        &mut self,
        storage: &S,
        now: Timestamp,
        retention: Duration,
    ) {
        let is_early = |last: Instant| last.elapsed() < PRUNED_EVERY.min(retention);
        if self.last.is_some_and(is_early) {
            return;
        }
        self.last = Some(Instant::now());
        match storage.prune_messages(now, retention).await {
            Ok(0) => {}
            Ok(dropped) => tracing::info!(dropped, "dropped old messages of the outbox"),
            Err(error) => tracing::warn!(%error, "the outbox cannot be pruned now"),
        }
    }
}
