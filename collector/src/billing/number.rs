//! Invoice numbers: gapless per year, given by the engine in the atomic write that issues the invoice.

use submeter_common::time::Timestamp;

/// Returns the calendar year (UTC) whose series an invoice issued at `issued_at` belongs to.
#[must_use]
pub fn series(issued_at: Timestamp) -> i16 {
    jiff::Timestamp::from_microsecond(issued_at.as_micros()).map_or(1970, |instant| {
        instant.to_zoned(jiff::tz::TimeZone::UTC).year()
    })
}

/// Writes the number of the `position`-th invoice (from 1) of a year: `INV-2025-000001`.
#[must_use]
pub fn format(series: i16, position: u64) -> String {
    format!("INV-{series:04}-{position:06}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_names_its_year_and_grows_beyond_six_digits() {
        let newyear = Timestamp::from_micros(1_735_689_600_000_000);
        assert_eq!(series(newyear), 2025);
        assert_eq!(series(Timestamp::from_micros(1_735_689_599_999_999)), 2024);
        assert_eq!(format(2025, 1), "INV-2025-000001");
        assert_eq!(format(2025, 1_234_567), "INV-2025-1234567");
    }
}
