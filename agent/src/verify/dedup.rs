//! The ids: runs are sorted and as many as they say, filters know them, and no retained event is forgotten.

use std::ops::ControlFlow;

use submeter_common::event::Event;
use submeter_common::time::Timestamp;

use super::Check;
use crate::dedup::{Fingerprint, Fingerprinter, Run, RunIds as _, StoredRun};
use crate::pipeline::Area;
use crate::store::record::Record;
use crate::store::{Store, StoreError};

/// Checks the ids. Those of events accepted before `oldest` may be forgotten.
pub(super) fn check(store: &Store, oldest: Timestamp) -> Check {
    let mut check = Check::of(Area::Dedup);
    let ended = walk(store, oldest, &mut check);
    check.note(ended);
    check
}

fn walk(store: &Store, oldest: Timestamp, check: &mut Check) -> Result<(), StoreError> {
    let (named, read) = (store.mark().runs_revision, store.runs_revision()?);
    if read < named {
        check.problem(format!(
            "runs of ids were named {named} times and their names read as of the {read}th"
        ));
    }
    let mut runs = Vec::new();
    let runs_cursor = store.runs_cursor()?;
    // The next start takes these from the journal.
    let young = store.events_from(runs_cursor + 1)?;
    let mut ids = 0;
    for run in store.runs()? {
        let known = store.load_run(&run, 0..run.slices_done)?;
        ids += check_run(store, &run, &known, check)?;
        runs.push(known);
    }
    let retained = check_retained(store, oldest, runs_cursor, &runs, check)?;
    check.checked = format!(
        "{ids} ids in {} runs, those of {retained} retained events among them; {young} in the journal alone",
        runs.len()
    );
    Ok(())
}

fn check_run(
    store: &Store,
    run: &StoredRun,
    known: &Run,
    check: &mut Check,
) -> Result<u64, StoreError> {
    let log2 = u32::from(run.slices_log2);
    let Some(last) = run.slices_done.checked_sub(1) else {
        return Ok(0);
    };
    let first = Fingerprint::first_of(0, log2).unwrap_or(Fingerprint::last_of(0, log2));
    let mut ids = 0;
    let mut before = None;
    for entry in store.entries(run.id, first, Fingerprint::last_of(last, log2)) {
        let fingerprint = entry?.fingerprint;
        if before.is_some_and(|before| before >= fingerprint) {
            check.problem(format!("run {} is not sorted", run.id));
        }
        if !known.may_contain(fingerprint) {
            check.problem(format!(
                "run {}: its filter does not know an id that it holds",
                run.id
            ));
        }
        before = Some(fingerprint);
        ids += 1;
    }
    if ids != run.ids && run.is_complete() {
        // What damage took was derived from the journal again, and is in a run of its own.
        let told = store.directory().damage_reports().iter().any(|report| {
            report
                .findings
                .iter()
                .any(|finding| finding.area == Area::Dedup)
        });
        if !told {
            check.problem(format!(
                "run {} holds {ids} ids, expected {}",
                run.id, run.ids
            ));
        }
    }
    Ok(ids)
}

/// Looks up each event that the journal retains and whose id must be in a run.
fn check_retained(
    store: &Store,
    oldest: Timestamp,
    runs_cursor: u64,
    runs: &[Run],
    check: &mut Check,
) -> Result<u64, StoreError> {
    let Some(identity) = store.identity()? else {
        return Ok(0);
    };
    if store.resume()?.is_some() {
        // The next start derives them again.
        return Ok(0);
    }
    let fingerprinter = Fingerprinter::new(&identity.fingerprint_key);
    let mut found = 0;
    store.walk_records(0, |number, bytes| {
        if number > runs_cursor {
            return Ok(ControlFlow::Break(()));
        }
        let Ok(record) = Record::decode(bytes) else {
            return Ok(ControlFlow::Continue(()));
        };
        if record.accepted_at < oldest {
            return Ok(ControlFlow::Continue(()));
        }
        for event in record
            .events()
            .filter_map(|bytes| Event::decode(bytes).ok())
        {
            let fingerprint = fingerprinter.id(&event.event_id);
            if is_in(store, runs, fingerprint)? {
                found += 1;
            } else {
                check.problem(format!(
                    "record {number}: the id {:?} is forgotten, a retry would count again",
                    event.event_id
                ));
            }
        }
        Ok::<_, StoreError>(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

fn is_in(store: &Store, runs: &[Run], fingerprint: Fingerprint) -> Result<bool, StoreError> {
    for run in runs.iter().rev().filter(|run| run.may_contain(fingerprint)) {
        if store.find(run.id, fingerprint)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
