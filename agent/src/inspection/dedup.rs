//! Remembered event ids: how many, since when, and what is known of one.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use submeter_common::event::Event;
use submeter_common::time::Timestamp;

use super::events::{Context, EventItem, EventsQuery, place_of};
use super::{InspectError, Inspection, Parameters, Question};
use crate::dedup::{Fingerprint, Fingerprinter, RunIds as _, StoredRun};
use crate::store::record::{Location, Record};
use crate::store::{Snapshot, StoreError};

/// Asks for the ids' totals.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DedupQuery;

/// The ids remembered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DedupReply {
    /// Ids remembered.
    pub(crate) ids: u64,
    /// Since when every id is remembered; none before the first.
    pub(crate) oldest_at: Option<Timestamp>,
    /// The runs of ids by time of arrival, oldest first.
    pub(crate) runs: Vec<RunItem>,
}

/// Ids that arrived in one stretch of time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunItem {
    /// Its number; none of the newest ids, which the journal alone has on disk.
    pub(crate) run: Option<u32>,
    /// How often its ids were merged; none as for the number.
    pub(crate) level: Option<u8>,
    /// While it is being merged from others, they count its ids, too.
    pub(crate) ids: u64,
    /// The runs it is being merged from; empty when it is whole.
    pub(crate) merged_from: Vec<u32>,
    pub(crate) opened_at: Timestamp,
    /// None: it still takes ids.
    pub(crate) closed_at: Option<Timestamp>,
}

/// Asks for one id.
#[derive(Clone, Debug)]
pub(crate) struct IdQuery {
    pub(crate) event_id: String,
}

/// What is known of one remembered id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct IdReply {
    pub(crate) event_id: String,
    /// Where its event stands in the journal.
    pub(crate) place: String,
    /// The event that came first under this id, while the journal retains it.
    pub(crate) event: Option<EventItem>,
}

impl Inspection<'_> {
    fn dedup(&self) -> Result<DedupReply, InspectError> {
        let snapshot = self.store.snapshot();
        let mut runs: Vec<RunItem> = snapshot.runs()?.into_iter().map(RunItem::from).collect();
        let young = Young::of(&snapshot)?;
        if let Some(opened_at) = young.oldest_at {
            runs.push(RunItem {
                run: None,
                level: None,
                ids: young.ids,
                merged_from: Vec::new(),
                opened_at,
                closed_at: None,
            });
        }
        Ok(DedupReply {
            ids: in_runs(&snapshot)? + young.ids,
            oldest_at: runs.first().map(|run| run.opened_at),
            runs,
        })
    }

    fn id(&self, event_id: &str) -> Result<IdReply, InspectError> {
        let snapshot = self.store.snapshot();
        let unknown = || {
            InspectError::NotFound(format!(
                "event id {event_id:?} is not remembered: it never came, or it came before the retention"
            ))
        };
        let identity = snapshot.identity()?.ok_or_else(unknown)?;
        let fingerprint = Fingerprinter::new(&identity.fingerprint_key).id(event_id);
        let location = match young_id(&snapshot, event_id)? {
            Some(location) => location,
            None => self.stored_id(fingerprint)?.ok_or_else(unknown)?,
        };
        Ok(IdReply {
            event_id: event_id.to_owned(),
            place: place_of(location),
            event: event_at(&snapshot, location)?,
        })
    }

    /// Finds an id in the runs.
    fn stored_id(&self, fingerprint: Fingerprint) -> Result<Option<Location>, StoreError> {
        let mut found = None;
        // A snapshot does not hold on to the files of runs: when one was merged away meanwhile, its ids are elsewhere.
        let (mut runs, mut looked_at) = (self.store.runs()?, Vec::new());
        while found.is_none() && runs != looked_at {
            for run in runs.iter().rev() {
                found = found.or(self.store.find(run.id, fingerprint)?);
            }
            looked_at = std::mem::replace(&mut runs, self.store.runs()?);
        }
        Ok(found.map(|entry| Location::from_u64(entry.location)))
    }
}

/// Ids remembered.
pub(super) fn remembered(snapshot: &Snapshot<'_>) -> Result<u64, StoreError> {
    Ok(in_runs(snapshot)? + Young::of(snapshot)?.ids)
}

fn in_runs(snapshot: &Snapshot<'_>) -> Result<u64, StoreError> {
    let runs = snapshot.runs()?;
    let whole = runs.iter().filter(|run| run.is_complete());
    Ok(whole.map(|run| run.ids).sum())
}

/// The ids that are in no run, but in the journal.
struct Young {
    ids: u64,
    /// When the first of them was accepted.
    oldest_at: Option<Timestamp>,
}

impl Young {
    fn of(snapshot: &Snapshot<'_>) -> Result<Self, StoreError> {
        let mut young = Self {
            ids: 0,
            oldest_at: None,
        };
        snapshot.walk_records(snapshot.runs_cursor()? + 1, |_, bytes| {
            // What does not read back is in quarantine since it was counted.
            if let Ok(record) = Record::decode(bytes) {
                young.ids += u64::from(record.event_count);
                young.oldest_at.get_or_insert(record.accepted_at);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(young)
    }
}

impl From<StoredRun> for RunItem {
    fn from(run: StoredRun) -> Self {
        Self {
            run: Some(run.id),
            level: Some(run.level),
            ids: run.ids,
            opened_at: run.opened_at,
            closed_at: Some(run.closed_at()),
            merged_from: run.inputs,
        }
    }
}

/// Finds an id that is in no run.
fn young_id(snapshot: &Snapshot<'_>, event_id: &str) -> Result<Option<Location>, StoreError> {
    let mut found = None;
    snapshot.walk_records(snapshot.runs_cursor()? + 1, |seq, bytes| {
        let Ok(record) = Record::decode(bytes) else {
            return Ok(ControlFlow::Continue(()));
        };
        let mut events = (0..).zip(record.events());
        let is_it = |bytes| Event::decode(bytes).is_ok_and(|event| event.event_id == event_id);
        found = events
            .find(|(_, bytes)| is_it(bytes))
            .map(|(index, _)| Location::new(seq, index));
        Ok(match found {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        })
    })?;
    Ok(found)
}

/// The event at a place, while the journal retains it.
fn event_at(snapshot: &Snapshot<'_>, location: Location) -> Result<Option<EventItem>, StoreError> {
    let context = Context::new(snapshot)?;
    let mut found = None;
    snapshot.walk_records(location.record(), |seq, bytes| {
        if seq == location.record() {
            let record = Record::decode(bytes)?;
            if let Some((index, event)) = (0..).zip(record.events()).nth(location.index()) {
                found = context.item(&EventsQuery::default(), seq, index, &record, event)?;
            }
        }
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

impl Question for DedupQuery {
    type Answer = DedupReply;
    const PATH: &'static str = "/v1/inspect/dedup";

    fn parameters(&self) -> Vec<(&'static str, Option<String>)> {
        Vec::new()
    }

    fn read(_: &Parameters<'_>) -> Result<Self, InspectError> {
        Ok(Self)
    }

    fn ask(&self, inspection: &Inspection<'_>) -> Result<Self::Answer, InspectError> {
        inspection.dedup()
    }
}

impl Question for IdQuery {
    type Answer = IdReply;
    const PATH: &'static str = "/v1/inspect/id";

    fn parameters(&self) -> Vec<(&'static str, Option<String>)> {
        vec![("event_id", Some(self.event_id.clone()))]
    }

    fn read(parameters: &Parameters<'_>) -> Result<Self, InspectError> {
        let event_id = parameters.text("event_id");
        Ok(Self {
            event_id: event_id
                .ok_or_else(|| InspectError::Question("event_id must name an event".to_owned()))?,
        })
    }

    fn ask(&self, inspection: &Inspection<'_>) -> Result<Self::Answer, InspectError> {
        inspection.id(&self.event_id)
    }
}
