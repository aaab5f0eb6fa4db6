//! Events that could not be counted, with the reason.

use serde::{Deserialize, Serialize};
use submeter_common::event::Event;
use submeter_common::time::Timestamp;

use super::events::place;
use super::page::{Gathering, from_hex, to_hex};
use super::{InspectError, Inspection, Page, Paging, Parameters, Question};
use crate::store::quarantine::Quarantined;

/// Which quarantined events to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct QuarantineQuery {
    /// Only those of this meter.
    pub(crate) meter_id: Option<String>,
    pub(crate) paging: Paging,
}

/// An event, or its share in one meter, that is set aside.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct QuarantineItem {
    /// Its place in the list.
    pub(crate) cursor: String,
    /// Its place in the journal.
    pub(crate) place: String,
    /// The meter that could not count it; none when the event itself does not read back.
    pub(crate) meter_id: Option<String>,
    pub(crate) reason: String,
    /// The event, when it reads back.
    pub(crate) event_id: Option<String>,
    pub(crate) customer_id: Option<String>,
    pub(crate) event_name: Option<String>,
    pub(crate) timestamp: Option<Timestamp>,
    /// What stood in the journal, in hex, when it does not.
    pub(crate) bytes: Option<String>,
}

impl Inspection<'_> {
    /// Lists what is in quarantine, by place in the journal.
    fn quarantine(&self, query: &QuarantineQuery) -> Result<Page<QuarantineItem>, InspectError> {
        let after = match &query.paging.after {
            None => Vec::new(),
            Some(text) => from_hex(text).ok_or_else(|| {
                InspectError::Question(format!(
                    "after must be the cursor of a listed event, but is {text:?}"
                ))
            })?,
        };
        let snapshot = self.store.snapshot();
        let mut gathering = Gathering::new(query.paging.limit);
        snapshot.walk_quarantine(&after, |key, quarantined| {
            if key == after {
                return Ok(std::ops::ControlFlow::Continue(()));
            }
            let wanted = query.meter_id.as_ref();
            let item = wanted
                .is_none_or(|meter| *meter == quarantined.meter)
                .then(|| QuarantineItem::new(to_hex(key), quarantined));
            Ok(gathering.take(item, || to_hex(key)))
        })?;
        Ok(gathering.finish())
    }
}

impl QuarantineItem {
    fn new(cursor: String, quarantined: Quarantined) -> Self {
        let event = Event::decode(&quarantined.event).ok();
        Self {
            cursor,
            place: place(quarantined.record, quarantined.index),
            meter_id: Some(quarantined.meter).filter(|meter| !meter.is_empty()),
            reason: quarantined.reason,
            event_id: event.as_ref().map(|event| event.event_id.to_string()),
            customer_id: event.as_ref().map(|event| event.customer_id.to_string()),
            event_name: event.as_ref().map(|event| event.event_name.to_string()),
            timestamp: event.as_ref().map(|event| event.timestamp),
            bytes: event.is_none().then(|| to_hex(&quarantined.event)),
        }
    }
}

impl Question for QuarantineQuery {
    type Answer = Page<QuarantineItem>;
    const PATH: &'static str = "/v1/inspect/quarantine";

    fn parameters(&self) -> Vec<(&'static str, Option<String>)> {
        let mut parameters = vec![("meter_id", self.meter_id.clone())];
        parameters.extend(self.paging.parameters());
        parameters
    }

    fn read(parameters: &Parameters<'_>) -> Result<Self, InspectError> {
        Ok(Self {
            meter_id: parameters.text("meter_id"),
            paging: parameters.paging()?,
        })
    }

    fn ask(&self, inspection: &Inspection<'_>) -> Result<Self::Answer, InspectError> {
        inspection.quarantine(self)
    }
}
