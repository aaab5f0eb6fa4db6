//! Which events a meter counts: conditions on metadata, joined by `and` or `or`, nested up to three
//! levels.
//!
//! A filter is compiled when it is read (numbers are already exact) and evaluated without
//! allocation. It is written back as it was read, but normalised: where conditions and groups stood
//! in one list, each bare condition is wrapped as a one-clause `and`.
//!
//! Rules of comparison: a missing key makes any condition false, the negative ones too. A number
//! compares numerically with numbers and with strings that are wholly a decimal number; a string
//! with strings, byte by byte; a bool with bools. `contains` looks into strings only, and bools
//! have no order. Any other pairing is false for every operator but `not_equals` and
//! `does_not_contain`, for which it is true.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::{event::Event, quantity::Quantity};

mod eval;
mod parse;

/// Why a filter was refused, with the path to the fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{path} {message}")]
pub struct FilterError {
    /// Where it is, such as `filter.clauses[1].operator`.
    pub path: String,
    /// What was expected there.
    pub message: String,
}

/// How the clauses of one level are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conjunction {
    /// All must hold.
    And,
    /// One must hold.
    Or,
}

/// How a metadata value is compared with a condition's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// The same value.
    Equals,
    /// Another value, or one of another kind.
    NotEquals,
    /// Above it.
    GreaterThan,
    /// Above it or the same.
    GreaterThanOrEquals,
    /// Below it.
    LessThan,
    /// Below it or the same.
    LessThanOrEquals,
    /// A string with this part.
    Contains,
    /// A string without this part, or no string.
    DoesNotContain,
}

/// The value a condition compares with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// A text, compared with texts.
    String(String),
    /// A number, compared with numbers and decimal strings.
    Number(Quantity),
    /// A truth value, compared with truth values.
    Bool(bool),
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// The metadata key.
    pub key: String,
    /// How it is compared.
    pub operator: Operator,
    /// What it is compared with.
    pub value: Operand,
}

/// One entry of a filter's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Clause {
    /// A comparison.
    Condition(Condition),
    /// A filter one level deeper.
    Group(Filter),
}

/// A compiled filter: within its limits, normalised.
///
/// Read it with [`Filter::parse`] (or serde_json): there is no other way to make one, so that all
/// are valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Filter {
    conjunction: Conjunction,
    clauses: Vec<Clause>,
}

impl Filter {
    /// Reads `{"conjunction": …, "clauses": […]}`; `path` is where it stands, for the error's path.
    ///
    /// # Errors
    /// Names the path of the first fault: a wrong operator, more than three levels, no or more than
    /// ten clauses, ….
    pub fn parse(json: &str, path: &str) -> Result<Filter, FilterError> {
        parse::parse(json, path)
    }

    /// Tells whether the event passes. Allocates nothing.
    #[must_use]
    pub fn matches(&self, event: &Event<'_>) -> bool {
        eval::matches(self, event)
    }

    /// How the clauses are joined.
    #[must_use]
    pub fn conjunction(&self) -> Conjunction {
        self.conjunction
    }

    /// The clauses, 1 to 10.
    #[must_use]
    pub fn clauses(&self) -> &[Clause] {
        &self.clauses
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Filter::parse(raw.get(), "filter").map_err(D::Error::custom)
    }
}

impl Serialize for Operand {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Operand::String(text) => serializer.serialize_str(text),
            Operand::Bool(flag) => serializer.serialize_bool(*flag),
            Operand::Number(number) => match number.to_u64() {
                Some(whole) => serializer.serialize_u64(whole),
                // The digits as they are: a JSON number that never was a float.
                None => RawValue::from_string(number.to_string())
                    .map_err(serde::ser::Error::custom)?
                    .serialize(serializer),
            },
        }
    }
}

#[cfg(test)]
mod tests;
