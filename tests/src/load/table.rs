//! What a part of the bench prints: a table of numbers, right-aligned.

use std::fmt;
use std::time::Duration;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

/// A table that grows row by row.
#[derive(Debug)]
pub(super) struct Sheet(Table);

impl Sheet {
    /// An empty one.
    pub(super) fn new(columns: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header(columns);
        Self(table)
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.0.add_row(cells);
        for column in self.0.column_iter_mut() {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

impl fmt::Display for Sheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `numerator / denominator` with two decimals.
pub(super) fn ratio(numerator: u64, denominator: u64) -> String {
    let hundredths = numerator * 100 / denominator.max(1);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// A duration in milliseconds with one decimal.
pub(super) fn millis(duration: Duration) -> String {
    let micros = duration.as_micros();
    format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100)
}

/// Bytes in MiB with one decimal.
pub(super) fn mebibytes(bytes: u64) -> String {
    let tenths = (bytes * 10) >> 20;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}
