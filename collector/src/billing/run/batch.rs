//! A batch of periods: computed on a thread of its own, then written at once.

use crate::{
    billing::{BillingError, Settlement, close, gather},
    storage::{Storage, StorageError},
    subscription::Subscription,
};
use std::{collections::BTreeSet, panic, sync::Arc};
use submeter_common::{AgentId, CustomerId, Timestamp};
use tokio::{runtime::Builder, task};

/// Periods to close, of different customers: two of one customer may burn the same credits.
#[derive(Default)]
pub(super) struct Batch {
    customers: BTreeSet<CustomerId>,
    ready: Vec<(Subscription, Vec<AgentId>)>,
}

/// A batch that is being computed.
pub(super) struct Computing {
    /// Whose periods are in it.
    pub customers: BTreeSet<CustomerId>,
    task: task::JoinHandle<Result<Vec<Computed>, StorageError>>,
}

/// What closing a period comes to.
pub(super) type Computed = (Subscription, Result<Settlement, BillingError>);

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Whether a period of the customer is in it already.
    pub(super) fn has(&self, customer: &CustomerId) -> bool {
        self.customers.contains(customer)
    }

    pub(super) fn add(&mut self, subscription: Subscription, missing: Vec<AgentId>) {
        self.customers.insert(subscription.customer_id.clone());
        self.ready.push((subscription, missing));
    }

    /// Begins to compute the settlements, as of `now`.
    pub(super) fn compute<S: Storage + ?Sized>(
        self,
        storage: &Arc<S>,
        now: Timestamp,
    ) -> Computing {
        let (storage, ready) = (Arc::clone(storage), self.ready);
        // A runtime of one thread, whose reads cost no hand-over to another.
        let task = task::spawn_blocking(move || {
            let alone = Builder::new_current_thread().build();
            let alone = alone.map_err(|error| {
                StorageError::Unavailable(format!("no runtime to compute invoices: {error}"))
            })?;
            Ok(alone.block_on(compute_all(&*storage, ready, now)))
        });
        Computing {
            customers: self.customers,
            task,
        }
    }
}

impl Computing {
    /// Waits until all are computed.
    pub(super) async fn done(self) -> Result<Vec<Computed>, StorageError> {
        match self.task.await {
            Ok(computed) => computed,
            Err(died) => match died.try_into_panic() {
                Ok(panic) => panic::resume_unwind(panic),
                Err(died) => Err(StorageError::Unavailable(died.to_string())),
            },
        }
    }
}

async fn compute_all<S: Storage + ?Sized>(
    storage: &S,
    ready: Vec<(Subscription, Vec<AgentId>)>,
    now: Timestamp,
) -> Vec<Computed> {
    let mut computed = Vec::with_capacity(ready.len());
    for (subscription, missing) in ready {
        let settlement = compute(storage, &subscription, missing, now).await;
        computed.push((subscription, settlement));
    }
    computed
}

/// Computes the settlement of the open period.
async fn compute<S: Storage + ?Sized>(
    storage: &S,
    subscription: &Subscription,
    missing: Vec<AgentId>,
    now: Timestamp,
) -> Result<Settlement, BillingError> {
    let closing = gather::gather(storage, subscription, missing, now).await?;
    close::close(&closing)
}
