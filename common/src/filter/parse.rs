//! From JSON to a compiled filter, with the path of the first fault.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Clause, Condition, Conjunction, Filter, FilterError, Operand, Operator};
use crate::{
    id::has_control,
    json::{Fields, Json, elements},
    limits::{
        FILTER_CLAUSES_MAX, FILTER_DEPTH_MAX, METADATA_KEY_CHARS_MAX, METADATA_STRING_CHARS_MAX,
    },
    quantity::Quantity,
};

pub(super) fn parse(json: &str, path: &str) -> Result<Filter, FilterError> {
    let raw = serde_json::from_str(json)
        .map_err(|error| fault(path, format!("must be valid JSON: {error}")))?;
    filter(&Object::read(raw, path)?, 1)
}

fn fault(path: &str, message: impl Into<String>) -> FilterError {
    FilterError {
        path: path.to_owned(),
        message: message.into(),
    }
}

/// An object with known fields only; its place is known for errors.
struct Object<'a, 'p> {
    fields: Vec<(Cow<'a, str>, &'a RawValue)>,
    path: &'p str,
}

impl<'a, 'p> Object<'a, 'p> {
    fn read(raw: &'a RawValue, path: &'p str) -> Result<Self, FilterError> {
        let Ok(Json::Object(text)) = Json::read(raw) else {
            return Err(fault(path, "must be an object"));
        };
        let Fields(fields) =
            serde_json::from_str(text).map_err(|error| fault(path, error.to_string()))?;
        for (index, (name, _)) in fields.iter().enumerate() {
            if fields[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(fault(&format!("{path}.{name}"), "must be given once"));
            }
        }
        Ok(Object { fields, path })
    }

    fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(field, _)| field == name)
    }

    fn only(&self, known: &[&str]) -> Result<(), FilterError> {
        match self
            .fields
            .iter()
            .find(|(name, _)| !known.contains(&name.as_ref()))
        {
            None => Ok(()),
            Some((name, _)) => Err(fault(
                &format!("{}.{name}", self.path),
                format!("is unknown; expected {}", known.join(", ")),
            )),
        }
    }

    fn path_of(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    fn get(&self, name: &str) -> Result<Json<'a>, FilterError> {
        let path = self.path_of(name);
        let (_, raw) = self
            .fields
            .iter()
            .find(|(field, _)| field == name)
            .ok_or_else(|| fault(&path, "is required"))?;
        Json::read(raw).map_err(|_| fault(&path, "must be valid Unicode"))
    }

    /// One of the words that `T` is spelled as.
    fn word<T: for<'de> Deserialize<'de>>(
        &self,
        name: &str,
        expected: &str,
    ) -> Result<T, FilterError> {
        let refused = || fault(&self.path_of(name), format!("must be one of {expected}"));
        let Json::String(word) = self.get(name)? else {
            return Err(refused());
        };
        let word = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(&word);
        T::deserialize(word).map_err(|_| refused())
    }
}

fn filter(object: &Object<'_, '_>, depth: usize) -> Result<Filter, FilterError> {
    if depth > FILTER_DEPTH_MAX {
        return Err(fault(
            object.path,
            format!("must be nested at most {FILTER_DEPTH_MAX} levels deep"),
        ));
    }
    object.only(&["conjunction", "clauses"])?;
    let conjunction = object.word("conjunction", "and, or")?;
    let path = object.path_of("clauses");
    let Json::Array(list) = object.get("clauses")? else {
        return Err(fault(&path, "must be a list"));
    };
    let list = elements(list).map_err(|error| fault(&path, error.to_string()))?;
    if list.is_empty() || list.len() > FILTER_CLAUSES_MAX {
        return Err(fault(
            &path,
            format!(
                "must hold 1 to {FILTER_CLAUSES_MAX} clauses, but holds {}",
                list.len()
            ),
        ));
    }
    let read = |(index, raw): (usize, &&RawValue)| clause(raw, &format!("{path}[{index}]"), depth);
    let clauses = list
        .iter()
        .enumerate()
        .map(read)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Filter {
        conjunction,
        clauses: normalised(clauses),
    })
}

/// A list is of conditions or of groups: in a mixed one, each condition becomes a group of one.
///
/// This never nests deeper than the groups that were there already.
fn normalised(clauses: Vec<Clause>) -> Vec<Clause> {
    let groups = clauses
        .iter()
        .filter(|clause| matches!(clause, Clause::Group(_)))
        .count();
    if groups == 0 || groups == clauses.len() {
        return clauses;
    }
    let wrap = |clause| match clause {
        Clause::Condition(_) => Clause::Group(Filter {
            conjunction: Conjunction::And,
            clauses: vec![clause],
        }),
        Clause::Group(_) => clause,
    };
    clauses.into_iter().map(wrap).collect()
}

fn clause(raw: &RawValue, path: &str, depth: usize) -> Result<Clause, FilterError> {
    let object = Object::read(raw, path)?;
    if object.has("conjunction") || object.has("clauses") {
        filter(&object, depth + 1).map(Clause::Group)
    } else {
        condition(&object).map(Clause::Condition)
    }
}

fn condition(object: &Object<'_, '_>) -> Result<Condition, FilterError> {
    object.only(&["key", "operator", "value"])?;
    let path = object.path_of("key");
    let key = match object.get("key")? {
        Json::String(key) => key.into_owned(),
        _ => return Err(fault(&path, "must be a string")),
    };
    if key.is_empty() || key.chars().count() > METADATA_KEY_CHARS_MAX || has_control(&key) {
        let expected = format!(
            "must have 1 to {METADATA_KEY_CHARS_MAX} characters, none of them control characters"
        );
        return Err(fault(&path, expected));
    }
    let operators = "equals, not_equals, greater_than, greater_than_or_equals, less_than, less_than_or_equals, \
                     contains, does_not_contain";
    Ok(Condition {
        key,
        operator: object.word::<Operator>("operator", operators)?,
        value: operand(object)?,
    })
}

fn operand(object: &Object<'_, '_>) -> Result<Operand, FilterError> {
    let path = object.path_of("value");
    match object.get("value")? {
        Json::String(text) if text.chars().count() > METADATA_STRING_CHARS_MAX => Err(fault(
            &path,
            format!("must have at most {METADATA_STRING_CHARS_MAX} characters"),
        )),
        Json::String(text) => Ok(Operand::String(text.into_owned())),
        Json::Number(digits) => Quantity::parse(digits)
            .map(Operand::Number)
            .map_err(|error| fault(&path, error.to_string())),
        Json::Bool(flag) => Ok(Operand::Bool(flag)),
        _ => Err(fault(&path, "must be a string, a number or a boolean")),
    }
}
