//! Stored values: a version byte, then JSON for documents and bincode for cells.
//!
//! Documents are few, and a person may have to read them; cells are many, and read, merged and written
//! with every frame. A value of a newer version is refused, never guessed at.

use std::fmt::Display;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use submeter_common::aggregate::{Group, Partial};

use super::roster::{AgentNumber, StoredCell};
use crate::storage::StorageError;
use crate::usage::source::SOURCES_MAX;
use crate::usage::{Cell, Source};

const DOCUMENT_VERSION: u8 = 1;
const CELL_VERSION: u8 = 1;

/// Bytes that decoding one cell may ask for: a damaged length must not take the memory of the machine.
const CELL_BYTES_MAX: usize = 256 * 1024 * 1024;

type CellConfig = Configuration<LittleEndian, Varint, Limit<CELL_BYTES_MAX>>;

const fn cell_config() -> CellConfig {
    bincode::config::standard().with_limit::<CELL_BYTES_MAX>()
}

pub(super) fn encode_document<T: Serialize>(document: &T) -> Result<Vec<u8>, StorageError> {
    let mut bytes = vec![DOCUMENT_VERSION];
    serde_json::to_writer(&mut bytes, document).map_err(|error| {
        StorageError::Refused(format!("a document that JSON cannot say: {error}"))
    })?;
    Ok(bytes)
}

pub(super) fn decode_document<T: DeserializeOwned>(
    what: impl Display,
    bytes: &[u8],
) -> Result<T, StorageError> {
    let json = body(&what, bytes, DOCUMENT_VERSION)?;
    serde_json::from_slice(json).map_err(|error| corrupt(what, error))
}

/// Encodes a cell: version, partial, number of sources, and of each agent, first frame, span of frames
/// and events.
pub(super) fn encode_cell(cell: &StoredCell, into: &mut Vec<u8>) -> Result<(), StorageError> {
    into.clear();
    into.push(CELL_VERSION);
    put(into, (&cell.partial, cell.sources.len() as u64))?;
    for from in &cell.sources {
        let span = from.last_seq.saturating_sub(from.first_seq);
        put(into, (from.agent_id.0, from.first_seq, span, from.events))?;
    }
    Ok(())
}

pub(super) fn decode_cell(bytes: &[u8]) -> Result<StoredCell, StorageError> {
    let mut rest = body("cell", bytes, CELL_VERSION)?;
    let (partial, count): (Partial, u64) = take(&mut rest)?;
    let count = usize::try_from(count)
        .ok()
        .filter(|count| *count <= SOURCES_MAX + 1);
    let count = count.ok_or_else(|| corrupt("cell", "too many sources"))?;
    let mut sources = Vec::with_capacity(count);
    for _ in 0..count {
        let (agent, first_seq, span, events): (u32, u64, u64, u64) = take(&mut rest)?;
        let last_seq = first_seq.checked_add(span);
        let last_seq = last_seq.ok_or_else(|| corrupt("cell", "a source without end"))?;
        sources.push(Source {
            agent_id: AgentNumber(agent),
            first_seq,
            last_seq,
            events,
        });
    }
    if rest.is_empty() {
        Ok(Cell { partial, sources })
    } else {
        Err(corrupt("cell", "bytes are left over"))
    }
}

fn put(into: &mut Vec<u8>, value: impl Encode) -> Result<(), StorageError> {
    bincode::encode_into_std_write(value, into, cell_config()).map_err(|error| {
        StorageError::Refused(format!("a cell that cannot be encoded: {error}"))
    })?;
    Ok(())
}

fn take<T: Decode<()>>(rest: &mut &[u8]) -> Result<T, StorageError> {
    let (value, read) =
        bincode::decode_from_slice(rest, cell_config()).map_err(|error| corrupt("cell", error))?;
    *rest = rest.get(read..).unwrap_or_default();
    Ok(value)
}

pub(super) fn encode_group(group: &Group) -> Result<Vec<u8>, StorageError> {
    bincode::encode_to_vec(group, cell_config())
        .map_err(|error| StorageError::Refused(format!("a group that cannot be encoded: {error}")))
}

pub(super) fn decode_group(bytes: &[u8]) -> Result<Group, StorageError> {
    let (group, read) = bincode::decode_from_slice(bytes, cell_config())
        .map_err(|error| corrupt("group", error))?;
    if read == bytes.len() {
        Ok(group)
    } else {
        Err(corrupt("group", "bytes are left over"))
    }
}

pub(super) fn corrupt(what: impl Display, detail: impl Display) -> StorageError {
    StorageError::Corrupt {
        what: what.to_string(),
        detail: detail.to_string(),
    }
}

fn body(what: impl Display, bytes: &[u8], version: u8) -> Result<&[u8], StorageError> {
    match bytes.split_first() {
        Some((found, body)) if *found == version => Ok(body),
        Some((found, _)) => Err(corrupt(
            what,
            format!("format version {found}, expected {version}"),
        )),
        None => Err(corrupt(what, "it is empty")),
    }
}

#[cfg(test)]
mod tests;
