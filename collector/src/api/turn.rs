//! Turns: requests on one customer's credits and money decide one after another.
//!
//! The storage keeps two of them from spending the same credit: the second is stale and has to decide anew. Here they only
//! wait for each other, so that many at once do not each decide again and again.

use std::sync::Arc;

use submeter_common::id::CustomerId;
use tokio::sync::{Mutex, MutexGuard};

use crate::storage::shard::{SHARDS, shard_of};

/// A turn for each shard of customers.
#[derive(Clone, Debug)]
pub struct Turns(Arc<[Mutex<()>]>);

impl Default for Turns {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Mutex::new(())).collect())
    }
}

impl Turns {
    /// Waits for the customer's turn; it lasts as long as the guard.
    pub(super) async fn of(&self, customer: &CustomerId) -> Option<MutexGuard<'_, ()>> {
        let turn = self.0.get(usize::from(shard_of(customer)))?;
        Some(turn.lock().await)
    }
}
