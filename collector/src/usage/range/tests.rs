//! The law of decomposition: reading the cut cells is reading every minute once.

use proptest::prelude::*;

use super::{Level, Segment, decompose};

fn cells(segments: &[Segment]) -> i32 {
    segments
        .iter()
        .map(|segment| (segment.end - segment.start) / segment.level.minutes())
        .sum()
}

fn check(start: i32, end: i32, expected: &[(Level, i32, i32)]) {
    let found: Vec<_> = decompose(start, end, Level::Day)
        .into_iter()
        .map(|segment| (segment.level, segment.start, segment.end))
        .collect();
    assert_eq!(found, expected, "[{start}, {end})");
}

#[test]
fn edges_are_minutes_and_hours_and_the_middle_is_days() {
    use Level::{Day, Hour, Minute};
    check(0, 0, &[]);
    check(10, 5, &[]);
    check(0, 1440, &[(Day, 0, 1440)]);
    check(0, 60, &[(Hour, 0, 60)]);
    check(59, 61, &[(Minute, 59, 61)]);
    check(
        59,
        121,
        &[(Minute, 59, 60), (Hour, 60, 120), (Minute, 120, 121)],
    );
    check(
        1439 - 60,
        2881,
        &[
            (Minute, 1379, 1380),
            (Hour, 1380, 1440),
            (Day, 1440, 2880),
            (Minute, 2880, 2881),
        ],
    );
    check(-1, 1, &[(Minute, -1, 1)]);
    check(-1440, 0, &[(Day, -1440, 0)]);
    check(i32::MIN, i32::MIN + 1, &[(Minute, i32::MIN, i32::MIN + 1)]);
}

#[test]
fn the_whole_of_time_can_be_cut() {
    let segments = decompose(i32::MIN, i32::MAX, Level::Day);
    assert_eq!(
        segments.first().map(|segment| segment.start),
        Some(i32::MIN)
    );
    assert_eq!(segments.last().map(|segment| segment.end), Some(i32::MAX));
}

proptest! {
    #[test]
    fn segments_follow_each_other_on_their_grids(start in -200_000_i32..200_000, minutes in 0_i32..100_000, coarsest in 0_usize..3) {
        let coarsest = Level::ALL[coarsest];
        let segments = decompose(start, start + minutes, coarsest);
        prop_assert!(segments.len() <= 5);
        let mut at = start;
        for segment in &segments {
            prop_assert_eq!(segment.start, at);
            prop_assert!(segment.end > segment.start);
            prop_assert!(segment.level <= coarsest);
            prop_assert_eq!(segment.start.rem_euclid(segment.level.minutes()), 0);
            prop_assert_eq!(segment.end.rem_euclid(segment.level.minutes()), 0);
            at = segment.end;
        }
        prop_assert_eq!(at, start + minutes);
    }

    #[test]
    fn reading_the_cut_cells_is_reading_every_minute(start in 0_i32..10_000, minutes in 0_i32..10_000) {
        // Any usage will do: what a cell holds is by definition the sum over its minutes.
        let used = |minute: i32| i64::from(minute).wrapping_mul(2_654_435_761) % 1000;
        let cell = |level: Level, at: i32| (at..at + level.minutes()).map(used).sum::<i64>();
        let end = start + minutes;
        let by_minute: i64 = (start..end).map(used).sum();
        let by_cell: i64 = decompose(start, end, Level::Day)
            .into_iter()
            .flat_map(|segment| {
                let step = segment.level.minutes().unsigned_abs() as usize;
                (segment.start..segment.end).step_by(step).map(move |at| cell(segment.level, at))
            })
            .sum();
        prop_assert_eq!(by_cell, by_minute);
    }

    #[test]
    fn a_month_from_any_minute_is_at_most_120_cells(start in 0_i32..30_000_000, days in 28_i32..=31) {
        let segments = decompose(start, start + days * 1440, Level::Day);
        prop_assert!(cells(&segments) <= 120, "{} cells", cells(&segments));
    }
}
