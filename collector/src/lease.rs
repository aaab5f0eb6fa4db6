//! A lease on background work, prolonged while the work goes on.
//!
//! It spares work that another process would do a second time. It is no lock: what a job writes is safe when two do it.

use crate::storage::{JobStore, StorageError};
use std::time::Duration;
use submeter_common::{Clock, Timestamp};

/// How long a lease lasts. Long beside a batch of work, short beside the wait that a dead holder costs.
const DURATION: Duration = Duration::from_secs(60);
/// A lease is prolonged when less than this is left of it.
const RENEW_BELOW: Duration = Duration::from_secs(40);

/// The lease of one job for one holder, from the first [`Lease::keep`] on.
pub(crate) struct Lease<'a, S: ?Sized> {
    storage: &'a S,
    clock: &'a dyn Clock,
    job: &'static str,
    holder: &'a str,
    until: Option<Timestamp>,
}

impl<'a, S: JobStore + ?Sized> Lease<'a, S> {
    /// Names the lease; it is not taken yet.
    pub(crate) fn new(
        storage: &'a S,
        clock: &'a dyn Clock,
        job: &'static str,
        holder: &'a str,
    ) -> Self {
        Self {
            storage,
            clock,
            job,
            holder,
            until: None,
        }
    }

    /// Takes the lease, or prolongs it when it is time to; tells whether the holder has it.
    pub(crate) async fn keep(&mut self) -> Result<bool, StorageError> {
        let now = self.clock.now();
        let lasts = |until: Timestamp| until.saturating_sub(RENEW_BELOW) > now;
        if self.until.is_some_and(lasts) {
            return Ok(true);
        }
        let until = now.saturating_add(DURATION);
        let has_it = self
            .storage
            .take_lease(self.job, self.holder, now, until)
            .await?;
        self.until = has_it.then_some(until);
        Ok(has_it)
    }

    /// Gives the lease back.
    pub(crate) async fn release(self) -> Result<(), StorageError> {
        self.storage.release_lease(self.job, self.holder).await
    }
}
