//! What a charge shows of its way.

use super::*;
use submeter_common::Group;

#[test]
fn worked_examples_from_the_field() {
    let check = |id: &str, quantity: &str, free: i64, price: &str, expected: i64| {
        let tariff = Tariff::per_unit(decimal(price));
        assert_eq!(charge(&tariff, free, quantity).amount, expected, "{id}");
    };
    check("2500 calls, 1000 free, $0.02", "2500", 1000, "2", 3000);
    check("25 images, 10 free, $0.05", "25", 10, "5", 75);
    check(
        "25000 calls, 10000 free, $0.005",
        "25000",
        10_000,
        "0.5",
        7500,
    );
}

#[test]
fn a_plain_charge_shows_every_number_on_the_way() {
    let tariff = Tariff::per_unit(decimal("0.123456789012"));
    let charge = charge(&tariff, 10, "10.5");
    assert_eq!(charge.free_quantity, decimal("10"));
    assert_eq!(charge.billed_quantity, decimal("0.5"));
    assert_eq!(charge.unit_price, Some(decimal("0.123456789012")));
    assert_eq!(charge.amount_exact, decimal("0.061728394506"));
    assert_eq!(charge.amount, 0);
    assert!(charge.derivation.is_plain());
}

#[test]
fn the_free_threshold_covers_up_to_and_with_itself() {
    let check = |quantity: &str, free: &str, chargeable: &str| {
        let divided = allowance::divide(&decimal(quantity), 10);
        let expected = (decimal(free), decimal(chargeable));
        assert_eq!((divided.free, divided.chargeable), expected, "{quantity}");
    };
    check("0", "0", "0");
    check("9.999", "9.999", "0");
    check("10", "10", "0");
    check("10.001", "10", "0.001");
    check("-3", "0", "0");
}

#[test]
fn every_tier_that_is_reached_is_a_step() {
    let tariff = graduated(&[("5", "1", "100"), ("10", "0.5", "0"), ("-", "0.25", "0")]);
    let charge = charge(&tariff, 2, "9.5");
    assert!(!charge.derivation.is_plain());
    assert_eq!(charge.unit_price, None);
    let [part] = charge.derivation.parts.as_slice() else {
        panic!("one part: {charge:?}");
    };
    let steps: Vec<_> = part
        .tiers
        .iter()
        .map(|step| {
            (
                step.tier,
                step.quantity.to_string(),
                step.amount_exact.to_string(),
            )
        })
        .collect();
    // 7.5 units are charged: 5 in the first tier with its flat part, 2.5 in the second, none in the third.
    let expected = [(1, "5", "10500"), (2, "2.5", "125")];
    assert_eq!(
        steps,
        expected.map(|(tier, units, exact)| (tier, units.to_owned(), exact.to_owned()))
    );
    assert_eq!(charge.amount, 10_625);
}

#[test]
fn a_conversion_is_exact_or_rounded_as_told() {
    let gigabytes = Conversion {
        factor: Factor::DivideBy(decimal("1073741824")),
        rounding: None,
    };
    assert!(gigabytes.ends());
    assert_eq!(
        gigabytes.apply(&decimal("1")),
        decimal("0.000000000931322574615478515625")
    );
    let hours = |rounding| Conversion {
        factor: Factor::DivideBy(decimal("3600")),
        rounding,
    };
    assert!(!hours(None).ends());
    let check = |rounding: Rounding, digits: u8, expected: &str| {
        let hours = hours(Some((rounding, digits)));
        assert!(hours.ends());
        assert_eq!(
            hours.apply(&decimal("6000")),
            decimal(expected),
            "{rounding:?} {digits}"
        );
    };
    check(Rounding::HalfAway, 6, "1.666667");
    check(Rounding::Down, 6, "1.666666");
    check(Rounding::Up, 1, "1.7");
    check(Rounding::Down, 0, "1");
    let cents = Conversion {
        factor: Factor::MultiplyBy(decimal("100")),
        rounding: None,
    };
    assert_eq!(cents.apply(&decimal("12.345")), decimal("1234.5"));
}

#[test]
fn free_units_are_priced_units() {
    let tariff = Tariff {
        conversion: Some(Conversion {
            factor: Factor::DivideBy(decimal("1000")),
            rounding: None,
        }),
        ..per_unit("1")
    };
    let charge = charge(&tariff, 5, "7500");
    let numbers = (
        charge.quantity,
        charge.free_quantity,
        charge.billed_quantity,
    );
    assert_eq!(numbers, (decimal("7500"), decimal("5"), decimal("2.5")));
    assert_eq!(charge.amount, 250);
}

/// Two regions at their prices, the rest at 1.00.
fn by_region() -> Tariff {
    let row = |value: &str, price: &str| MatrixRow {
        values: vec![value.to_owned()],
        model: Model::PerUnit {
            price_per_unit: cents(price),
            fixed_price: 0,
        },
    };
    Tariff {
        matrix: Some(Matrix {
            keys: vec!["region".to_owned()],
            rows: vec![row("eu", "3"), row("us", "2")],
        }),
        ..per_unit("1")
    }
}

#[test]
fn each_group_has_its_price_and_the_rest_the_default() {
    let tariff = by_region();
    let usage = Usage::by_row(["4", "0", "10"].map(decimal).to_vec());
    let charge = rate(&tariff, 6, &usage).unwrap();
    // The threshold serves the rows in their order: 4 of eu, then 2 of the rest.
    assert_eq!(charge.quantity, decimal("14"));
    assert_eq!(charge.free_quantity, decimal("6"));
    assert_eq!(charge.amount, 800);
    let shown: Vec<_> = charge
        .derivation
        .parts
        .iter()
        .map(|part| (part.group.clone(), part.billed_quantity.to_string()))
        .collect();
    let eu = Some(vec!["eu".to_owned()]);
    assert_eq!(shown, [(eu, "0".to_owned()), (None, "8".to_owned())]);
}

#[test]
fn a_group_is_priced_by_the_row_that_names_its_values() {
    let tariff = by_region();
    let matrix = tariff.matrix.unwrap();
    let group_by = ["model".to_owned(), "region".to_owned()];
    let check = |values: [Option<&str>; 2], row: usize| {
        let group = Group::of(values.map(|value| value.map(str::to_owned)));
        assert_eq!(matrix.row_of(&group_by, &group), row, "{values:?}");
    };
    check([Some("large"), Some("eu")], 0);
    check([None, Some("us")], 1);
    check([Some("eu"), Some("asia")], 2);
    check([Some("eu"), None], 2);
    assert_eq!(matrix.row_of(&group_by, &Group::other()), 2);
}

#[test]
fn bounds_are_steps_of_their_own() {
    let tariff = Tariff {
        minimum: Some(500),
        maximum: Some(1000),
        ..per_unit("1")
    };
    let low = charge(&tariff, 0, "2");
    let high = charge(&tariff, 0, "12.5");
    assert_eq!((low.amount, high.amount), (500, 1000));
    assert_eq!(low.derivation.minimum.unwrap().amount_exact, decimal("300"));
    assert_eq!(
        high.derivation.maximum.unwrap().amount_exact,
        decimal("-250")
    );
}

#[test]
fn a_flat_price_does_not_depend_on_usage() {
    let flat = Tariff::of(Model::Flat { fixed_price: 700 });
    assert_eq!((amount(&flat, "0"), amount(&flat, "1000")), (700, 700));
    let free = Tariff {
        zero_usage: ZeroUsage::Free,
        ..flat
    };
    assert_eq!((amount(&free, "0"), amount(&free, "1")), (0, 700));
}
