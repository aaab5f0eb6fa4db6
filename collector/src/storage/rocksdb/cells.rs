//! The cells that a group of frames touches: read once, merged in memory, written once.
//!
//! A row goes into three cells (its minute, hour and day) or into none. Rows of one frame share hours and
//! days, and so do frames of different agents, so that a group reads and writes far fewer cells than it
//! has rows times three.

use std::collections::HashMap;

use ::rocksdb::WriteBatch;
use submeter_common::id::{CustomerId, MeterId};
use submeter_common::protocol::Row;

use super::codec;
use super::database::{Database, Family, failed};
use super::key::Key;
use super::roster::{AgentNumber, StoredCell};
use crate::storage::StorageError;
use crate::usage::{Cell, Level, Source};

/// Where a row's cells are.
type Places = [usize; Level::ALL.len()];

/// Which cells a group of frames touches.
#[derive(Debug, Default)]
pub(super) struct Notes(HashMap<Vec<u8>, usize>);

impl Notes {
    /// Notes the cells of `rows`, and returns where each row's are.
    pub(super) fn add(&mut self, rows: &[Row]) -> Result<Vec<Places>, StorageError> {
        let mut prefix = Prefix::default();
        rows.iter()
            .map(|row| self.add_row(row, &mut prefix))
            .collect()
    }

    fn add_row<'a>(
        &mut self,
        row: &'a Row,
        prefix: &mut Prefix<'a>,
    ) -> Result<Places, StorageError> {
        let group = codec::encode_group(&row.group)?;
        let prefix = prefix.of(&row.customer_id, &row.meter_id);
        Ok(Level::ALL.map(|level| {
            let minute = level.start_of(row.window.minute());
            let next = self.0.len();
            *self
                .0
                .entry(prefix.clone().window(level, minute).last(&group))
                .or_insert(next)
        }))
    }
}

/// The cells of a group of frames.
#[derive(Debug)]
pub(super) struct Cells {
    /// Sorted: what is read and written in order of keys is read and written faster.
    keys: Vec<(Vec<u8>, usize)>,
    slots: Vec<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    cell: Option<StoredCell>,
    /// Set when what is stored cannot be read: its rows are set aside.
    damage: Option<String>,
    dirty: bool,
}

impl Cells {
    /// Reads what is stored of all noted cells.
    pub(super) fn load(notes: Notes, database: &Database) -> Result<Self, StorageError> {
        let mut keys: Vec<(Vec<u8>, usize)> = notes.0.into_iter().collect();
        keys.sort_unstable();
        let mut slots = Vec::new();
        slots.resize_with(keys.len(), Slot::default);
        let family = database.family(Family::Usage);
        let found = database
            .db
            .batched_multi_get_cf(family, keys.iter().map(|(key, _)| key), true);
        for ((_, place), found) in keys.iter().zip(found) {
            let Some(bytes) = found.map_err(failed)? else {
                continue;
            };
            let Some(slot) = slots.get_mut(*place) else {
                continue;
            };
            match codec::decode_cell(&bytes) {
                Ok(cell) => slot.cell = Some(cell),
                Err(error) => slot.damage = Some(error.to_string()),
            }
        }
        Ok(Self { keys, slots })
    }

    /// Merges a row into its cells, or says why it fits one of them not; then none is changed.
    pub(super) fn merge(
        &mut self,
        row: &Row,
        places: Places,
        agent: AgentNumber,
        seq: u64,
    ) -> Result<(), String> {
        for place in places {
            self.fits(place, row)?;
        }
        let from = Source::of_frame(agent, seq, row.partial.events);
        for place in places {
            let Some(slot) = self.slots.get_mut(place) else {
                continue;
            };
            let cell = slot
                .cell
                .get_or_insert_with(|| Cell::identity(row.partial.kind()));
            cell.add(&row.partial, &from)
                .map_err(|error| error.to_string())?;
            slot.dirty = true;
        }
        Ok(())
    }

    fn fits(&self, place: usize, row: &Row) -> Result<(), String> {
        let Some(slot) = self.slots.get(place) else {
            return Ok(());
        };
        if let Some(damage) = &slot.damage {
            return Err(damage.clone());
        }
        match &slot.cell {
            Some(cell) => cell.fits(&row.partial).map_err(|error| error.to_string()),
            None => Cell::<AgentNumber>::identity(row.partial.kind())
                .fits(&row.partial)
                .map_err(|error| error.to_string()),
        }
    }

    /// Puts every changed cell into a write.
    pub(super) fn put(
        &self,
        database: &Database,
        batch: &mut WriteBatch,
    ) -> Result<(), StorageError> {
        let family = database.family(Family::Usage);
        let mut bytes = Vec::with_capacity(256);
        for (key, place) in &self.keys {
            let Some(Slot {
                cell: Some(cell),
                dirty: true,
                ..
            }) = self.slots.get(*place)
            else {
                continue;
            };
            if !cell.is_conserved() {
                let key = key.escape_ascii();
                return Err(StorageError::Refused(format!(
                    "the sources of cell {key} do not add up"
                )));
            }
            codec::encode_cell(cell, &mut bytes)?;
            batch.put_cf(family, key, &bytes);
        }
        Ok(())
    }
}

/// Rows of a frame are sorted by customer and meter: what their keys begin with is made once for many.
#[derive(Default)]
struct Prefix<'a>(Option<(&'a CustomerId, &'a MeterId, Key)>);

impl<'a> Prefix<'a> {
    fn of(&mut self, customer: &'a CustomerId, meter: &'a MeterId) -> &Key {
        let last = self
            .0
            .take()
            .filter(|(last, of, _)| *last == customer && *of == meter);
        let (_, _, key) = self
            .0
            .insert(last.unwrap_or_else(|| (customer, meter, Key::of_meter(customer, meter))));
        key
    }
}
