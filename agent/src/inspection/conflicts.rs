//! Events that came again with another payload.

use serde::{Deserialize, Serialize};
use submeter_common::time::Timestamp;

use super::events::place_of;
use super::page::Gathering;
use super::{InspectError, Inspection, Page, Paging, Parameters, Question};
use crate::store::conflicts::Listed;
use crate::store::record::Location;

/// Which conflicts to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConflictsQuery {
    /// Only this customer's.
    pub(crate) customer_id: Option<String>,
    pub(crate) paging: Paging,
}

/// An event that was not counted, because another one came first under its id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ConflictItem {
    /// Its place in the list.
    pub(crate) cursor: String,
    pub(crate) event_id: String,
    pub(crate) customer_id: String,
    pub(crate) event_name: String,
    /// The refused event's own time.
    pub(crate) timestamp: Timestamp,
    /// When it was refused.
    pub(crate) refused_at: Timestamp,
    /// Where the event that counts stands in the journal.
    pub(crate) first_place: String,
}

impl Inspection<'_> {
    /// Lists the conflicts that are remembered, newest first.
    fn conflicts(&self, query: &ConflictsQuery) -> Result<Page<ConflictItem>, InspectError> {
        let before = match &query.paging.after {
            None => u64::MAX,
            Some(text) => text.parse().map_err(|_| {
                InspectError::Question(format!(
                    "after must be the cursor of a listed conflict, but is {text:?}"
                ))
            })?,
        };
        let mut gathering = Gathering::new(query.paging.limit);
        let listed = self.store.snapshot().conflicts()?;
        let older = listed.into_iter().rev().filter(|one| one.number < before);
        for one in older {
            let cursor = one.number.to_string();
            let wanted = query.customer_id.as_ref();
            let item = wanted
                .is_none_or(|customer| *customer == one.conflict.customer_id)
                .then(|| ConflictItem::from(one));
            if gathering.take(item, || cursor).is_break() {
                break;
            }
        }
        Ok(gathering.finish())
    }
}

impl From<Listed> for ConflictItem {
    fn from(listed: Listed) -> Self {
        let conflict = listed.conflict;
        Self {
            cursor: listed.number.to_string(),
            event_id: conflict.event_id,
            customer_id: conflict.customer_id,
            event_name: conflict.event_name,
            timestamp: conflict.timestamp,
            refused_at: conflict.refused_at,
            first_place: place_of(Location::from_u64(conflict.first)),
        }
    }
}

impl Question for ConflictsQuery {
    type Answer = Page<ConflictItem>;
    const PATH: &'static str = "/v1/inspect/conflicts";

    fn parameters(&self) -> Vec<(&'static str, Option<String>)> {
        let mut parameters = vec![("customer_id", self.customer_id.clone())];
        parameters.extend(self.paging.parameters());
        parameters
    }

    fn read(parameters: &Parameters<'_>) -> Result<Self, InspectError> {
        Ok(Self {
            customer_id: parameters.text("customer_id"),
            paging: parameters.paging()?,
        })
    }

    fn ask(&self, inspection: &Inspection<'_>) -> Result<Self::Answer, InspectError> {
        inspection.conflicts(self)
    }
}
