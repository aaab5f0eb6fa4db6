//! Recovery from damage: everything that still reads goes into a new database; what does not is named exactly.
//!
//! The damaged database is only read. The new one is made beside it, in `rebuild/`, and when it is whole and durable a
//! file says so; only then are the two swapped, the damaged one to `damaged/`. A start that finds the file finishes the
//! swap, a start that finds an unfinished rebuild removes it and begins again. So recovery may die anywhere.
//!
//! What was read is brought to agree with itself by [`settle`].

mod coverage;
mod journal;
mod outbox;
mod settle;

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rocksdb::WriteBatch;
use submeter_common::time::Timestamp;

pub(crate) use coverage::counted_between;

use super::damage::{Area, DamageReport, Finding};
use super::directory::{self, Directory, write_durably};
use super::mark::Found;
use super::salvage::{Reading, View};
use super::wal::{self, Operation, WalBatch, WalScan};
use super::{Family, Store, StoreError, key};

/// Bytes written to the new database at a time.
const COPY_BYTES: usize = 1024 * 1024;
/// Databases put aside that are kept; the oldest goes first.
const DAMAGED_MAX: usize = 3;

/// What was read, and how well.
struct Salvaged {
    mark: Found,
    log: WalScan,
    /// A write of progress is missing between two that are there.
    jumped: bool,
    /// A naming of runs is missing between two that are there.
    runs_jumped: bool,
    readings: Vec<(Family, Reading)>,
    findings: Vec<Finding>,
}

impl Salvaged {
    fn is_whole(&self, family: Family) -> bool {
        self.readings
            .iter()
            .all(|(read, reading)| *read != family || reading.gaps == 0)
    }

    fn found(&mut self, area: Area, lost: bool, message: String) {
        self.findings.push(Finding {
            area,
            lost,
            records: None,
            message,
        });
    }
}

/// Puts a sound database in the place of a damaged one; answers what is affected.
pub(crate) fn rebuild(
    directory: &Directory,
    noticed: &str,
    at: Timestamp,
) -> Result<DamageReport, StoreError> {
    let place = directory.rebuild();
    remove_all(&place)?;
    check_space(directory)?;
    let fresh = Store::open(&place)?;
    let mut salvaged = copy(directory, &fresh)?;
    let mut report = DamageReport {
        at,
        noticed: noticed.to_owned(),
        kept_in: place_aside(directory, at),
        events_lost: 0,
        findings: Vec::new(),
        acknowledged: false,
    };
    settle::settle(&fresh, &mut salvaged, &mut report.events_lost)?;
    if salvaged.findings.is_empty() {
        let message = "nothing is affected: what does not read is no longer needed".to_owned();
        salvaged.found(Area::Files, false, message);
    }
    report.findings = salvaged.findings;
    fresh.sync_mark()?;
    drop(fresh);
    let json = serde_json::to_vec(&report)
        .map_err(|error| StoreError::of_system(format!("damage: {error}")))?;
    write_durably(&place.join("whole"), &json)
        .map_err(|error| StoreError::of_system(format!("rebuild: {error}")))?;
    finish(directory)?;
    Ok(report)
}

/// A place that nothing was put in before.
fn place_aside(directory: &Directory, at: Timestamp) -> String {
    let mut place = format!("damaged/{}", at.as_micros());
    while directory.path().join(&place).exists() {
        place.push('+');
    }
    place
}

/// Finishes a swap that a crash cut short, and removes a rebuild that never became whole.
pub(crate) fn finish(directory: &Directory) -> Result<(), StoreError> {
    let place = directory.rebuild();
    let Ok(json) = fs::read(place.join("whole")) else {
        return remove_all(&place);
    };
    let report: DamageReport = serde_json::from_slice(&json)
        .map_err(|error| StoreError::of_system(format!("rebuild/whole: {error}")))?;
    swap(directory, &report).map_err(|error| StoreError::of_system(format!("rebuild: {error}")))?;
    directory.add_damage(&report)?;
    directory.clear_suspicion()?;
    remove_all(&place)?;
    forget_oldest(directory);
    Ok(())
}

fn swap(directory: &Directory, report: &DamageReport) -> io::Result<()> {
    let (place, database) = (directory.rebuild(), directory.database());
    let new = directory::database(&place);
    if new.exists() {
        if database.exists() {
            let aside = directory.path().join(&report.kept_in);
            fs::create_dir_all(&aside)?;
            fs::rename(&database, aside.join("db"))?;
            if directory.mark().exists() {
                fs::copy(directory.mark(), aside.join("mark"))?;
            }
            directory::sync(&aside)?;
            directory::sync(&directory.damaged())?;
        }
        fs::rename(&new, &database)?;
    }
    let mark = place.join("mark");
    if mark.exists() {
        fs::rename(&mark, directory.mark())?;
    }
    directory::sync(directory.path())
}

fn remove_all(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::of_system(
            format!("{}: {error}", path.display()),
        )),
        _ => Ok(()),
    }
}

fn forget_oldest(directory: &Directory) {
    let Ok(entries) = fs::read_dir(directory.damaged()) else {
        return;
    };
    let mut kept: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    kept.sort();
    let beyond = kept.len().saturating_sub(DAMAGED_MAX);
    for path in &kept[..beyond] {
        if let Err(error) = remove_all(path) {
            tracing::warn!(%error, "a damaged database that was put aside cannot be removed");
        }
    }
}

/// The new database takes as much as the old one, for as long as both are there.
fn check_space(directory: &Directory) -> Result<(), StoreError> {
    let failed = |error: io::Error| StoreError::of_system(format!("rebuild: {error}"));
    let mut needed = 0;
    match fs::read_dir(directory.database()) {
        Ok(entries) => {
            for entry in entries {
                needed += entry
                    .and_then(|entry| entry.metadata())
                    .map_err(failed)?
                    .len();
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let disk = rustix::fs::statvfs(directory.path()).map_err(|error| failed(error.into()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < needed {
        return Err(StoreError::NoSpace(format!(
            "the database is damaged and recovery needs {needed} bytes of free disk, found {free}: free some and start again, nothing was changed"
        )));
    }
    Ok(())
}

/// Copies everything that reads: the tables, then the log behind its first break (or all of it).
fn copy(directory: &Directory, fresh: &Store) -> Result<Salvaged, StoreError> {
    let mark = directory.read_mark()?;
    let mut salvaged = Salvaged {
        mark,
        log: WalScan::default(),
        jumped: false,
        runs_jumped: false,
        readings: Vec::new(),
        findings: Vec::new(),
    };
    let (database, scratch) = (directory.database(), directory.rebuild().join("scratch"));
    fs::create_dir_all(&scratch)
        .map_err(|error| StoreError::of_system(format!("{}: {error}", scratch.display())))?;
    let as_it_is = View::as_it_is(&database);
    let with_log = as_it_is.is_ok();
    copy_tables(&database, &scratch, as_it_is, fresh, &mut salvaged)?;
    copy_log(&database, !with_log, fresh, &mut salvaged)?;
    remove_all(&scratch)?;
    Ok(salvaged)
}

fn copy_tables(
    database: &Path,
    scratch: &Path,
    as_it_is: Result<View, StoreError>,
    fresh: &Store,
    salvaged: &mut Salvaged,
) -> Result<(), StoreError> {
    let mut repaired = None;
    if let Err(error) = &as_it_is {
        salvaged.found(
            Area::Files,
            false,
            format!(
                "the database cannot be opened as it is ({error}); its tables were read one by one"
            ),
        );
    }
    for family in Family::ALL {
        let mut reading = Reading::default();
        if let Ok(view) = &as_it_is {
            reading = copy_family(view, family, fresh)?;
            if let Some(problem) = &reading.problem {
                let message = format!(
                    "{} stretch(es) of keys do not read, {} entries do: {problem}",
                    reading.gaps, reading.entries
                );
                salvaged.found(family.area(), false, message);
            }
        }
        if as_it_is.is_err() || reading.gaps > 0 {
            let view = repaired.get_or_insert_with(|| repair(database, scratch));
            if let Some(view) = view {
                copy_family(view, family, fresh)?;
            }
            if as_it_is.is_err() && family == Family::Dedup {
                copy_lost_runs(scratch, fresh)?;
            }
            // What reads as it is goes over what a repair brought up again.
            match &as_it_is {
                Ok(view) => drop(copy_family(view, family, fresh)?),
                // Whole tables may be missing, and nothing says of which family.
                Err(_) => reading.gaps = u64::from(has_lost_tables(scratch)),
            }
        }
        salvaged.readings.push((family, reading));
    }
    Ok(())
}

/// Copies the tables of ids that a repair puts aside: they were made outside the database and do not say whose they are.
fn copy_lost_runs(scratch: &Path, fresh: &Store) -> Result<(), StoreError> {
    let Ok(entries) = fs::read_dir(scratch.join("repaired/lost")) else {
        return Ok(());
    };
    let place = scratch.join("runs");
    let runs = Store::open(&place)?;
    for path in entries.flatten().map(|entry| entry.path()) {
        match runs.take_in(&path) {
            Ok(()) => drop(fs::remove_file(&path)),
            Err(error) => tracing::warn!(%error, "a table of the damaged database does not read"),
        }
    }
    drop(runs);
    let view = View::as_it_is(&directory::database(&place))?;
    copy_family(&view, Family::Dedup, fresh).map(drop)
}

fn repair(database: &Path, scratch: &Path) -> Option<View> {
    View::repaired(database, scratch)
        .inspect_err(|error| tracing::warn!(%error, "the tables cannot be repaired"))
        .ok()
}

/// Tables that the repair could not read at all were put aside by it.
fn has_lost_tables(scratch: &Path) -> bool {
    let repaired = scratch.join("repaired");
    !repaired.exists()
        || fs::read_dir(repaired.join("lost")).is_ok_and(|mut entries| entries.next().is_some())
}

fn copy_family(view: &View, family: Family, fresh: &Store) -> Result<Reading, StoreError> {
    let mut batch = WriteBatch::default();
    let reading = view.read(family, |key, value| {
        batch.put_cf(fresh.family(family), key, value);
        if batch.size_in_bytes() > COPY_BYTES {
            fresh.write_raw(std::mem::take(&mut batch))?;
        }
        Ok(())
    })?;
    fresh.write_raw(batch)?;
    Ok(reading)
}

/// Writes what the log holds and the tables do not. Progress never goes back: an older value may stand in the log beside
/// a newer one in a table.
fn copy_log(
    database: &Path,
    all: bool,
    fresh: &Store,
    salvaged: &mut Salvaged,
) -> Result<(), StoreError> {
    let mut revision = fresh.revision()?;
    let mut runs_revision = fresh.runs_revision()?;
    let (mut jumped, mut runs_jumped) = (false, false);
    let scanned = wal::scan::<LogError>(database, |batch, broken| {
        if !all && !broken {
            return Ok(());
        }
        if let Some(found) = number_in(batch, key::RUNS_REVISION) {
            runs_jumped |= found > runs_revision + 1;
            runs_revision = runs_revision.max(found);
        }
        if let Some(found) = number_in(batch, key::REVISION) {
            if found <= revision {
                return Ok(write_operations(fresh, batch, |operation| {
                    !is_progress(operation)
                })?);
            }
            jumped |= found > revision + 1;
            revision = found;
        }
        Ok(write_operations(fresh, batch, |_| true)?)
    });
    salvaged.log = match scanned {
        Ok(scan) => scan,
        Err(LogError::Store(error)) => return Err(error),
        Err(LogError::Io(error)) if error.kind() == io::ErrorKind::NotFound => WalScan::default(),
        Err(LogError::Io(error)) => return Err(StoreError::of_system(format!("log: {error}"))),
    };
    (salvaged.jumped, salvaged.runs_jumped) = (jumped, runs_jumped);
    for found in std::mem::take(&mut salvaged.log.breaks) {
        let message = format!(
            "{}: bytes {} to {} do not read; {} write(s) are missing there",
            found.file, found.from, found.to, found.writes
        );
        salvaged.found(Area::Log, false, message);
    }
    if let Some((file, from)) = salvaged.log.torn.take() {
        salvaged.found(
            Area::Log,
            false,
            format!("{file}: nothing reads from byte {from} on"),
        );
    }
    Ok(())
}

#[derive(Debug)]
enum LogError {
    Io(io::Error),
    Store(StoreError),
}

impl From<io::Error> for LogError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<StoreError> for LogError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The number that a write sets under `key`.
fn number_in(batch: &WalBatch<'_>, key: &[u8]) -> Option<u64> {
    batch.operations().find_map(|operation| match operation {
        Operation::Put(Family::Meta, found, value) if found == key => key::trailing_u64(value).ok(),
        _ => None,
    })
}

fn is_progress(operation: &Operation<'_>) -> bool {
    matches!(
        operation,
        Operation::Put(Family::Meta, key::REVISION | key::PROGRESS, _)
    )
}

fn write_operations(
    fresh: &Store,
    batch: &WalBatch<'_>,
    wanted: impl Fn(&Operation<'_>) -> bool,
) -> Result<(), StoreError> {
    let mut write = WriteBatch::default();
    for operation in batch.operations().filter(wanted) {
        match operation {
            Operation::Put(family, key, value) => write.put_cf(fresh.family(family), key, value),
            Operation::Delete(family, key) => write.delete_cf(fresh.family(family), key),
            Operation::DeleteRange(family, from, to) => {
                write.delete_range_cf(fresh.family(family), from, to);
            }
        }
    }
    fresh.write_raw(write)
}

/// A directory that this process holds, seen as one in which nothing else can happen.
pub(crate) fn hold(path: &Path) -> Result<Arc<Directory>, StoreError> {
    let directory = Arc::new(Directory::hold(path)?);
    finish(&directory)?;
    Ok(directory)
}

impl Store {
    /// A write that needs no mark and no sync of its own.
    fn write_raw(&self, batch: WriteBatch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        Ok(self.db.write(batch)?)
    }
}
