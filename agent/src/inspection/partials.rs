//! Open partials: what is counted and not sealed yet.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use submeter_common::aggregate::{Group, Partial};
use submeter_common::meter::{AggregationKind, Meter};
use submeter_common::protocol::Catalog;
use submeter_common::time::Timestamp;

use super::page::{Gathering, from_hex, to_hex};
use super::question::time;
use super::{InspectError, Inspection, Page, Paging, Parameters, Question, Replayed};
use crate::store::key::OpenKey;
use crate::store::{Snapshot, StoreError};

/// Which open partials to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct PartialsQuery {
    pub(crate) customer_id: Option<String>,
    pub(crate) meter_id: Option<String>,
    /// Only windows that end after this.
    pub(crate) start: Option<Timestamp>,
    /// Only windows that begin before this.
    pub(crate) end: Option<Timestamp>,
    pub(crate) paging: Paging,
}

/// One open partial.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PartialItem {
    /// Its place in the list.
    pub(crate) cursor: String,
    pub(crate) meter_id: String,
    /// What people call the meter, while the catalog has it.
    pub(crate) meter_name: Option<String>,
    pub(crate) aggregation: AggregationKind,
    pub(crate) customer_id: String,
    /// Beginning of the minute.
    pub(crate) window: Timestamp,
    /// Values of the meter's group keys.
    pub(crate) group: BTreeMap<String, Option<String>>,
    /// Whether it holds the groups beyond the meter's budget.
    pub(crate) other: bool,
    /// The quantity so far, in all its digits.
    pub(crate) quantity: String,
    pub(crate) events: u64,
    /// Events among them without a number under the meter's key.
    pub(crate) non_numeric: u64,
}

impl Inspection<'_> {
    /// Lists open partials by customer, meter, window and group.
    fn partials(&self, query: &PartialsQuery) -> Result<Page<PartialItem>, InspectError> {
        let after = match &query.paging.after {
            None => None,
            Some(text) => Some(from_hex(text).ok_or_else(|| {
                InspectError::Question(format!(
                    "after must be the cursor of a listed partial, but is {text:?}"
                ))
            })?),
        };
        let snapshot = self.store.snapshot();
        let catalog = snapshot.catalog()?;
        let replayed = self.replayed(&snapshot, &catalog)?;
        let mut gathering = Gathering::new(query.paging.limit);
        let set = snapshot.progress()?.open_set;
        walk_open(
            &snapshot,
            set,
            &replayed,
            after.as_deref(),
            |sorted, key, partial| {
                let item = query
                    .wants(key)
                    .then(|| PartialItem::new(to_hex(sorted), key, partial, &catalog));
                gathering.take(item, || to_hex(sorted))
            },
        )?;
        Ok(gathering.finish())
    }

    /// Counts what came after the last checkpoint.
    pub(super) fn replayed(
        &self,
        snapshot: &Snapshot<'_>,
        catalog: &Catalog,
    ) -> Result<Replayed, StoreError> {
        Replayed::of(
            snapshot,
            &snapshot.progress()?,
            catalog,
            self.groups_per_meter_max,
        )
    }
}

/// Walks the whole open set in the store's order: what is checkpointed, and merged into it what came after.
pub(super) fn walk_open(
    snapshot: &Snapshot<'_>,
    set: u64,
    replayed: &Replayed,
    after: Option<&[u8]>,
    mut visit: impl FnMut(&[u8], &OpenKey, &Partial) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let behind = |sorted: &[u8]| after.is_none_or(|after| sorted > after);
    let mut newer = replayed
        .open
        .iter()
        .filter(|(sorted, _)| behind(sorted))
        .peekable();
    let mut ended = false;
    snapshot.walk_open(
        set,
        after.unwrap_or_default(),
        |sorted, key, mut partial| {
            if !behind(sorted) {
                return Ok(ControlFlow::Continue(()));
            }
            while let Some((next, (key, partial))) =
                newer.next_if(|(next, _)| next.as_slice() < sorted)
            {
                if visit(next, key, partial).is_break() {
                    ended = true;
                    return Ok(ControlFlow::Break(()));
                }
            }
            if let Some((_, (_, more))) = newer.next_if(|(next, _)| next.as_slice() == sorted) {
                // A start would open a further part where the two do not fit into one; nothing can be shown of that sum.
                let _ = partial.merge(more);
            }
            let flow = visit(sorted, &key, &partial);
            ended = flow.is_break();
            Ok(flow)
        },
    )?;
    if !ended {
        for (sorted, (key, partial)) in newer {
            if visit(sorted, key, partial).is_break() {
                break;
            }
        }
    }
    Ok(())
}

impl PartialsQuery {
    fn wants(&self, key: &OpenKey) -> bool {
        self.customer_id
            .as_ref()
            .is_none_or(|id| *id == key.customer)
            && self.meter_id.as_ref().is_none_or(|id| *id == key.meter)
            && self.start.is_none_or(|start| key.window.end() > start)
            && self.end.is_none_or(|end| key.window.start() < end)
    }
}

impl PartialItem {
    fn new(cursor: String, key: &OpenKey, partial: &Partial, catalog: &Catalog) -> Self {
        let meter = catalog
            .meters
            .iter()
            .find(|meter| meter.id.as_str() == key.meter);
        Self {
            cursor,
            meter_id: key.meter.clone(),
            meter_name: meter.map(|meter| meter.name.clone()),
            aggregation: partial.kind(),
            customer_id: key.customer.clone(),
            window: key.window.start(),
            group: group_values(&key.group, meter),
            other: key.group.is_other(),
            quantity: partial.value().to_string(),
            events: partial.events,
            non_numeric: partial.non_numeric,
        }
    }
}

/// A group's values by the meter's keys; numbered where the catalog no longer has the meter.
pub(super) fn group_values(
    group: &Group,
    meter: Option<&Meter>,
) -> BTreeMap<String, Option<String>> {
    let name = |index: usize| {
        meter
            .and_then(|meter| meter.group_by.get(index).cloned())
            .unwrap_or_else(|| format!("key {}", index + 1))
    };
    let values = group.values().unwrap_or_default().iter();
    values
        .enumerate()
        .map(|(index, value)| (name(index), value.clone()))
        .collect()
}

impl Question for PartialsQuery {
    type Answer = Page<PartialItem>;
    const PATH: &'static str = "/v1/inspect/partials";

    fn parameters(&self) -> Vec<(&'static str, Option<String>)> {
        let mut parameters = vec![
            ("customer_id", self.customer_id.clone()),
            ("meter_id", self.meter_id.clone()),
            ("start", time(self.start)),
            ("end", time(self.end)),
        ];
        parameters.extend(self.paging.parameters());
        parameters
    }

    fn read(parameters: &Parameters<'_>) -> Result<Self, InspectError> {
        Ok(Self {
            customer_id: parameters.text("customer_id"),
            meter_id: parameters.text("meter_id"),
            start: parameters.time("start")?,
            end: parameters.time("end")?,
            paging: parameters.paging()?,
        })
    }

    fn ask(&self, inspection: &Inspection<'_>) -> Result<Self::Answer, InspectError> {
        inspection.partials(self)
    }
}
