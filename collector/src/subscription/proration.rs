//! Which share of a period's fixed fee is due when only a part of the period is served.

use super::{
    period::{Cycle, OutOfCalendar, date},
    zone::Zone,
};
use crate::{
    catalog::{Frequency, Interval},
    rating::Share,
};
use serde::{Deserialize, Serialize};
use submeter_common::time::Period;

/// How time is counted when a fee is prorated. Usage, free thresholds and credits are not prorated.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proration {
    /// By the time that passes: a day on which the clock is changed counts 23 or 25 hours.
    #[default]
    Second,
    /// By calendar days of the subscription's time zone: the day on which service begins counts, the day on which it ends does
    /// not.
    Day,
    /// By calendar days too, but each month costs as much as thirty of them and a year as much as 360. Thirty days of a month
    /// with 31 are all of it.
    #[serde(rename = "fixed_30_days")]
    Fixed30Days,
}

impl Proration {
    /// All policies, as they are named in requests.
    pub const NAMES: [&'static str; 3] = ["second", "day", "fixed_30_days"];

    /// Returns the share of `whole`, a period of `cycle`, that `served` is. A whole period is always served in full.
    ///
    /// # Errors
    /// [`OutOfCalendar`] when a day is beyond the year 9999.
    pub fn share(
        self,
        served: Period,
        whole: Period,
        cycle: &Cycle,
    ) -> Result<Share, OutOfCalendar> {
        if served == whole {
            return Ok(Share::WHOLE);
        }
        let zone = &cycle.time_zone;
        let (served, full) = match self {
            Self::Second => (micros(served), micros(whole)),
            Self::Day => (days(served, zone)?, days(whole, zone)?),
            Self::Fixed30Days => {
                let full = fixed_days(cycle.frequency);
                (days(served, zone)?.min(full), full)
            }
        };
        // A day that a zone skipped has no time to share.
        Ok(if full > 0 {
            Share { served, full }
        } else {
            Share { served: 0, full: 1 }
        })
    }
}

fn micros(period: Period) -> i64 {
    period.end.as_micros() - period.start.as_micros()
}

/// Counts the calendar days from the date of the start to the date of the end.
fn days(period: Period, zone: &Zone) -> Result<i64, OutOfCalendar> {
    let (from, to) = (date(period.start, zone)?, date(period.end, zone)?);
    Ok(from.duration_until(to).as_hours() / 24)
}

fn fixed_days(frequency: Frequency) -> i64 {
    let days = match frequency.interval {
        Interval::Day => 1,
        Interval::Week => 7,
        Interval::Month => 30,
        Interval::Year => 360,
    };
    days * i64::from(frequency.count)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{rating::flat, subscription::period::Alignment};
    use submeter_common::time::Timestamp;

    fn period(start: &str, end: &str) -> Period {
        let at = |text: &str| {
            Timestamp::parse(&if text.len() == 10 {
                format!("{text}T00:00:00Z")
            } else {
                text.to_owned()
            })
            .unwrap()
        };
        Period {
            start: at(start),
            end: at(end),
        }
    }

    fn monthly(zone: &str) -> Cycle {
        let month = Frequency {
            count: 1,
            interval: Interval::Month,
        };
        Cycle::starting(
            Timestamp::from_micros(0),
            month,
            Zone::parse(zone).unwrap(),
            Alignment::Anniversary,
        )
        .unwrap()
    }

    /// Returns what a fee comes to for a part of a period.
    fn fee(policy: Proration, fee: i64, served: Period, whole: Period) -> i64 {
        let share = policy.share(served, whole, &monthly("UTC")).unwrap();
        flat::charge(fee, 1, share).unwrap().amount
    }

    #[test]
    fn oracle_r9_days_on_which_the_clock_changes_are_days() {
        let zone = Zone::parse("America/New_York").unwrap();
        let check = |start: &str, end: &str, expected: i64| {
            assert_eq!(days(period(start, end), &zone), Ok(expected))
        };
        // Midnights of New York: 5 hours behind UTC in winter, 4 in summer.
        check("2024-03-09T05:00:00Z", "2024-03-11T04:00:00Z", 2);
        check("2024-11-02T04:00:00Z", "2024-11-04T05:00:00Z", 2);
        check("2024-03-10T05:00:00Z", "2024-03-11T03:59:00Z", 0);
    }

    #[test]
    fn oracle_r11_the_last_of_thirty_days_costs_a_thirtieth() {
        // The source bills 1 to 31 January, the end not included: 30 days, of which one is left on the 30th.
        let january = period("2024-01-01", "2024-01-31");
        for policy in [Proration::Day, Proration::Fixed30Days] {
            let used = fee(policy, 30_000, period("2024-01-01", "2024-01-30"), january);
            assert_eq!(used - 30_000, -1000, "{policy:?}");
            assert_eq!(
                fee(policy, 60_000, period("2024-01-30", "2024-01-31"), january),
                2000,
                "{policy:?}"
            );
        }
    }

    #[test]
    fn oracle_r1_and_r3_are_by_days_and_by_seconds() {
        let january = period("2024-01-01", "2024-02-01");
        assert_eq!(
            fee(
                Proration::Day,
                500,
                period("2024-01-15", "2024-02-01"),
                january
            ),
            274
        );
        let rest = period("2024-01-21T21:55:18Z", "2024-02-01");
        assert_eq!(fee(Proration::Second, 2000, rest, january), 651);
        // By days, the day that was begun counts.
        assert_eq!(fee(Proration::Day, 3100, rest, january), 1100);
    }

    #[test]
    fn the_policies_differ_where_months_do() {
        let february = period("2025-02-01", "2025-03-01");
        let half = period("2025-02-01", "2025-02-15");
        assert_eq!(fee(Proration::Second, 3000, half, february), 1500);
        assert_eq!(fee(Proration::Day, 3000, half, february), 1500);
        assert_eq!(fee(Proration::Fixed30Days, 3000, half, february), 1400);
        let march = period("2025-03-01", "2025-04-01");
        let all_but_one = period("2025-03-01", "2025-03-31");
        assert_eq!(fee(Proration::Day, 3100, all_but_one, march), 3000);
        assert_eq!(fee(Proration::Fixed30Days, 3100, all_but_one, march), 3100);
        for policy in [Proration::Second, Proration::Day, Proration::Fixed30Days] {
            assert_eq!(fee(policy, 2999, february, february), 2999, "{policy:?}");
        }
    }

    #[test]
    fn nothing_is_due_for_a_day_that_never_was() {
        let never = period("2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z");
        let share =
            Proration::Second.share(period("2011-12-30", "2011-12-30"), never, &monthly("UTC"));
        assert_eq!(share, Ok(Share { served: 0, full: 1 }));
    }
}
