//! Sizes as people write them, the same way as in the agent's settings: `65536`, `64KiB`, `4MiB`, `1GiB`.

/// Units, largest first.
const UNITS: [(&str, usize); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// Reads a number of bytes, plain or with a unit; none on anything else, and on overflow.
pub(super) fn parse(text: &str) -> Option<usize> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: usize = number.parse().ok()?;
    let unit = unit.trim();
    if unit.is_empty() {
        return Some(number);
    }
    let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*scale)
}

/// Writes a number of bytes in the largest unit that divides it.
pub(super) fn format(bytes: usize) -> String {
    let unit = UNITS
        .iter()
        .find(|(_, scale)| bytes > 0 && bytes.is_multiple_of(*scale));
    let (name, scale) = unit.unwrap_or(&("B", 1));
    format!("{}{name}", bytes / scale)
}

#[cfg(test)]
mod tests {
    use super::{format, parse};

    #[test]
    fn what_is_written_reads_back() {
        for (text, bytes) in [
            ("4MiB", 4 << 20),
            ("64KiB", 64 << 10),
            ("1GiB", 1 << 30),
            ("1025B", 1025),
            ("0B", 0),
        ] {
            assert_eq!(parse(text), Some(bytes));
            assert_eq!(format(bytes), text);
        }
        assert_eq!(parse("4194304"), Some(4 << 20));
        assert_eq!(parse(" 4 MiB "), Some(4 << 20));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "MiB",
            "-1",
            "1.5MiB",
            "4MB",
            "4 mib",
            "99999999999999999999",
            "18446744073709551615GiB",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
