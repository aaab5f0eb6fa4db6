//! Looking for damage before trusting a state directory.
//!
//! RocksDB refuses to open what contradicts itself. What it does not notice is what is merely *gone*: records behind a
//! break in its log, or the end of a log or of its list of files. The mark outside the database knows what must be there.

use crate::store::directory::Directory;
use crate::store::mark::{Found, Mark};
use crate::store::wal::WalScan;
use crate::store::{Store, StoreError, wal};

/// Says what is damaged, as far as that shows without opening the database, which would cut the log at a break.
pub(super) fn before_opening(directory: &Directory) -> Result<Option<String>, StoreError> {
    let mark = match directory.read_mark()? {
        Found::Mark(mark) => mark,
        Found::Missing | Found::Damaged => Mark::default(),
    };
    if !directory.has_database()? {
        let known = mark.identity.is_some();
        return Ok(known.then(|| "the database is missing".to_owned()));
    }
    if let Some(damage) = directory.manifest_damage(&mark) {
        return Ok(Some(damage));
    }
    let scan = wal::check(&directory.database())?;
    Ok(log_damage(&scan, &mark))
}

fn log_damage(scan: &WalScan, mark: &Mark) -> Option<String> {
    if let Some(found) = scan.breaks.first() {
        return Some(format!(
            "{}: bytes {} to {} of the log do not read, and what follows them does",
            found.file, found.from, found.to
        ));
    }
    let (file, from) = scan.torn.as_ref()?;
    let last = scan.last_record?;
    (last < mark.record).then(|| {
        format!(
            "{file}: the log does not read from byte {from} on; it ends with record {last}, and record {} was acknowledged",
            mark.record
        )
    })
}

/// Says what is missing of an opened database.
pub(super) fn after_opening(store: &Store) -> Result<(), StoreError> {
    if let Some(why) = store.directory().suspicion() {
        tracing::warn!(
            why,
            "the store failed in its last life; reading everything before it is trusted"
        );
        store.read_everything()?;
        store.directory().clear_suspicion()?;
    }
    if store.resume()?.is_some() {
        // Damage was recovered from and the recovery is not through: what is missing is known.
        return Ok(());
    }
    let mark = store.mark();
    let progress = store.progress()?;
    let cursor = progress.as_ref().map_or(0, |progress| progress.cursor);
    let last = store.last_record()?.unwrap_or(0).max(cursor);
    if last < mark.record {
        return Err(StoreError::Corrupt(format!(
            "the journal ends with record {last}, and record {} was acknowledged",
            mark.record
        )));
    }
    let revision = store.revision()?;
    if revision < mark.revision {
        return Err(StoreError::Corrupt(format!(
            "progress was written {} times and reads as of the {revision}th",
            mark.revision
        )));
    }
    let runs_revision = store.runs_revision()?;
    if runs_revision < mark.runs_revision {
        return Err(StoreError::Corrupt(format!(
            "runs of ids were named {} times and their names read as of the {runs_revision}th",
            mark.runs_revision
        )));
    }
    if store.identity()?.is_none() && (mark.identity.is_some() || last > 0) {
        return Err(StoreError::Corrupt(
            "who this directory is does not read".to_owned(),
        ));
    }
    Ok(())
}
