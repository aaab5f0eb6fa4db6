//! Brings what was read of a damaged database to agree with itself, and says what is missing.
//!
//! The rules, in order:
//!
//! 1. *Who it is*: the mark knows, or else the database. If neither does, the directory is born anew.
//! 2. *How far it came*: the newest progress that reads, or else that of the newest seal that reads, or else what the mark
//!    says of the last seal. The journal after it is counted by the replay, as after any crash.
//! 3. *Frames*: each has its place, see `outbox`.
//! 4. *The open set*: kept when nothing of it can be missing. Otherwise dropped, and what was counted since the last seal
//!    is counted again from the journal, as a backfill; what the journal no longer holds is lost and said so.
//! 5. *Ids*: the replay looks each id of the journal up and adds what is missing.

use super::coverage::counted_between;
use super::{Salvaged, journal, outbox};
use crate::store::damage::{Area, Finding};
use crate::store::mark::{Found, Mark};
use crate::store::meta::{Acknowledged, Progress, Resume};
use crate::store::{Durability, Family, Store, StoreError};

struct Settling<'a> {
    store: &'a Store,
    salvaged: &'a mut Salvaged,
    mark: Option<Mark>,
    progress: Progress,
    /// Progress is older than the newest that was written.
    stale: bool,
}

/// Settles everything; adds to `events_lost` what can no longer be counted.
pub(super) fn settle(
    store: &Store,
    salvaged: &mut Salvaged,
    events_lost: &mut u64,
) -> Result<(), StoreError> {
    let mark = take_mark(store, salvaged);
    let (progress, stale) = newest_progress(store, salvaged, mark.as_ref())?;
    let mut settling = Settling {
        store,
        salvaged,
        mark,
        progress,
        stale,
    };
    *events_lost = settling.run()?;
    Ok(())
}

fn take_mark(store: &Store, salvaged: &mut Salvaged) -> Option<Mark> {
    match salvaged.mark.clone() {
        Found::Mark(mark) => {
            store.change_mark(|new| *new = mark.clone());
            Some(mark)
        }
        missing => {
            let (revision, runs_revision) = (store.revision(), store.runs_revision());
            store.change_mark(|mark| {
                mark.revision = revision.unwrap_or(0);
                mark.runs_revision = runs_revision.unwrap_or(0);
            });
            let how = if missing == Found::Missing {
                "is missing"
            } else {
                "does not read"
            };
            let message =
                format!("the mark {how}: it cannot be shown that the newest records are all here");
            salvaged.found(Area::Mark, false, message);
            None
        }
    }
}

/// The newest progress that is left, and whether a newer one was written.
fn newest_progress(
    store: &Store,
    salvaged: &mut Salvaged,
    mark: Option<&Mark>,
) -> Result<(Progress, bool), StoreError> {
    let revision = store.revision().unwrap_or(0);
    let snapshot = store.newest_sealed_progress()?;
    let newest = mark.map_or(revision, |mark| mark.revision);
    let further = |progress: &Progress| {
        let sealed = snapshot.as_ref().map_or(0, |snapshot| snapshot.sealed.seq);
        newest > revision && sealed > progress.sealed.seq
    };
    if let Ok(Some(progress)) = store.progress()
        && !further(&progress)
    {
        if newest > revision {
            let message = format!(
                "progress was written {newest} times and reads as of the {revision}th: the journal after it is counted again"
            );
            salvaged.found(Area::Meta, false, message);
        }
        return Ok((progress, newest > revision));
    }
    let written = mark.is_some_and(|mark| mark.revision > 0) || revision > 0;
    if let Some(progress) = snapshot {
        let message = format!(
            "the newest progress does not read; gone on from frame {}, the journal after it is counted again",
            progress.sealed.seq
        );
        salvaged.found(Area::Meta, false, message);
        return Ok((progress, true));
    }
    if !written {
        return Ok((Progress::new(), false));
    }
    salvaged.found(
        Area::Meta,
        true,
        "progress does not read, nor that of any seal: counts begin again at zero, and what was not sealed is lost".into(),
    );
    Ok((from_mark(store, mark)?, true))
}

/// With no progress at all: behind the last seal, without claims of any kind.
fn from_mark(store: &Store, mark: Option<&Mark>) -> Result<Progress, StoreError> {
    let mut progress = Progress::new();
    let mut last = 0;
    store.walk_records_back(|number, _| {
        last = number;
        Ok::<_, StoreError>(std::ops::ControlFlow::Break(()))
    })?;
    // What was counted is unknown. To count it twice would be worse than to name it as lost.
    progress.cursor = mark.map_or(last, |mark| mark.sealed_record);
    if let Some(mark) = mark {
        progress.sealed = mark.sealed;
    }
    for meter in store.catalog().ok().flatten().unwrap_or_default().meters {
        progress.coverage.entry(meter.id).or_default();
    }
    Ok(progress)
}

impl Settling<'_> {
    fn run(&mut self) -> Result<u64, StoreError> {
        self.settle_identity()?;
        let resume = self.resume();
        self.settle_catalog(resume.record);
        outbox::settle(
            self.store,
            &self.progress,
            resume.sealed,
            self.acknowledged(),
            self.salvaged,
        )?;
        let oldest = journal::oldest_known(self.store);
        let sealed = self.store.sealed_progress(self.progress.sealed.seq)?;
        let sealed_record = sealed.as_ref().map_or(0, |sealed| sealed.cursor);
        let found = journal::account(self.store, sealed_record, self.progress.cursor)?;
        self.settle_dedup(oldest)?;
        let recounted = self.settle_open(sealed.as_ref(), &found)?;
        let counted_up_to = if recounted {
            sealed_record
        } else {
            self.progress.cursor
        };
        self.report_holes(&found, counted_up_to);
        self.report_lost_ids(oldest, &found, counted_up_to)?;
        let events_lost = self.events_lost(&found, sealed.filter(|_| recounted).as_ref());
        self.write(&resume, &found)?;
        Ok(events_lost)
    }

    fn settle_identity(&mut self) -> Result<(), StoreError> {
        let stored = self.store.identity().ok().flatten();
        let marked = self.mark.as_ref().and_then(|mark| mark.identity.clone());
        if let Some(identity) = marked.or(stored) {
            let mut batch = self.store.batch();
            batch.put_identity(&identity);
            return self.store.write(batch, Durability::Buffered);
        }
        if self.progress.cursor > 0 || self.progress.sealed.seq > 0 {
            self.salvaged.found(
                Area::Meta,
                true,
                "who this directory is does not read: it goes on as a new agent, and what the collector does not hold of the old one's frames is lost".into(),
            );
        }
        Ok(())
    }

    /// A meter that progress knows and the catalog does not counts nothing until the collector names it again.
    fn settle_catalog(&mut self, counted: u64) {
        let catalog = self.store.catalog().ok().flatten().unwrap_or_default();
        let mut missing = 0;
        for (id, coverage) in &mut self.progress.coverage {
            let known = catalog.meters.iter().any(|meter| meter.id == *id);
            if !known && coverage.vanished_after.is_none() {
                coverage.vanished_after = Some(counted);
                missing += 1;
            }
        }
        if missing > 0 {
            let message = format!(
                "the catalog lacks {missing} meter(s): they count the journal from record {} once the collector names them",
                counted + 1
            );
            self.salvaged.found(Area::Meta, false, message);
        }
    }

    /// Where the chain of frames ends, and up to which record it holds the journal, when progress does not know.
    fn resume(&self) -> Resume {
        let ahead = self.mark.as_ref().filter(|_| self.is_behind_seal());
        Resume {
            sealed: ahead.map_or(self.progress.sealed, |mark| mark.sealed),
            record: ahead.map_or(self.progress.cursor, |mark| mark.sealed_record),
        }
    }

    /// Progress of before the last seal: its open set is in frames, which have their own account.
    fn is_behind_seal(&self) -> bool {
        let sealed = self.progress.sealed.seq;
        self.stale
            && self
                .mark
                .as_ref()
                .is_some_and(|mark| mark.sealed.seq > sealed)
    }

    /// What the collector holds, unless that was lost.
    fn acknowledged(&self) -> Option<Acknowledged> {
        let stored = self.store.acknowledged().unwrap_or_default();
        let known = stored != Acknowledged::default() || self.salvaged.is_whole(Family::Meta);
        known.then_some(stored)
    }

    /// Ids are derived from the journal again, as far as it reaches: from record `oldest` on.
    fn settle_dedup(&mut self, oldest: u64) -> Result<(), StoreError> {
        // Without the names of their runs, ids are as good as gone.
        let needed = [Family::Dedup, Family::Meta];
        let whole = needed.iter().all(|family| self.salvaged.is_whole(*family));
        let named = self.mark.as_ref().map_or(0, |mark| mark.runs_revision);
        let unnamed = self.salvaged.runs_jumped || self.store.runs_revision()? < named;
        if !whole || unnamed || self.stale || self.salvaged.jumped {
            let message = if oldest > 1 {
                format!(
                    "ids were taken from the journal again; of those accepted before record {oldest} some may be forgotten, and a retry of one of them would count again"
                )
            } else {
                "ids were taken from the journal again".to_owned()
            };
            self.salvaged.found(Area::Dedup, oldest > 1, message);
            self.undo_merges()?;
        }
        Ok(())
    }

    /// Names the records whose ids were in no run yet, and are gone with them, though their events are counted.
    fn report_lost_ids(
        &mut self,
        oldest: u64,
        found: &journal::Found,
        counted_up_to: u64,
    ) -> Result<(), StoreError> {
        let first = self.store.runs_cursor()? + 1;
        let mut holes = self.holes(found);
        holes.extend(found.first.map(|found| (oldest, found - 1)));
        for hole in holes {
            let (from, to) = (hole.0.max(first), hole.1.min(counted_up_to));
            if from <= to {
                self.salvaged.findings.push(Finding {
                    area: Area::Dedup,
                    lost: true,
                    records: Some((from, to)),
                    message: format!(
                        "the ids of records {from} to {to} are gone with them: a retry of one of their events would count again"
                    ),
                });
            }
        }
        Ok(())
    }

    /// A run that is merged into may lack ids that what it is merged from holds: it is begun anew.
    fn undo_merges(&mut self) -> Result<(), StoreError> {
        let runs = self.store.runs()?;
        let mut batch = self.store.batch();
        for run in runs.iter().filter(|run| !run.is_complete()) {
            let is_there = |input: &u32| runs.iter().any(|run| run.id == *input);
            if run.inputs.iter().all(is_there) {
                batch.forget_run(run.id);
            }
        }
        self.store.write(batch, Durability::Buffered)
    }

    /// Keeps the open set if nothing of it can be missing; else has the journal since the last seal counted again, and
    /// answers true.
    fn settle_open(
        &mut self,
        sealed: Option<&Progress>,
        journal: &journal::Found,
    ) -> Result<bool, StoreError> {
        let whole = self.salvaged.is_whole(Family::Open) && !self.salvaged.jumped;
        if (whole && !self.stale) || self.is_behind_seal() {
            return Ok(false);
        }
        let seq = self.progress.sealed.seq;
        let Some(sealed) = sealed else {
            let message =
                format!("open partials may be missing: usage since frame {seq} may be short");
            self.salvaged.found(Area::Open, true, message);
            return Ok(false);
        };
        let first = journal.first.unwrap_or(u64::MAX);
        let given_back = self.recount(sealed, first);
        self.progress.open_set = self.store.greatest_open_set()?.max(self.progress.open_set) + 1;
        self.progress.open_oldest = self.progress.cursor + 1;
        let message = format!(
            "the open partials were dropped; usage since frame {seq} is counted again from the journal"
        );
        self.salvaged.found(Area::Open, false, message);
        if let Some(last) = given_back {
            self.salvaged.findings.push(Finding {
                area: Area::Open,
                lost: true,
                records: Some((sealed.cursor + 1, last)),
                message: format!("the journal begins at record {first}: what frame {seq} does not hold of the records before is lost"),
            });
        }
        Ok(true)
    }

    /// Lets every meter count again what it counted since `sealed`, as far as the journal reaches back; answers the last
    /// record that it should and does not.
    fn recount(&mut self, sealed: &Progress, first: u64) -> Option<u64> {
        let mut given_back: Option<u64> = None;
        for (meter, gaps) in counted_between(sealed, &self.progress) {
            let Some(coverage) = self.progress.coverage.get_mut(&meter) else {
                continue;
            };
            for gap in gaps {
                // What was there when the meter came is a matter of its backfill, not of this seal.
                if gap.from < first && gap.to > sealed.cursor {
                    given_back = given_back.max(Some(gap.to.min(first - 1)));
                }
                coverage.miss(gap.from.max(first), gap.to);
            }
        }
        given_back.filter(|last| *last > sealed.cursor)
    }

    /// Names the records that are missing.
    fn report_holes(&mut self, found: &journal::Found, counted_up_to: u64) {
        for hole in self.holes(found) {
            let lost = hole.1 > counted_up_to;
            let message = if lost {
                format!(
                    "records {} to {} do not read: their events were acknowledged and are not counted",
                    hole.0.max(counted_up_to + 1),
                    hole.1
                )
            } else {
                format!(
                    "records {} to {} do not read: they are counted, but no longer retained",
                    hole.0, hole.1
                )
            };
            self.salvaged.findings.push(Finding {
                area: Area::Journal,
                lost,
                records: Some(hole),
                message,
            });
        }
    }

    /// The runs of records that are missing.
    fn holes(&self, found: &journal::Found) -> Vec<(u64, u64)> {
        let mut holes = found.holes.clone();
        let last = self.last_record(found);
        let reached = found.first.map_or(self.progress.cursor, |_| found.last);
        if last > reached {
            holes.push((reached + 1, last));
        }
        holes
    }

    /// Acknowledged events that no record holds any more and nothing has counted.
    fn events_lost(&self, found: &journal::Found, recounted_from: Option<&Progress>) -> u64 {
        let accepted = self.mark.as_ref().map_or(0, |mark| mark.accepted);
        let counted = self.progress.receipts.accepted;
        let after = accepted.saturating_sub(counted + found.events_after);
        let since_seal = recounted_from.map_or(0, |sealed| {
            let open = counted.saturating_sub(sealed.receipts.accepted);
            open.saturating_sub(found.events_since_seal)
        });
        after + since_seal
    }

    /// The last record that was ever acknowledged, as far as anything tells.
    fn last_record(&self, found: &journal::Found) -> u64 {
        let marked = self.mark.as_ref().map_or(0, |mark| mark.record);
        marked.max(found.last).max(self.progress.cursor)
    }

    fn write(&mut self, resume: &Resume, found: &journal::Found) -> Result<(), StoreError> {
        let mut batch = self.store.batch();
        batch.put_progress(&self.progress);
        batch.put_resume(resume);
        self.store.write(batch, Durability::Synced)?;
        let (last, accepted) = (
            self.last_record(found),
            self.progress.receipts.accepted + found.events_after,
        );
        let runs_revision = self.store.runs_revision()?;
        self.store.change_mark(|mark| {
            mark.record = last;
            mark.runs_revision = runs_revision;
            mark.sealed = resume.sealed;
            mark.sealed_record = resume.record;
            // What is lost is in the account, and is not to be missed again.
            mark.accepted = accepted;
        });
        Ok(())
    }
}
