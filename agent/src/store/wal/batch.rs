//! One atomic write as it stands in the log.
//!
//! `sequence u64 | count u32 | { type u8 [| family varint] | key | value } …`, with keys and values behind their lengths.

use super::super::Family;

/// A write that the log holds.
#[derive(Debug)]
pub(in crate::store) struct WalBatch<'a> {
    /// The number of its first operation; the next batch goes on where this one ends.
    pub(in crate::store) sequence: u64,
    pub(in crate::store) count: u32,
    body: &'a [u8],
}

/// One operation of a write.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(in crate::store) enum Operation<'a> {
    Put(Family, &'a [u8], &'a [u8]),
    Delete(Family, &'a [u8]),
    /// From the first key up to, not including, the second.
    DeleteRange(Family, &'a [u8], &'a [u8]),
}

impl<'a> WalBatch<'a> {
    /// Reads a batch; none when its operations are not those it announces.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (sequence, rest) = bytes.split_first_chunk::<8>()?;
        let (count, body) = rest.split_first_chunk::<4>()?;
        let batch = Self {
            sequence: u64::from_le_bytes(*sequence),
            count: u32::from_le_bytes(*count),
            body,
        };
        let mut operations = batch.operations();
        let read = operations.by_ref().count();
        (operations.rest.is_empty() && u32::try_from(read).ok()? == batch.count).then_some(batch)
    }

    pub(in crate::store) fn operations(&self) -> Operations<'a> {
        Operations { rest: self.body }
    }

    pub(in crate::store) fn len(&self) -> usize {
        12 + self.body.len()
    }
}

/// Walks the operations; stops with a rest where they do not read.
pub(in crate::store) struct Operations<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Operations<'a> {
    type Item = Operation<'a>;

    fn next(&mut self) -> Option<Operation<'a>> {
        let (operation, rest) = parse(self.rest)?;
        self.rest = rest;
        Some(operation)
    }
}

fn parse(bytes: &[u8]) -> Option<(Operation<'_>, &[u8])> {
    let (kind, rest) = bytes.split_first()?;
    let (family, rest) = varint(rest)?;
    // Families are numbered in the order they were created, behind the default one.
    let family = *Family::ALL.get(usize::try_from(family).ok()?.checked_sub(1)?)?;
    let (key, rest) = slice(rest)?;
    match kind {
        0x4 => Some((Operation::Delete(family, key), rest)),
        0x5 => {
            let (value, rest) = slice(rest)?;
            Some((Operation::Put(family, key, value), rest))
        }
        0xe => {
            let (end, rest) = slice(rest)?;
            Some((Operation::DeleteRange(family, key, end), rest))
        }
        _ => None,
    }
}

fn slice(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = varint(bytes)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

fn varint(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut value = 0u32;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        value |= u32::from(byte & 0x7f).checked_shl(7 * u32::try_from(index).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}
