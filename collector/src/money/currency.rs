//! The ISO 4217 currencies and how many digits their minor unit has.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// A currency of ISO 4217 with 0, 2 or 3 minor digits.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Ord, PartialOrd, Debug)]
pub struct Currency {
    code: &'static str,
    minor_digits: u8,
}

/// A text that is no currency we can bill in.
#[derive(Clone, Eq, PartialEq, Debug, thiserror::Error)]
#[error("expected an upper-case ISO 4217 currency code such as \"USD\"")]
pub struct UnknownCurrency;

impl Currency {
    /// The US dollar, 2 minor digits.
    pub const USD: Self = Self {
        code: "USD",
        minor_digits: 2,
    };

    /// Looks a currency up by its upper-case code.
    ///
    /// # Errors
    /// A code that is not in ISO 4217, or one whose minor unit is not a whole number of 0, 2 or 3 digits.
    pub fn parse(code: &str) -> Result<Self, UnknownCurrency> {
        for (codes, minor_digits) in [(NO_DIGITS, 0), (TWO_DIGITS, 2), (THREE_DIGITS, 3)] {
            if let Some(code) = codes.iter().copied().find(|known| *known == code) {
                return Ok(Self { code, minor_digits });
            }
        }
        Err(UnknownCurrency)
    }

    /// Returns the three-letter code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.code
    }

    /// Returns how many digits of the major unit the minor unit stands for.
    #[must_use]
    pub const fn minor_digits(self) -> u8 {
        self.minor_digits
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.code)
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code)
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        Self::parse(&code).map_err(de::Error::custom)
    }
}

// Currencies with four digits (CLF, UYW) are units of account, not of payment, and are left out. A few withdrawn codes
// (ANG, BGN, HRK, SLL, …) stay, because clients of the compatible API still know them.
const NO_DIGITS: &[&str] = &[
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV",
    "XAF", "XOF", "XPF",
];
const THREE_DIGITS: &[&str] = &["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"];
#[rustfmt::skip]
const TWO_DIGITS: &[&str] = &[
    "AED", "AFN", "ALL", "AMD", "ANG", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BGN", "BMD", "BND",
    "BOB", "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHF", "CNY", "COP", "CRC", "CUP", "CVE", "CZK",
    "DKK", "DOP", "DZD", "EGP", "ERN", "ETB", "EUR", "FJD", "FKP", "GBP", "GEL", "GHS", "GIP", "GMD", "GTQ", "GYD",
    "HKD", "HNL", "HRK", "HTG", "HUF", "IDR", "ILS", "INR", "IRR", "JMD", "KES", "KGS", "KHR", "KPW", "KYD", "KZT",
    "LAK", "LBP", "LKR", "LRD", "LSL", "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU", "MUR", "MVR", "MWK",
    "MXN", "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "PAB", "PEN", "PGK", "PHP", "PKR", "PLN", "QAR",
    "RON", "RSD", "RUB", "SAR", "SBD", "SCR", "SDG", "SEK", "SGD", "SHP", "SLE", "SLL", "SOS", "SRD", "SSP", "STN",
    "SVC", "SYP", "SZL", "THB", "TJS", "TMT", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH", "USD", "UYU", "UZS", "VED",
    "VES", "WST", "XCD", "XCG", "YER", "ZAR", "ZMW", "ZWG",
];
