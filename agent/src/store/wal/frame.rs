//! How RocksDB lays records into a log file: blocks of 32 KiB, fragments with a checksum each.
//!
//! `crc32c u32 (masked) | length u16 | type u8 [| log number u32] | payload`, little-endian. The checksum covers all from
//! the type on. A fragment never crosses a block. A log file that is written over an older one carries its number in
//! every fragment, and behind its end stand the remains of the older one.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

const BLOCK_BYTES: usize = 32 * 1024;
const HEADER_BYTES: usize = 7;
const RECYCLABLE_HEADER_BYTES: usize = 11;
/// Types from here on, and up to `RECYCLABLE_LAST`, carry the log's number.
const RECYCLABLE_FIRST: u8 = 5;
const RECYCLABLE_LAST: u8 = 8;

/// A part of a log file, in order.
#[derive(Debug)]
pub(in crate::store) enum Piece<'a> {
    /// A whole record.
    Record { at: u64, bytes: &'a [u8] },
    /// Bytes that do not read, before something that does.
    Gap { from: u64, to: u64 },
}

/// How a log file ends.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(in crate::store) enum End {
    /// With its last whole record, or with what is left of an older log.
    Clean,
    /// With bytes that do not read.
    Unreadable { from: u64, to: u64 },
}

#[derive(Copy, Clone, Eq, PartialEq)]
enum Part {
    Full,
    First,
    Middle,
    Last,
    /// Belongs to the log and says nothing of the data.
    Other,
}

enum Fragment<'a> {
    Sound {
        part: Part,
        payload: &'a [u8],
        end: usize,
    },
    /// A sound fragment of the older log that this file is written over.
    Older,
    Unsound,
}

/// Reads a file of records. `number` is the log's own; none for a file that is never written over.
pub(in crate::store) fn read_frames<E: From<io::Error>>(
    path: &Path,
    number: Option<u64>,
    visit: impl FnMut(Piece<'_>) -> Result<(), E>,
) -> Result<End, E> {
    let mut file = File::open(path)?;
    let mut reader = Reader {
        number,
        at: 0,
        record: Vec::new(),
        record_at: None,
        bad_from: None,
        older: false,
        visit,
    };
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    loop {
        block.clear();
        (&mut file)
            .take(BLOCK_BYTES as u64)
            .read_to_end(&mut block)?;
        if block.is_empty() {
            break;
        }
        reader.block(&block)?;
        reader.at += block.len() as u64;
    }
    Ok(reader.end())
}

struct Reader<V> {
    number: Option<u64>,
    /// Where the block begins.
    at: u64,
    record: Vec<u8>,
    /// Where the record in the making begins.
    record_at: Option<u64>,
    /// Where it stopped reading.
    bad_from: Option<u64>,
    /// Remains of an older log were seen since it stopped reading.
    older: bool,
    visit: V,
}

impl<V> Reader<V> {
    fn block<E>(&mut self, block: &[u8]) -> Result<(), E>
    where
        V: FnMut(Piece<'_>) -> Result<(), E>,
    {
        let mut at = 0;
        while at + HEADER_BYTES <= block.len() {
            match fragment(&block[at..], self.number) {
                Fragment::Sound { part, payload, end } => {
                    self.take(part, payload, at)?;
                    at += end;
                }
                Fragment::Older => {
                    self.bad(at);
                    self.older = true;
                    return Ok(());
                }
                Fragment::Unsound => {
                    self.bad(at);
                    match self.resume(block, at + 1) {
                        Some(next) => at = next,
                        None => return Ok(()),
                    }
                }
            }
        }
        Ok(())
    }

    /// The next place in the block where a fragment of this very log reads.
    fn resume(&self, block: &[u8], from: usize) -> Option<usize> {
        self.number?;
        (from..block.len().saturating_sub(RECYCLABLE_HEADER_BYTES))
            .find(|at| matches!(fragment(&block[*at..], self.number), Fragment::Sound { .. }))
    }

    fn bad(&mut self, at: usize) {
        let here = self.record_at.take().unwrap_or(self.at + at as u64);
        self.bad_from.get_or_insert(here);
        self.record.clear();
    }

    fn take<E>(&mut self, part: Part, payload: &[u8], at: usize) -> Result<(), E>
    where
        V: FnMut(Piece<'_>) -> Result<(), E>,
    {
        let here = self.at + at as u64;
        match part {
            Part::Other => return Ok(()),
            Part::Full | Part::First => {
                // A record that was begun and never finished.
                if self.record_at.is_some() {
                    self.bad(at);
                }
                self.record_at = Some(here);
            }
            Part::Middle | Part::Last if self.record_at.is_none() => {
                // The rest of a record whose beginning does not read.
                self.bad_from.get_or_insert(here);
                return Ok(());
            }
            Part::Middle | Part::Last => {}
        }
        self.record.extend_from_slice(payload);
        if matches!(part, Part::Full | Part::Last) {
            let begin = self.record_at.take().unwrap_or(here);
            self.older = false;
            if let Some(from) = self.bad_from.take() {
                (self.visit)(Piece::Gap { from, to: begin })?;
            }
            let record = std::mem::take(&mut self.record);
            (self.visit)(Piece::Record {
                at: begin,
                bytes: &record,
            })?;
            self.record = record;
            self.record.clear();
        }
        Ok(())
    }

    fn end(&self) -> End {
        match self.bad_from.or(self.record_at) {
            // The end of a log inside the remains of an older one looks like nothing at all.
            Some(from) if !self.older => End::Unreadable { from, to: self.at },
            _ => End::Clean,
        }
    }
}

fn fragment(bytes: &[u8], number: Option<u64>) -> Fragment<'_> {
    read_fragment(bytes, number).unwrap_or(Fragment::Unsound)
}

fn read_fragment(bytes: &[u8], number: Option<u64>) -> Option<Fragment<'_>> {
    let length = usize::from(u16::from_le_bytes([*bytes.get(4)?, *bytes.get(5)?]));
    let kind = *bytes.get(6)?;
    // User-defined timestamp sizes and the log before: odd ones are the recyclable.
    let recyclable =
        matches!(kind, RECYCLABLE_FIRST..=RECYCLABLE_LAST) || (kind > 9 && kind % 2 == 1);
    let header = if recyclable {
        RECYCLABLE_HEADER_BYTES
    } else {
        HEADER_BYTES
    };
    if kind == 0 || (number.is_some() && kind < RECYCLABLE_FIRST) {
        return None;
    }
    let payload = bytes.get(header..header + length)?;
    if unmask(u32::from_le_bytes(*bytes.first_chunk()?))
        != crc32c::crc32c(&bytes[6..header + length])
    {
        return None;
    }
    if recyclable {
        let found = u32::from_le_bytes(*bytes.get(7..11)?.first_chunk()?);
        // Log numbers are compared in the 32 bits that are stored.
        if number.is_some_and(|number| number & u64::from(u32::MAX) != u64::from(found)) {
            return Some(Fragment::Older);
        }
    }
    Some(Fragment::Sound {
        part: match kind {
            1 | 5 => Part::Full,
            2 | 6 => Part::First,
            3 | 7 => Part::Middle,
            4 | 8 => Part::Last,
            _ => Part::Other,
        },
        payload,
        end: header + length,
    })
}

/// Stored checksums are rotated, so that a checksum over checksums is not degenerate.
fn unmask(masked: u32) -> u32 {
    masked.wrapping_sub(0xa282_ead8).rotate_right(17)
}
