//! What every handler may use.

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use submeter_common::time::{Clock, Timestamp};

use super::room::Rooms;
use super::turn::Turns;
use crate::auth::ApiKey;
use crate::config::ApiConfig;
use crate::storage::{AuditEntry, Storage, StorageError};

/// The rooms behind the API; cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    /// Everything the collector keeps.
    pub storage: Arc<dyn Storage>,
    /// The time.
    pub clock: Arc<dyn Clock>,
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
    /// The time now.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
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
            at: self.now(),
            actor: caller.key_id.clone(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            detail: serde_json::Value::Null,
        };
        self.storage.append_audit(entry).await.map(|_| ())
    }
}
