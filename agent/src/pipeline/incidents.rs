//! What befell this directory's identity or state: remembered, shown, and told to the collector once.

use submeter_common::protocol::{INCIDENTS_PER_REGISTER_MAX, Incident};

use super::shared::{Shared, lock};
use super::{Pipeline, PipelineError};
use crate::store::lineage::{INCIDENTS_KEPT, StoredIncident};
use crate::store::{Durability, StoreError};

impl Pipeline {
    /// The newest incidents, oldest first.
    #[must_use]
    pub fn incidents(&self) -> Vec<Incident> {
        let incidents = lock(&self.shared().incidents);
        incidents.iter().map(|one| one.incident.clone()).collect()
    }

    /// Those that the collector does not know of, as many as one register takes.
    #[must_use]
    pub fn untold_incidents(&self) -> Vec<Incident> {
        let incidents = lock(&self.shared().incidents);
        let untold = incidents.iter().filter(|one| !one.told);
        untold
            .map(|one| one.incident.clone())
            .take(INCIDENTS_PER_REGISTER_MAX)
            .collect()
    }

    /// Notes that the collector knows of these.
    ///
    /// # Errors
    /// The write failed; they are told again, and recorded once.
    pub fn note_told(&self, told: &[Incident]) -> Result<(), PipelineError> {
        if told.is_empty() {
            return Ok(());
        }
        self.shared().change_incidents(|incidents| {
            for one in incidents {
                one.told |= told.iter().any(|known| known.id == one.incident.id);
            }
        })
    }

    /// Remembers an incident; `told` when the collector knows of it already.
    ///
    /// # Errors
    /// The write failed.
    pub fn record_incident(&self, incident: Incident, told: bool) -> Result<(), PipelineError> {
        self.shared()
            .change_incidents(|incidents| incidents.push(StoredIncident { incident, told }))
    }
}

impl Shared {
    fn change_incidents(
        &self,
        change: impl FnOnce(&mut Vec<StoredIncident>),
    ) -> Result<(), PipelineError> {
        let mut incidents = lock(&self.incidents);
        let mut changed = incidents.clone();
        change(&mut changed);
        keep_newest(&mut changed);
        let mut batch = self.store.batch();
        batch.put_incidents(&changed);
        let failed = |error: StoreError| PipelineError::Failed(error.to_string());
        self.write(batch, Durability::Synced).map_err(failed)?;
        *incidents = changed;
        Ok(())
    }
}

/// Forgets the oldest incidents beyond the bound.
pub(super) fn keep_newest(incidents: &mut Vec<StoredIncident>) {
    let surplus = incidents.len().saturating_sub(INCIDENTS_KEPT);
    incidents.drain(..surplus);
}
