//! Reading accepted events back from the retained journal.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use submeter_common::event::{Event, Value};
use submeter_common::meter::Meter;
use submeter_common::quantity::Quantity;
use submeter_common::time::Timestamp;

use super::shared::lock;
use super::{Pipeline, PipelineError};
use crate::store::StoreError;
use crate::store::record::{Location, Record};

/// An accepted event as it stands in the journal.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct StoredEvent {
    /// The caller's id.
    pub event_id: String,
    /// Whose usage.
    pub customer_id: String,
    /// What happened.
    pub event_name: String,
    /// When it happened.
    pub timestamp: Timestamp,
    /// When the agent accepted it.
    pub accepted_at: Timestamp,
    /// The metadata, in the order it was sent.
    pub metadata: Vec<(String, StoredValue)>,
}

/// A metadata value as it stands in the journal.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StoredValue {
    /// Text.
    String(String),
    /// An exact number.
    Number(Quantity),
    /// True or false.
    Bool(bool),
}

/// Which events to list. An empty query matches all.
#[derive(Clone, Default, Debug)]
pub struct EventQuery {
    /// Only this customer.
    pub customer_id: Option<String>,
    /// Only this event name.
    pub event_name: Option<String>,
    /// Only events this meter of the catalog matches; an unknown meter matches none.
    pub meter_id: Option<String>,
    /// Only event times at or after this.
    pub start: Option<Timestamp>,
    /// Only event times before this.
    pub end: Option<Timestamp>,
    /// Matching events to pass over.
    pub skip: usize,
    /// Most events to return.
    pub limit: usize,
}

impl Pipeline {
    /// Finds one event by its id, for as long as its journal record and its dedup entry are retained. Blocking.
    ///
    /// # Errors
    /// The state directory cannot be read.
    pub fn event(&self, event_id: &str) -> Result<Option<StoredEvent>, PipelineError> {
        let shared = self.shared();
        let fingerprint = shared.fingerprinter.id(event_id);
        let found = lock(&shared.dedup)
            .find(fingerprint, &shared.store)
            .map_err(failed)?;
        let Some(entry) = found else { return Ok(None) };
        let location = Location::from_u64(entry.location);
        let Some(bytes) = shared.store.record(location.record()).map_err(failed)? else {
            return Ok(None);
        };
        let record = Record::decode(&bytes).map_err(failed)?;
        let event = record.events().nth(location.index()).map(Event::decode);
        let event = event
            .transpose()
            .map_err(|error| failed(StoreError::Corrupt(error.to_string())))?;
        Ok(event.map(|event| StoredEvent::new(&event, record.accepted_at)))
    }

    /// Lists retained events, newest first. Blocking: it walks the journal.
    ///
    /// # Errors
    /// The state directory cannot be read.
    pub fn events(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, PipelineError> {
        let catalog = self.catalog();
        let meter = match &query.meter_id {
            None => None,
            Some(id) => match catalog.meters.iter().find(|meter| meter.id.as_str() == id) {
                None => return Ok(Vec::new()),
                found => found,
            },
        };
        let mut listing = Listing {
            query,
            meter,
            skipped: 0,
            found: Vec::new(),
        };
        if query.limit > 0 {
            let store = &self.shared().store;
            store
                .walk_records_back(|_, record| listing.visit(record))
                .map_err(failed)?;
        }
        Ok(listing.found)
    }
}

/// A listing in the making.
struct Listing<'a> {
    query: &'a EventQuery,
    meter: Option<&'a Meter>,
    skipped: usize,
    found: Vec<StoredEvent>,
}

impl Listing<'_> {
    fn visit(&mut self, bytes: &[u8]) -> Result<ControlFlow<()>, StoreError> {
        let record = Record::decode(bytes)?;
        let events: Vec<&[u8]> = record.events().collect();
        for bytes in events.into_iter().rev() {
            // What does not read back is in quarantine and no longer an event.
            let Ok(event) = Event::decode(bytes) else {
                continue;
            };
            if !self.wants(&event) {
                continue;
            }
            if self.skipped < self.query.skip {
                self.skipped += 1;
                continue;
            }
            self.found
                .push(StoredEvent::new(&event, record.accepted_at));
            if self.found.len() >= self.query.limit {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn wants(&self, event: &Event<'_>) -> bool {
        let query = self.query;
        let customer = query
            .customer_id
            .as_ref()
            .is_none_or(|id| *id == event.customer_id);
        let name = query
            .event_name
            .as_ref()
            .is_none_or(|name| *name == event.event_name);
        let after = query.start.is_none_or(|start| event.timestamp >= start);
        let before = query.end.is_none_or(|end| event.timestamp < end);
        customer && name && after && before && self.meter.is_none_or(|meter| meter.matches(event))
    }
}

impl StoredEvent {
    fn new(event: &Event<'_>, accepted_at: Timestamp) -> Self {
        let metadata = event.metadata.iter();
        Self {
            event_id: event.event_id.to_string(),
            customer_id: event.customer_id.to_string(),
            event_name: event.event_name.to_string(),
            timestamp: event.timestamp,
            accepted_at,
            metadata: metadata
                .map(|(key, value)| (key.to_string(), value.into()))
                .collect(),
        }
    }
}

impl From<&Value<'_>> for StoredValue {
    fn from(value: &Value<'_>) -> Self {
        match value {
            Value::String(text) => Self::String(text.to_string()),
            Value::Number(number) => Self::Number(*number),
            Value::Bool(flag) => Self::Bool(*flag),
        }
    }
}

fn failed(error: StoreError) -> PipelineError {
    PipelineError::Failed(error.to_string())
}
