//! What is measured: the immutable definition that turns events into a billable quantity.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use bincode::{Decode, Encode};

use crate::{
    aggregate::Group,
    event::Event,
    filter::Filter,
    id::{MeterId, check_id, has_control},
    limits::{GROUP_KEYS_MAX, METADATA_KEY_CHARS_MAX},
    time::Timestamp,
};

/// The ways to reduce events to one number.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Encode, Decode,
)]
#[serde(rename_all = "snake_case")]
pub enum AggregationKind {
    /// How many events.
    Count,
    /// The sum of a key's numbers.
    Sum,
    /// The largest of a key's numbers.
    Max,
    /// The smallest of a key's numbers.
    Min,
    /// A key's number in the latest event.
    Last,
    /// How many different values a key has.
    UniqueCount,
}

/// An aggregation and the metadata key it reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aggregation {
    /// The way of reduction.
    #[serde(rename = "type")]
    pub kind: AggregationKind,
    /// The key it reads; required for all but `count`, which ignores it.
    #[serde(default)]
    pub key: Option<String>,
}

/// Why a meter's definition was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field} {message}")]
pub struct MeterError {
    /// The field, such as `aggregation.key`.
    pub field: String,
    /// What was expected there.
    pub message: String,
}

/// A meter. Only name, description, unit and the archived flag ever change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    /// Its identity.
    pub id: MeterId,
    /// A name for people.
    pub name: String,
    /// A longer text for people.
    #[serde(default)]
    pub description: Option<String>,
    /// Which events it looks at.
    pub event_name: String,
    /// What one of its units is called.
    pub measurement_unit: String,
    /// How events become a number.
    pub aggregation: Aggregation,
    /// Which of those events it counts; all without one.
    #[serde(default)]
    pub filter: Option<Filter>,
    /// The metadata keys by whose values usage is kept apart, at most five.
    #[serde(default)]
    pub group_by: Vec<String>,
    /// Whether it no longer counts new events.
    #[serde(default)]
    pub archived: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Aggregation {
    /// Checks that there is a key where one is needed.
    ///
    /// # Errors
    /// Names `aggregation.key`.
    pub fn check(&self) -> Result<(), MeterError> {
        match &self.key {
            None if self.kind == AggregationKind::Count => Ok(()),
            None => Err(MeterError {
                field: "aggregation.key".to_owned(),
                message: "is required for every aggregation but count".to_owned(),
            }),
            Some(key) => check_key("aggregation.key", key),
        }
    }
}

impl Meter {
    /// Checks the definition: names, the aggregation's key, the group keys. (A [`Filter`] is valid
    /// by itself.)
    ///
    /// # Errors
    /// Names the first field that breaks its rule.
    pub fn check(&self) -> Result<(), MeterError> {
        let named = [
            ("name", &self.name),
            ("event_name", &self.event_name),
            ("measurement_unit", &self.measurement_unit),
        ];
        for (field, value) in named {
            check_id(field, value).map_err(|error| {
                let message = error
                    .to_string()
                    .trim_start_matches(field)
                    .trim_start()
                    .to_owned();
                MeterError {
                    field: field.to_owned(),
                    message,
                }
            })?;
        }
        self.aggregation.check()?;
        if self.group_by.len() > GROUP_KEYS_MAX {
            let message = format!("must hold at most {GROUP_KEYS_MAX} keys");
            return Err(MeterError {
                field: "group_by".to_owned(),
                message,
            });
        }
        for (index, key) in self.group_by.iter().enumerate() {
            let field = format!("group_by[{index}]");
            check_key(&field, key)?;
            if self.group_by[..index].contains(key) {
                return Err(MeterError {
                    field,
                    message: "must not repeat an earlier key".to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Tells whether the meter counts the event. An archived meter counts none.
    #[must_use]
    pub fn matches(&self, event: &Event<'_>) -> bool {
        !self.archived
            && self.event_name == event.event_name
            && self
                .filter
                .as_ref()
                .is_none_or(|filter| filter.matches(event))
    }

    /// The event's values of the group keys. Allocates only for a meter that groups.
    #[must_use]
    pub fn group_of(&self, event: &Event<'_>) -> Group {
        Group::of(
            self.group_by
                .iter()
                .map(|key| event.get(key).map(crate::event::Value::to_text)),
        )
    }
}

fn check_key(field: &str, key: &str) -> Result<(), MeterError> {
    if key.is_empty() || key.chars().count() > METADATA_KEY_CHARS_MAX || has_control(key) {
        let message = format!(
            "must have 1 to {METADATA_KEY_CHARS_MAX} characters, none of them control characters"
        );
        return Err(MeterError {
            field: field.to_owned(),
            message,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
