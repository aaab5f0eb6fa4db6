//! Time zones by their IANA names, always from the data that the program carries.
//!
//! The data of the machine is not looked at: two machines with other tables would find other boundaries, and an invoice could
//! not be derived again.

use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, sync::LazyLock};

static CARRIED: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A time zone. Written as its IANA name, such as `Europe/Berlin`; read in any case.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Zone(TimeZone);

/// A name that no time zone has.
#[derive(Clone, Eq, PartialEq, Debug, thiserror::Error)]
#[error("expected the IANA name of a time zone such as Europe/Berlin or UTC")]
pub struct UnknownZone;

impl Zone {
    /// Coordinated universal time: no changes of the clock.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// Finds a time zone by its IANA name.
    ///
    /// # Errors
    /// [`UnknownZone`] for any other text, fixed offsets included: they are no places, and their names turn signs round.
    pub fn parse(name: &str) -> Result<Self, UnknownZone> {
        if name == "UTC" {
            return Ok(Self::UTC);
        }
        let zone = CARRIED.get(name).map_err(|_| UnknownZone)?;
        Ok(Self(zone))
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    pub(super) fn rules(&self) -> &TimeZone {
        &self.0
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self::UTC
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::parse(&name).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn zones_are_known_by_their_iana_names_alone() {
        for (name, expected) in [
            ("UTC", "UTC"),
            ("Europe/Berlin", "Europe/Berlin"),
            ("europe/berlin", "Europe/Berlin"),
            (
                "America/Argentina/Buenos_Aires",
                "America/Argentina/Buenos_Aires",
            ),
        ] {
            assert_eq!(Zone::parse(name).unwrap().name(), expected);
        }
        for wrong in [
            "",
            "Berlin",
            "+02:00",
            "GMT+2",
            "Europe/Atlantis",
            "CEST",
            "utc+1",
            "../../etc/passwd",
        ] {
            assert_eq!(Zone::parse(wrong), Err(UnknownZone), "{wrong}");
        }
    }

    #[test]
    fn a_zone_is_stored_by_its_name() {
        let zone = Zone::parse("Asia/Kolkata").unwrap();
        let text = serde_json::to_string(&zone).unwrap();
        assert_eq!(text, "\"Asia/Kolkata\"");
        assert_eq!(serde_json::from_str::<Zone>(&text).unwrap(), zone);
        assert!(serde_json::from_str::<Zone>("\"Nowhere\"").is_err());
    }
}
