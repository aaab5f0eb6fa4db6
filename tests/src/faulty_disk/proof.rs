//! Whether each acknowledgement came after the fsync of what it acknowledges: a checker over the shim's notes.
//!
//! It knows nothing of the agent but this: an event's id stands in the request and in the write-ahead log. An event is
//! durable when a record that names it was wholly written to a log, an fsync of that log began afterwards and came back
//! well, and the log's own name is durable, by an fsync of its directory. A 2xx may only be sent when every event of
//! its request is durable. Requests of one connection are answered one after another; the tests do not pipeline.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::log::LogReader;
use super::note::{Note, NoteKind};

/// How an event id begins that the checker follows; eleven digits come after it.
const MARK: &[u8] = b"traced-";
const DIGITS: usize = 11;
const O_CREAT: i64 = 0o100;

/// The id of the event with this number.
#[must_use]
pub fn traced_id(number: u64) -> String {
    format!("traced-{number:0DIGITS$}")
}

/// What was proved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proved {
    /// Requests answered with 2xx that held events.
    pub acknowledgements: usize,
    /// Events in them.
    pub events: usize,
    /// Fsyncs of logs that made an event durable.
    pub syncs: usize,
}

/// Follows the notes and refuses the first acknowledgement that came too early.
///
/// # Errors
/// Names the acknowledgement and what its events still lacked.
pub fn prove(notes: &[Note]) -> Result<Proved> {
    let mut checker = Checker::default();
    for (index, note) in notes.iter().enumerate() {
        checker
            .follow(note)
            .with_context(|| format!("note {index} of {}", notes.len()))?;
    }
    Ok(checker.proved)
}

#[derive(Default)]
struct Checker {
    logs: HashMap<i32, Log>,
    directories: HashMap<i32, Directory>,
    /// Names of logs that a power cut may still take back.
    unsafe_names: HashSet<String>,
    /// Synced events, and the log that holds each.
    synced: HashMap<u64, String>,
    requests: HashMap<i32, Vec<u8>>,
    proved: Proved,
}

#[derive(Default)]
struct Log {
    path: String,
    reader: LogReader,
    /// Wholly written, not synced.
    written: BTreeSet<u64>,
    /// What was wholly written when each fsync in flight began.
    syncing: VecDeque<BTreeSet<u64>>,
}

#[derive(Default)]
struct Directory {
    path: String,
    syncing: VecDeque<HashSet<String>>,
}

impl Checker {
    fn follow(&mut self, note: &Note) -> Result<()> {
        let fd = note.fd;
        match &note.kind {
            NoteKind::Opened { path, flags } => self.opened(fd, path, *flags),
            NoteKind::Closed => {
                self.logs.remove(&fd);
                self.directories.remove(&fd);
            }
            NoteKind::WroteLog(bytes) => self.wrote(fd, bytes)?,
            NoteKind::Wrote => {}
            NoteKind::SyncBegan => self.sync_began(fd),
            NoteKind::Synced { success } => self.synced(fd, *success),
            NoteKind::Renamed { from, to } => self.renamed(from, to),
            NoteKind::Accepted => {
                self.requests.insert(fd, Vec::new());
            }
            NoteKind::Received(bytes) => self.requests.entry(fd).or_default().extend(bytes),
            NoteKind::Answering(bytes) => self.answering(fd, bytes)?,
        }
        Ok(())
    }

    fn opened(&mut self, fd: i32, path: &str, flags: i64) {
        if Path::new(path).extension().is_some_and(|end| end == "log") {
            if flags & O_CREAT != 0 {
                self.unsafe_names.insert(path.to_owned());
            }
            let path = path.to_owned();
            self.logs.insert(
                fd,
                Log {
                    path,
                    ..Log::default()
                },
            );
        } else {
            let path = path.trim_end_matches('/').to_owned();
            self.directories.insert(
                fd,
                Directory {
                    path,
                    ..Directory::default()
                },
            );
        }
    }

    fn renamed(&mut self, from: &str, to: &str) {
        for log in self.logs.values_mut().filter(|log| log.path == from) {
            log.path = to.to_owned();
        }
        for path in self.synced.values_mut().filter(|path| *path == from) {
            *path = to.to_owned();
        }
        self.unsafe_names.insert(to.to_owned());
    }

    fn wrote(&mut self, fd: i32, bytes: &[u8]) -> Result<()> {
        if let Some(log) = self.logs.get_mut(&fd) {
            for record in log.reader.push(bytes).context(log.path.clone())? {
                log.written.extend(traced(&record));
            }
        }
        Ok(())
    }

    fn sync_began(&mut self, fd: i32) {
        if let Some(log) = self.logs.get_mut(&fd) {
            log.syncing.push_back(log.written.clone());
        }
        if let Some(directory) = self.directories.get_mut(&fd) {
            let inside =
                |name: &&String| Path::new(name).parent() == Some(Path::new(&directory.path));
            let names = self.unsafe_names.iter().filter(inside).cloned().collect();
            directory.syncing.push_back(names);
        }
    }

    /// Of two fsyncs in flight, the one that began first saw less: its view is taken first, whichever it was.
    fn synced(&mut self, fd: i32, success: bool) {
        if let Some(log) = self.logs.get_mut(&fd)
            && let Some(saw) = log.syncing.pop_front()
            && success
        {
            self.proved.syncs += usize::from(!saw.is_empty());
            for event in saw {
                log.written.remove(&event);
                self.synced.insert(event, log.path.clone());
            }
        }
        if let Some(directory) = self.directories.get_mut(&fd)
            && let Some(saw) = directory.syncing.pop_front()
            && success
        {
            self.unsafe_names.retain(|name| !saw.contains(name));
        }
    }

    fn answering(&mut self, fd: i32, bytes: &[u8]) -> Result<()> {
        if !bytes.starts_with(b"HTTP/1.1 ") || bytes.starts_with(b"HTTP/1.1 1") {
            // More of an answer that has begun, or leave to go on sending.
            return Ok(());
        }
        let request = std::mem::take(self.requests.entry(fd).or_default());
        if !bytes.starts_with(b"HTTP/1.1 2") {
            return Ok(());
        }
        let events = traced(&request);
        let mut lacking = String::new();
        for event in &events {
            match self.synced.get(event) {
                None => write!(lacking, " {event} is not synced;")?,
                Some(log) if self.unsafe_names.contains(log) => {
                    write!(lacking, " {event} is in {log}, whose name is not synced;")?;
                }
                Some(_) => {}
            }
        }
        ensure!(lacking.is_empty(), "acknowledged too early:{lacking}");
        self.proved.events += events.len();
        self.proved.acknowledgements += usize::from(!events.is_empty());
        Ok(())
    }
}

/// The numbers of the traced ids in some bytes.
fn traced(bytes: &[u8]) -> BTreeSet<u64> {
    let whole = MARK.len() + DIGITS;
    let mut found = BTreeSet::new();
    let mut at = 0;
    while let Some(window) = bytes.get(at..at + whole) {
        let number = window
            .strip_prefix(MARK)
            .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        match number {
            Some(number) => {
                found.insert(number);
                at += whole;
            }
            None => at += 1,
        }
    }
    found
}

#[cfg(test)]
mod tests;
