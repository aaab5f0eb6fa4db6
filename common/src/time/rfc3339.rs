//! RFC 3339 as it is written in events: the shape is checked here, the calendar by a library.

use jiff::{civil, tz::TimeZone};

use super::{Timestamp, TimestampError};

/// 6000-01-01T00:00:00Z: minute numbers end a little later.
const END: i64 = 127_174_492_800_000_000;

pub(super) fn parse(text: &str) -> Result<Timestamp, TimestampError> {
    let shape = Shape::of(text.as_bytes()).ok_or(TimestampError::Malformed)?;
    let mut short = [0u8; Shape::LEN_MAX];
    let text = shape
        .cut(text, &mut short)
        .ok_or(TimestampError::Malformed)?;
    let instant = if shape.has_offset {
        text.parse::<jiff::Timestamp>()
            .map_err(|_| TimestampError::Malformed)?
    } else {
        let civil = text
            .parse::<civil::DateTime>()
            .map_err(|_| TimestampError::Malformed)?;
        TimeZone::UTC
            .to_timestamp(civil)
            .map_err(|_| TimestampError::Malformed)?
    };
    let timestamp = Timestamp::from_micros(instant.as_microsecond());
    // The instant, not its microseconds: those are cut towards 1970 from both sides.
    if instant < jiff::Timestamp::UNIX_EPOCH || timestamp.as_micros() >= END {
        return Err(TimestampError::OutOfRange);
    }
    Ok(timestamp)
}

/// What RFC 3339 allows, stricter than the calendar library, which also takes weeks, zones in
/// brackets and dates alone.
#[derive(Clone, Copy)]
struct Shape {
    /// Where the digits of the fraction end (or the seconds, without one).
    digits_end: usize,
    fraction_digits: usize,
    has_offset: bool,
}

impl Shape {
    /// `2026-01-31T12:00:00.123456789+00:00`
    const LEN_MAX: usize = 35;
    /// Nanoseconds: what the calendar library takes.
    const FRACTION_DIGITS_MAX: usize = 9;

    fn of(text: &[u8]) -> Option<Shape> {
        let (head, mut rest) = text.split_at_checked(19)?;
        let pattern = b"dddd-dd-ddTdd:dd:dd";
        let fits = head
            .iter()
            .zip(pattern)
            .all(|(byte, expected)| match expected {
                b'd' => byte.is_ascii_digit(),
                b'T' => matches!(byte, b'T' | b't' | b' '),
                other => byte == other,
            });
        if !fits {
            return None;
        }
        let mut shape = Shape {
            digits_end: 19,
            fraction_digits: 0,
            has_offset: true,
        };
        if let Some(after_point) = rest.strip_prefix(b".") {
            let digits = after_point
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            if digits == 0 {
                return None;
            }
            shape.fraction_digits = digits;
            shape.digits_end += 1 + digits;
            rest = &after_point[digits..];
        }
        match rest {
            [] => shape.has_offset = false,
            [b'Z' | b'z'] => {}
            [b'+' | b'-', a, b, b':', c, d]
                if [a, b, c, d].iter().all(|byte| byte.is_ascii_digit()) => {}
            _ => return None,
        }
        Some(shape)
    }

    /// The text with at most nine fraction digits, in `short` if something had to go.
    fn cut<'t>(&self, text: &'t str, short: &'t mut [u8; Self::LEN_MAX]) -> Option<&'t str> {
        let surplus = self
            .fraction_digits
            .saturating_sub(Self::FRACTION_DIGITS_MAX);
        if surplus == 0 {
            return Some(text);
        }
        let (kept, offset) = (self.digits_end - surplus, text.get(self.digits_end..)?);
        let len = kept + offset.len();
        short
            .get_mut(..kept)?
            .copy_from_slice(text.as_bytes().get(..kept)?);
        short.get_mut(kept..len)?.copy_from_slice(offset.as_bytes());
        std::str::from_utf8(short.get(..len)?).ok()
    }
}
