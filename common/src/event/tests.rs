#![allow(clippy::unwrap_used)]

use std::{borrow::Cow, collections::BTreeSet};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::samples::{NOW, any_events, number};

/// An event as JSON with some of its fields changed.
fn with(changes: &[(&str, &str)]) -> String {
    let mut fields = vec![
        ("event_id", "\"evt_1\""),
        ("customer_id", "\"acme\""),
        ("event_name", "\"llm.call\""),
        ("timestamp", "\"2026-01-31T11:59:00Z\""),
        ("metadata", "{\"tokens\": 12.5}"),
    ];
    for (name, value) in changes {
        fields.retain(|(field, _)| field != name);
        if *value != "absent" {
            fields.push((name, value));
        }
    }
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}: {value}", json!(name)))
        .collect();
    format!("{{{}}}", fields.join(", "))
}

fn refused(json: &str, code: RejectionCode, field: Option<&str>, message: &str) {
    let rejection = Event::parse(json, NOW).unwrap_err();
    assert_eq!(
        (
            rejection.code,
            rejection.field.as_deref(),
            rejection.message.as_str()
        ),
        (code, field, message),
        "{json}"
    );
}

/// Refuses an event whose one field is `value`.
fn check(name: &str, value: &str, code: RejectionCode, message: &str) {
    refused(&with(&[(name, value)]), code, Some(name), message);
}

/// Refuses an event whose metadata is `metadata`.
fn check_metadata(metadata: &str, code: RejectionCode, field: &str, message: &str) {
    refused(&with(&[("metadata", metadata)]), code, Some(field), message);
}

#[test]
fn a_good_event_is_read_borrowed_and_exactly() {
    let json = with(&[(
        "metadata",
        r#"{"tokens": 0.30000000000000004, "model": "gpt-4", "cached": true, "big": 123456789012345678901234567890, "minus": -0}"#,
    )]);
    let event = Event::parse(&json, NOW).unwrap();
    assert_eq!(event.event_id, "evt_1");
    assert_eq!(event.customer_id, "acme");
    assert_eq!(event.event_name, "llm.call");
    assert_eq!(
        event.timestamp,
        Timestamp::parse("2026-01-31T11:59:00Z").unwrap()
    );
    assert!(event.timestamp_given);
    assert_eq!(
        event.get("tokens"),
        Some(&Value::Number(number("0.30000000000000004")))
    );
    assert_eq!(
        event.get("big"),
        Some(&Value::Number(number("123456789012345678901234567890")))
    );
    assert_eq!(event.get("minus"), Some(&Value::Number(Quantity::ZERO)));
    assert_eq!(event.get("cached"), Some(&Value::Bool(true)));
    assert_eq!(event.get("nothing"), None);
    assert!(matches!(
        event.get("model"),
        Some(Value::String(Cow::Borrowed("gpt-4")))
    ));
    for text in [&event.event_id, &event.customer_id, &event.event_name] {
        assert!(matches!(text, Cow::Borrowed(_)), "{text} was copied");
    }
    assert!(
        event
            .metadata
            .iter()
            .all(|(key, _)| matches!(key, Cow::Borrowed(_)))
    );
    assert!(event.metadata.is_sorted_by(|a, b| a.0 < b.0));
}

#[test]
fn null_is_absent_and_no_timestamp_is_now() {
    for json in [
        with(&[("timestamp", "absent"), ("metadata", "absent")]),
        with(&[("timestamp", "null"), ("metadata", "null")]),
        with(&[("timestamp", "absent"), ("metadata", "{\"a\": null}")]),
    ] {
        let event = Event::parse(&json, NOW).unwrap();
        assert_eq!((event.timestamp, event.timestamp_given), (NOW, false));
        assert!(event.metadata.is_empty());
    }
}

#[test]
fn escapes_offsets_and_limits_to_the_brim_are_good() {
    let event = with(&[
        ("event_id", "\"caf\\u00e9 \\\"\\ud83d\\ude00\""),
        ("customer_id", &json!("c".repeat(256)).to_string()),
        ("timestamp", "\"2026-01-31T13:59:00+02:00\""),
        (
            "metadata",
            &json!({"k".repeat(100): "é".repeat(500), "lines": "a\n\tb\r\n", "": null})
                .to_string()
                .replace("\"\":null,", ""),
        ),
    ]);
    let event = Event::parse(&event, NOW).unwrap();
    assert_eq!(event.event_id, "café \"😀");
    assert_eq!(
        event.timestamp,
        Timestamp::parse("2026-01-31T11:59:00Z").unwrap()
    );
    assert_eq!(event.metadata.len(), 2);

    let fifty: serde_json::Map<_, _> = (0..50).map(|n| (format!("key {n}"), json!(n))).collect();
    let json = with(&[("metadata", &json!(fifty).to_string())]);
    assert_eq!(Event::parse(&json, NOW).unwrap().metadata.len(), 50);
}

#[test]
fn what_is_no_event_object_is_malformed() {
    for (json, message) in [
        ("", "EOF while parsing a value"),
        ("{", "EOF while parsing an object"),
        (
            "5",
            "invalid type: integer `5`, expected an event as a JSON object",
        ),
        (
            "null",
            "invalid type: null, expected an event as a JSON object",
        ),
        (
            "[]",
            "invalid type: sequence, expected an event as a JSON object",
        ),
        ("{} {}", "event_id is required"),
        (&with(&[("metadata", "{\"a\": NaN}")]), "expected value"),
        (
            &with(&[("metadata", "{\"a\": Infinity}")]),
            "expected value",
        ),
        (&with(&[("metadata", "{\"a\": 01}")]), "invalid number"),
        (&with(&[("metadata", "{\"a\": +1}")]), "expected value"),
        (&with(&[("metadata", "{\"a\": .5}")]), "expected value"),
        (&with(&[("metadata", "{\"a\": 1,}")]), "trailing comma"),
        (&with(&[("event_id", "\"a\u{0}b\"")]), "control character"),
        (&with(&[("event_id", "\"a\nb\"")]), "control character"),
        (&format!("{} x", with(&[])), "trailing characters"),
    ] {
        let rejection = Event::parse(json, NOW).unwrap_err();
        assert!(rejection.code.is_syntax(), "{json}: {rejection:?}");
        assert!(rejection.message.contains(message), "{json}: {rejection:?}");
    }
}

#[test]
fn fields_are_the_known_ones_once_each() {
    use RejectionCode::{MalformedEvent, MissingField, UnknownField};
    for name in ["event_id", "customer_id", "event_name"] {
        check(name, "absent", MissingField, &format!("{name} is required"));
        check(name, "null", MissingField, &format!("{name} is required"));
        for wrong in ["5", "true", "[]", "{\"a\": 1}"] {
            check(
                name,
                wrong,
                MalformedEvent,
                &format!("{name} must be a string"),
            );
        }
        let twice = format!("{{\"{name}\": \"a\", \"{name}\": \"a\"}}");
        let message = format!("{name} must be given once, but is there twice");
        refused(&twice, MalformedEvent, Some(name), &message);
    }
    let expected = "is not a field of an event; expected event_id, customer_id, event_name, timestamp or metadata";
    check(
        "amount",
        "1",
        UnknownField,
        &format!("\"amount\" {expected}"),
    );
    check(
        "Event_id",
        "\"a\"",
        UnknownField,
        &format!("\"Event_id\" {expected}"),
    );
    let long = "x".repeat(5000);
    let short = "x".repeat(100);
    refused(
        &with(&[(&long, "1")]),
        UnknownField,
        Some(&short),
        &format!("{short:?} {expected}"),
    );
}

#[test]
fn ids_and_names_keep_their_limits() {
    use RejectionCode::{InvalidField, MalformedEvent};
    for name in ["event_id", "customer_id", "event_name"] {
        check(
            name,
            "\"\"",
            InvalidField,
            &format!("{name} must not be empty"),
        );
        let long = json!("x".repeat(257)).to_string();
        check(
            name,
            &long,
            InvalidField,
            &format!("{name} must be at most 256 bytes long, but has 257"),
        );
        let long = json!("é".repeat(129)).to_string();
        check(
            name,
            &long,
            InvalidField,
            &format!("{name} must be at most 256 bytes long, but has 258"),
        );
        for control in ["\\u0000", "a\\nb", "\\u001f", "\\u007f", "é\\u0085"] {
            let message = format!("{name} must not contain control characters");
            check(name, &format!("\"{control}\""), InvalidField, &message);
        }
        check(
            name,
            "\"\\ud800\"",
            MalformedEvent,
            &format!("{name} must be a string of valid Unicode"),
        );
    }
}

#[test]
fn timestamps_are_rfc_3339_from_1970_on() {
    use RejectionCode::{InvalidTimestamp, MalformedEvent};
    for text in [
        "",
        "yesterday",
        "2026-01-31",
        "2026-01-31T12:00Z",
        "2026-02-30T00:00:00Z",
        "1769860800",
    ] {
        check(
            "timestamp",
            &json!(text).to_string(),
            InvalidTimestamp,
            "timestamp must be an RFC 3339 date and time such as \"2026-01-31T12:00:00Z\"",
        );
    }
    for text in [
        "1969-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z",
        "9999-01-01T00:00:00Z",
    ] {
        let message = "timestamp must lie in the years 1970 to 5999";
        check(
            "timestamp",
            &json!(text).to_string(),
            InvalidTimestamp,
            message,
        );
    }
    for wrong in ["1769860800", "true", "{}"] {
        check(
            "timestamp",
            wrong,
            MalformedEvent,
            "timestamp must be an RFC 3339 string",
        );
    }
}

#[test]
fn metadata_is_flat_and_keeps_its_limits() {
    use RejectionCode::{InvalidMetadata, MalformedEvent};
    for wrong in [
        "5", "-5", "0.5", "true", "\"a\"", "\"a\\n\"", "[]", "[1, 2]",
    ] {
        let message = "metadata must be an object of strings, numbers and booleans";
        check_metadata(wrong, MalformedEvent, "metadata", message);
    }
    for nested in ["{}", "[]", "{\"b\": 1}", "[1]"] {
        check_metadata(
            &format!("{{\"a\": {nested}}}"),
            InvalidMetadata,
            "metadata.a",
            "metadata.a must be a string, a number or a boolean; nesting is not allowed",
        );
    }
    let pairs: serde_json::Map<_, _> = (0..51).map(|n| (format!("key {n}"), json!(n))).collect();
    let message = "metadata must have at most 50 pairs";
    check_metadata(
        &json!(pairs).to_string(),
        InvalidMetadata,
        "metadata",
        message,
    );

    let message = "metadata keys must be at most 100 characters long";
    check_metadata(
        &json!({"k".repeat(101): 1}).to_string(),
        InvalidMetadata,
        "metadata",
        message,
    );
    check_metadata(
        "{\"\": 1}",
        InvalidMetadata,
        "metadata",
        "metadata keys must not be empty",
    );
    let message = "metadata keys must not contain control characters";
    check_metadata("{\"a\\u0000\": 1}", InvalidMetadata, "metadata", message);

    let long = json!({"a": "é".repeat(501)}).to_string();
    let message = "metadata.a must be at most 500 characters long";
    check_metadata(&long, InvalidMetadata, "metadata.a", message);
    let message = "metadata.a must not contain control characters";
    check_metadata(
        "{\"a\": \"x\\u0000\"}",
        InvalidMetadata,
        "metadata.a",
        message,
    );
    check_metadata(
        "{\"a\": \"x\\u0007\"}",
        InvalidMetadata,
        "metadata.a",
        message,
    );
    let message = "metadata.a must be a string of valid Unicode";
    check_metadata(
        "{\"a\": \"\\udfff\"}",
        InvalidMetadata,
        "metadata.a",
        message,
    );
    let message = "metadata.a must be given once, but is there twice";
    check_metadata(
        "{\"a\": 1, \"b\": 2, \"a\": 1}",
        InvalidMetadata,
        "metadata.a",
        message,
    );
}

#[test]
fn numbers_that_cannot_be_kept_exactly_are_refused() {
    let large = "metadata.a must have at most 30 digits before the decimal point";
    let fine = "metadata.a must have at most 36 digits after the decimal point";
    for (digits, message) in [
        ("1e400", large),
        ("-1e400", large),
        ("1e30", large),
        ("1234567890123456789012345678901234567890", large),
        ("1e-400", fine),
        ("0.1234567890123456789012345678901234567", fine),
    ] {
        check_metadata(
            &format!("{{\"a\": {digits}}}"),
            RejectionCode::InvalidNumber,
            "metadata.a",
            message,
        );
    }
}

#[test]
fn the_horizon_is_closed_at_both_ends() {
    let horizon = Horizon::default();
    let at = |text: &str| {
        let json = with(&[("timestamp", &json!(text).to_string())]);
        let rejection = Event::parse(&json, NOW)
            .unwrap()
            .check_horizon(NOW, &horizon)
            .err()?;
        assert_eq!(rejection.field.as_deref(), Some("timestamp"));
        Some((rejection.code, rejection.message))
    };
    for inside in [
        "2026-01-31T11:00:00Z",
        "2026-01-31T12:00:00Z",
        "2026-01-31T12:05:00Z",
    ] {
        assert_eq!(at(inside), None, "{inside}");
    }
    assert_eq!(
        at("2026-01-31T10:59:59.999999Z"),
        Some((
            RejectionCode::TimestampTooOld,
            "timestamp must be at most 3600 s in the past, but is 2026-01-31T10:59:59.999999Z (now 2026-01-31T12:00:00Z)"
                .to_owned()
        ))
    );
    assert_eq!(
        at("2026-01-31T12:05:00.000001Z"),
        Some((
            RejectionCode::TimestampTooNew,
            "timestamp must be at most 300 s in the future, but is 2026-01-31T12:05:00.000001Z (now 2026-01-31T12:00:00Z)"
                .to_owned()
        ))
    );
}

/// All events of a request, however old.
fn parse_batch(body: &[u8], now: Timestamp) -> Result<Vec<Event<'_>>, BatchRejection> {
    let ages = Horizon {
        past: Duration::MAX,
        future: Duration::MAX,
    };
    let mut events = Vec::new();
    let count = read_batch(body, now, &ages, |event| events.push(event.clone()))?;
    assert_eq!(count, events.len());
    Ok(events)
}

fn batch(events: &[String]) -> String {
    format!("{{\"events\": [{}]}}", events.join(","))
}

fn numbered(count: usize) -> Vec<String> {
    (0..count)
        .map(|n| with(&[("event_id", &format!("\"evt_{n}\""))]))
        .collect()
}

#[test]
fn a_batch_of_good_events_is_read_as_a_whole() {
    for count in [1, 2, 1000] {
        let body = batch(&numbered(count));
        let events = parse_batch(body.as_bytes(), NOW).unwrap();
        assert_eq!(events.len(), count);
        assert_eq!(events[count - 1].event_id, format!("evt_{}", count - 1));
        let read = read_batch(body.as_bytes(), NOW, &Horizon::default(), |_| {});
        assert_eq!(read, Ok(count));
    }
}

#[test]
fn a_request_that_is_no_batch_is_refused_with_what_was_expected() {
    use BatchStatus::{Invalid, Malformed};
    let of = |body: &[u8], status: BatchStatus, code: RejectionCode, message: &str| {
        let rejection = parse_batch(body, NOW).unwrap_err();
        assert_eq!(
            (rejection.status, rejection.code),
            (status, code),
            "{rejection:?}"
        );
        assert!(rejection.message.contains(message), "{rejection:?}");
        assert!(rejection.errors.is_empty());
    };
    let good = batch(&numbered(1));
    let syntax = RejectionCode::MalformedRequest;
    of(b"", Malformed, syntax, "the body is not valid JSON: EOF");
    of(
        &good.as_bytes()[..good.len() - 3],
        Malformed,
        syntax,
        "the body is not valid JSON: EOF",
    );
    of(
        b"{\"events\": [\xff]}",
        Malformed,
        syntax,
        "the body must be UTF-8, but byte 12 is not",
    );
    of(b"[]", Malformed, syntax, "expected a JSON object");
    of(
        b"{\"events\": 5}",
        Malformed,
        syntax,
        "events must be an array of events",
    );
    of(
        b"{\"events\": {}}",
        Malformed,
        syntax,
        "events must be an array of events",
    );
    of(
        b"{\"events\": [], \"events\": []}",
        Malformed,
        syntax,
        "events must be given once",
    );
    of(
        format!("{good} x").as_bytes(),
        Malformed,
        syntax,
        "trailing characters",
    );
    of(
        batch(&[with(&[("metadata", "{\"a\": NaN}")])]).as_bytes(),
        Malformed,
        syntax,
        "expected value",
    );
    of(
        b"{}",
        Malformed,
        RejectionCode::MissingField,
        "events is required",
    );
    of(
        b"{\"events\": null}",
        Malformed,
        RejectionCode::MissingField,
        "events is required",
    );
    of(
        b"{\"events\": [], \"dry_run\": true}",
        Malformed,
        RejectionCode::UnknownField,
        "\"dry_run\" is not a field of the request; expected events",
    );
    of(
        b"{\"events\": []}",
        Invalid,
        RejectionCode::InvalidField,
        "events must hold 1 to 1000 events",
    );
    of(
        batch(&numbered(1001)).as_bytes(),
        Invalid,
        RejectionCode::TooManyEvents,
        "events must hold at most 1000 events, but holds 1001",
    );
}

#[test]
fn every_fault_of_a_batch_is_listed() {
    let events = [
        with(&[("event_id", "\"a\"")]),
        with(&[("event_id", "\"b\""), ("metadata", "{\"t\": 1e400}")]),
        with(&[("event_id", "\"c\""), ("amount", "1")]),
        "7".to_owned(),
        with(&[("event_id", "5")]),
    ];
    let body = batch(&events);
    let rejection = parse_batch(body.as_bytes(), NOW).unwrap_err();
    // A schema fault outweighs a value that breaks a rule.
    assert_eq!(
        (rejection.status, rejection.code),
        (BatchStatus::Malformed, RejectionCode::UnknownField)
    );
    assert!(
        rejection
            .message
            .starts_with("4 of 5 events refused; events[2]: \"amount\""),
        "{rejection:?}"
    );
    let found: Vec<_> = rejection
        .errors
        .iter()
        .map(|e| (e.index, e.event_id.as_deref(), e.code))
        .collect();
    assert_eq!(
        found,
        [
            (1, Some("b"), RejectionCode::InvalidNumber),
            (2, Some("c"), RejectionCode::UnknownField),
            (3, None, RejectionCode::MalformedEvent),
            (4, None, RejectionCode::MalformedEvent),
        ]
    );
    let body = batch(&events[..2]);
    let rejection = parse_batch(body.as_bytes(), NOW).unwrap_err();
    assert_eq!(
        (rejection.status, rejection.code),
        (BatchStatus::Invalid, RejectionCode::InvalidNumber)
    );
    assert_eq!(
        serde_json::to_value(&rejection.errors).unwrap(),
        json!([{"index": 1, "event_id": "b", "code": "INVALID_NUMBER", "field": "metadata.t",
            "message": "metadata.t must have at most 30 digits before the decimal point"}])
    );
}

#[test]
fn an_id_twice_in_one_request_and_a_time_outside_the_horizon_are_listed() {
    let mut events = numbered(3);
    events.push(with(&[
        ("event_id", "\"evt_1\""),
        ("timestamp", "\"2026-01-30T00:00:00Z\""),
    ]));
    let body = batch(&events);
    let rejection = parse_batch(body.as_bytes(), NOW).unwrap_err();
    assert_eq!(
        (rejection.status, rejection.code),
        (BatchStatus::Invalid, RejectionCode::DuplicateEventId)
    );
    let [error] = &rejection.errors[..] else {
        panic!("{rejection:?}")
    };
    assert_eq!((error.index, error.event_id.as_deref()), (3, Some("evt_1")));
    assert_eq!(
        error.message,
        "event_id must be unique within a request, but events[1] has the same"
    );

    events.remove(1);
    let body = batch(&events);
    let rejection = read_batch(body.as_bytes(), NOW, &Horizon::default(), |_| {}).unwrap_err();
    assert_eq!(
        (rejection.status, rejection.code),
        (BatchStatus::Invalid, RejectionCode::TimestampTooOld)
    );
    assert_eq!(
        rejection
            .errors
            .iter()
            .map(|error| error.index)
            .collect::<Vec<_>>(),
        [2]
    );
}

#[test]
fn each_event_of_an_object_or_array_is_judged_on_its_own() {
    let good = with(&[]);
    let wrong = with(&[("event_name", "\"\"")]);
    let each = |body: &str| -> Vec<Result<String, (Option<String>, RejectionCode)>> {
        let read = parse_each(body.as_bytes(), NOW).unwrap();
        read.into_iter()
            .map(|(id, result)| match result {
                Ok(event) => Ok(event.event_id.into_owned()),
                Err(rejection) => Err((id, rejection.code)),
            })
            .collect()
    };
    let refusal = Err((Some("evt_1".to_owned()), RejectionCode::InvalidField));
    assert_eq!(each(&good), [Ok("evt_1".to_owned())]);
    assert_eq!(each(&wrong), std::slice::from_ref(&refusal));
    assert_eq!(
        each(&format!(" [{good}, {wrong}, 5] ")),
        [
            Ok("evt_1".to_owned()),
            refusal,
            Err((None, RejectionCode::MalformedEvent)),
        ]
    );
    assert_eq!(each("[]"), []);
    for (body, code) in [
        ("", RejectionCode::MalformedRequest),
        ("\"a\"", RejectionCode::MalformedRequest),
        ("[", RejectionCode::MalformedRequest),
        ("{\"a\": }", RejectionCode::MalformedRequest),
    ] {
        assert_eq!(
            parse_each(body.as_bytes(), NOW).unwrap_err().code,
            code,
            "{body}"
        );
    }
    let many = format!("[{}]", numbered(1001).join(","));
    assert_eq!(
        parse_each(many.as_bytes(), NOW).unwrap_err().code,
        RejectionCode::TooManyEvents
    );
}

#[test]
fn codes_are_distinct_words() {
    let words: BTreeSet<_> = RejectionCode::ALL
        .into_iter()
        .map(RejectionCode::as_str)
        .collect();
    assert_eq!(words.len(), RejectionCode::ALL.len());
    assert!(words.iter().all(|word| {
        word.bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    }));
}

/// Keeps the bytes it is fed, to see what tells payloads apart.
/// The bytes by which payloads are told apart.
fn payload_at(json: &str, now: Timestamp) -> Vec<u8> {
    let mut bytes = Vec::new();
    let payload = Event::parse(json, now).unwrap().encode(&mut bytes);
    bytes[payload].to_vec()
}

fn payload(json: &str) -> Vec<u8> {
    payload_at(json, NOW)
}

#[test]
fn a_payload_is_the_same_however_it_is_spelled() {
    let same = with(&[("metadata", r#"{"b": "x", "a": 1.50}"#)]);
    for other in [
        with(&[
            ("event_id", "\"evt_2\""),
            ("metadata", r#"{"a": 15e-1, "b": "\u0078"}"#),
        ]),
        with(&[
            ("timestamp", "\"2026-01-31T12:59:00+01:00\""),
            ("metadata", r#"{"a": 1.5, "c": null, "b": "x"}"#),
        ]),
    ] {
        assert_eq!(payload(&same), payload(&other), "{other}");
    }
    for other in [
        with(&[("metadata", r#"{"b": "x", "a": "1.5"}"#)]),
        with(&[("metadata", r#"{"b": "x", "a": 1.51}"#)]),
        with(&[("metadata", r#"{"b": "x"}"#)]),
        with(&[
            ("metadata", r#"{"b": "x", "a": 1.5}"#),
            ("customer_id", "\"other\""),
        ]),
    ] {
        assert_ne!(payload(&same), payload(&other), "{other}");
    }
    // Seen twice at different times: without a timestamp of its own it is still the same event.
    let timeless = with(&[("timestamp", "absent")]);
    let later = payload_at(&timeless, Timestamp::from_micros(0));
    assert_eq!(payload(&timeless), later);
}

fn sample() -> Event<'static> {
    let json = r#"{"event_id": "evt_1", "customer_id": "acme", "event_name": "llm.call",
        "timestamp": "2026-01-31T11:59:00.25Z",
        "metadata": {"model": "gpt-4", "tokens": -12.25, "cached": true, "batch": false, "größe": 0}}"#;
    Event::parse(json, NOW).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_journal_form_and_the_payloads_bytes_are_frozen() {
    let mut bytes = Vec::new();
    let payload = sample().encode(&mut bytes);
    assert_eq!(
        hex(&bytes),
        include_str!("../../tests/fixtures/event_v1.hex").trim()
    );
    assert_eq!(
        hex(&bytes[payload.clone()]),
        include_str!("../../tests/fixtures/event_payload_v1.hex").trim()
    );
    assert_eq!(Event::encoded_payload(&bytes), Ok(&bytes[payload]));
    assert_eq!(Event::decode(&bytes), Ok(sample()));
}

#[test]
fn damaged_journal_bytes_are_an_error() {
    let mut bytes = Vec::new();
    sample().encode(&mut bytes);
    for len in 0..bytes.len() {
        assert!(Event::decode(&bytes[..len]).is_err(), "cut to {len}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(
        Event::decode(&longer),
        Err(CodecError::Invalid("event length"))
    );
    bytes[0] = 2 << 1;
    assert_eq!(
        Event::decode(&bytes),
        Err(CodecError::UnsupportedVersion(2))
    );
    // A length of 2^63 is not believed.
    let huge = [
        2, 0, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01,
    ];
    assert_eq!(Event::decode(&huge), Err(CodecError::Truncated("event_id")));
}

proptest! {
    #[test]
    fn the_journal_form_comes_back(events in any_events(5)) {
        for event in &events {
            let mut bytes = Vec::new();
            event.encode(&mut bytes);
            prop_assert_eq!(&Event::decode(&bytes).unwrap(), event);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Event::decode(&bytes);
        let _ = parse_batch(&bytes, NOW);
        let _ = parse_each(&bytes, NOW);
    }

    #[test]
    fn a_flipped_byte_in_the_journal_never_panics(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = Vec::new();
        sample().encode(&mut bytes);
        let at = at.index(bytes.len());
        bytes[at] = to;
        let _ = Event::decode(&bytes);
    }

    /// Broken JSON of the right shape: whatever it is, the fast and the slow way agree.
    #[test]
    fn a_cut_or_changed_batch_is_read_or_refused(at in any::<prop::sample::Index>(), to in " -~") {
        let body = batch(&numbered(2));
        let at = at.index(body.len());
        let _ = parse_batch(&body.as_bytes()[..at], NOW).unwrap_err();
        let changed = format!("{}{to}{}", &body[..at], &body[at + 1..]);
        if let Err(rejection) = parse_batch(changed.as_bytes(), NOW) {
            prop_assert_eq!(rejection.errors.is_empty(), rejection.code == RejectionCode::MalformedRequest
                || rejection.message.contains("request") || rejection.message.starts_with("events "));
        }
    }
}
