#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;
use submeter_common::Quantity;

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

/// Rounds an amount in major units to the minor unit, as a line does.
fn minor(major: &str, currency: &str) -> i64 {
    let currency = Currency::parse(currency).unwrap();
    let scale = Decimal::from(10_i64.pow(u32::from(currency.minor_digits())));
    round_half_away(&(&decimal(major) * &scale)).unwrap()
}

#[test]
fn oracle_rounding_cases_hold() {
    let check = |id: &str, major: &str, expected: i64| {
        assert_eq!(minor(major, "USD"), expected, "{id} {major}")
    };
    check("N1", "1.23456789", 123);
    check("N1", "1.23556789", 124);
    check("N11", "0.005", 1);
    check("N11", "0.014", 1);
    check("N11", "0.015", 2);
    check("N11", "10.125", 1013);
    check("N11", "-10.125", -1013);
    // N13: each line is rounded, and the total is the sum of the lines: 10.33 + 10.33, not 20.67.
    assert_eq!(minor("10.333", "USD") + minor("10.333", "USD"), 2066, "N13");
    // N3, G7: rounding to any number of digits.
    assert_eq!(decimal("1.23456789").rounded(4), decimal("1.2346"), "N3");
    let floor = |by: i64, digits| {
        let whole = decimal("123.456").divided(&Decimal::from(by), digits, Rounding::Down);
        &whole.unwrap() * &Decimal::from(by)
    };
    let floors = [floor(1, 2), floor(1, 0), floor(100, 0)];
    assert_eq!(floors, ["123.45", "123", "100"].map(decimal), "G9");
    assert_eq!(decimal("123.456").rounded(2), decimal("123.46"), "G7");
    assert_eq!(decimal("123.456").rounded(0), decimal("123"), "G7");
}

#[test]
fn minor_units_follow_the_currency() {
    assert_eq!(minor("499.5", "JPY"), 500);
    assert_eq!(minor("1.2345", "KWD"), 1235);
    let shown = |minor, code| {
        Money {
            minor,
            currency: Currency::parse(code).unwrap(),
        }
        .to_string()
    };
    assert_eq!(shown(3000, "USD"), "30.00 USD");
    assert_eq!(shown(-5, "USD"), "-0.05 USD");
    assert_eq!(shown(500, "JPY"), "500 JPY");
    assert_eq!(shown(1, "KWD"), "0.001 KWD");
    assert_eq!(shown(i64::MIN, "USD"), "-92233720368547758.08 USD");
}

#[test]
fn unknown_currencies_are_refused() {
    for code in ["", "usd", "US", "USDX", "XXX", "CLF", "BTC"] {
        assert_eq!(Currency::parse(code), Err(UnknownCurrency), "{code}");
    }
    assert!(serde_json::from_str::<Currency>("\"EUR\"").is_ok());
    assert!(serde_json::from_str::<Currency>("\"eur\"").is_err());
}

#[test]
fn amounts_of_two_currencies_do_not_add() {
    let (usd, eur) = (Currency::USD, Currency::parse("EUR").unwrap());
    let one = |currency| Money { minor: 1, currency };
    assert_eq!(one(usd).checked_add(one(eur)), None);
    assert_eq!(
        one(usd).checked_add(one(usd)),
        Some(Money {
            minor: 2,
            currency: usd
        })
    );
    assert_eq!(
        Money {
            minor: i64::MAX,
            currency: usd
        }
        .checked_add(one(usd)),
        None
    );
}

#[test]
fn decimals_are_plain_and_canonical() {
    for (text, shown) in [
        ("0", "0"),
        ("-0.0", "0"),
        ("+12.50", "12.5"),
        ("1000", "1000"),
        ("0.000000000001", "0.000000000001"),
    ] {
        assert_eq!(decimal(text).to_string(), shown);
    }
    for wrong in [
        "", "-", ".", "1.", ".5", "1e3", "0x1", " 1", "1 ", "1,5", "NaN", "--1", "1.2.3",
    ] {
        assert_eq!(Decimal::parse(wrong), Err(DecimalError), "{wrong}");
    }
    assert_eq!(Decimal::parse(&"9".repeat(300)), Err(DecimalError));
}

#[test]
fn digits_are_counted_on_both_sides_of_the_point() {
    for (text, whole, fraction) in [
        ("0.5", 0, 1),
        ("99999.000000000001", 5, 12),
        ("-10", 2, 0),
        ("0", 0, 0),
    ] {
        assert_eq!(
            (
                decimal(text).whole_digits(),
                decimal(text).fraction_digits()
            ),
            (whole, fraction),
            "{text}"
        );
    }
}

#[test]
fn quotients_are_rounded_as_told_on_both_sides_of_zero() {
    let check = |above: &str, rounding, expected: &str| {
        let quotient = decimal(above).divided(&decimal("2"), 0, rounding);
        assert_eq!(quotient, Some(decimal(expected)), "{above} {rounding:?}");
    };
    check("1", Rounding::Up, "1");
    check("-1", Rounding::Up, "0");
    check("1", Rounding::Down, "0");
    check("-1", Rounding::Down, "-1");
    check("1", Rounding::HalfAway, "1");
    check("-1", Rounding::HalfAway, "-1");
    check("-4", Rounding::Down, "-2");
    check("4", Rounding::Up, "2");
}

#[test]
fn amounts_beyond_an_i64_are_errors() {
    assert_eq!(
        round_half_away(&decimal("9223372036854775807.4")),
        Ok(i64::MAX)
    );
    assert_eq!(
        round_half_away(&decimal("9223372036854775807.5")),
        Err(MoneyError::Overflow)
    );
    assert_eq!(
        round_half_away(&decimal("-9223372036854775808.4")),
        Ok(i64::MIN)
    );
    assert_eq!(
        round_half_away(&decimal("-9223372036854775808.5")),
        Err(MoneyError::Overflow)
    );
    assert_eq!(
        round_half_away(&decimal(&"9".repeat(200))),
        Err(MoneyError::Overflow)
    );
}

#[test]
fn division_rounds_the_exact_fraction_once() {
    let check = |above: &str, below: &str, digits, expected: &str| {
        assert_eq!(
            decimal(above).divided_rounded(&decimal(below), digits),
            Some(decimal(expected)),
            "{above}/{below}"
        );
    };
    check("1", "3", 2, "0.33");
    check("2", "3", 2, "0.67");
    check("1", "8", 2, "0.13");
    check("-1", "8", 2, "-0.13");
    check("0.5", "0.001", 0, "500");
    check("1500", "1000", 0, "2");
    check("1499", "1000", 0, "1");
    check(
        "1000000000000000000000",
        "0.000000000001",
        10,
        "1000000000000000000000000000000000",
    );
    assert_eq!(decimal("1").divided_rounded(&Decimal::zero(), 2), None);
}

fn any_decimal() -> impl Strategy<Value = Decimal> {
    (any::<i128>(), 0_usize..30).prop_map(|(digits, scale)| {
        let sign = if digits < 0 { "-" } else { "" };
        let digits = format!("{:0>40}", digits.unsigned_abs());
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        decimal(&format!("{sign}{whole}.{fraction}0"))
    })
}

proptest! {
    #[test]
    fn text_and_json_give_the_same_decimal_back(value in any_decimal()) {
        prop_assert_eq!(&decimal(&value.to_string()), &value);
        let json = serde_json::to_string(&value).unwrap();
        prop_assert_eq!(serde_json::from_str::<Decimal>(&json).unwrap(), value);
    }

    #[test]
    fn sums_and_products_are_exact(one in any_decimal(), other in any_decimal()) {
        prop_assert_eq!(&(&(&one + &other) - &other), &one);
        prop_assert_eq!(&one * &other, &other * &one);
        prop_assert_eq!(&one * &Decimal::from(2_i64), &one + &one);
    }

    #[test]
    fn rounding_moves_by_at_most_half_and_away_at_the_half(tenths in any::<i64>()) {
        let exact = decimal(&format!("{}{}.{}", if tenths < 0 { "-" } else { "" }, tenths.unsigned_abs() / 10, tenths.unsigned_abs() % 10));
        let rounded = round_half_away(&exact).unwrap();
        let distance = i128::from(rounded) * 10 - i128::from(tenths);
        prop_assert!(distance.abs() <= 5);
        if distance.abs() == 5 {
            prop_assert!(rounded.unsigned_abs() > tenths.unsigned_abs() / 10);
        }
    }

    #[test]
    fn quantities_are_taken_over_exactly(whole in any::<i64>(), fraction in 0_u64..1_000_000_000) {
        let text = format!("{whole}.{fraction:09}");
        let quantity = Quantity::parse(&text).unwrap();
        prop_assert_eq!(Decimal::from(&quantity), decimal(&text));
    }
}
