//! What stands in a request's address: an id in the path, and query parameters, read one by one so that an error names the
//! one at fault.

use std::collections::HashMap;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use submeter_common::time::Timestamp;

use super::reply::ApiError;

/// The parameters of a request. Unknown ones are passed over, as the compatible API does.
#[derive(Debug)]
pub(crate) struct Query(HashMap<String, String>);

impl Query {
    /// Reads the query of `uri`.
    pub(crate) fn of(uri: &Uri) -> Result<Self, ApiError> {
        axum::extract::Query::try_from_uri(uri)
            .map(|axum::extract::Query(values)| Self(values))
            .map_err(|_| {
                ApiError::unprocessable(
                    "INVALID_QUERY",
                    "the query is not made of name=value pairs in UTF-8",
                )
            })
    }

    /// A text, None when absent or empty.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).filter(|text| !text.is_empty()).cloned()
    }

    /// A point in time.
    pub(crate) fn timestamp(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        self.text(name)
            .map(|text| {
                // A `+` of an offset that was not percent-encoded arrives as a space.
                let text = text.replace(' ', "+");
                Timestamp::parse(&text).map_err(|error| {
                    ApiError::unprocessable("INVALID_QUERY", format!("{name} {error}"))
                })
            })
            .transpose()
    }

    /// A whole number from `least` to `most`.
    pub(crate) fn number<T: FromStr + PartialOrd + std::fmt::Display>(
        &self,
        name: &str,
        least: T,
        most: T,
    ) -> Result<Option<T>, ApiError> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        match text.parse::<T>() {
            Ok(number) if number >= least && number <= most => Ok(Some(number)),
            _ => Err(ApiError::unprocessable(
                "INVALID_QUERY",
                format!("{name} must be a whole number from {least} to {most}, but is {text:?}"),
            )),
        }
    }

    /// `true` or `false`; absent is false.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.text(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(text) => Err(ApiError::unprocessable(
                "INVALID_QUERY",
                format!("{name} must be true or false, but is {text:?}"),
            )),
        }
    }
}

/// The one id in a request's path, percent-decoded.
#[derive(Debug)]
pub(crate) struct PathId(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let found = Path::<String>::from_request_parts(parts, state).await;
        found.map(|Path(id)| Self(id)).map_err(|_| {
            let message = "the id in the path must be UTF-8, percent-encoded";
            ApiError::new(StatusCode::BAD_REQUEST, "INVALID_PATH", message)
        })
    }
}
