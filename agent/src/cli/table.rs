//! Tables for people.

use std::fmt;

use comfy_table::{CellAlignment, ContentArrangement, presets};
use submeter_common::time::Timestamp;

/// A table with a head.
pub(super) struct Table(comfy_table::Table);

impl Table {
    /// Begins a table. A head that begins with `>` is a column of numbers, compared by their ends.
    pub(super) fn new(heads: &[&str]) -> Self {
        let mut table = comfy_table::Table::new();
        table
            .load_style(presets::UTF8_FULL_CONDENSED)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(heads.iter().map(|head| head.trim_start_matches('>')));
        for (index, _) in heads
            .iter()
            .enumerate()
            .filter(|(_, head)| head.starts_with('>'))
        {
            if let Some(column) = table.column_mut(index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        Self(table)
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.0.add_row(cells);
    }

    /// Adds a row of a name and a value.
    pub(super) fn fact(&mut self, name: &str, value: impl fmt::Display) {
        self.0.add_row([name.to_owned(), value.to_string()]);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A value that may be missing.
pub(super) fn or_dash<T: fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| value.to_string())
}

/// A moment to the second: what a table has room for.
pub(super) fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

/// A size rounded to a tenth of its unit.
pub(super) fn size(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, shift)| bytes >> shift > 0) {
        None => format!("{bytes} B"),
        Some((unit, shift)) => {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
    }
}
