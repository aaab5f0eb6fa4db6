//! A question as it travels: from flags of a command, as parameters of a request, to the directory that answers it.

use serde::Serialize;
use serde::de::DeserializeOwned;
use submeter_common::time::Timestamp;

use super::{InspectError, Inspection, Paging};

/// Things in one answer, when the question does not say.
const LIMIT_DEFAULT: usize = 100;

/// Things in one answer, at most.
pub(crate) const LIMIT_MAX: usize = 1000;

/// A question that a running agent answers over HTTP and a stopped one's directory at once.
pub(crate) trait Question: Sized + Send + 'static {
    /// What is answered.
    type Answer: Serialize + DeserializeOwned + Send + 'static;
    /// Where a running agent answers it.
    const PATH: &'static str;

    /// The question as parameters of a request; those without a value are left out.
    fn parameters(&self) -> Vec<(&'static str, Option<String>)>;

    /// The question from parameters of a request.
    fn read(parameters: &Parameters<'_>) -> Result<Self, InspectError>;

    /// The answer.
    fn ask(&self, inspection: &Inspection<'_>) -> Result<Self::Answer, InspectError>;
}

/// Parameters by name.
pub(crate) struct Parameters<'a>(pub(crate) &'a dyn Fn(&str) -> Option<String>);

impl Parameters<'_> {
    pub(super) fn text(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }

    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, InspectError> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        // A `+` of an offset that was not percent-encoded arrives as a space.
        Timestamp::parse(&text.replace(' ', "+"))
            .map(Some)
            .map_err(|error| InspectError::Question(format!("{name} {error}")))
    }

    pub(super) fn paging(&self) -> Result<Paging, InspectError> {
        let limit = match self.text("limit") {
            None => LIMIT_DEFAULT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=LIMIT_MAX).contains(limit))
                .ok_or_else(|| {
                    InspectError::Question(format!(
                        "limit must be a whole number from 1 to {LIMIT_MAX}, but is {text:?}"
                    ))
                })?,
        };
        Ok(Paging {
            after: self.text("after"),
            limit,
        })
    }
}

impl Paging {
    pub(super) fn parameters(&self) -> [(&'static str, Option<String>); 2] {
        [
            ("after", self.after.clone()),
            ("limit", Some(self.limit.to_string())),
        ]
    }
}

/// A time as a parameter.
pub(super) fn time(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}
