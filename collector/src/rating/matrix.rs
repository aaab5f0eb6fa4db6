//! Prices of their own for some values of a meter's group keys.

use super::Model;
use serde::{Deserialize, Serialize};
use submeter_common::Group;

/// Prices by group value. What no row names is priced by the tariff's own model, the default: other values, events without one
/// of the keys, and what went beyond the budget of groups.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Matrix {
    /// The group keys whose values have prices; some or all of the meter's.
    pub keys: Vec<String>,
    /// The rows, in the order in which the free threshold serves them.
    pub rows: Vec<MatrixRow>,
}

/// The price of one combination of values.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct MatrixRow {
    /// One value per key of the matrix.
    pub values: Vec<String>,
    /// What its units cost.
    pub model: Model,
}

impl Matrix {
    /// Returns the place of the row that prices `group` of a meter that groups by `group_by`; behind the last for the default.
    #[must_use]
    pub fn row_of(&self, group_by: &[String], group: &Group) -> usize {
        let value_of = |key: &String| {
            let place = group_by.iter().position(|name| name == key)?;
            group.values()?.get(place)?.as_deref()
        };
        let is_priced = |row: &MatrixRow| {
            let mut cells = self.keys.iter().zip(&row.values);
            cells.all(|(key, value)| value_of(key) == Some(value.as_str()))
        };
        self.rows
            .iter()
            .position(is_priced)
            .unwrap_or(self.rows.len())
    }
}
