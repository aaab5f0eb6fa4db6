//! The scanner against the thorough reader: what it takes, the other takes alike.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::{Scanner, plain_len};
use crate::{
    event::{Event, parse::parse_thoroughly},
    time::Timestamp,
};

const NOW: Timestamp = Timestamp::from_micros(1_769_860_800_000_000);

fn scan(text: &str) -> Option<Event<'_>> {
    let mut scanner = Scanner::new(text);
    let event = scanner.event(NOW, Vec::new())?;
    scanner.is_at_end().then_some(event)
}

const USUAL: &str = r#"{"event_id":"evt_1","customer_id":"acme","event_name":"llm.call","timestamp":"2026-01-31T11:59:00.25Z","metadata":{"model":"gpt-4","tokens":-12.25,"cached":true,"batch":false}}"#;

#[test]
fn what_clients_usually_write_is_taken() {
    for text in [
        USUAL,
        r#" { "event_id" : "e" , "customer_id" : "größe" , "event_name" : "n" } "#,
        r#"{"metadata":{},"event_name":"n","customer_id":"c","event_id":"e"}"#,
        r#"{"event_id":"e","customer_id":"c","event_name":"n","metadata":{"b":0,"a":1e3,"ü":"日本"}}"#,
    ] {
        assert_eq!(scan(text), Some(parse_thoroughly(text, NOW).unwrap()));
    }
}

#[test]
fn what_is_odd_or_wrong_is_left_to_the_thorough_reader() {
    let with = |old: &str, new: &str| USUAL.replace(old, new);
    for text in [
        with("evt_1", ""),
        with("evt_1", "a\\u0062"),
        with("evt_1", "a\u{7f}"),
        with("evt_1", "a\u{85}"),
        with("evt_1", &"x".repeat(257)),
        with("\"evt_1\"", "null"),
        with("-12.25", "01"),
        with("-12.25", "+1"),
        with("-12.25", "1."),
        with("-12.25", "--1"),
        with("-12.25", "1e400"),
        with("-12.25", "null"),
        with("-12.25", "[]"),
        with("true", "truer"),
        with("\"model\"", "\"\""),
        with("\"model\"", "\"tokens\""),
        with("event_name", "event_id"),
        with("event_name", "other"),
        with("T11", "T25"),
        with("}}", "},}"),
        with("}}", "}}}"),
        "{}".to_owned(),
        String::new(),
    ] {
        assert_eq!(scan(&text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn a_changed_event_is_taken_only_as_the_thorough_reader_takes_it(
        at in any::<prop::sample::Index>(),
        cut in 0usize..4,
        to in r#"[ -~]{0,3}|[\x00-\x1f\x7f-\xa0é]|null|\\u00e9|1\.0|"a":"#,
    ) {
        let at = at.index(USUAL.len());
        let end = (at + cut).min(USUAL.len());
        let text = format!("{}{to}{}", &USUAL[..at], &USUAL[end..]);
        if let Some(event) = scan(&text) {
            prop_assert_eq!(Ok(event), parse_thoroughly(&text, NOW));
        }
    }

    #[test]
    fn any_value_is_taken_only_as_the_thorough_reader_takes_it(
        id in "[ -~é\u{80}-\u{90}]{0,30}",
        number in "-?[0-9]{0,25}(\\.[0-9]{0,40})?([eE][+-]?[0-9]{1,3})?",
        key in "[ -~]{0,12}",
    ) {
        let text = format!(
            r#"{{"event_id":"{id}","customer_id":"c","event_name":"n","metadata":{{"{key}":{number},"k":"{id}"}}}}"#
        );
        if let Some(event) = scan(&text) {
            prop_assert_eq!(Ok(event), parse_thoroughly(&text, NOW));
        }
    }

    #[test]
    fn a_plain_run_ends_where_a_byte_by_byte_look_ends_it(bytes in prop::collection::vec(
        prop_oneof![9 => b' '..=b'~', 1 => any::<u8>()], 0..60,
    )) {
        let plain = |byte: &&u8| matches!(**byte, 0x20..=0x7e) && !matches!(**byte, b'"' | b'\\');
        prop_assert_eq!(plain_len(&bytes), bytes.iter().take_while(plain).count());
    }
}
