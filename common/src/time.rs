//! Points and stretches of time: exact microseconds, UTC minutes, half-open periods, and where
//! "now" comes from.

use std::{fmt, time::Duration};

use bincode::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use thiserror::Error;

mod clock;
mod rfc3339;

pub use clock::{Clock, ManualClock, SystemClock};

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
        rfc3339::parse(text)
    }

    /// The point `by` later, unless that is beyond what can be written.
    #[must_use]
    pub fn checked_add(self, by: Duration) -> Option<Self> {
        self.0
            .checked_add(i64::try_from(by.as_micros()).ok()?)
            .map(Timestamp)
    }

    /// The point `by` earlier, unless that is beyond what can be written.
    #[must_use]
    pub fn checked_sub(self, by: Duration) -> Option<Self> {
        self.0
            .checked_sub(i64::try_from(by.as_micros()).ok()?)
            .map(Timestamp)
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
        let bound = if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        };
        jiff::Timestamp::from_microsecond(self.0)
            .unwrap_or(bound)
            .fmt(f)
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

/// A half-open UTC minute `[t, t+60s)` of event time, numbered from the epoch.
///
/// A grouping key, never a gate.
#[derive(
    Copy,
    Clone,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Default,
    Encode,
    Decode,
    Serialize,
    Deserialize,
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

#[cfg(test)]
mod tests;
