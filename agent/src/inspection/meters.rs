//! The catalog in force, and how far each meter has counted.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use submeter_common::meter::Aggregation;
use submeter_common::time::Timestamp;

use super::partials::walk_open;
use super::{InspectError, Inspection, Parameters, Question};
use crate::store::meta::Coverage;

/// Open partials that are looked at for the open counts, at most.
const OPEN_LOOKS_MAX: u64 = 200_000;

/// Asks for the catalog in force.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MetersQuery;

/// The catalog in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MetersReply {
    pub(crate) catalog_version: u64,
    /// Whether the open counts cover the whole open set; they are a lower bound where it is too large to be walked.
    pub(crate) open_counts_complete: bool,
    pub(crate) meters: Vec<MeterItem>,
}

/// One meter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MeterItem {
    pub(crate) meter_id: String,
    /// None: the catalog in force does not have it, but something of it is open or was counted.
    pub(crate) name: Option<String>,
    pub(crate) event_name: Option<String>,
    pub(crate) aggregation: Option<Aggregation>,
    pub(crate) group_by: Vec<String>,
    pub(crate) archived: bool,
    /// Events counted in sealed frames since the state directory was born.
    pub(crate) sealed_events: u64,
    /// Events counted in open partials.
    pub(crate) open_events: u64,
    /// Open partials: one per customer, group and minute.
    pub(crate) open_partials: u64,
    /// Journal records from before the meter that it has yet to count; 0: it is up to date.
    pub(crate) backfill_records: u64,
    /// It came when the journal no longer held everything: what was accepted before this it does not count. None: it
    /// counts everything this state directory ever accepted.
    pub(crate) counts_since: Option<Timestamp>,
}

#[derive(Default)]
struct Open {
    partials: u64,
    events: u64,
}

impl Inspection<'_> {
    /// Every meter of the catalog, and those that are gone from it but have counted.
    fn meters(&self) -> Result<MetersReply, InspectError> {
        let snapshot = self.store.snapshot();
        let catalog = snapshot.catalog()?;
        let progress = snapshot.progress()?;
        let replayed = self.replayed(&snapshot, &catalog)?;
        let mut open = BTreeMap::<String, Open>::new();
        let mut looks = 0;
        walk_open(
            &snapshot,
            progress.open_set,
            &replayed,
            None,
            |_, key, partial| {
                looks += 1;
                if looks > OPEN_LOOKS_MAX {
                    return ControlFlow::Break(());
                }
                let of_meter = open.entry(key.meter.clone()).or_default();
                of_meter.partials += 1;
                of_meter.events = of_meter.events.saturating_add(partial.events);
                ControlFlow::Continue(())
            },
        )?;
        let none = Coverage::default();
        let mut meters = Vec::new();
        for meter in &catalog.meters {
            let coverage = progress.coverage.get(&meter.id).unwrap_or(&none);
            let open = open.remove(meter.id.as_str()).unwrap_or_default();
            meters.push(MeterItem {
                name: Some(meter.name.clone()),
                event_name: Some(meter.event_name.clone()),
                aggregation: Some(meter.aggregation.clone()),
                group_by: meter.group_by.clone(),
                archived: meter.archived,
                ..MeterItem::gone(meter.id.to_string(), coverage, &open)
            });
        }
        for (id, coverage) in &progress.coverage {
            if coverage.vanished_after.is_some() {
                let open = open.remove(id.as_str()).unwrap_or_default();
                meters.push(MeterItem::gone(id.to_string(), coverage, &open));
            }
        }
        Ok(MetersReply {
            catalog_version: catalog.version,
            open_counts_complete: looks <= OPEN_LOOKS_MAX,
            meters,
        })
    }
}

impl MeterItem {
    /// What is known of a meter without its definition.
    fn gone(meter_id: String, coverage: &Coverage, open: &Open) -> Self {
        let present = coverage.vanished_after.is_none();
        let missed = coverage.gaps.iter().filter(|_| present);
        Self {
            meter_id,
            name: None,
            event_name: None,
            aggregation: None,
            group_by: Vec::new(),
            archived: false,
            sealed_events: coverage.sealed_events,
            open_events: open.events,
            open_partials: open.partials,
            backfill_records: missed
                .map(|gap| gap.to.saturating_sub(gap.from).saturating_add(1))
                .sum(),
            counts_since: coverage.counts_since,
        }
    }
}

impl Question for MetersQuery {
    type Answer = MetersReply;
    const PATH: &'static str = "/v1/inspect/meters";

    fn parameters(&self) -> Vec<(&'static str, Option<String>)> {
        Vec::new()
    }

    fn read(_: &Parameters<'_>) -> Result<Self, InspectError> {
        Ok(Self)
    }

    fn ask(&self, inspection: &Inspection<'_>) -> Result<Self::Answer, InspectError> {
        inspection.meters()
    }
}
