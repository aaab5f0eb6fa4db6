//! Agents by number: what cells name them by.
//!
//! A cell that many agents contribute to is mostly their names. A number of one to three bytes in place of
//! an id of sixteen makes such a cell a third of its size. Numbers are given at the first register, from 1,
//! and never change; all of them are in memory, because every frame and every read needs some.

use std::collections::HashMap;

use ::rocksdb::Direction;
use submeter_common::id::AgentId;

use super::codec;
use super::database::{Database, Family, poisoned};
use super::key::{Index, Key};
use super::transaction::Transaction;
use crate::storage::StorageError;
use crate::usage::Cell;
use crate::usage::source::Contributor;

/// An agent's number; 0 for all that are not named one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct AgentNumber(pub(super) u32);

impl Contributor for AgentNumber {
    const OTHERS: Self = AgentNumber(0);
}

/// A cell as it is stored.
pub(super) type StoredCell = Cell<AgentNumber>;

/// Every agent that ever registered.
#[derive(Debug, Default)]
pub(super) struct Roster {
    numbers: HashMap<AgentId, AgentNumber>,
    ids: HashMap<AgentNumber, AgentId>,
}

impl Roster {
    /// Names a cell's agents by their ids.
    pub(super) fn named(&self, cell: StoredCell) -> Cell {
        // A number that nobody has cannot be: it was written by a frame of the agent that has it.
        cell.renamed(|number| self.ids.get(&number).copied().unwrap_or(AgentId::OTHERS))
    }

    fn add(&mut self, id: AgentId, number: AgentNumber) {
        self.numbers.insert(id, number);
        self.ids.insert(number, id);
    }
}

impl Database {
    pub(super) fn read_roster(&self) -> Result<Roster, StorageError> {
        let prefix = Key::of_index(Index::AgentNumbers).into_bytes();
        let mut roster = Roster::default();
        for entry in self.walk(Family::Indexes, &prefix, Direction::Forward) {
            let (key, id) = entry?;
            let wrong = || codec::corrupt("number of an agent", key.escape_ascii());
            let number = key
                .get(prefix.len()..)
                .and_then(|bytes| bytes.try_into().ok())
                .ok_or_else(wrong)?;
            let id = <[u8; 16]>::try_from(&*id).map_err(|_| wrong())?;
            roster.add(
                AgentId::from_bytes(id),
                AgentNumber(u32::from_be_bytes(number)),
            );
        }
        Ok(roster)
    }

    /// Returns the number of an agent that has registered.
    pub(super) fn agent_number(&self, id: AgentId) -> Result<AgentNumber, StorageError> {
        let missing = || codec::corrupt("number of an agent", format!("{id} has none"));
        self.roster
            .read()
            .map_err(poisoned)?
            .numbers
            .get(&id)
            .copied()
            .ok_or_else(missing)
    }
}

/// Commits the register of an agent that has no number yet, with the next one.
pub(super) fn commit_new(mut write: Transaction<'_>, id: AgentId) -> Result<(), StorageError> {
    let database = write.database;
    let number = write.next_agent()?;
    let key = Key::of_index(Index::AgentNumbers).last(&number.to_be_bytes());
    write
        .batch
        .put_cf(database.family(Family::Indexes), key, id.as_bytes());
    let mut roster = database.roster.write().map_err(poisoned)?;
    write.commit()?;
    roster.add(id, AgentNumber(number));
    Ok(())
}
