//! RocksDB's write-ahead log, as far as is needed to know when a whole record is in it.
//!
//! Blocks of 32 KiB hold fragments: `crc u32 · length u16 · type u8 [· log number u32]`, then the bytes. A record is one
//! FULL fragment, or FIRST, any number of MIDDLE, and LAST. Types 5 to 8 are the same for a log file that is written
//! over, and carry its number, so that what an earlier use left behind is not taken for new.

use anyhow::{Result, bail, ensure};

const BLOCK_BYTES: usize = 32 * 1024;
const HEADER_BYTES: usize = 7;
const NUMBER_BYTES: usize = 4;

/// Reads records out of the bytes of one log as they are written.
#[derive(Debug, Default)]
pub(super) struct LogReader {
    /// Bytes not read yet.
    waiting: Vec<u8>,
    /// Where in its block the first of them is.
    offset: usize,
    /// The fragments of a record that is not whole yet.
    begun: Vec<u8>,
}

impl LogReader {
    /// Takes the next bytes; the records that are whole now.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.waiting.extend_from_slice(bytes);
        let mut records = Vec::new();
        let mut read = 0;
        loop {
            let rest = &self.waiting[read..];
            let left = BLOCK_BYTES - self.offset;
            if left < HEADER_BYTES {
                // Too little for a fragment: filled with zeros.
                if rest.len() < left {
                    break;
                }
                read += left;
                self.offset = 0;
                continue;
            }
            let Some(header) = rest.get(..HEADER_BYTES) else {
                break;
            };
            let length = usize::from(u16::from_le_bytes([header[4], header[5]]));
            let kind = header[6];
            if kind == 0 {
                // Too little for a fragment with a log number.
                ensure!(
                    left < HEADER_BYTES + NUMBER_BYTES,
                    "a fragment without type"
                );
                if rest.len() < left {
                    break;
                }
                read += left;
                self.offset = 0;
                continue;
            }
            let start = match kind {
                1..=4 | 9 | 10 | 130 => HEADER_BYTES,
                5..=8 | 11 | 131 => HEADER_BYTES + NUMBER_BYTES,
                other => bail!("a fragment of type {other}"),
            };
            let end = start + length;
            ensure!(end <= left, "a fragment beyond its block");
            let Some(fragment) = rest.get(start..end) else {
                break;
            };
            match kind {
                1 | 5 => records.push(fragment.to_vec()),
                2 | 6 => self.begun = fragment.to_vec(),
                3 | 7 => self.begun.extend_from_slice(fragment),
                4 | 8 => {
                    self.begun.extend_from_slice(fragment);
                    records.push(std::mem::take(&mut self.begun));
                }
                // Tells about the log, holds no record.
                _ => {}
            }
            read += end;
            self.offset = (self.offset + end) % BLOCK_BYTES;
        }
        self.waiting.drain(..read);
        Ok(records)
    }
}

/// Writes a log as RocksDB does, for tests of those who read one.
#[cfg(test)]
pub(super) fn written(records: &[&[u8]]) -> Vec<u8> {
    let mut log = Vec::new();
    for record in records {
        let mut rest = *record;
        let mut first = true;
        loop {
            let left = BLOCK_BYTES - log.len() % BLOCK_BYTES;
            if left < HEADER_BYTES {
                log.resize(log.len() + left, 0);
                continue;
            }
            let some = rest.len().min(left - HEADER_BYTES);
            let (fragment, later) = rest.split_at(some);
            let kind = match (first, later.is_empty()) {
                (true, true) => 1,
                (true, false) => 2,
                (false, false) => 3,
                (false, true) => 4,
            };
            log.extend_from_slice(&[0; 4]);
            log.extend_from_slice(&u16::try_from(some).unwrap_or_default().to_le_bytes());
            log.push(kind);
            log.extend_from_slice(fragment);
            rest = later;
            first = false;
            if rest.is_empty() {
                break;
            }
        }
    }
    log
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn records_come_out_as_they_went_in_however_the_bytes_are_cut() {
        let long = vec![7; 100_000];
        // Leaves six bytes in its block: too few for a fragment.
        let filling = vec![8; BLOCK_BYTES - 2 * HEADER_BYTES - 5 - 6];
        let records: [&[u8]; 5] = [b"short", &filling, b"after zeros", &long, b"last"];
        let log = written(&records);
        for step in [1, 7, 1000, log.len()] {
            let mut reader = LogReader::default();
            let mut read = Vec::new();
            for part in log.chunks(step) {
                read.extend(reader.push(part).unwrap());
            }
            assert_eq!(read, records, "in steps of {step}");
        }
    }

    #[test]
    fn a_record_without_its_last_byte_is_none() {
        let log = written(&[b"whole", &[1; 40_000]]);
        let read = LogReader::default().push(&log[..log.len() - 1]).unwrap();
        assert_eq!(read, [b"whole"]);
    }
}
