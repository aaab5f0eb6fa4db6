//! Reads request bodies: bounded, and with every complaint naming the field.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use bytes::BytesMut;
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::error::ApiError;
use super::field::NOT_SUPPORTED;
use super::room::{Rooms, Share};
use super::state::ApiState;

/// A JSON body of form `T`. `T` refuses unknown fields by itself.
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<ApiState> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        expect_json(&request)?;
        let (bytes, _share) = read(
            request.into_body(),
            state.config.request_bytes_max,
            &state.rooms,
        )
        .await?;
        parse(&bytes).map(JsonBody)
    }
}

/// Reads a whole body of at most `limit` bytes. The share is of the room that all bodies have, and must live as long as the
/// bytes are worked on.
///
/// # Errors
/// 413 beyond the limit, 503 beyond the room, 400 when the sender stopped in the middle.
pub(super) async fn read(
    mut body: Body,
    limit: usize,
    rooms: &Rooms,
) -> Result<(Bytes, Share), ApiError> {
    let mut share = rooms.body();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            ApiError::bad_request("INCOMPLETE_BODY", format!("the body ended early: {error}"))
        })?;
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        let bytes = whole.len().saturating_add(piece.len());
        if bytes > limit {
            return Err(ApiError::too_large(limit));
        }
        share.cover(bytes)?;
        whole.extend_from_slice(&piece);
    }
    Ok((whole.freeze(), share))
}

fn expect_json(request: &Request) -> Result<(), ApiError> {
    let given = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = given
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
    {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "UNSUPPORTED_CONTENT_TYPE",
        format!("expected the content type application/json, found `{given}`"),
    ))
}

/// Parses JSON into `T`; complaints name the path of the field.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| complaint(&error.path().to_string(), error.inner()))?;
    reader.end().map_err(|error| complaint("", &error))?;
    Ok(value)
}

fn complaint(path: &str, error: &serde_json::Error) -> ApiError {
    if matches!(
        error.classify(),
        Category::Syntax | Category::Eof | Category::Io
    ) {
        let message = format!("the body is not well-formed JSON: {error}");
        return ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "MALFORMED_JSON", message);
    }
    let text = error.to_string();
    // Positions in the text say less than the path, and the text is one line mostly.
    let what = text.split(" at line ").next().unwrap_or(&text);
    let path = if path == "." { "" } else { path };
    let (code, name) = if let Some(rest) = what.strip_prefix("unknown field `") {
        ("UNKNOWN_FIELD", rest.split('`').next())
    } else if let Some(rest) = what.strip_prefix("missing field `") {
        ("MISSING_FIELD", rest.split('`').next())
    } else if what.contains(NOT_SUPPORTED) {
        ("UNSUPPORTED_FIELD", None)
    } else {
        ("INVALID_FIELD", None)
    };
    ApiError::invalid(code, join(path, name), what)
}

/// Appends the name of an unknown or missing field to the path of its object, where the path does not name it already.
fn join(path: &str, name: Option<&str>) -> String {
    match name {
        None if path.is_empty() => "body".to_owned(),
        None => path.to_owned(),
        Some(name) if path.is_empty() || path == name => name.to_owned(),
        Some(name) if path.ends_with(&format!(".{name}")) => path.to_owned(),
        Some(name) => format!("{path}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use axum::response::IntoResponse as _;
    use serde::Deserialize;

    use super::super::field::{Ignored, Unsupported};
    use super::*;
    use crate::config::ApiConfig;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        #[expect(dead_code)]
        name: String,
        #[serde(default)]
        #[expect(dead_code)]
        lines: Vec<Line>,
        #[serde(default, rename = "theme")]
        _theme: Ignored,
        #[serde(default, rename = "discount")]
        _discount: Unsupported,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Line {
        #[expect(dead_code)]
        price: u8,
    }

    fn refusal(body: &str) -> String {
        let error = parse::<Order>(body.as_bytes()).unwrap_err();
        let response = error.into_response();
        let bytes = futures_block_on(response.into_body());
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        format!(
            "{} {}",
            value["code"].as_str().unwrap(),
            value["field"].as_str().unwrap_or("-")
        )
    }

    fn futures_block_on(body: Body) -> Bytes {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(read(body, 10_000, &Rooms::new(&ApiConfig::default())))
            .unwrap()
            .0
    }

    #[test]
    fn every_complaint_names_its_field() {
        for (body, expected) in [
            (r#"{"name":"a""#, "MALFORMED_JSON -"),
            (r#"{"name":"a"} x"#, "MALFORMED_JSON -"),
            ("", "MALFORMED_JSON -"),
            ("[]", "INVALID_FIELD body"),
            ("{}", "MISSING_FIELD name"),
            (r#"{"name":1}"#, "INVALID_FIELD name"),
            (r#"{"name":"a","nam":1}"#, "UNKNOWN_FIELD nam"),
            (
                r#"{"name":"a","lines":[{"price":1},{"price":-1}]}"#,
                "INVALID_FIELD lines[1].price",
            ),
            (
                r#"{"name":"a","lines":[{}]}"#,
                "MISSING_FIELD lines[0].price",
            ),
            (
                r#"{"name":"a","lines":[{"price":1,"prize":1}]}"#,
                "UNKNOWN_FIELD lines[0].prize",
            ),
            (
                r#"{"name":"a","discount":10}"#,
                "UNSUPPORTED_FIELD discount",
            ),
        ] {
            assert_eq!(refusal(body), expected, "{body}");
        }
    }

    #[test]
    fn fields_without_effect_are_taken_and_neutral_values_of_unsupported_ones_too() {
        for neutral in ["null", "0", "false", "\"\"", "[]", "{}"] {
            let body = format!(r#"{{"name":"a","theme":{{"dark":[1]}},"discount":{neutral}}}"#);
            assert!(parse::<Order>(body.as_bytes()).is_ok(), "{body}");
        }
    }
}
