//! Billing periods, always computed from (anchor, n).
//!
//! The n-th boundary is the anchor plus n × frequency in the civil time of a zone, clamped at a month's end: 31 January, 28
//! or 29 February, 31 March. Computing it from the boundary before would drift to the 28th for ever. A day on which the clock
//! is changed is a day, though it has 23 or 25 hours; a time that is skipped is taken after the gap, one that comes twice at its
//! first. Every boundary is on a whole minute; usage is kept by the minute, so a period never cuts a window.
//!
//! In some zones whole days never were (Samoa had no 30 December 2011). A period of such a day is empty: it begins when it ends.

use super::zone::Zone;
use crate::catalog::{Frequency, Interval};
use jiff::{Span, Timestamp as Instant, ToSpan, Zoned, civil::Date};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use submeter_common::time::{Period, Timestamp};

const MINUTE: Duration = Duration::from_secs(60);

/// A boundary beyond the years that a calendar can name (−9999 to 9999).
#[derive(Copy, Clone, Eq, PartialEq, Debug, thiserror::Error)]
#[error("the billing period lies beyond the year 9999")]
pub struct OutOfCalendar;

/// The rhythm of billing: how long periods are and where they begin.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Cycle {
    /// Start of period 0, on a whole minute.
    pub anchor: Timestamp,
    /// Length of a period.
    pub frequency: Frequency,
    /// In whose civil time days and months are counted.
    pub time_zone: Zone,
    /// What boundaries follow.
    pub alignment: Alignment,
}

/// What the boundaries of a cycle follow.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alignment {
    /// The day and time at which it began.
    #[default]
    Anniversary,
    /// The calendar: midnight, Monday, the first of a month, New Year.
    Calendar,
}

impl Cycle {
    /// Makes the cycle of periods that begin with `start`, or with the calendar's boundary at or before it.
    ///
    /// # Errors
    /// [`OutOfCalendar`] when `start` is beyond the year 9999.
    pub fn starting(
        start: Timestamp,
        frequency: Frequency,
        time_zone: Zone,
        alignment: Alignment,
    ) -> Result<Self, OutOfCalendar> {
        let anchor = match alignment {
            Alignment::Anniversary => start.truncate_to_minute(),
            Alignment::Calendar => {
                let date = calendar_start(zoned(start, &time_zone)?.date(), frequency)?;
                midnight(date, &time_zone)?
            }
        };
        Ok(Self {
            anchor,
            frequency,
            time_zone,
            alignment,
        })
    }

    /// Returns the `n`-th boundary: the start of period `n` and the end of period `n − 1`.
    ///
    /// # Errors
    /// [`OutOfCalendar`] when it is beyond the year 9999.
    pub fn boundary(&self, n: u32) -> Result<Timestamp, OutOfCalendar> {
        let span = span(self.frequency, n)?;
        let start = zoned(self.anchor, &self.time_zone)?;
        match self.alignment {
            Alignment::Anniversary if n == 0 => Ok(self.anchor),
            Alignment::Anniversary => {
                let end = start.checked_add(span).map_err(|_| OutOfCalendar)?;
                Ok(whole_minute(&end))
            }
            Alignment::Calendar => {
                let date = start.date().checked_add(span).map_err(|_| OutOfCalendar)?;
                midnight(date, &self.time_zone)
            }
        }
    }

    /// Returns period `n`.
    ///
    /// # Errors
    /// [`OutOfCalendar`] when its end is beyond the year 9999.
    pub fn period(&self, n: u32) -> Result<Period, OutOfCalendar> {
        let next = n.checked_add(1).ok_or(OutOfCalendar)?;
        Ok(Period {
            start: self.boundary(n)?,
            end: self.boundary(next)?,
        })
    }
}

/// Returns `start` plus one `length` in the civil time of `zone`.
///
/// # Errors
/// [`OutOfCalendar`] when it is beyond the year 9999.
pub fn after(start: Timestamp, length: Frequency, zone: &Zone) -> Result<Timestamp, OutOfCalendar> {
    let end = zoned(start, zone)?.checked_add(span(length, 1)?);
    Ok(whole_minute(&end.map_err(|_| OutOfCalendar)?))
}

/// Returns the date in `zone` at an instant.
///
/// # Errors
/// [`OutOfCalendar`] when it is beyond the year 9999.
pub(super) fn date(at: Timestamp, zone: &Zone) -> Result<Date, OutOfCalendar> {
    Ok(zoned(at, zone)?.date())
}

/// Returns the day on which the calendar's unit of `frequency` that holds `date` began. Months whose count divides the year
/// (quarters, half-years) are counted from New Year.
fn calendar_start(date: Date, frequency: Frequency) -> Result<Date, OutOfCalendar> {
    let first_of = |month: i8| Date::new(date.year(), month, 1).map_err(|_| OutOfCalendar);
    match frequency.interval {
        Interval::Day => Ok(date),
        Interval::Week => {
            let since_monday = i64::from(date.weekday().to_monday_zero_offset());
            date.checked_sub(since_monday.days())
                .map_err(|_| OutOfCalendar)
        }
        Interval::Month => match i8::try_from(frequency.count) {
            Ok(count) if 12 % count == 0 => first_of((date.month() - 1) / count * count + 1),
            _ => first_of(date.month()),
        },
        Interval::Year => first_of(1),
    }
}

fn zoned(at: Timestamp, zone: &Zone) -> Result<Zoned, OutOfCalendar> {
    let instant = Instant::from_microsecond(at.as_micros()).map_err(|_| OutOfCalendar)?;
    Ok(instant.to_zoned(zone.rules().clone()))
}

/// Returns the first minute of a day, which is not at midnight where the clock skips that.
fn midnight(date: Date, zone: &Zone) -> Result<Timestamp, OutOfCalendar> {
    let start = date
        .to_zoned(zone.rules().clone())
        .map_err(|_| OutOfCalendar)?;
    Ok(whole_minute(&start))
}

/// Until 1972 a zone was off UTC by a part of a minute: the next whole one is taken, which is on the same day.
fn whole_minute(at: &Zoned) -> Timestamp {
    let instant = Timestamp::from_micros(at.timestamp().as_microsecond());
    let before = instant.truncate_to_minute();
    if instant == before {
        before
    } else {
        before.saturating_add(MINUTE)
    }
}

fn span(frequency: Frequency, n: u32) -> Result<Span, OutOfCalendar> {
    let count = i64::from(n)
        .checked_mul(i64::from(frequency.count))
        .ok_or(OutOfCalendar)?;
    let zero = 0.days();
    match frequency.interval {
        Interval::Day => zero.try_days(count),
        Interval::Week => zero.try_weeks(count),
        Interval::Month => zero.try_months(count),
        Interval::Year => zero.try_years(count),
    }
    .map_err(|_| OutOfCalendar)
}

#[cfg(test)]
mod tests;
