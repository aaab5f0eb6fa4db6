//! Whether the counts add up, computed again from the journal since the last seal.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use submeter_common::event::Event;
use submeter_common::id::MeterId;
use submeter_common::meter::Meter;

use super::Check;
use crate::pipeline::Area;
use crate::store::meta::{Gap, Progress};
use crate::store::rebuild::counted_between;
use crate::store::record::Record;
use crate::store::{Store, StoreError};

/// Checks the receipts, and the open partials against the events they were counted from. `holes` are missing records.
pub(super) fn check(store: &Store, holes: &[(u64, u64)]) -> Check {
    let mut check = Check::of(Area::Conservation);
    let ended = walk(store, holes, &mut check);
    check.note(ended);
    check
}

fn walk(store: &Store, holes: &[(u64, u64)], check: &mut Check) -> Result<(), StoreError> {
    let Some(progress) = store.progress()? else {
        return Ok(());
    };
    let receipts = &progress.receipts;
    if !receipts.is_conserved() {
        check.problem(format!("the receipts do not add up: {receipts:?}"));
    }
    check.checked = format!(
        "{} events accepted, {} matched",
        receipts.accepted, receipts.matched
    );
    let Some(sealed) = store.sealed_progress(progress.sealed.seq)? else {
        return Ok(());
    };
    let cut = holes.iter().any(|(_, to)| *to > sealed.cursor);
    let first = first_record(store)?.unwrap_or(u64::MAX);
    if cut
        || store.resume()?.is_some()
        || (first > sealed.cursor + 1 && sealed.cursor < progress.cursor)
    {
        check
            .checked
            .push_str("; not counted again, for the journal is not whole since the last seal");
        return Ok(());
    }
    let recount = recount(store, &sealed, &progress, first)?;
    let since = receipts.accepted.saturating_sub(sealed.receipts.accepted);
    if recount.accepted != since {
        check.problem(format!(
            "{since} events were accepted since the last seal, the journal holds {}",
            recount.accepted
        ));
    }
    let open = open_events(store, &progress)?;
    for (meter, counted) in &recount.by_meter {
        let found = open.get(meter.as_str()).copied().unwrap_or(0)
            + quarantined(store, meter, &recount.ranges)?;
        if found != *counted {
            check.problem(format!("meter {meter}: {found} events are open, {counted} were to be counted since the last seal"));
        }
    }
    check.checked.push_str(&format!(
        "; {} events since the last seal counted again for {} meters",
        recount.accepted,
        recount.by_meter.len()
    ));
    Ok(())
}

struct Recount {
    accepted: u64,
    by_meter: BTreeMap<MeterId, u64>,
    ranges: BTreeMap<MeterId, Vec<Gap>>,
}

/// Counts, for each meter of the catalog, the events it matches in the records it has counted since the seal.
fn recount(
    store: &Store,
    sealed: &Progress,
    progress: &Progress,
    first: u64,
) -> Result<Recount, StoreError> {
    let ranges: BTreeMap<MeterId, Vec<Gap>> = counted_between(sealed, progress)
        .into_iter()
        // What a new meter counted of records that are gone since cannot be counted again.
        .filter(|(_, ranges)| ranges.iter().all(|range| range.from >= first))
        .collect();
    let meters: Vec<Meter> = store
        .catalog()?
        .unwrap_or_default()
        .meters
        .into_iter()
        .filter(|meter| ranges.contains_key(&meter.id))
        .map(|mut meter| {
            // What it counted before it was archived is still open.
            meter.archived = false;
            meter
        })
        .collect();
    let mut by_meter: BTreeMap<MeterId, u64> =
        meters.iter().map(|meter| (meter.id.clone(), 0)).collect();
    let mut accepted = 0;
    store.walk_records(first, |number, bytes| {
        if number > progress.cursor {
            return Ok(ControlFlow::Break(()));
        }
        let record = Record::decode(bytes)?;
        if number > sealed.cursor {
            accepted += u64::from(record.event_count);
        }
        let due: Vec<&Meter> = meters
            .iter()
            .filter(|meter| {
                ranges
                    .get(&meter.id)
                    .is_some_and(|ranges| is_within(ranges, number))
            })
            .collect();
        for event in record
            .events()
            .filter_map(|bytes| Event::decode(bytes).ok())
        {
            for meter in due.iter().filter(|meter| meter.matches(&event)) {
                *by_meter.entry(meter.id.clone()).or_default() += 1;
            }
        }
        Ok::<_, StoreError>(ControlFlow::Continue(()))
    })?;
    Ok(Recount {
        accepted,
        by_meter,
        ranges,
    })
}

fn is_within(ranges: &[Gap], number: u64) -> bool {
    ranges
        .iter()
        .any(|range| (range.from..=range.to).contains(&number))
}

fn first_record(store: &Store) -> Result<Option<u64>, StoreError> {
    let mut first = None;
    store.walk_records(0, |number, _| {
        first = Some(number);
        Ok::<_, StoreError>(ControlFlow::Break(()))
    })?;
    Ok(first)
}

fn open_events(store: &Store, progress: &Progress) -> Result<BTreeMap<String, u64>, StoreError> {
    let mut events = BTreeMap::new();
    for partial in store.open_partials(progress.open_set) {
        let (key, partial) = partial?;
        *events.entry(key.meter).or_default() += partial.events;
    }
    Ok(events)
}

/// Shares of a meter that it could not count.
fn quarantined(
    store: &Store,
    meter: &MeterId,
    ranges: &BTreeMap<MeterId, Vec<Gap>>,
) -> Result<u64, StoreError> {
    let Some(ranges) = ranges.get(meter) else {
        return Ok(0);
    };
    let mut shares = 0;
    store.snapshot().walk_quarantine(&[], |_, quarantined| {
        shares +=
            u64::from(quarantined.meter == meter.as_str() && is_within(ranges, quarantined.record));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(shares)
}
