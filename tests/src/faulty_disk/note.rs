//! What the shim noted, decoded.

use anyhow::{Context, Result, bail};

/// `struct header` of the shim.
const HEADER_BYTES: usize = 24;
/// `enum target`'s value for a write-ahead log.
const LOG: u16 = 1;

/// One note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The file descriptor.
    pub fd: i32,
    /// What happened to it.
    pub kind: NoteKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoteKind {
    /// A file or directory was opened.
    Opened {
        /// Under this path.
        path: String,
        /// With these flags.
        flags: i64,
    },
    /// It was closed.
    Closed,
    /// These bytes of a write-ahead log are with the operating system.
    WroteLog(Vec<u8>),
    /// Some bytes of another file are with the operating system.
    Wrote,
    /// An fsync is about to begin.
    SyncBegan,
    /// It came back.
    Synced {
        /// Whether well.
        success: bool,
    },
    /// A file has another name now.
    Renamed {
        /// The old one.
        from: String,
        /// The new one.
        to: String,
    },
    /// A connection was accepted.
    Accepted,
    /// These bytes came in on it.
    Received(Vec<u8>),
    /// These bytes are about to go out on it (no more than the first few).
    Answering(Vec<u8>),
}

/// Decodes all notes in order.
pub(super) fn decode_all(mut bytes: &[u8]) -> Result<Vec<Note>> {
    let mut notes = Vec::new();
    while !bytes.is_empty() {
        let (note, taken) = decode(bytes).with_context(|| format!("note {}", notes.len()))?;
        notes.push(note);
        bytes = bytes.get(taken..).context("a note's end")?;
    }
    Ok(notes)
}

fn decode(bytes: &[u8]) -> Result<(Note, usize)> {
    let header = bytes.get(..HEADER_BYTES).context("a header")?;
    let number = |from: usize| i32::from_ne_bytes([0, 1, 2, 3].map(|at| header[from + at]));
    let short = |from: usize| u16::from_ne_bytes([header[from], header[from + 1]]);
    let length = usize::try_from(number(0))?;
    let mut word = [0; 8];
    word.copy_from_slice(&header[16..24]);
    let result = i64::from_ne_bytes(word);
    let body = bytes
        .get(HEADER_BYTES..HEADER_BYTES + length)
        .context("a body")?
        .to_vec();
    let kind = kind(short(4), short(6), result, body)?;
    let taken = (HEADER_BYTES + length).next_multiple_of(8);
    Ok((
        Note {
            fd: number(8),
            kind,
        },
        taken,
    ))
}

fn kind(kind: u16, target: u16, result: i64, body: Vec<u8>) -> Result<NoteKind> {
    Ok(match kind {
        1 => NoteKind::Opened {
            path: String::from_utf8(body)?,
            flags: result,
        },
        2 => NoteKind::Closed,
        3 if target == LOG => NoteKind::WroteLog(body),
        3 => NoteKind::Wrote,
        4 => NoteKind::SyncBegan,
        5 => NoteKind::Synced {
            success: result == 0,
        },
        6 => {
            let both = String::from_utf8(body)?;
            let (from, to) = both.split_once('\0').context("two names")?;
            NoteKind::Renamed {
                from: from.to_owned(),
                to: to.to_owned(),
            }
        }
        7 => NoteKind::Accepted,
        8 => NoteKind::Received(body),
        9 => NoteKind::Answering(body),
        // The program ended between reserving a note's place and writing it.
        0 => bail!("it was never written"),
        other => bail!("kind {other}"),
    })
}
