//! The database's write-ahead log, read without the database.
//!
//! RocksDB replays its log up to the first record that does not read and drops everything behind it. At the end of the
//! log that is right: a torn tail was never acknowledged. Anywhere else it would drop acknowledged events without a word.
//! So the log is read here first, over all its files: what follows a break and still reads tells one from the other.
//!
//! Nothing is kept in memory but the batch at hand.

mod batch;
mod frame;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub(super) use batch::{Operation, WalBatch};
pub(super) use frame::{End, Piece, read_frames};

use super::{Family, StoreError, key};

/// Bytes of the log that do not read although what follows them does.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(crate) struct Break {
    pub(crate) file: String,
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Writes that are missing: each put or deletion is one.
    pub(crate) writes: u64,
}

/// What the log looks like as a whole.
#[derive(Default, Debug)]
pub(crate) struct WalScan {
    pub(crate) breaks: Vec<Break>,
    /// Bytes at the very end that do not read, by file: a torn tail, unless the mark knows better.
    pub(crate) torn: Option<(String, u64)>,
    /// The greatest journal record in it.
    pub(crate) last_record: Option<u64>,
    /// Batches read.
    pub(crate) batches: u64,
    pub(crate) bytes: u64,
    pub(crate) files: u64,
}

/// The log files of a database, oldest first.
pub(crate) fn log_files(database: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(database)? {
        let path = entry?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_suffix(".log")?.parse().ok());
        files.extend(number.map(|number| (number, path)));
    }
    files.sort_unstable();
    Ok(files)
}

/// Reads the whole log to see whether it is sound.
pub(crate) fn check(database: &Path) -> Result<WalScan, StoreError> {
    scan(database, |_, _| Ok::<_, io::Error>(()))
        .map_err(|error| StoreError::Failed(format!("log: {error}")))
}

/// Reads the whole log in order; `visit` gets each batch, and whether a break came before it.
pub(super) fn scan<E: From<io::Error>>(
    database: &Path,
    mut visit: impl FnMut(&WalBatch<'_>, bool) -> Result<(), E>,
) -> Result<WalScan, E> {
    let mut scanner = Scanner::default();
    for (number, path) in log_files(database)? {
        scanner.begin(&path);
        let end = read_frames::<E>(&path, Some(number), |piece| {
            scanner.piece(piece, &mut visit)
        })?;
        scanner.end(&end);
    }
    Ok(scanner.scan)
}

/// A number that grows by one with each write of its kind.
#[derive(Copy, Clone, Default)]
struct Numbered {
    last: Option<u64>,
    /// Operations that the log lacks since.
    missing: u64,
}

impl Numbered {
    /// Whether numbers are missing for which the log lacks writes.
    fn jumps_to(&mut self, number: u64) -> bool {
        let jumped = self.missing > 0 && self.last.is_some_and(|last| number > last + 1);
        *self = Self {
            last: Some(number),
            missing: 0,
        };
        jumped
    }
}

#[derive(Default)]
struct Scanner {
    scan: WalScan,
    file: String,
    next_sequence: Option<u64>,
    /// The last journal record and writing of progress, and whether writes are missing since.
    record: Numbered,
    revision: Numbered,
    /// A break whose missing writes the next batch will tell.
    open: Option<Break>,
}

impl Scanner {
    fn begin(&mut self, path: &Path) {
        self.file = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        self.scan.files += 1;
    }

    fn piece<E>(
        &mut self,
        piece: Piece<'_>,
        visit: &mut impl FnMut(&WalBatch<'_>, bool) -> Result<(), E>,
    ) -> Result<(), E> {
        match piece {
            Piece::Gap { from, to } => {
                self.break_at(from, to);
                Ok(())
            }
            Piece::Record { at, bytes } => match WalBatch::parse(bytes) {
                Some(batch) => self.batch(at, &batch, visit),
                None => {
                    self.break_at(at, at + bytes.len() as u64);
                    Ok(())
                }
            },
        }
    }

    fn batch<E>(
        &mut self,
        at: u64,
        batch: &WalBatch<'_>,
        visit: &mut impl FnMut(&WalBatch<'_>, bool) -> Result<(), E>,
    ) -> Result<(), E> {
        let expected = self.next_sequence.unwrap_or(batch.sequence);
        let missing = batch.sequence.saturating_sub(expected);
        if let Some(mut open) = self.open.take() {
            // What never read may have been nothing: a torn tail of a file that a later start cut and went on from.
            open.writes = missing;
            if open.writes > 0 {
                self.scan.breaks.push(open);
            }
        } else if missing > 0 {
            // Files that the database takes in use up a number each; whether writes are missing, others must tell.
            self.record.missing += missing;
            self.revision.missing += missing;
        }
        self.next_sequence = Some(batch.sequence + u64::from(batch.count));
        self.scan.torn = None;
        self.scan.batches += 1;
        self.scan.bytes += batch.len() as u64;
        for operation in batch.operations() {
            self.number(at, operation);
        }
        visit(batch, !self.scan.breaks.is_empty())
    }

    /// Follows what is numbered without holes: where a whole file of the log is missing, nothing else shows it.
    fn number(&mut self, at: u64, operation: Operation<'_>) {
        let (numbered, number) = match operation {
            Operation::Put(Family::Journal, key, _) => (&mut self.record, key::trailing_u64(key)),
            Operation::Put(Family::Meta, key::REVISION, value) => {
                (&mut self.revision, key::trailing_u64(value))
            }
            _ => return,
        };
        let Ok(number) = number else { return };
        let writes = numbered.missing;
        if numbered.jumps_to(number) {
            self.scan.breaks.push(Break {
                file: self.file.clone(),
                from: at,
                to: at,
                writes,
            });
        }
        self.scan.last_record = self.scan.last_record.max(self.record.last);
    }

    fn break_at(&mut self, from: u64, to: u64) {
        match &mut self.open {
            Some(open) if open.file == self.file => open.to = to,
            Some(_) => {}
            None => {
                self.open = Some(Break {
                    file: self.file.clone(),
                    from,
                    to,
                    writes: 0,
                });
            }
        }
    }

    fn end(&mut self, end: &End) {
        if let End::Unreadable { from, to } = *end {
            self.break_at(from, to);
            self.scan.torn = Some((self.file.clone(), from));
        }
    }
}

#[cfg(test)]
mod tests;
