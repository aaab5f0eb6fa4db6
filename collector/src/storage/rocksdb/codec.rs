//! Stored values: a version byte, then JSON for documents and bincode for cells.
//!
//! Documents are few, and a person may have to read them; cells are many, and read, merged and written
//! with every frame. A value of a newer version is refused, never guessed at.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::Serialize;
use serde::de::DeserializeOwned;
use submeter_common::aggregate::Group;

use crate::storage::StorageError;
use crate::usage::Cell;

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
    what: &str,
    bytes: &[u8],
) -> Result<T, StorageError> {
    let json = body(what, bytes, DOCUMENT_VERSION)?;
    serde_json::from_slice(json).map_err(|error| corrupt(what, error))
}

pub(super) fn encode_cell(cell: &Cell, into: &mut Vec<u8>) -> Result<(), StorageError> {
    into.clear();
    into.push(CELL_VERSION);
    bincode::encode_into_std_write(cell, into, cell_config()).map_err(|error| {
        StorageError::Refused(format!("a cell that cannot be encoded: {error}"))
    })?;
    Ok(())
}

pub(super) fn decode_cell(bytes: &[u8]) -> Result<Cell, StorageError> {
    let body = body("cell", bytes, CELL_VERSION)?;
    let (cell, read) =
        bincode::decode_from_slice(body, cell_config()).map_err(|error| corrupt("cell", error))?;
    if read == body.len() {
        Ok(cell)
    } else {
        Err(corrupt("cell", "bytes are left over"))
    }
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

pub(super) fn corrupt(what: &str, detail: impl ToString) -> StorageError {
    StorageError::Corrupt {
        what: what.to_owned(),
        detail: detail.to_string(),
    }
}

fn body<'a>(what: &str, bytes: &'a [u8], version: u8) -> Result<&'a [u8], StorageError> {
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
