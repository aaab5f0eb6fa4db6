//! Accepted events, newest first, and why each counts: the meters it matches, the import it came by.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use submeter_common::event::{Event, Value};
use submeter_common::id::MeterId;
use submeter_common::protocol::Catalog;
use submeter_common::time::Timestamp;

use super::page::Gathering;
use super::question::time;
use super::{InspectError, Inspection, Page, Paging, Parameters, Question};
use crate::store::meta::{Coverage, Deltas};
use crate::store::record::{Location, Record};
use crate::store::{Snapshot, StoreError};

/// Journal bytes that one call reads, at most.
const READ_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Which events to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventsQuery {
    pub(crate) customer_id: Option<String>,
    pub(crate) event_name: Option<String>,
    /// Only events that this meter matches.
    pub(crate) meter_id: Option<String>,
    pub(crate) event_id: Option<String>,
    /// Only events that this import brought.
    pub(crate) import: Option<String>,
    /// Only event times at or after this.
    pub(crate) start: Option<Timestamp>,
    /// Only event times before this.
    pub(crate) end: Option<Timestamp>,
    pub(crate) paging: Paging,
}

/// An accepted event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EventItem {
    /// Its place in the journal: record and index in it, such as `17.3`.
    pub(crate) cursor: String,
    pub(crate) event_id: String,
    pub(crate) customer_id: String,
    pub(crate) event_name: String,
    pub(crate) timestamp: Timestamp,
    pub(crate) accepted_at: Timestamp,
    pub(crate) metadata: Metadata,
    /// The meters of the catalog in force that match it; none: it is unmatched.
    pub(crate) meters: Vec<Matched>,
    /// The import that brought it.
    pub(crate) import: Option<String>,
}

/// A meter that an event counts for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Matched {
    pub(crate) meter_id: String,
    pub(crate) name: String,
    pub(crate) state: MatchState,
    /// Why it is in quarantine.
    pub(crate) reason: Option<String>,
}

/// What became of an event's share in a meter.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MatchState {
    /// It is in a partial or a frame.
    Counted,
    /// The meter is newer than the event, and the journal is not counted that far yet.
    Backfilling,
    /// The meter could not take it.
    Quarantined,
}

impl Inspection<'_> {
    /// Lists accepted events, newest first.
    fn events(&self, query: &EventsQuery) -> Result<Page<EventItem>, InspectError> {
        let before = match &query.paging.after {
            None => (u64::MAX, 0),
            Some(text) => parse_place(text)?,
        };
        let snapshot = self.store.snapshot();
        let context = Context::new(&snapshot)?;
        let mut gathering = Gathering::new(query.paging.limit);
        let mut bytes_read = 0;
        snapshot.walk_records_back(before.0, |seq, bytes| {
            // What does not read back is in quarantine.
            let Ok(record) = Record::decode(bytes) else {
                return Ok(ControlFlow::Continue(()));
            };
            let events: Vec<(u32, &[u8])> = (0..).zip(record.events()).collect();
            let mut flow = ControlFlow::Continue(());
            for (index, event) in events.into_iter().rev() {
                if seq == before.0 && index >= before.1 {
                    continue;
                }
                let item = context.item(query, seq, index, &record, event)?;
                flow = gathering.take(item, || place(seq, index));
                if flow.is_break() {
                    return Ok(flow);
                }
            }
            bytes_read += bytes.len();
            if bytes_read >= READ_BYTES_MAX {
                return Ok(gathering.stop(|| place(seq, 0)));
            }
            Ok(flow)
        })?;
        Ok(gathering.finish())
    }
}

/// What explains an event.
pub(super) struct Context<'a> {
    snapshot: &'a Snapshot<'a>,
    catalog: Catalog,
    coverage: BTreeMap<MeterId, Coverage>,
}

impl<'a> Context<'a> {
    pub(super) fn new(snapshot: &'a Snapshot<'a>) -> Result<Self, StoreError> {
        Ok(Self {
            snapshot,
            catalog: snapshot.catalog()?,
            coverage: snapshot.progress()?.coverage,
        })
    }

    /// The event explained, when it is wanted.
    pub(super) fn item(
        &self,
        query: &EventsQuery,
        seq: u64,
        index: u32,
        record: &Record<'_>,
        bytes: &[u8],
    ) -> Result<Option<EventItem>, StoreError> {
        // What does not read back is in quarantine.
        let Ok(event) = Event::decode(bytes) else {
            return Ok(None);
        };
        if !query.wants(&event, index, &record.deltas) {
            return Ok(None);
        }
        let meters = self.matched(seq, index, &event)?;
        let asked = query.meter_id.as_ref();
        if asked.is_some_and(|id| meters.iter().all(|meter| meter.meter_id != *id)) {
            return Ok(None);
        }
        Ok(Some(EventItem {
            cursor: place(seq, index),
            event_id: event.event_id.to_string(),
            customer_id: event.customer_id.to_string(),
            event_name: event.event_name.to_string(),
            timestamp: event.timestamp,
            accepted_at: record.accepted_at,
            metadata: Metadata::of(&event),
            meters,
            import: record.deltas.import_of(index).map(str::to_owned),
        }))
    }

    fn matched(&self, seq: u64, index: u32, event: &Event<'_>) -> Result<Vec<Matched>, StoreError> {
        let mut matched = Vec::new();
        let meters = self.catalog.meters.iter();
        for meter in meters.filter(|meter| !meter.archived && meter.matches(event)) {
            let quarantined = self.snapshot.quarantined(seq, index, meter.id.as_str())?;
            let gaps = self.coverage.get(&meter.id).map(|coverage| &coverage.gaps);
            let missed = gaps
                .into_iter()
                .flatten()
                .any(|gap| (gap.from..=gap.to).contains(&seq));
            let state = match (&quarantined, missed) {
                (Some(_), _) => MatchState::Quarantined,
                (None, true) => MatchState::Backfilling,
                (None, false) => MatchState::Counted,
            };
            matched.push(Matched {
                meter_id: meter.id.to_string(),
                name: meter.name.clone(),
                state,
                reason: quarantined.map(|quarantined| quarantined.reason),
            });
        }
        Ok(matched)
    }
}

impl EventsQuery {
    fn wants(&self, event: &Event<'_>, index: u32, deltas: &Deltas) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        is(&self.customer_id, &event.customer_id)
            && is(&self.event_name, &event.event_name)
            && is(&self.event_id, &event.event_id)
            && self.start.is_none_or(|start| event.timestamp >= start)
            && self.end.is_none_or(|end| event.timestamp < end)
            && self
                .import
                .as_ref()
                .is_none_or(|import| deltas.import_of(index) == Some(import))
    }
}

/// A place in the journal as people and cursors write it.
pub(super) fn place(seq: u64, index: u32) -> String {
    format!("{seq}.{index}")
}

/// A place that was stored packed.
pub(super) fn place_of(location: Location) -> String {
    format!("{}.{}", location.record(), location.index())
}

fn parse_place(text: &str) -> Result<(u64, u32), InspectError> {
    let parts = text
        .split_once('.')
        .and_then(|(seq, index)| Some((seq.parse().ok()?, index.parse().ok()?)));
    parts.ok_or_else(|| {
        InspectError::Question(format!(
            "after must be the cursor of a listed event, such as 17.3, but is {text:?}"
        ))
    })
}

/// Metadata in the order it was sent, each value as the JSON it stood for: numbers keep all their digits.
#[derive(Clone, Debug)]
pub(crate) struct Metadata(Vec<(String, Box<RawValue>)>);

impl Metadata {
    fn of(event: &Event<'_>) -> Self {
        let json = |value: &Value<'_>| match value {
            Value::String(text) => serde_json::value::to_raw_value(text),
            Value::Bool(flag) => serde_json::value::to_raw_value(flag),
            Value::Number(number) => RawValue::from_string(number.to_string()),
        };
        let pairs = event.metadata.iter();
        // A text, a number or a bool is always valid JSON.
        Self(
            pairs
                .filter_map(|(key, value)| Some((key.to_string(), json(value).ok()?)))
                .collect(),
        )
    }
}

impl fmt::Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (key, value)) in self.0.iter().enumerate() {
            let gap = if number == 0 { "" } else { " " };
            write!(f, "{gap}{key}={}", value.get())?;
        }
        Ok(())
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Metadata(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

impl Question for EventsQuery {
    type Answer = Page<EventItem>;
    const PATH: &'static str = "/v1/inspect/events";

    fn parameters(&self) -> Vec<(&'static str, Option<String>)> {
        let mut parameters = vec![
            ("customer_id", self.customer_id.clone()),
            ("event_name", self.event_name.clone()),
            ("meter_id", self.meter_id.clone()),
            ("event_id", self.event_id.clone()),
            ("import", self.import.clone()),
            ("start", time(self.start)),
            ("end", time(self.end)),
        ];
        parameters.extend(self.paging.parameters());
        parameters
    }

    fn read(parameters: &Parameters<'_>) -> Result<Self, InspectError> {
        Ok(Self {
            customer_id: parameters.text("customer_id"),
            event_name: parameters.text("event_name"),
            meter_id: parameters.text("meter_id"),
            event_id: parameters.text("event_id"),
            import: parameters.text("import"),
            start: parameters.time("start")?,
            end: parameters.time("end")?,
            paging: parameters.paging()?,
        })
    }

    fn ask(&self, inspection: &Inspection<'_>) -> Result<Self::Answer, InspectError> {
        inspection.events(self)
    }
}
