#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn every(count: u32, interval: Interval) -> Frequency {
    Frequency { count, interval }
}

/// Returns the period that holds `now`, found by walking from the anchor: the tests' own way, independent of any cache.
fn period_at(anchor: &str, frequency: Frequency, now: &str) -> Period {
    let mut n = 0;
    loop {
        let period = period(at(anchor), frequency, n).unwrap();
        if period.contains(at(now)) {
            return period;
        }
        n += 1;
    }
}

#[test]
fn oracle_calendar_cases_hold() {
    let month = every(1, Interval::Month);
    let check =
        |id: &str, anchor: &str, frequency: Frequency, now: &str, start: &str, end: &str| {
            let period = period_at(anchor, frequency, now);
            assert_eq!((period.start, period.end), (at(start), at(end)), "{id}");
        };
    check(
        "M1",
        "2025-01-31T15:00:00Z",
        month,
        "2025-08-13T00:00:00Z",
        "2025-07-31T15:00:00Z",
        "2025-08-31T15:00:00Z",
    );
    check(
        "M3",
        "2025-01-30T00:00:00Z",
        month,
        "2025-02-13T00:00:00Z",
        "2025-01-30T00:00:00Z",
        "2025-02-28T00:00:00Z",
    );
    check(
        "M4b",
        "2020-01-31T00:00:00Z",
        month,
        "2020-03-15T00:00:00Z",
        "2020-02-29T00:00:00Z",
        "2020-03-31T00:00:00Z",
    );
    // The source counts the last day in; half-open, the same period ends at the first instant that is not in it.
    check(
        "M4d",
        "2022-01-31T00:00:00Z",
        month,
        "2022-02-27T23:59:59Z",
        "2022-01-31T00:00:00Z",
        "2022-02-28T00:00:00Z",
    );
    check(
        "M6a",
        "2026-01-31T10:00:00Z",
        month,
        "2026-04-30T09:00:00Z",
        "2026-03-31T10:00:00Z",
        "2026-04-30T10:00:00Z",
    );
    let quarter = every(3, Interval::Month);
    check(
        "M6c",
        "2026-01-31T10:00:00Z",
        quarter,
        "2026-04-30T10:00:00Z",
        "2026-04-30T10:00:00Z",
        "2026-07-31T10:00:00Z",
    );
    let year = every(1, Interval::Year);
    check(
        "M6e",
        "2024-02-29T10:00:00Z",
        year,
        "2025-02-28T22:00:00Z",
        "2025-02-28T10:00:00Z",
        "2026-02-28T10:00:00Z",
    );
}

#[test]
fn oracle_m8_leap_day_anchors_come_back_in_leap_years() {
    let year = every(1, Interval::Year);
    for (n, expected) in [(1, "2025-02-28"), (3, "2027-02-28"), (4, "2028-02-29")] {
        let found = boundary(at("2024-02-29T00:00:00Z"), year, n).unwrap();
        assert_eq!(found, at(&format!("{expected}T00:00:00Z")));
    }
}

#[test]
fn oracle_m10_and_m12_month_ends_clamp_and_recover() {
    let check = |anchor: &str, expected: &[&str]| {
        for (n, day) in (0..).zip(expected) {
            let found = boundary(
                at(&format!("{anchor}T00:00:00Z")),
                every(1, Interval::Month),
                n,
            )
            .unwrap();
            assert_eq!(found, at(&format!("{day}T00:00:00Z")));
        }
    };
    check(
        "2024-01-31",
        &["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"],
    );
    // M12: billing day 30 after 31 January and after 16 February 2012 is 29 February; billing day 31 after 30 April is 31 May.
    check("2012-01-30", &["2012-01-30", "2012-02-29", "2012-03-30"]);
    check("2012-03-31", &["2012-03-31", "2012-04-30", "2012-05-31"]);
}

#[test]
fn days_and_weeks_are_of_fixed_length() {
    let anchor = at("2024-02-28T13:45:00Z");
    assert_eq!(
        boundary(anchor, every(1, Interval::Day), 2).unwrap(),
        at("2024-03-01T13:45:00Z")
    );
    assert_eq!(
        boundary(anchor, every(2, Interval::Week), 1).unwrap(),
        at("2024-03-13T13:45:00Z")
    );
}

#[test]
fn a_boundary_beyond_the_calendar_is_an_error() {
    assert_eq!(
        boundary(at("2024-01-01T00:00:00Z"), every(1, Interval::Year), 8000),
        Err(OutOfCalendar)
    );
    assert_eq!(
        boundary(
            at("2024-01-01T00:00:00Z"),
            every(u32::MAX, Interval::Year),
            u32::MAX
        ),
        Err(OutOfCalendar)
    );
    assert_eq!(
        period(
            at("2024-01-01T00:00:00Z"),
            every(1, Interval::Day),
            u32::MAX
        ),
        Err(OutOfCalendar)
    );
}

fn any_frequency() -> impl Strategy<Value = Frequency> {
    let interval = prop_oneof![
        Just(Interval::Day),
        Just(Interval::Week),
        Just(Interval::Month),
        Just(Interval::Year)
    ];
    (1_u32..=12, interval).prop_map(|(count, interval)| Frequency { count, interval })
}

proptest! {
    #[test]
    fn periods_tile_time_without_gap_or_overlap(minutes in 0_i64..30_000_000, frequency in any_frequency(), n in 0_u32..60) {
        let anchor = Timestamp::from_micros(minutes * 60_000_000);
        let this = period(anchor, frequency, n).unwrap();
        let next = period(anchor, frequency, n + 1).unwrap();
        prop_assert!(this.start < this.end);
        prop_assert_eq!(this.end, next.start);
        prop_assert_eq!(this.end.as_micros() % 60_000_000, 0);
    }

    #[test]
    fn boundaries_keep_the_anchors_time_of_day(minutes in 0_i64..30_000_000, frequency in any_frequency(), n in 0_u32..60) {
        let anchor = Timestamp::from_micros(minutes * 60_000_000);
        let found = boundary(anchor, frequency, n).unwrap();
        let day = 86_400_000_000;
        prop_assert_eq!(found.as_micros() % day, anchor.as_micros() % day);
    }
}
