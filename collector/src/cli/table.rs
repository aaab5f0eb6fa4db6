//! Tables for people.

use std::fmt;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement};
use serde_json::Value;

use crate::money::{Currency, Money};

/// A table with a head.
pub(super) struct Table(comfy_table::Table);

impl Table {
    /// Begins a table with these column heads.
    pub(super) fn new(heads: &[&str]) -> Self {
        let mut table = comfy_table::Table::new();
        table
            .load_style(UTF8_FULL_CONDENSED)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(heads);
        Self(table)
    }

    /// Writes these columns, counted from 0, to the right: numbers are compared by their ends.
    pub(super) fn right(mut self, columns: &[usize]) -> Self {
        for column in columns {
            if let Some(column) = self.0.column_mut(*column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        self
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.add_row(cells.into_iter().collect::<Vec<_>>());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A JSON value as a cell: strings without quotes, null as nothing, lists with commas.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// Minor units for people; as they came when the currency is not known here.
pub(super) fn money(minor: &Value, currency: &Value) -> String {
    let known = currency
        .as_str()
        .and_then(|code| Currency::parse(code).ok());
    match (minor.as_i64(), known) {
        (Some(minor), Some(currency)) => Money { minor, currency }.to_string(),
        _ => cell(minor),
    }
}
