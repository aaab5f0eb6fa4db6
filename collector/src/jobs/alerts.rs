//! Looks at customers whose usage or credits changed, soon after it did.
//!
//! It runs beside the other jobs, on a thread of its own: a month's end must not keep a spend cap waiting.

use crate::{
    billing::{self, BillingError},
    lease::Lease,
    storage::{Storage, StorageError, Touch},
    telemetry::metric,
    test_clock::BillingClock,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use submeter_common::{CustomerId, Timestamp};
use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

/// What the lease is called.
const LEASE_NAME: &str = "alerts";
/// How often it is asked who was touched; nobody notices, where nobody is watched.
const INTERVAL: Duration = Duration::from_millis(250);
/// Touches read at once.
const TOUCHES_BATCH: usize = 256;
/// After this time a customer that could not be looked at is tried again, if nothing touches it before.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// Looks until `stop` becomes true (or its sender is gone); the look in progress is finished first.
pub async fn run<S: Storage + ?Sized>(
    storage: Arc<S>,
    clock: Arc<BillingClock>,
    mut stop: watch::Receiver<bool>,
) {
    let holder = Uuid::new_v4().to_string();
    let mut lookout = Lookout::default();
    let mut lease = Lease::new(&*storage, clock.machine(), LEASE_NAME, &holder);
    loop {
        let looked = match lease.keep().await {
            Ok(true) => {
                lookout
                    .look_at_all(&*storage, &clock, &mut lease, &stop)
                    .await
            }
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = looked {
            tracing::warn!(%error, "thresholds and balances have to wait: the next look tries again");
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            stopped = stop.wait_for(|stopped| *stopped) => {
                // A sender that is gone has nobody left to stop us later.
                drop(stopped);
                break;
            }
        }
    }
    if let Err(error) = lease.release().await {
        tracing::debug!(%error, "the lease on alerts ends by itself");
    }
}

/// Looks at everybody who was touched, each at the instant of its own time; used where time is told and waits for it.
pub(super) async fn look_now<S: Storage + ?Sized>(
    storage: &S,
    clock: &BillingClock,
) -> Result<(), StorageError> {
    let mut after = None;
    loop {
        let touches = storage.touched(after.as_ref(), TOUCHES_BATCH).await?;
        let Some(last) = touches.last() else {
            return Ok(());
        };
        after = Some(last.customer_id.clone());
        for touch in touches {
            match look(storage, clock, &touch).await {
                Err(BillingError::Storage(error)) if error.is_outage() => return Err(error),
                // The lookout says so.
                Ok(()) | Err(_) => {}
            }
        }
    }
}

async fn look<S: Storage + ?Sized>(
    storage: &S,
    clock: &BillingClock,
    touch: &Touch,
) -> Result<(), BillingError> {
    let now = now_of(storage, clock, &touch.customer_id).await?;
    billing::alert::look(storage, touch, now).await
}

/// The time that a customer lives in.
async fn now_of<S: Storage + ?Sized>(
    storage: &S,
    clock: &BillingClock,
    customer: &CustomerId,
) -> Result<Timestamp, StorageError> {
    let customer = storage.customer(customer).await?;
    let told = match customer.and_then(|customer| customer.test_clock) {
        Some(id) => storage.test_clock(&id).await?,
        None => None,
    };
    Ok(told.map_or_else(|| clock.present().now, |told| told.now))
}

/// Who could not be looked at: as of which touch, and since when.
#[derive(Default)]
struct Lookout {
    failed: BTreeMap<CustomerId, (u64, Instant)>,
}

impl Lookout {
    async fn look_at_all<S: Storage + ?Sized>(
        &mut self,
        storage: &S,
        clock: &BillingClock,
        lease: &mut Lease<'_, S>,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), StorageError> {
        let mut after = None;
        while lease.keep().await? && !*stop.borrow() {
            let touches = storage.touched(after.as_ref(), TOUCHES_BATCH).await?;
            let Some(last) = touches.last() else {
                break;
            };
            after = Some(last.customer_id.clone());
            for touch in touches {
                self.look_at(storage, clock, touch).await?;
            }
        }
        metrics::gauge!(metric::LOOKS_FAILED)
            .set(u32::try_from(self.failed.len()).unwrap_or(u32::MAX));
        Ok(())
    }

    /// Looks at one, unless that failed a moment ago and nothing changed since.
    async fn look_at<S: Storage + ?Sized>(
        &mut self,
        storage: &S,
        clock: &BillingClock,
        touch: Touch,
    ) -> Result<(), StorageError> {
        let customer = &touch.customer_id;
        if let Some((number, since)) = self.failed.get(customer)
            && *number == touch.number
            && since.elapsed() < RETRY_AFTER
        {
            return Ok(());
        }
        match look(storage, clock, &touch).await {
            Ok(()) => {
                self.failed.remove(customer);
                metrics::counter!(metric::LOOKS).increment(1);
                Ok(())
            }
            Err(BillingError::Storage(error)) if error.is_outage() => Err(error),
            Err(error) => {
                if !self.failed.contains_key(customer) {
                    tracing::error!(%error, %customer, "it cannot be seen whether usage or credits have reached a threshold");
                }
                let since = Instant::now();
                self.failed.insert(touch.customer_id, (touch.number, since));
                Ok(())
            }
        }
    }
}
