//! Reading accepted events back from the retained journal.

use serde::{Deserialize, Serialize};
use submeter_common::quantity::Quantity;
use submeter_common::time::Timestamp;

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
