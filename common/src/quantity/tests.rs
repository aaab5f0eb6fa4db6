#![allow(clippy::unwrap_used)]

use bincode::config;
use proptest::prelude::*;

use super::*;
use crate::{
    bytes::Reader,
    samples::{any_quantity, number},
};

fn check(text: &str, expected: Result<&str, QuantityError>) {
    let found = Quantity::parse(text).map(|quantity| quantity.to_string());
    assert_eq!(found, expected.map(str::to_owned), "{text:?}");
}

#[test]
fn numbers_are_read_exactly_and_written_canonically() {
    for (text, canonical) in [
        ("0", "0"),
        ("-0", "0"),
        ("-0.000", "0"),
        ("0e999999999999999999999", "0"),
        ("1", "1"),
        ("+1", "1"),
        ("007", "7"),
        ("1000", "1000"),
        ("12.50", "12.5"),
        ("-0.001", "-0.001"),
        ("0.1", "0.1"),
        ("1e3", "1000"),
        ("1E+3", "1000"),
        ("1.5e-3", "0.0015"),
        ("1200e-2", "12"),
        (
            "123456789012345678901234567890",
            "123456789012345678901234567890",
        ),
        ("1e29", "100000000000000000000000000000"),
        (
            "0.000000000000000000000000000000000001",
            "0.000000000000000000000000000000000001",
        ),
        ("1e-36", "0.000000000000000000000000000000000001"),
        ("1.0000000000000000000000000000000000000000000000", "1"),
        ("0000000000000000000000000000000000000000000000001", "1"),
        (
            "-999999999999999999999999999999.999999999999999999999999999999999999",
            "-999999999999999999999999999999.999999999999999999999999999999999999",
        ),
        // What a binary float would get wrong.
        ("9007199254740993", "9007199254740993"),
        ("0.30000000000000004", "0.30000000000000004"),
    ] {
        check(text, Ok(canonical));
    }
}

#[test]
fn what_is_no_number_or_does_not_fit_is_refused() {
    for text in [
        "", "-", "+", ".", ".5", "5.", "1.e3", "1e", "1e+", "e5", "--1", "1-", "1 ", " 1", "1,5",
        "NaN", "Infinity", "0x10", "1_000", "1.2.3", "٣", "12a", "1e5e5",
    ] {
        check(text, Err(QuantityError::Malformed));
    }
    for text in [
        "1e30",
        "1e400",
        "1e99999999999999999999",
        "1234567890123456789012345678901234567890",
    ] {
        check(text, Err(QuantityError::TooLarge));
    }
    for text in [
        "1e-37",
        "1e-400",
        "1e-99999999999999999999",
        "0.1234567890123456789012345678901234567",
    ] {
        check(text, Err(QuantityError::TooFine));
    }
}

#[test]
fn a_string_that_is_wholly_a_decimal_number_has_no_exponent() {
    assert_eq!(Quantity::parse_decimal("+012.50"), Ok(number("12.5")));
    assert_eq!(
        Quantity::parse_decimal("12e4"),
        Err(QuantityError::Malformed)
    );
    assert_eq!(
        Quantity::parse_decimal("1E4"),
        Err(QuantityError::Malformed)
    );
}

#[test]
fn a_sum_beyond_256_bits_is_none() {
    let mut total = number("999999999999999999999999999999");
    let doublings = std::iter::from_fn(|| {
        total = total.checked_add(total)?;
        Some(())
    });
    // 2^35 is above ten billion: that many of the largest numbers add up exactly.
    assert_eq!(doublings.count(), 35);
}

#[test]
fn whole_numbers_come_back() {
    assert_eq!(Quantity::from_u64(u64::MAX).to_u64(), Some(u64::MAX));
    assert_eq!(
        Quantity::from_u64(u64::MAX).to_string(),
        u64::MAX.to_string()
    );
    assert_eq!(
        Quantity::from_i64(i64::MIN).to_string(),
        i64::MIN.to_string()
    );
    assert_eq!(Quantity::ONE, Quantity::from_u64(1));
    assert_eq!(Quantity::default(), Quantity::ZERO);
    for not_whole in ["-1", "0.5", "18446744073709551616"] {
        assert_eq!(number(not_whole).to_u64(), None, "{not_whole}");
    }
}

#[test]
fn the_compact_form_is_frozen() {
    for (text, hex) in [
        ("0", "0000"),
        ("1", "0001"),
        ("127", "007f"),
        ("128", "008001"),
        ("-1", "8001"),
        ("0.5", "0105"),
        ("-12.25", "82c909"),
        ("1e-36", "2401"),
        ("18446744073709551615", "00ffffffffffffffffff01"),
    ] {
        let bytes = number(text).to_bytes();
        let found: String = bytes
            .as_slice()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(found, hex, "{text}");
    }
}

#[test]
fn another_spelling_of_the_compact_form_is_refused() {
    for bytes in [
        &[][..],
        &[0],          // no magnitude
        &[0x80, 0],    // minus zero
        &[1, 0],       // zero with a scale
        &[1, 10],      // a trailing zero
        &[37, 1],      // too fine
        &[0, 0x80, 0], // an overlong magnitude
        &[0, 0x80],    // cut
        &[0xff; 80],   // too large
        &[
            0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            0xff, 0xff, 0x7f,
        ],
    ] {
        assert!(
            Quantity::read(&mut Reader::new(bytes)).is_err(),
            "{bytes:?}"
        );
    }
}

#[test]
fn json_is_a_string_out_and_a_string_or_number_in() {
    assert_eq!(
        serde_json::to_string(&number("-12.50")).unwrap(),
        "\"-12.5\""
    );
    for json in ["\"7\"", "7", "\"7.0\""] {
        assert_eq!(
            serde_json::from_str::<Quantity>(json).unwrap(),
            number("7"),
            "{json}"
        );
    }
    assert_eq!(
        serde_json::from_str::<Quantity>("-7").unwrap(),
        number("-7")
    );
    // A fraction would come as a binary float: refused rather than guessed.
    for json in [
        "0.1",
        "1e2",
        "18446744073709551616",
        "true",
        "null",
        "\"x\"",
    ] {
        assert!(serde_json::from_str::<Quantity>(json).is_err(), "{json}");
    }
}

#[test]
fn from_json_reads_fractions_from_their_digits() {
    #[derive(serde::Deserialize)]
    struct Holder {
        #[serde(deserialize_with = "from_json")]
        amount: Quantity,
    }
    for (json, expected) in [
        ("0.1", "0.1"),
        ("1e2", "100"),
        ("\"0.1\"", "0.1"),
        ("0.30000000000000004", "0.30000000000000004"),
    ] {
        let holder: Holder = serde_json::from_str(&format!("{{\"amount\": {json}}}")).unwrap();
        assert_eq!(holder.amount, number(expected), "{json}");
    }
    for json in ["null", "true", "[1]", "\"\"", "1e400"] {
        assert!(
            serde_json::from_str::<Holder>(&format!("{{\"amount\": {json}}}")).is_err(),
            "{json}"
        );
    }
}

proptest! {
    #[test]
    fn addition_is_exact(a in any::<i64>(), b in any::<i64>(), scale in 0..30u32) {
        let of = |value: i128| number(&format!("{value}e-{scale}"));
        let sum = of(i128::from(a)).checked_add(of(i128::from(b))).unwrap();
        prop_assert_eq!(sum, of(i128::from(a) + i128::from(b)));
    }

    #[test]
    fn addition_is_commutative_associative_and_undone_by_subtraction(
        a in any_quantity(), b in any_quantity(), c in any_quantity(),
    ) {
        let add = |x: Quantity, y| x.checked_add(y).unwrap();
        prop_assert_eq!(add(a, b), add(b, a));
        prop_assert_eq!(add(add(a, b), c), add(a, add(b, c)));
        prop_assert_eq!(add(a, b).checked_sub(b), Some(a));
        prop_assert_eq!(add(a, Quantity::ZERO), a);
        prop_assert_eq!(add(a, a.checked_neg().unwrap()), Quantity::ZERO);
    }

    #[test]
    fn the_fewest_digits_are_those_of_the_text(value in any::<i64>(), zeros in 0..20u32, scale in 0..30u32) {
        let quantity = number(&format!("{value}{}e-{scale}", "0".repeat(zeros.min(10) as usize)));
        let text = quantity.to_string();
        let written = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let (fewest, magnitude) = reduce::reduce(quantity.0.unsigned_abs());
        prop_assert_eq!(fewest, written);
        prop_assert_eq!(magnitude.to_string(), {
            let digits = text.replace(['-', '.'], "");
            let short = digits.trim_start_matches('0');
            if short.is_empty() { "0".to_owned() } else { short.to_owned() }
        });
    }

    #[test]
    fn order_is_that_of_the_numbers(a in any::<i64>(), b in any::<i64>(), scale in 0..30u32) {
        let of = |value: i64| number(&format!("{value}e-{scale}"));
        prop_assert_eq!(of(a).cmp(&of(b)), a.cmp(&b));
    }

    #[test]
    fn text_and_bytes_come_back(a in any_quantity()) {
        prop_assert_eq!(Quantity::parse(&a.to_string()), Ok(a));
        prop_assert_eq!(Quantity::parse_decimal(&a.to_string()), Ok(a));
        prop_assert_eq!(serde_json::from_str::<Quantity>(&serde_json::to_string(&a).unwrap()).unwrap(), a);

        let bytes = a.to_bytes();
        let mut reader = Reader::new(bytes.as_slice());
        prop_assert_eq!(Quantity::read(&mut reader), Ok(a));
        prop_assert!(reader.is_empty());

        let coded = bincode::encode_to_vec(a, config::standard()).unwrap();
        prop_assert_eq!(&coded[..], bytes.as_slice());
        let (decoded, read): (Quantity, usize) = bincode::decode_from_slice(&coded, config::standard()).unwrap();
        prop_assert_eq!((decoded, read), (a, coded.len()));
    }

    #[test]
    fn bytes_that_are_read_are_those_that_would_be_written(bytes in prop::collection::vec(any::<u8>(), 0..45)) {
        let mut reader = Reader::new(&bytes);
        if let Ok(quantity) = Quantity::read(&mut reader) {
            let read = bytes.len() - reader.rest().len();
            let written = quantity.to_bytes();
            prop_assert_eq!(written.as_slice(), &bytes[..read]);
        }
    }

    #[test]
    fn no_text_panics(text in "[-+0-9.eE]{0,90}") {
        if let Ok(quantity) = Quantity::parse(&text) {
            prop_assert_eq!(Quantity::parse(&quantity.to_string()), Ok(quantity));
        }
    }
}
