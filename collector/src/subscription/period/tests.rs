#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn every(count: u32, interval: Interval) -> Frequency {
    Frequency { count, interval }
}

fn anniversary(anchor: Timestamp, frequency: Frequency, zone: &str) -> Cycle {
    let zone = Zone::parse(zone).unwrap();
    Cycle::starting(anchor, frequency, zone, Alignment::Anniversary).unwrap()
}

fn calendar(start: &str, frequency: Frequency, zone: &str) -> Cycle {
    let zone = Zone::parse(zone).unwrap();
    Cycle::starting(at(start), frequency, zone, Alignment::Calendar).unwrap()
}

/// The n-th boundary of an anniversary cycle in UTC.
fn boundary(anchor: Timestamp, frequency: Frequency, n: u32) -> Result<Timestamp, OutOfCalendar> {
    anniversary(anchor, frequency, "UTC").boundary(n)
}

fn period(anchor: Timestamp, frequency: Frequency, n: u32) -> Result<Period, OutOfCalendar> {
    anniversary(anchor, frequency, "UTC").period(n)
}

/// Checks the first boundaries of a cycle.
fn check(cycle: &Cycle, expected: &[&str]) {
    for (n, instant) in (0..).zip(expected) {
        assert_eq!(cycle.boundary(n).unwrap(), at(instant), "boundary {n}");
    }
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

#[test]
fn boundaries_keep_the_zones_time_of_day_over_changes_of_the_clock() {
    let berlin = anniversary(
        at("2025-02-15T09:00:00Z"),
        every(1, Interval::Month),
        "Europe/Berlin",
    );
    check(
        &berlin,
        &[
            "2025-02-15T09:00:00Z",
            "2025-03-15T09:00:00Z",
            "2025-04-15T08:00:00Z",
        ],
    );
    // 02:30 is skipped on 30 March and comes twice on 26 October: after the gap, and the first of the two.
    let skipped = anniversary(
        at("2025-03-29T01:30:00Z"),
        every(1, Interval::Day),
        "Europe/Berlin",
    );
    check(
        &skipped,
        &[
            "2025-03-29T01:30:00Z",
            "2025-03-30T01:30:00Z",
            "2025-03-31T00:30:00Z",
        ],
    );
    let twice = anniversary(
        at("2025-10-25T00:30:00Z"),
        every(1, Interval::Day),
        "Europe/Berlin",
    );
    check(
        &twice,
        &[
            "2025-10-25T00:30:00Z",
            "2025-10-26T00:30:00Z",
            "2025-10-27T01:30:00Z",
        ],
    );
    // One that begins with the second of the two begins there.
    let second = anniversary(
        at("2025-10-26T01:30:00Z"),
        every(1, Interval::Day),
        "Europe/Berlin",
    );
    check(&second, &["2025-10-26T01:30:00Z", "2025-10-27T01:30:00Z"]);
}

#[test]
fn a_months_end_is_that_of_the_zone() {
    // It is the 31st in Auckland already.
    let auckland = anniversary(
        at("2025-01-30T12:00:00Z"),
        every(1, Interval::Month),
        "Pacific/Auckland",
    );
    check(
        &auckland,
        &[
            "2025-01-30T12:00:00Z",
            "2025-02-27T12:00:00Z",
            "2025-03-30T12:00:00Z",
            "2025-04-29T13:00:00Z",
        ],
    );
}

#[test]
fn calendar_cycles_begin_with_the_calendars_units() {
    let start = "2025-08-13T10:20:30Z";
    check(
        &calendar(start, every(1, Interval::Day), "UTC"),
        &["2025-08-13T00:00:00Z", "2025-08-14T00:00:00Z"],
    );
    check(
        &calendar(start, every(1, Interval::Week), "UTC"),
        &["2025-08-11T00:00:00Z", "2025-08-18T00:00:00Z"],
    );
    check(
        &calendar(start, every(1, Interval::Month), "UTC"),
        &["2025-08-01T00:00:00Z", "2025-09-01T00:00:00Z"],
    );
    check(
        &calendar(start, every(3, Interval::Month), "UTC"),
        &["2025-07-01T00:00:00Z", "2025-10-01T00:00:00Z"],
    );
    check(
        &calendar(start, every(5, Interval::Month), "UTC"),
        &["2025-08-01T00:00:00Z", "2026-01-01T00:00:00Z"],
    );
    check(
        &calendar(start, every(1, Interval::Year), "UTC"),
        &["2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z"],
    );
    let new_york = calendar(
        "2025-03-01T03:00:00Z",
        every(1, Interval::Month),
        "America/New_York",
    );
    check(
        &new_york,
        &[
            "2025-02-01T05:00:00Z",
            "2025-03-01T05:00:00Z",
            "2025-04-01T04:00:00Z",
        ],
    );
}

#[test]
fn a_midnight_that_is_skipped_is_taken_after_the_gap_and_the_next_one_is_midnight_again() {
    // Santiago goes from 24:00 on 7 September 2024 to 01:00.
    let santiago = calendar(
        "2024-09-07T12:00:00Z",
        every(1, Interval::Day),
        "America/Santiago",
    );
    check(
        &santiago,
        &[
            "2024-09-07T04:00:00Z",
            "2024-09-08T04:00:00Z",
            "2024-09-09T03:00:00Z",
        ],
    );
    let on_the_day = calendar(
        "2024-09-08T12:00:00Z",
        every(1, Interval::Day),
        "America/Santiago",
    );
    check(
        &on_the_day,
        &["2024-09-08T04:00:00Z", "2024-09-09T03:00:00Z"],
    );
}

#[test]
fn a_day_that_a_zone_skipped_is_an_empty_period() {
    // 30 December 2011 never was in Samoa.
    let samoa = calendar(
        "2011-12-29T12:00:00Z",
        every(1, Interval::Day),
        "Pacific/Apia",
    );
    check(
        &samoa,
        &[
            "2011-12-29T10:00:00Z",
            "2011-12-30T10:00:00Z",
            "2011-12-30T10:00:00Z",
            "2011-12-31T10:00:00Z",
        ],
    );
}

#[test]
fn boundaries_are_on_whole_minutes_where_offsets_are_not() {
    // Monrovia was 44 minutes and 30 seconds behind UTC until 7 January 1972.
    let monrovia = calendar(
        "1971-12-15T00:00:00Z",
        every(1, Interval::Month),
        "Africa/Monrovia",
    );
    check(
        &monrovia,
        &[
            "1971-12-01T00:45:00Z",
            "1972-01-01T00:45:00Z",
            "1972-02-01T00:00:00Z",
        ],
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

fn any_zone() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/St_Johns",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
        "America/Santiago",
        "Pacific/Apia",
        "Pacific/Kiritimati",
        "Africa/Casablanca",
        "Africa/Monrovia",
        "Asia/Gaza",
    ])
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

    #[test]
    fn periods_tile_time_in_every_zone(
        minutes in 0_i64..30_000_000, frequency in any_frequency(), zone in any_zone(), aligned: bool, n in 0_u32..60
    ) {
        let alignment = if aligned { Alignment::Calendar } else { Alignment::Anniversary };
        let start = Timestamp::from_micros(minutes * 60_000_000);
        let cycle = Cycle::starting(start, frequency, Zone::parse(zone).unwrap(), alignment).unwrap();
        prop_assert!(cycle.period(0).unwrap().contains(start) || cycle.period(0).unwrap().start == start);
        let (this, next) = (cycle.period(n).unwrap(), cycle.period(n + 1).unwrap());
        // Only a day that was skipped is empty.
        prop_assert!(this.start < this.end || (this.start == this.end && zone.starts_with("Pacific/")));
        prop_assert_eq!(this.end, next.start);
        prop_assert_eq!(this.end.as_micros() % 60_000_000, 0);
    }

    #[test]
    fn whole_periods_are_whole_and_parts_add_up_by_seconds(minutes in 0_i64..30_000_000, part in 0_i64..40_000) {
        use crate::subscription::proration::Proration;
        let cycle = anniversary(Timestamp::from_micros(minutes * 60_000_000), every(1, Interval::Month), "UTC");
        let whole = cycle.period(0).unwrap();
        let cut = Timestamp::from_micros(whole.start.as_micros() + part * 60_000_000);
        let first = Proration::Second.share(Period { start: whole.start, end: cut }, whole, &cycle).unwrap();
        let second = Proration::Second.share(Period { start: cut, end: whole.end }, whole, &cycle).unwrap();
        prop_assert_eq!(first.served + second.served, first.full);
    }
}
