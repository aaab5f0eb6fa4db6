//! Points and stretches of time: exact microseconds, UTC minutes, half-open periods, and where "now" comes from.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bincode::{Decode, Encode};
use jiff::{civil, tz::TimeZone};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use thiserror::Error;

const MICROS_PER_MINUTE: i64 = 60_000_000;

/// Why a text is not a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TimestampError {
    /// Not an RFC 3339 date and time.
    #[error("must be an RFC 3339 date and time such as \"2026-01-31T12:00:00Z\"")]
    Malformed,
    /// Before 1970 or after 5999, where no usage is and minute numbers end.
    #[error("must lie in the years 1970 to 5999")]
    OutOfRange,
}

/// A point in time: microseconds since 1970-01-01T00:00:00Z.
///
/// Text and JSON form: RFC 3339 in UTC with `Z`, a fraction only when it is not zero.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Takes microseconds since the epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Timestamp(micros)
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Reads an RFC 3339 date and time of the years 1970 to 5999; without an offset it is UTC.
    ///
    /// Digits beyond the microsecond are cut off.
    ///
    /// # Errors
    /// A date without a time, or anything else that RFC 3339 does not have, is malformed.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        let shape = Shape::of(text.as_bytes()).ok_or(TimestampError::Malformed)?;
        // No more digits than the calendar library takes; the shape says that the cut is inside the fraction.
        let mut short = [0u8; Shape::LEN_MAX];
        let cut = shape.cut(text, &mut short).ok_or(TimestampError::Malformed)?;
        let instant = if shape.has_offset {
            cut.parse::<jiff::Timestamp>().map_err(|_| TimestampError::Malformed)?
        } else {
            let civil = cut.parse::<civil::DateTime>().map_err(|_| TimestampError::Malformed)?;
            TimeZone::UTC.to_timestamp(civil).map_err(|_| TimestampError::Malformed)?
        };
        let timestamp = Timestamp(instant.as_microsecond());
        // Years 6000 and later: 4030 years of 365.2425 days after the epoch.
        const END: i64 = 127_174_492_800_000_000;
        if instant < jiff::Timestamp::UNIX_EPOCH || timestamp.0 >= END {
            return Err(TimestampError::OutOfRange);
        }
        Ok(timestamp)
    }

    /// The point `by` later, unless that is beyond what can be written.
    #[must_use]
    pub fn checked_add(self, by: Duration) -> Option<Self> {
        self.0.checked_add(i64::try_from(by.as_micros()).ok()?).map(Timestamp)
    }

    /// The point `by` earlier, unless that is beyond what can be written.
    #[must_use]
    pub fn checked_sub(self, by: Duration) -> Option<Self> {
        self.0.checked_sub(i64::try_from(by.as_micros()).ok()?).map(Timestamp)
    }

    /// The point `by` earlier, or the earliest there is.
    #[must_use]
    pub fn saturating_sub(self, by: Duration) -> Self {
        self.checked_sub(by).unwrap_or(Timestamp(i64::MIN))
    }

    /// The point `by` later, or the latest there is.
    #[must_use]
    pub fn saturating_add(self, by: Duration) -> Self {
        self.checked_add(by).unwrap_or(Timestamp(i64::MAX))
    }

    /// How long `earlier` was before this point; zero when it was not.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Duration {
        let micros = i128::from(self.0) - i128::from(earlier.0);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    /// The minute that holds this point.
    #[must_use]
    pub fn window(self) -> Window {
        let minute = self.0.div_euclid(MICROS_PER_MINUTE);
        Window(i32::try_from(minute).unwrap_or(if minute < 0 { i32::MIN } else { i32::MAX }))
    }

    /// The start of the minute that holds this point.
    #[must_use]
    pub fn truncate_to_minute(self) -> Self {
        Timestamp(self.0.saturating_sub(self.0.rem_euclid(MICROS_PER_MINUTE)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = if self.0 < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(bound).fmt(f)
    }
}

impl std::str::FromStr for Timestamp {
    type Err = TimestampError;
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        Self::parse(text)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(|error| D::Error::custom(format_args!("timestamp {error}")))
    }
}

/// What RFC 3339 allows, stricter than the calendar library, which also takes weeks, zones in brackets and dates alone.
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
        let fits = head.iter().zip(pattern).all(|(byte, expected)| match expected {
            b'd' => byte.is_ascii_digit(),
            b'T' => matches!(byte, b'T' | b't' | b' '),
            other => byte == other,
        });
        if !fits {
            return None;
        }
        let mut shape = Shape { digits_end: 19, fraction_digits: 0, has_offset: true };
        if let Some(after_point) = rest.strip_prefix(b".") {
            let digits = after_point.iter().take_while(|byte| byte.is_ascii_digit()).count();
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
            [b'+' | b'-', a, b, b':', c, d] if [a, b, c, d].iter().all(|byte| byte.is_ascii_digit()) => {}
            _ => return None,
        }
        Some(shape)
    }

    /// The text with at most nine fraction digits, in `short` if something had to go.
    fn cut<'t>(&self, text: &'t str, short: &'t mut [u8; Self::LEN_MAX]) -> Option<&'t str> {
        let surplus = self.fraction_digits.saturating_sub(Self::FRACTION_DIGITS_MAX);
        if surplus == 0 {
            return Some(text);
        }
        let (kept, offset) = (self.digits_end - surplus, text.get(self.digits_end..)?);
        let len = kept + offset.len();
        short.get_mut(..kept)?.copy_from_slice(text.as_bytes().get(..kept)?);
        short.get_mut(kept..len)?.copy_from_slice(offset.as_bytes());
        std::str::from_utf8(short.get(..len)?).ok()
    }
}

/// A half-open UTC minute `[t, t+60s)` of event time, numbered from the epoch.
///
/// A grouping key, never a gate.
#[derive(
    Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Window(i32);

impl Window {
    /// Takes the number of minutes since the epoch.
    #[must_use]
    pub const fn from_minute(minute: i32) -> Self {
        Window(minute)
    }

    /// The number of minutes since the epoch.
    #[must_use]
    pub const fn minute(self) -> i32 {
        self.0
    }

    /// The first instant in the window.
    #[must_use]
    pub fn start(self) -> Timestamp {
        Timestamp(i64::from(self.0) * MICROS_PER_MINUTE)
    }

    /// The first instant after the window.
    #[must_use]
    pub fn end(self) -> Timestamp {
        Timestamp((i64::from(self.0) + 1) * MICROS_PER_MINUTE)
    }
}

/// A half-open stretch of time: `start` belongs to it, `end` does not.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Period {
    /// The first instant.
    pub start: Timestamp,
    /// The first instant after it.
    pub end: Timestamp,
}

impl Period {
    /// Tells whether `at` lies in the period.
    #[must_use]
    pub fn contains(&self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }
}

/// Where "now" comes from. It is handed in, so that tests and test clocks can decide.
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Copy, Clone, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(0).saturating_add(since_epoch)
    }
}

/// A clock that moves only when told to. Clones share one time.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// Starts a clock that stands at `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        ManualClock(Arc::new(AtomicI64::new(now.as_micros())))
    }

    /// Puts the clock to `now`.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_micros(), Ordering::SeqCst);
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().saturating_add(by));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests;
