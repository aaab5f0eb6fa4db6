//! Query parameters: each one is named, parsed once, and an unknown one is refused.

use axum::extract::{FromRequestParts, Query as Pairs};
use axum::http::request::Parts;
use submeter_common::time::Timestamp;

use super::error::ApiError;
use crate::storage::Page;

/// Entries of a page when the caller says nothing.
const PAGE_SIZE_DEFAULT: u32 = 10;

/// Largest page.
const PAGE_SIZE_MAX: u32 = 100;

/// The parameters of one request. A handler takes those it knows and calls [`Query::finish`], which refuses the rest.
pub(super) struct Query {
    pairs: Vec<(String, String)>,
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Pairs(pairs) = Pairs::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|error| ApiError::field("query", error.body_text()))?;
        Ok(Self { pairs })
    }
}

impl Query {
    /// Takes a parameter's text; an empty one counts as absent, and one given twice is refused.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        let Some(position) = self.pairs.iter().position(|(key, _)| key == name) else {
            return Ok(None);
        };
        let (_, value) = self.pairs.remove(position);
        if self.pairs.iter().any(|(key, _)| key == name) {
            return Err(ApiError::field(name, "expected the parameter once"));
        }
        Ok(Some(value).filter(|value| !value.is_empty()))
    }

    /// Takes a parameter that must be there.
    pub(super) fn required(&mut self, name: &str) -> Result<String, ApiError> {
        self.text(name)?
            .ok_or_else(|| ApiError::invalid("MISSING_FIELD", name, "this parameter is needed"))
    }

    /// Takes `true` or `false`.
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        self.text(name)?
            .map(|text| {
                text.parse().map_err(|_| {
                    ApiError::field(name, format!("expected true or false, found `{text}`"))
                })
            })
            .transpose()
    }

    /// Takes an RFC 3339 time.
    pub(super) fn time(&mut self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        self.text(name)?
            .map(|text| Timestamp::parse(&text).map_err(|error| ApiError::field(name, error)))
            .transpose()
    }

    /// Takes `page_number` (from 0) and `page_size` (1 to 100, 10 when absent).
    pub(super) fn page(&mut self) -> Result<Page, ApiError> {
        let number = self.number("page_number", 0, u32::MAX, 0)?;
        let size = self.number("page_size", 1, PAGE_SIZE_MAX, PAGE_SIZE_DEFAULT)?;
        Ok(Page::new(number, size))
    }

    /// Takes a whole number within bounds.
    pub(super) fn number(
        &mut self,
        name: &str,
        least: u32,
        most: u32,
        absent: u32,
    ) -> Result<u32, ApiError> {
        let Some(text) = self.text(name)? else {
            return Ok(absent);
        };
        text.parse()
            .ok()
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| {
                ApiError::field(
                    name,
                    format!("expected a whole number from {least} to {most}, found `{text}`"),
                )
            })
    }

    /// Drops a parameter that official clients may send and that changes nothing here.
    pub(super) fn ignore(&mut self, name: &str) {
        self.pairs.retain(|(key, _)| key != name);
    }

    /// Refuses a parameter that nobody took.
    pub(super) fn finish(self) -> Result<(), ApiError> {
        match self.pairs.first() {
            None => Ok(()),
            Some((name, _)) => Err(ApiError::invalid(
                "UNKNOWN_FIELD",
                name,
                "there is no such parameter here",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn query(pairs: &[(&str, &str)]) -> Query {
        Query {
            pairs: pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn pages_default_to_ten_and_end_at_a_hundred() {
        let page = query(&[]).page().unwrap();
        assert_eq!((page.skip(), page.take()), (0, 10));
        let page = query(&[("page_size", "100"), ("page_number", "3")])
            .page()
            .unwrap();
        assert_eq!((page.skip(), page.take()), (300, 100));
        for bad in ["101", "0", "-1", "ten", "1.5"] {
            assert!(query(&[("page_size", bad)]).page().is_err(), "{bad}");
        }
    }

    #[test]
    fn unknown_and_repeated_parameters_are_refused() {
        assert!(query(&[("surprise", "1")]).finish().is_err());
        assert!(
            query(&[("archived", "true"), ("archived", "false")])
                .flag("archived")
                .is_err()
        );
        assert!(query(&[("archived", "yes")]).flag("archived").is_err());
        let mut taken = query(&[("archived", "true")]);
        assert_eq!(taken.flag("archived").unwrap(), Some(true));
        assert!(taken.finish().is_ok());
    }
}
