#![allow(clippy::unwrap_used, reason = "a failed test is the point")]

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::{Shape, event_id, parse_binary, parse_json};
use crate::{
    event::{BatchRejection, Event, RejectionCode, Value},
    limits::ID_BYTES_MAX,
    samples::{NOW, number},
};

const GOOD: &str = r#"{"specversion":"1.0","id":"4711","source":"/shop","type":"api.call","subject":"acme","time":"2026-01-31T11:59:00Z","datacontenttype":"application/json","data":{"tokens":12.50,"model":"small","cached":true,"none":null}}"#;

fn good() -> Event<'static> {
    let text = Cow::Borrowed;
    Event {
        event_id: text("ce:5:/shop:4711"),
        customer_id: text("acme"),
        event_name: text("api.call"),
        timestamp: "2026-01-31T11:59:00Z".parse().unwrap(),
        timestamp_given: true,
        metadata: vec![
            (text("cached"), Value::Bool(true)),
            (text("model"), Value::String(text("small"))),
            (text("tokens"), Value::Number(number("12.5"))),
        ],
    }
}

/// `GOOD` with some members replaced, `""` taking one out.
fn with(changes: &[(&str, &str)]) -> String {
    // As text, so that numbers stay as they are written.
    let mut members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(GOOD).unwrap();
    for (name, value) in changes {
        members.remove(*name);
        if !value.is_empty() {
            members.insert((*name).to_owned(), serde_json::from_str(value).unwrap());
        }
    }
    serde_json::to_string(&members).unwrap()
}

fn one(json: &str) -> Result<Event<'_>, BatchRejection> {
    parse_json(json.as_bytes(), Shape::Event, NOW).map(|mut events| events.remove(0))
}

fn refused(json: &str, code: RejectionCode, field: Option<&str>, says: &str) {
    let rejection = one(json).expect_err(json);
    let error = &rejection.errors[0];
    assert_eq!(
        (error.code, error.field.as_deref()),
        (code, field),
        "{json}: {error:?}"
    );
    assert!(error.message.contains(says), "{json}: {error:?}");
    assert_eq!(rejection.message, error.message, "{json}");
    // What one event is refused for, a batch is refused for.
    let batch = format!("[{GOOD},{json}]");
    let rejection = parse_json(batch.as_bytes(), Shape::Batch, NOW).expect_err(json);
    assert_eq!(rejection.errors.len(), 1, "{rejection:?}");
    assert_eq!(
        (rejection.errors[0].index, rejection.errors[0].code),
        (1, code)
    );
}

#[test]
fn the_attributes_are_the_fields_of_an_event() {
    assert_eq!(one(GOOD).unwrap(), good());
}

#[test]
fn a_batch_is_an_array_of_none_to_many_and_one_of_the_same_id_is_no_fault() {
    for (body, count) in [
        ("[]".to_owned(), 0),
        (format!("[{GOOD}]"), 1),
        (format!("[{GOOD},{GOOD}]"), 2),
    ] {
        let events = parse_json(body.as_bytes(), Shape::Batch, NOW).unwrap();
        assert_eq!(events, vec![good(); count]);
    }
}

#[test]
fn each_media_type_has_its_shape() {
    let batch = format!("[{GOOD}]");
    for (shape, body, fits) in [
        (Shape::Event, GOOD, true),
        (Shape::Event, &batch, false),
        (Shape::Batch, GOOD, false),
        (Shape::Batch, &batch, true),
        (Shape::Either, GOOD, true),
        (Shape::Either, &batch, true),
        (Shape::Either, "7", false),
    ] {
        let read = parse_json(body.as_bytes(), shape, NOW);
        match read {
            Ok(events) => assert!(fits && events == [good()], "{shape:?} {body}"),
            Err(rejection) => {
                assert!(!fits, "{shape:?} {body}: {rejection:?}");
                assert_eq!(rejection.code, RejectionCode::MalformedRequest);
                assert!(rejection.message.contains(shape.expected()));
            }
        }
    }
}

#[test]
fn what_is_not_needed_may_be_absent_or_null() {
    for absent in ["", "null"] {
        let json = with(&[
            ("time", absent),
            ("datacontenttype", absent),
            ("dataschema", absent),
            ("data", absent),
            ("data_base64", absent),
        ]);
        let event = one(&json).unwrap();
        assert_eq!(
            (event.timestamp, event.timestamp_given, event.metadata),
            (NOW, false, Vec::new())
        );
    }
}

#[test]
fn what_concerns_the_way_is_passed_over() {
    let json = with(&[
        ("traceparent", "\"00-0af7651916cd43dd8448eb211c80319c-01\""),
        ("sequence", "17"),
        ("sampled", "true"),
        ("unset", "null"),
        ("dataschema", "\"https://shop.example/v1\""),
        ("datacontenttype", "\"application/vnd.shop+JSON; v=1\""),
    ]);
    assert_eq!(one(&json).unwrap(), good());
}

#[test]
fn data_in_base64_is_read_as_the_json_it_holds() {
    // {"tokens":12.50,"model":"small","cached":true}
    let encoded = "\"eyJ0b2tlbnMiOjEyLjUwLCJtb2RlbCI6InNtYWxsIiwiY2FjaGVkIjp0cnVlfQ==\"";
    let json = with(&[("data", ""), ("data_base64", encoded)]);
    assert_eq!(one(&json).unwrap(), good());
    let empty = with(&[("data", "null"), ("data_base64", "\"\"")]);
    assert_eq!(one(&empty).unwrap().metadata, []);
}

#[test]
fn a_bad_event_is_refused_by_its_attribute() {
    use RejectionCode::{
        InvalidField, InvalidMetadata, InvalidNumber, InvalidTimestamp, MalformedEvent,
        MissingField, UnknownField,
    };
    for name in ["specversion", "id", "source", "type", "subject"] {
        refused(&with(&[(name, "")]), MissingField, Some(name), name);
        refused(&with(&[(name, "null")]), MissingField, Some(name), name);
        refused(&with(&[(name, "7")]), MalformedEvent, Some(name), "string");
    }
    for name in ["id", "source", "type", "subject"] {
        refused(&with(&[(name, "\"\"")]), InvalidField, Some(name), "empty");
        refused(
            &with(&[(name, "\"a\\u0000\"")]),
            InvalidField,
            Some(name),
            "control",
        );
    }
    let long = format!("\"{}\"", "x".repeat(257));
    for (name, value, code, field, says) in [
        ("specversion", "\"0.3\"", InvalidField, "specversion", "1.0"),
        ("type", long.as_str(), InvalidField, "type", "256"),
        ("subject", long.as_str(), InvalidField, "subject", "256"),
        (
            "time",
            "\"yesterday\"",
            InvalidTimestamp,
            "time",
            "RFC 3339",
        ),
        ("time", "7", MalformedEvent, "time", "string"),
        (
            "datacontenttype",
            "\"text/xml\"",
            InvalidField,
            "datacontenttype",
            "JSON",
        ),
        (
            "datacontenttype",
            "\"json\"",
            InvalidField,
            "datacontenttype",
            "JSON",
        ),
        ("dataschema", "{}", MalformedEvent, "dataschema", "string"),
        ("data", "\"text\"", MalformedEvent, "data", "object"),
        ("data", "[1]", MalformedEvent, "data", "object"),
        ("data", "7", MalformedEvent, "data", "object"),
        (
            "data",
            "{\"a\":{\"b\":1}}",
            InvalidMetadata,
            "data.a",
            "nesting",
        ),
        ("data", "{\"a\":1e400}", InvalidNumber, "data.a", "data.a"),
        (
            "data_base64",
            "\"e30=\"",
            MalformedEvent,
            "data_base64",
            "beside",
        ),
        (
            "customerId",
            "\"acme\"",
            UnknownField,
            "customerId",
            "lower-case",
        ),
        (
            "metadata",
            "{\"tokens\":1}",
            MalformedEvent,
            "metadata",
            "data",
        ),
        ("tags", "[1]", MalformedEvent, "tags", "data"),
    ] {
        refused(&with(&[(name, value)]), code, Some(field), says);
    }
    for (encoded, code, field, says) in [
        ("\"%\"", InvalidField, "data_base64", "Base64"),
        ("\"e30\"", InvalidField, "data_base64", "Base64"),
        ("{}", MalformedEvent, "data_base64", "string"),
        ("\"/w==\"", MalformedEvent, "data", "UTF-8"),
        ("\"aGVsbG8=\"", MalformedEvent, "data", "JSON"),
        ("\"WzFd\"", MalformedEvent, "data", "object"),
    ] {
        let json = with(&[("data", ""), ("data_base64", encoded)]);
        refused(&json, code, Some(field), says);
    }
    let twice = GOOD.replacen('{', "{\"id\":\"1\",", 1);
    refused(&twice, MalformedEvent, Some("id"), "twice");
}

#[test]
fn a_request_that_cannot_be_read_says_so() {
    for body in ["", "hello", &GOOD[..40], &format!("{GOOD} x")] {
        let rejection = parse_json(body.as_bytes(), Shape::Either, NOW).unwrap_err();
        assert_eq!(rejection.code, RejectionCode::MalformedRequest, "{body}");
    }
    let not_utf8 = parse_json(b"\xff", Shape::Either, NOW).unwrap_err();
    assert!(not_utf8.message.contains("UTF-8"));
    let many = format!("[{}]", vec![GOOD; 1001].join(","));
    let rejection = parse_json(many.as_bytes(), Shape::Batch, NOW).unwrap_err();
    assert_eq!(rejection.code, RejectionCode::TooManyEvents);
}

#[test]
fn a_refused_event_is_listed_with_its_id_where_that_can_be_read() {
    let rejection = one(&with(&[("subject", "")])).unwrap_err();
    assert_eq!(
        rejection.errors[0].event_id.as_deref(),
        Some("ce:5:/shop:4711")
    );
    let rejection = one(&with(&[("id", "")])).unwrap_err();
    assert_eq!(rejection.errors[0].event_id, None);
}

const HEADERS: [(&str, &str); 6] = [
    ("specversion", "1.0"),
    ("id", "4711"),
    ("source", "/shop"),
    ("type", "api.call"),
    ("subject", "acme"),
    ("time", "2026-01-31T11:59:00Z"),
];

const DATA: &str = r#"{"tokens":12.50,"model":"small","cached":true}"#;

fn binary<'a>(
    changes: &[(&'a str, &'a str)],
    content_type: Option<&'a str>,
    body: &'a str,
) -> Result<Event<'a>, BatchRejection> {
    let kept = HEADERS
        .into_iter()
        .filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    let headers: Vec<(&str, &[u8])> = kept
        .chain(changes.iter().copied())
        .map(|(name, value)| (name, value.as_bytes()))
        .collect();
    parse_binary(headers, content_type, body.as_bytes(), NOW)
}

#[test]
fn the_binary_mode_is_the_same_event() {
    for content_type in [None, Some("application/json"), Some("text/json; x=y")] {
        assert_eq!(binary(&[], content_type, DATA).unwrap(), good());
    }
    let traced = [("traceparent", "00-%zz")];
    assert_eq!(binary(&traced, None, DATA).unwrap(), good());
    for none in ["", "null", " null "] {
        assert_eq!(binary(&[], None, none).unwrap().metadata, []);
    }
}

#[test]
fn header_values_are_unquoted_then_decoded_once() {
    for (sent, meant) in [
        ("acme", "acme"),
        ("Euro%20%E2%82%AC%20%f0%9f%98%80", "Euro € 😀"),
        ("%61cme", "acme"),
        ("100%25", "100%"),
        ("%2541", "%41"),
        ("\"a \\\"b\\\" c\"", "a \"b\" c"),
        ("\"100%25\"", "100%"),
        ("ACME Inc.", "ACME Inc."),
        ("back\\slash", "back\\slash"),
    ] {
        let changes = [("subject", sent)];
        let event = binary(&changes, None, "").unwrap();
        assert_eq!(event.customer_id, meant, "{sent}");
    }
}

#[test]
fn a_header_that_cannot_be_decoded_is_refused_by_its_attribute() {
    for (value, says) in [
        ("100%", "hexadecimal"),
        ("%4", "hexadecimal"),
        ("%zz", "hexadecimal"),
        ("%C0%A0", "UTF-8"),
        ("%ff", "UTF-8"),
        ("\"open", "quote"),
        ("\"open\\", "quote"),
        ("grün", "ASCII"),
        ("a\u{7f}", "ASCII"),
        ("%00", "control"),
        ("", "empty"),
    ] {
        let changes = [("subject", value)];
        let rejection = binary(&changes, None, DATA).expect_err(value);
        assert_eq!(rejection.errors[0].field.as_deref(), Some("subject"));
        assert!(rejection.message.contains(says), "{value}: {rejection:?}");
        assert_eq!(
            rejection.errors[0].event_id.as_deref(),
            Some("ce:5:/shop:4711")
        );
    }
}

#[test]
fn the_binary_mode_has_the_same_rules() {
    use RejectionCode::{InvalidField, InvalidMetadata, MalformedEvent, UnknownField};
    for (changes, content_type, body, code, field) in [
        (
            ("specversion", "1.1"),
            None,
            DATA,
            InvalidField,
            "specversion",
        ),
        (
            ("datacontenttype", "application/json"),
            None,
            DATA,
            MalformedEvent,
            "datacontenttype",
        ),
        (
            ("sampled", "1"),
            Some("text/plain"),
            DATA,
            InvalidField,
            "datacontenttype",
        ),
        (
            ("customer_id", "acme"),
            None,
            DATA,
            UnknownField,
            "customer_id",
        ),
        (("sampled", "1"), None, "hello", MalformedEvent, "data"),
        (("sampled", "1"), None, "{} {}", MalformedEvent, "data"),
        (("sampled", "1"), None, "[]", MalformedEvent, "data"),
        (
            ("sampled", "1"),
            None,
            "{\"a\":[]}",
            InvalidMetadata,
            "data.a",
        ),
        (("id", "1"), None, "{\"a\":[]}", InvalidMetadata, "data.a"),
    ] {
        let rejection = binary(&[changes], content_type, body).expect_err(field);
        assert_eq!(
            (rejection.code, rejection.errors[0].field.as_deref()),
            (code, Some(field)),
            "{rejection:?}"
        );
    }
    let twice = HEADERS.map(|(name, value)| (name, value.as_bytes()));
    let rejection = parse_binary(twice.into_iter().chain([twice[1]]), None, b"", NOW).unwrap_err();
    assert!(rejection.message.contains("twice"), "{rejection:?}");
}

#[test]
fn an_id_is_readable_while_it_is_short() {
    assert_eq!(event_id("/shop", "4711"), "ce:5:/shop:4711");
    assert_eq!(event_id("ü", ""), "ce:2:ü:");
    let longest = "x".repeat(ID_BYTES_MAX - "ce:5:/shop:".len());
    assert_eq!(event_id("/shop", &longest).len(), ID_BYTES_MAX);
    let hashed = event_id("/shop", &format!("{longest}x"));
    assert!(
        hashed.starts_with("ce:blake3:") && hashed.len() == 74,
        "{hashed}"
    );
}

proptest! {
    /// Separators in the parts, and lengths around the limit: where two spellings could meet.
    #[test]
    fn no_two_pairs_share_an_id(
        pairs in prop::collection::hash_set(
            ("[:0-9a]{0,4}|[:a]{118,130}", "[:0-9a]{0,4}|[:a]{118,130}"), 1..40)
    ) {
        let mut seen: HashMap<String, (String, String)> = HashMap::new();
        for (source, id) in pairs {
            let name = event_id(&source, &id);
            prop_assert!(!name.is_empty() && name.len() <= ID_BYTES_MAX);
            let other = seen.insert(name, (source, id));
            prop_assert_eq!(other, None);
        }
    }
}
