#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::samples::NOW;

#[test]
fn rfc_3339_is_read_and_written_in_utc() {
    for (text, canonical) in [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
        ("2026-01-31t12:00:00z", "2026-01-31T12:00:00Z"),
        ("2026-01-31 12:00:00Z", "2026-01-31T12:00:00Z"),
        ("2026-01-31T12:00:00", "2026-01-31T12:00:00Z"),
        ("2026-01-31T12:00:00.250", "2026-01-31T12:00:00.25Z"),
        ("2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00Z"),
        ("2026-01-31T12:00:00.5-05:30", "2026-01-31T17:30:00.5Z"),
        (
            "2026-01-31T12:00:00.123456789Z",
            "2026-01-31T12:00:00.123456Z",
        ),
        (
            "2026-01-31T12:00:00.123456789012345678901234567890Z",
            "2026-01-31T12:00:00.123456Z",
        ),
        (
            "2026-01-31T12:00:00.999999999999+01:00",
            "2026-01-31T11:00:00.999999Z",
        ),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
        ("2026-01-31T12:00:00-23:59", "2026-02-01T11:59:00Z"),
        ("2024-02-29T23:59:59Z", "2024-02-29T23:59:59Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        ("1969-12-31T23:00:00-02:00", "1970-01-01T01:00:00Z"),
        ("5999-12-31T23:59:59.999999Z", "5999-12-31T23:59:59.999999Z"),
    ] {
        let found = Timestamp::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(found.to_string(), canonical, "{text}");
    }
}

#[test]
fn other_spellings_are_malformed_and_far_times_are_out_of_range() {
    for text in [
        "",
        "now",
        "2026-01-31",
        "2026-01-31T",
        "2026-01-31T12:00",
        "2026-01-31T12",
        "20260131T120000Z",
        "2026-1-31T12:00:00Z",
        "2026-01-31T12:00:00.Z",
        "2026-01-31T12:00:00+02",
        "2026-01-31T12:00:00+0200",
        "2026-01-31T12:00:00 Z",
        " 2026-01-31T12:00:00Z",
        "2026-01-31T12:00:00Z ",
        "2026-02-30T12:00:00Z",
        "2026-13-01T12:00:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T12:60:00Z",
        "2026-01-31T12:00:61Z",
        "2026-01-31T12:00:00Z[UTC]",
        "2026-W05-6T12:00:00Z",
        "+002026-01-31T12:00:00Z",
        "1769860800",
        "2026-01-31T12:00:00,5Z",
        "2026-01-31T12:00:00+99:00",
        "2026-01-31T12:00:00+24:00",
        "2026-01-31T12:00:00+02:60",
        "0000-00-00T00:00:00Z",
        "2025-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
    ] {
        assert_eq!(
            Timestamp::parse(text),
            Err(TimestampError::Malformed),
            "{text:?}"
        );
    }
    for text in [
        "1969-12-31T23:59:59Z",
        "1969-12-31T23:59:59.9999999Z",
        "1970-01-01T00:00:00+00:01",
        "0001-01-01T00:00:00Z",
        "6000-01-01T00:00:00Z",
        "9999-12-30T00:00:00Z",
    ] {
        assert_eq!(
            Timestamp::parse(text),
            Err(TimestampError::OutOfRange),
            "{text:?}"
        );
    }
}

#[test]
fn a_window_is_a_half_open_minute() {
    let at = Timestamp::parse("2026-01-31T12:00:59.999999Z").unwrap();
    let window = at.window();
    assert_eq!(window.start(), NOW);
    assert_eq!(window.start(), at.truncate_to_minute());
    assert_eq!(
        window.end(),
        Timestamp::parse("2026-01-31T12:01:00Z").unwrap()
    );
    assert_eq!(
        window.end().window(),
        Window::from_minute(window.minute() + 1)
    );
    let last = Timestamp::parse("5999-12-31T23:59:59.999999Z").unwrap();
    assert_eq!(last.truncate_to_minute(), last.window().start());
}

#[test]
fn a_period_holds_its_start_and_not_its_end() {
    let period = Period {
        start: NOW,
        end: NOW.saturating_add(Duration::from_secs(60)),
    };
    assert!(period.contains(period.start));
    assert!(!period.contains(period.end));
    assert!(period.contains(period.end.saturating_sub(Duration::from_micros(1))));
}

#[test]
fn arithmetic_at_the_ends_is_none_or_stays() {
    let (first, last) = (
        Timestamp::from_micros(i64::MIN),
        Timestamp::from_micros(i64::MAX),
    );
    assert_eq!(last.checked_add(Duration::from_micros(1)), None);
    assert_eq!(first.checked_sub(Duration::from_micros(1)), None);
    assert_eq!(NOW.checked_add(Duration::MAX), None);
    assert_eq!(NOW.saturating_sub(Duration::MAX), first);
    assert_eq!(
        last.since(NOW),
        Duration::from_micros((i64::MAX - NOW.as_micros()).unsigned_abs())
    );
    assert_eq!(NOW.since(last), Duration::ZERO);
    // Nothing panics, whatever it means.
    for far in [first, last] {
        let _ = (
            far.window().start(),
            far.window().end(),
            far.truncate_to_minute(),
            far.to_string(),
        );
    }
}

#[test]
fn a_manual_clock_moves_only_when_told_and_its_clones_with_it() {
    let clock = ManualClock::new(NOW);
    let twin = clock.clone();
    clock.advance(Duration::from_secs(5));
    assert_eq!(twin.now().since(NOW), Duration::from_secs(5));
    twin.set(NOW);
    assert_eq!(clock.now(), NOW);
    assert!(SystemClock.now() > Timestamp::from_micros(1_700_000_000_000_000));
}

#[test]
fn json_names_what_was_expected() {
    assert_eq!(
        serde_json::to_string(&NOW).unwrap(),
        "\"2026-01-31T12:00:00Z\""
    );
    let error = serde_json::from_str::<Timestamp>("\"2026-01-31\"")
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("timestamp must be an RFC 3339 date and time"),
        "{error}"
    );
}

proptest! {
    #[test]
    fn text_comes_back(micros in 0..127_174_492_800_000_000i64) {
        let at = Timestamp::from_micros(micros);
        prop_assert_eq!(Timestamp::parse(&at.to_string()), Ok(at));
        prop_assert!(at.window().start() <= at && at < at.window().end());
    }

    #[test]
    fn the_library_reads_the_same(micros in 0..127_174_492_800_000_000i64, offset in -1439..1440i32) {
        let zone = jiff::tz::Offset::from_seconds(offset * 60).unwrap();
        let at = jiff::Timestamp::from_microsecond(micros).unwrap();
        let text = at.display_with_offset(zone).to_string();
        prop_assert_eq!(Timestamp::parse(&text), Ok(Timestamp::from_micros(micros)), "{}", text);
    }

    #[test]
    fn no_text_panics(text in "[-+0-9TtZz:. ]{0,60}") {
        let _ = Timestamp::parse(&text);
    }
}
