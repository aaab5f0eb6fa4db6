//! What every handler may use.

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use submeter_common::id::CustomerId;
use submeter_common::time::{Clock, Timestamp};

use super::room::Rooms;
use super::turn::Turns;
use crate::auth::ApiKey;
use crate::config::{ApiConfig, Mode};
use crate::id::TestClockId;
use crate::payment::Collecting;
use crate::storage::{AuditEntry, Storage, StorageError};
use crate::test_clock::BillingClock;

/// The rooms behind the API; cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    /// Everything the collector keeps.
    pub storage: Arc<dyn Storage>,
    /// The time that billing lives in.
    pub clock: Arc<BillingClock>,
    /// The time of the test clock that a request's customer lives by; none of the others.
    pub told: Option<Timestamp>,
    /// Who is asked for payments, and by which terms.
    pub collecting: Arc<Collecting>,
    /// Bounds of requests.
    pub config: Arc<ApiConfig>,
    /// Who decides on a customer's credits and money.
    pub turns: Turns,
    /// Memory that requests may take together.
    pub rooms: Rooms,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
}

impl ApiState {
    /// The time now: that of the request's customer after [`ApiState::in_time_of`], else of all who live by no test clock of
    /// their own.
    pub(super) fn now(&self) -> Timestamp {
        self.told.unwrap_or_else(|| self.clock.now())
    }

    /// The same rooms in the time of a customer. One that nobody knows lives by no clock.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn in_time_of(mut self, customer: &str) -> Result<Self, StorageError> {
        if self.config.mode == Mode::Test
            && let Ok(id) = CustomerId::new(customer)
            && let Some(customer) = self.storage.customer(&id).await?
        {
            self.told = Some(self.now_under(customer.test_clock.as_ref()).await?);
        }
        Ok(self)
    }

    /// The machine's time: of agents, keys and what is only noted.
    pub(super) fn machine_now(&self) -> Timestamp {
        self.clock.machine().now()
    }

    /// The time now of those who live by `test_clock`, or by none of their own.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn now_under(
        &self,
        test_clock: Option<&TestClockId>,
    ) -> Result<Timestamp, StorageError> {
        let Some(id) = test_clock else {
            return Ok(self.now());
        };
        let clock = self.storage.test_clock(id).await?;
        Ok(clock.map_or_else(|| self.now(), |clock| clock.now))
    }

    /// Remembers a change: who, what, on what.
    ///
    /// # Errors
    /// When the store fails. The change itself stands; the caller's retry meets it.
    pub(super) async fn audit(
        &self,
        caller: &ApiKey,
        action: &str,
        subject: &str,
    ) -> Result<(), StorageError> {
        let entry = AuditEntry {
            at: self.machine_now(),
            actor: caller.key_id.clone(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            detail: serde_json::Value::Null,
        };
        self.storage.append_audit(entry).await.map(|_| ())
    }
}
