//! RFC 3339 as it is written in events: the digits are read here, the calendar is a library's.
//!
//! The library reads more than RFC 3339 has (weeks, zones in brackets, dates alone) and takes longer:
//! every event has a timestamp.

use jiff::{
    civil::{Date, Time},
    tz::Offset,
};

use super::{Timestamp, TimestampError};

/// 6000-01-01T00:00:00Z: minute numbers end a little later.
const END: i64 = 127_174_492_800_000_000;

pub(super) fn parse(text: &str) -> Result<Timestamp, TimestampError> {
    let written = Written::read(text.as_bytes()).ok_or(TimestampError::Malformed)?;
    let second = written.second().ok_or(TimestampError::Malformed)?;
    let micros = second
        .checked_mul(1_000_000)
        .ok_or(TimestampError::OutOfRange)?;
    // A fraction counts forward, before 1970 too, so that what lies before 1970 stays below zero.
    let at = micros
        .checked_add(written.micros)
        .ok_or(TimestampError::OutOfRange)?;
    if (0..END).contains(&at) {
        Ok(Timestamp::from_micros(at))
    } else {
        Err(TimestampError::OutOfRange)
    }
}

/// A date and time as it stands there.
struct Written {
    year: i16,
    month: i8,
    day: i8,
    hour: i8,
    minute: i8,
    second: i8,
    micros: i64,
    offset_seconds: i32,
}

impl Written {
    fn read(text: &[u8]) -> Option<Written> {
        let (head, rest) = text.split_first_chunk::<19>()?;
        let [
            y1,
            y2,
            y3,
            y4,
            b'-',
            mo1,
            mo2,
            b'-',
            d1,
            d2,
            b'T' | b't' | b' ',
            h1,
            h2,
            b':',
            mi1,
            mi2,
            b':',
            s1,
            s2,
        ] = *head
        else {
            return None;
        };
        let (micros, rest) = match rest {
            [b'.', after @ ..] => fraction(after)?,
            _ => (0, rest),
        };
        Some(Written {
            year: i16::from(two(y1, y2)?) * 100 + i16::from(two(y3, y4)?),
            month: two(mo1, mo2)?,
            day: two(d1, d2)?,
            hour: two(h1, h2)?,
            minute: two(mi1, mi2)?,
            second: two(s1, s2)?,
            micros,
            offset_seconds: offset(rest)?,
        })
    }

    /// Seconds since 1970, where the calendar has such a day and time.
    fn second(&self) -> Option<i64> {
        // A leap second is counted as the one before it, as Unix time does.
        let second = if self.second == 60 { 59 } else { self.second };
        let date = Date::new(self.year, self.month, self.day).ok()?;
        let time = Time::new(self.hour, self.minute, second, 0).ok()?;
        let utc = Offset::UTC.to_timestamp(date.to_datetime(time)).ok()?;
        Some(utc.as_second() - i64::from(self.offset_seconds))
    }
}

fn digit(byte: u8) -> Option<i8> {
    byte.is_ascii_digit().then(|| (byte - b'0').cast_signed())
}

fn two(tens: u8, ones: u8) -> Option<i8> {
    Some(digit(tens)? * 10 + digit(ones)?)
}

/// Microseconds of the digits after the point, cut there, and what follows them.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let (digits, rest) = text.split_at(count);
    let padded = digits.iter().chain(std::iter::repeat(&b'0')).take(6);
    Some((
        padded.fold(0, |micros, byte| micros * 10 + i64::from(byte - b'0')),
        rest,
    ))
}

/// Seconds east of UTC; none written is UTC.
fn offset(text: &[u8]) -> Option<i32> {
    let (sign, [h1, h2, b':', m1, m2]) = (match text {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    }) else {
        return None;
    };
    let (hours, minutes) = (two(*h1, *h2)?, two(*m1, *m2)?);
    (hours < 24 && minutes < 60).then(|| sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60))
}
