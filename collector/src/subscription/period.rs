//! Billing periods, always computed from (anchor, n).
//!
//! The n-th boundary is the anchor plus n × frequency in civil time (UTC), clamped at a month's end: 31 January, 28 or 29
//! February, 31 March. Computing it from the boundary before would drift to the 28th for ever. The anchor is on a whole
//! minute, and so is every boundary; usage is kept by the minute, so a period never cuts a window.

use crate::catalog::{Frequency, Interval};
use jiff::{Span, Timestamp as Instant, ToSpan, tz::TimeZone};
use submeter_common::time::{Period, Timestamp};

/// A boundary beyond the years that a calendar can name (−9999 to 9999).
#[derive(Copy, Clone, Eq, PartialEq, Debug, thiserror::Error)]
#[error("the billing period lies beyond the year 9999")]
pub struct OutOfCalendar;

/// Returns the `n`-th boundary: the start of period `n` and the end of period `n − 1`.
///
/// # Errors
/// [`OutOfCalendar`] when it is beyond the year 9999.
pub fn boundary(
    anchor: Timestamp,
    frequency: Frequency,
    n: u32,
) -> Result<Timestamp, OutOfCalendar> {
    let intervals = i64::from(n)
        .checked_mul(i64::from(frequency.count))
        .ok_or(OutOfCalendar)?;
    let span = span(frequency.interval, intervals)?;
    let start = Instant::from_microsecond(anchor.as_micros()).map_err(|_| OutOfCalendar)?;
    let end = start
        .to_zoned(TimeZone::UTC)
        .checked_add(span)
        .map_err(|_| OutOfCalendar)?;
    Ok(Timestamp::from_micros(end.timestamp().as_microsecond()))
}

/// Returns period `n`, uncut by the subscription's end.
///
/// # Errors
/// [`OutOfCalendar`] when its end is beyond the year 9999.
pub fn period(anchor: Timestamp, frequency: Frequency, n: u32) -> Result<Period, OutOfCalendar> {
    let next = n.checked_add(1).ok_or(OutOfCalendar)?;
    Ok(Period {
        start: boundary(anchor, frequency, n)?,
        end: boundary(anchor, frequency, next)?,
    })
}

fn span(interval: Interval, count: i64) -> Result<Span, OutOfCalendar> {
    let zero = 0.days();
    match interval {
        Interval::Day => zero.try_days(count),
        Interval::Week => zero.try_weeks(count),
        Interval::Month => zero.try_months(count),
        Interval::Year => zero.try_years(count),
    }
    .map_err(|_| OutOfCalendar)
}

#[cfg(test)]
mod tests;
