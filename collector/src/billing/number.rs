//! Numbers of papers: gapless per series and year, given by the engine in the atomic write that issues the paper.

use submeter_common::time::Timestamp;

/// Papers that are numbered together.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Series {
    /// Invoices.
    Invoice,
    /// Credit notes.
    CreditNote,
}

impl Series {
    /// What its numbers begin with.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Invoice => "INV",
            Self::CreditNote => "CN",
        }
    }
}

/// Returns the calendar year (UTC) to whose numbers a paper issued at `issued_at` belongs.
#[must_use]
pub fn year(issued_at: Timestamp) -> i16 {
    jiff::Timestamp::from_microsecond(issued_at.as_micros()).map_or(1970, |instant| {
        instant.to_zoned(jiff::tz::TimeZone::UTC).year()
    })
}

/// Writes the number of the `position`-th paper (from 1) of a series and year: `INV-2025-000001`.
#[must_use]
pub fn format(series: Series, year: i16, position: u64) -> String {
    format!("{}-{year:04}-{position:06}", series.prefix())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_names_its_series_and_year_and_grows_beyond_six_digits() {
        let newyear = Timestamp::from_micros(1_735_689_600_000_000);
        assert_eq!(year(newyear), 2025);
        assert_eq!(year(Timestamp::from_micros(1_735_689_599_999_999)), 2024);
        assert_eq!(format(Series::Invoice, 2025, 1), "INV-2025-000001");
        assert_eq!(
            format(Series::CreditNote, 2025, 1_234_567),
            "CN-2025-1234567"
        );
    }
}
