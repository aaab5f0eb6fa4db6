//! Mode bits of a file as people write them: `0660`.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Who may read and write a file: nine bits, written as three octal digits, with or without a zero before them.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Mode(pub u32);

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim();
        let octal = matches!(digits.len(), 3 | 4)
            && digits.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
        u32::from_str_radix(digits, 8)
            .ok()
            .filter(|mode| octal && *mode <= 0o777)
            .map(Self)
            .ok_or_else(|| {
                format!("{text:?} is no file mode, expected three octal digits such as \"0660\"")
            })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Text only: as a number, 660 would mean another mode than it says.
impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ModeVisitor;
        impl Visitor<'_> for ModeVisitor {
            type Value = Mode;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a file mode in quotes, such as \"0660\"")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Mode, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer
            .deserialize_any(ModeVisitor)
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_octal_text() {
        for (text, mode) in [("0660", 0o660), ("600", 0o600), ("0777", 0o777), ("000", 0)] {
            let read: Mode = text.parse().expect("a mode");
            assert_eq!(read, Mode(mode), "{text}");
            assert_eq!(read.to_string().parse(), Ok(read));
        }
        for text in [
            "",
            "66",
            "0o660",
            "0888",
            "1660",
            "00660",
            "+660",
            "rw-rw----",
        ] {
            assert!(text.parse::<Mode>().is_err(), "{text}");
        }
    }
}
