//! Checks the state directory of a stopped agent, and says of each area whether it is sound: every checksum, every value's
//! form, and whether they agree with each other as far as one can be computed from another.
//!
//! Nothing is written. Memory is bounded by the filters of the ids, as in a running agent, and by the names of meters.

mod conservation;
mod dedup;
mod journal;
mod outbox;

use serde::Serialize;
use submeter_common::time::Timestamp;
use thiserror::Error;

use crate::pipeline::{Area, StoreConfig};
use crate::store::directory::Directory;
use crate::store::mark::Found;
use crate::store::{Family, Store, StoreError, damage, wal};

/// What was found of one area.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) area: Area,
    pub(crate) state: State,
    /// What was looked at.
    pub(crate) checked: String,
    pub(crate) problems: Vec<String>,
}

/// Whether an area is sound.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Sound,
    Damaged,
    /// It could not be looked at.
    Unchecked,
}

/// Why nothing was checked.
#[derive(Debug, Error)]
pub(crate) enum VerifyError {
    /// There is none.
    #[error("there is no state directory at {0}")]
    Absent(String),
    /// The agent runs.
    #[error("{0} is in use: stop the agent first, only a directory at rest can be checked")]
    Running(String),
    /// It cannot be read at all.
    #[error("{0}: {1}")]
    Unreadable(String, StoreError),
}

/// What a check of an area has gathered so far.
struct Check {
    area: Area,
    checked: String,
    problems: Vec<String>,
}

impl Check {
    fn of(area: Area) -> Self {
        Self {
            area,
            checked: String::new(),
            problems: Vec::new(),
        }
    }

    fn problem(&mut self, problem: impl Into<String>) {
        /// More of the same kind say nothing new.
        const PROBLEMS_MAX: usize = 20;
        match self.problems.len() {
            0..PROBLEMS_MAX => self.problems.push(problem.into()),
            PROBLEMS_MAX => self.problems.push("and more".to_owned()),
            _ => {}
        }
    }

    /// Notes what made a check end early.
    fn note(&mut self, ended: Result<(), StoreError>) {
        if let Err(error) = ended {
            self.problem(error.to_string());
        }
    }

    fn verdict(self) -> Verdict {
        Verdict {
            area: self.area,
            state: if self.problems.is_empty() {
                State::Sound
            } else {
                State::Damaged
            },
            checked: self.checked,
            problems: self.problems,
        }
    }
}

/// Checks the directory of `config`; `now` says which ids are beyond their retention.
pub(crate) fn verify(config: &StoreConfig, now: Timestamp) -> Result<Vec<Verdict>, VerifyError> {
    let path = config.data_dir.display().to_string();
    let unreadable = |error| match error {
        StoreError::Locked => VerifyError::Running(path.clone()),
        error => VerifyError::Unreadable(path.clone(), error),
    };
    if !config.data_dir.is_dir() {
        return Err(VerifyError::Absent(path));
    }
    let directory = Directory::look(&config.data_dir).map_err(unreadable)?;
    let (mark, log) = (
        check_mark(&directory).map_err(unreadable)?,
        check_log(&directory),
    );
    let mut verdicts = vec![mark.verdict(), log.verdict()];
    let mut files = Check::of(Area::Files);
    match Store::open_read_only(&config.data_dir) {
        Ok(store) => {
            let damaged = check_families(&store, &mut files);
            files.note(note_manifest(&directory));
            verdicts.push(files.verdict());
            verdicts.extend(check_areas(&store, config, &damaged, now));
        }
        Err(StoreError::Absent) if !directory.is_known().map_err(unreadable)? => {
            return Err(VerifyError::Absent(path));
        }
        Err(error @ (StoreError::Corrupt(_) | StoreError::Absent)) => {
            files.problem(error.to_string());
            verdicts.push(files.verdict());
            verdicts.extend(AREAS.map(unchecked));
        }
        Err(error) => return Err(unreadable(error)),
    }
    verdicts.sort_by_key(|verdict| verdict.area);
    Ok(verdicts)
}

/// The areas within the database.
const AREAS: [Area; 7] = [
    Area::Meta,
    Area::Journal,
    Area::Dedup,
    Area::Open,
    Area::Outbox,
    Area::Quarantine,
    Area::Conservation,
];

fn unchecked(area: Area) -> Verdict {
    Verdict {
        area,
        state: State::Unchecked,
        checked: "the database does not open; a start recovers what reads".to_owned(),
        problems: Vec::new(),
    }
}

fn check_mark(directory: &Directory) -> Result<Check, StoreError> {
    let mut check = Check::of(Area::Mark);
    match directory.read_mark()? {
        Found::Mark(mark) => {
            check.checked = format!("record {} was acknowledged last", mark.record)
        }
        Found::Missing => check.problem("it is missing: nothing shows what was acknowledged last"),
        Found::Damaged => {
            check.problem("it does not read: nothing shows what was acknowledged last")
        }
    }
    Ok(check)
}

fn check_log(directory: &Directory) -> Check {
    let mut check = Check::of(Area::Log);
    if !directory.database().is_dir() {
        check.problem("the database is missing");
        return check;
    }
    let acknowledged = match directory.read_mark() {
        Ok(Found::Mark(mark)) => mark.record,
        _ => 0,
    };
    match wal::check(&directory.database()) {
        Err(error) => check.problem(error.to_string()),
        Ok(scan) => {
            check.checked = format!("{} writes in {} files", scan.batches, scan.files);
            for found in &scan.breaks {
                check.problem(format!(
                    "{}: bytes {} to {} do not read, and what follows them does; {} write(s) are missing",
                    found.file, found.from, found.to, found.writes
                ));
            }
            if let (Some((file, from)), Some(last)) = (&scan.torn, scan.last_record)
                && last < acknowledged
            {
                check.problem(format!(
                    "{file}: nothing reads from byte {from} on; it ends with record {last}, and record {acknowledged} was acknowledged"
                ));
            }
        }
    }
    check
}

fn note_manifest(directory: &Directory) -> Result<(), StoreError> {
    let Found::Mark(mark) = directory.read_mark()? else {
        return Ok(());
    };
    match directory.manifest_damage(&mark) {
        Some(damage) => Err(StoreError::Corrupt(damage)),
        None => Ok(()),
    }
}

/// Reads every block; answers the families in which one does not read.
fn check_families(store: &Store, files: &mut Check) -> Vec<(Area, String)> {
    let mut damaged = Vec::new();
    let mut entries = 0;
    for family in Family::ALL {
        match store.read_family(family) {
            Ok(read) => entries += read,
            Err(error) => {
                files.problem(error.to_string());
                damaged.push((family.area(), error.to_string()));
            }
        }
    }
    files.checked = format!("{entries} entries under their checksums");
    damaged
}

fn check_areas(
    store: &Store,
    config: &StoreConfig,
    damaged: &[(Area, String)],
    now: Timestamp,
) -> Vec<Verdict> {
    let known_holes = damage::damage_reports(&config.data_dir)
        .unwrap_or_default()
        .into_iter()
        .flat_map(|report| report.findings)
        .filter(|finding| finding.area == Area::Journal)
        .filter_map(|finding| finding.records)
        .collect::<Vec<_>>();
    let (journal, holes) = journal::check(store, &known_holes);
    let mut checks = vec![
        check_meta(store),
        journal,
        dedup::check(store, now.saturating_sub(config.dedup_retention)),
        check_open(store),
        outbox::check(store),
        check_quarantine(store),
        conservation::check(store, &holes),
    ];
    for check in &mut checks {
        for (area, problem) in damaged {
            if *area == check.area {
                check.problem(problem.clone());
            }
        }
    }
    checks.into_iter().map(Check::verdict).collect()
}

fn check_meta(store: &Store) -> Check {
    let mut check = Check::of(Area::Meta);
    let ended = (|| {
        let mark = store.mark();
        let (identity, revision) = (store.identity()?, store.revision()?);
        if identity.is_none() {
            check.problem("who this directory is does not read");
        }
        if identity.is_some() && mark.identity.is_some() && identity != mark.identity {
            check.problem("the mark names another agent");
        }
        if store.progress()?.is_none() && mark.revision > 0 {
            check.problem("progress is missing");
        }
        if revision < mark.revision {
            check.problem(format!(
                "progress was written {} times and reads as of the {revision}th",
                mark.revision
            ));
        }
        let (catalog, imports) = (store.catalog()?.unwrap_or_default(), store.imports()?);
        store.acknowledged()?;
        store.epoch()?;
        store.lineage()?;
        store.incidents()?;
        check.checked = format!(
            "identity, progress, catalog of {} meters, {} imports",
            catalog.meters.len(),
            imports.len()
        );
        Ok(())
    })();
    check.note(ended);
    check
}

fn check_open(store: &Store) -> Check {
    let mut check = Check::of(Area::Open);
    let ended = (|| {
        let set = store.progress()?.map_or(1, |progress| progress.open_set);
        let mut partials = 0;
        for partial in store.open_partials(set) {
            partial?;
            partials += 1;
        }
        check.checked = format!("{partials} partials");
        Ok(())
    })();
    check.note(ended);
    check
}

fn check_quarantine(store: &Store) -> Check {
    let mut check = Check::of(Area::Quarantine);
    let mut events = 0;
    let ended = store.snapshot().walk_quarantine(&[], |_, _| {
        events += 1;
        Ok(std::ops::ControlFlow::Continue(()))
    });
    check.checked = format!("{events} events");
    check.note(ended);
    check
}
