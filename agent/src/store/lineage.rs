//! Who wrote the journal, what befell the directory's identity, and a change of it that is under way.
//!
//! All three are JSON: few, small, and read at a start.

use serde::{Deserialize, Serialize};
use submeter_common::protocol::{Incident, Life, Position};
use uuid::Uuid;

use super::meta::StoredIdentity;
use super::{Batch, Family, Store, StoreError, key};

/// Incidents that are remembered; the collector's audit log keeps all that were told.
pub(crate) const INCIDENTS_KEPT: usize = 32;

/// An incident, and whether the collector knows of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StoredIncident {
    pub(crate) incident: Incident,
    pub(crate) told: bool,
}

/// A move to another place in a chain of frames, written before its first step and deleted with its last: the frames that
/// are left in the outbox meanwhile are those yet to be opened again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StoredReseat {
    /// Where the chain goes on.
    pub(crate) position: Position,
    /// Under which identity from then on.
    pub(crate) agent_id: submeter_common::id::AgentId,
    pub(crate) state_nonce: Uuid,
    /// Accepted events that the collector is taken to hold.
    pub(crate) accepted: u64,
    /// What is told of it.
    pub(crate) incident: Option<Incident>,
}

impl StoredReseat {
    /// The identity it leads to; the fingerprints' key stays.
    pub(crate) fn identity(&self, fingerprint_key: [u8; 16]) -> StoredIdentity {
        StoredIdentity {
            agent_id: self.agent_id,
            state_nonce: self.state_nonce.into_bytes(),
            fingerprint_key,
        }
    }
}

impl Batch<'_> {
    pub(crate) fn put_lineage(&mut self, lives: &[Life]) {
        self.put_json(key::LINEAGE, &lives);
    }

    pub(crate) fn put_incidents(&mut self, incidents: &[StoredIncident]) {
        self.put_json(key::INCIDENTS, &incidents);
    }

    pub(crate) fn put_reseat(&mut self, reseat: &StoredReseat) {
        self.put_json(key::RESEAT, reseat);
    }

    pub(crate) fn delete_reseat(&mut self) {
        self.delete(Family::Meta, key::RESEAT);
    }

    fn put_json<T: Serialize>(&mut self, key: &[u8], value: &T) {
        let json = serde_json::to_vec(value).expect("plain numbers and texts are JSON");
        self.put(Family::Meta, key, &json);
    }
}

impl Store {
    /// The lives that wrote the journal, oldest first.
    pub(crate) fn lineage(&self) -> Result<Vec<Life>, StoreError> {
        Ok(self.json("the lineage", key::LINEAGE)?.unwrap_or_default())
    }

    /// What befell this directory, oldest first.
    pub(crate) fn incidents(&self) -> Result<Vec<StoredIncident>, StoreError> {
        let incidents = self.json("the incidents", key::INCIDENTS)?;
        Ok(incidents.unwrap_or_default())
    }

    /// The move that a previous life has not finished.
    pub(crate) fn reseat(&self) -> Result<Option<StoredReseat>, StoreError> {
        self.json("the unfinished move", key::RESEAT)
    }

    fn json<T: for<'a> Deserialize<'a>>(
        &self,
        what: &str,
        key: &[u8],
    ) -> Result<Option<T>, StoreError> {
        let Some(json) = self.get(Family::Meta, key)? else {
            return Ok(None);
        };
        serde_json::from_slice(&json)
            .map(Some)
            .map_err(|error| StoreError::Corrupt(format!("{what} does not read back: {error}")))
    }
}
