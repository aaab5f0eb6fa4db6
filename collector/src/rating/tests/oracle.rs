//! The oracle's cases of unit prices, tiers, packages, percentages and bounds, by their ids.
//!
//! Amounts are in major units, as in the oracle; where each case is held or why it is not is listed in `billing::tests::oracle`.

use super::*;

/// Checks what a quantity comes to, in major units with up to two digits.
fn check(id: &str, tariff: &Tariff, quantity: &str, expected: &str) {
    let amount = Decimal::from(amount(tariff, quantity));
    assert_eq!(amount, cents(expected), "{id}: quantity {quantity}");
}

/// Checks the bookings of a quantity that grows and shrinks, by the one rule: rate(now) − billed.
fn check_bookings(id: &str, tariff: &Tariff, quantities: &[&str], expected: &[&str]) {
    let mut billed = 0;
    for (quantity, expected) in quantities.iter().zip(expected) {
        let due = charge(tariff, 0, quantity).due(billed).unwrap();
        assert_eq!(
            Decimal::from(due),
            cents(expected),
            "{id}: up to {quantity}"
        );
        billed += due;
    }
}

fn with_maximum(tariff: Tariff, maximum: &str) -> Tariff {
    let maximum = cents(maximum).to_i64();
    Tariff { maximum, ..tariff }
}

fn with_minimum(tariff: Tariff, minimum: &str) -> Tariff {
    let minimum = cents(minimum).to_i64();
    Tariff { minimum, ..tariff }
}

#[test]
fn graduated_tiers_price_each_unit_where_it_lies() {
    let a1 = graduated(&[
        ("5", "0", "100"),
        ("10", "0", "50"),
        ("15", "5", "0"),
        ("-", "1", "0"),
    ]);
    check("A1", &a1, "22", "182");
    let a5 = graduated(&[
        ("5", "0", "100"),
        ("10", "0", "50"),
        ("15", "10", "0"),
        ("-", "5", "0"),
    ]);
    check("A5a", &a5, "0", "100");
    check("A5c", &a5, "5", "100");
    check("A5e", &a5, "7", "150");
    check("A5g", &a5, "22", "235");
    let a6 = graduated(&[("10", "10", "2"), ("20", "5", "3"), ("-", "5", "3")]);
    check("A6b", &a6, "1", "12");
    check("A6d", &a6, "11", "110");
    check("A6f", &a6, "21", "163");
    let a7 = graduated(&[("0.1", "10", "0"), ("1", "5", "0"), ("-", "2", "0")]);
    check("A7b", &a7, "0.5", "3");
    let a13 = graduated(&[("10", "10", "0"), ("50", "8", "0"), ("-", "6", "0")]);
    check("A13a", &a13, "15", "140");
    check("A13c", &a13, "100", "720");
    let a14 = graduated(&[("10", "200", "0"), ("-", "60", "0")]);
    check("A14b", &a14, "10", "2000");
    check("A14b", &a14, "15", "2300");
    let a15 = graduated(&[
        ("100", "0.10", "0"),
        ("500", "0.05", "0"),
        ("-", "0.02", "0"),
    ]);
    check("A15b", &a15, "100", "10");
    check("A15d", &a15, "500", "30");
    let a16 = graduated(&[("10", "50", "0"), ("20", "40", "0"), ("-", "30", "0")]);
    check("A16b", &a16, "25", "1050");
    let a17 = graduated(&[("5", "0", "0"), ("10", "2", "0"), ("-", "3", "0")]);
    check("A17b", &a17, "5", "0");
    check("A17d", &a17, "10", "10");
    check("A17f", &a17, "15", "25");
    let a18 = graduated(&[("5", "0", "1"), ("10", "1", "2"), ("-", "2", "0")]);
    check("A18b", &a18, "7", "5");
    let a19 = graduated(&[
        ("1000", "0.01", "0"),
        ("10000", "0.008", "0"),
        ("-", "0.005", "0"),
    ]);
    check("A19", &a19, "15000", "107");
    let a21 = graduated(&[("10", "2", "0"), ("20", "3", "0"), ("-", "5", "0")]);
    check("A21a", &a21, "15", "35");
    check_bookings("A21c", &a21, &["15", "20"], &["35", "15"]);
    let a22 = graduated(&[
        ("5", "5", "0"),
        ("10", "4", "0"),
        ("15", "3", "0"),
        ("20", "2", "0"),
        ("-", "1", "0"),
    ]);
    check("A22", &a22, "6", "29");
    let r29 = graduated(&[("5", "10", "100"), ("15", "5", "50"), ("-", "2", "0")]);
    check("R29g", &r29, "75", "370");
}

#[test]
fn volume_tiers_price_all_units_by_the_whole_quantity() {
    let b1 = volume(&[
        ("5", "0", "100"),
        ("10", "0", "150"),
        ("15", "10", "0"),
        ("-", "5", "0"),
    ]);
    check("B1a", &b1, "0", "100");
    check("B1c", &b1, "5", "100");
    check("B1e", &b1, "15", "150");
    check("B1g", &b1, "100", "500");
    check("B2b", &with_minimum(b1, "100"), "5", "100");
    let b3 = volume(&[("100", "2", "10"), ("200", "1", "0"), ("-", "0.5", "50")]);
    check("B3a", &b3, "0", "10");
    check("B3c", &b3, "100", "210");
    check("B3e", &b3, "101", "101");
    check("B3g", &b3, "300", "200");
    let b4 = volume(&[("10", "50", "0"), ("20", "40", "0"), ("-", "30", "0")]);
    check("B4b", &b4, "15", "600");
    let b5 = volume(&[("10", "10", "0"), ("50", "8", "0"), ("-", "6", "0")]);
    check("B5a", &b5, "11", "88");
    let b6 = volume(&[
        ("100", "0.10", "0"),
        ("500", "0.05", "0"),
        ("-", "0.02", "0"),
    ]);
    check("B6a", &b6, "101", "5.05");
    check("B6c", &b6, "500", "25");
    let b7 = volume(&[("50", "0", "0"), ("-", "0.10", "0")]);
    check("B7a", &b7, "30", "0");
    check("B7c", &b7, "51", "5.10");
    // The source bounds each tier by itself: 10, then 100 more, then the rest.
    let b8 = volume(&[("10", "1.5", "0"), ("110", "1", "0"), ("-", "0.5", "0")]);
    check("B8", &b8, "111", "55.50");
    let b13 = volume(&[("5", "7", "0"), ("10", "6.5", "0"), ("-", "6", "0")]);
    check("B13a", &b13, "1", "7");
    check("B13c", &b13, "6", "39");
    check("B13e", &b13, "25", "150");
    check_bookings(
        "L7",
        &volume(&[("15", "10", "0"), ("-", "5", "0")]),
        &["12", "14", "15", "16"],
        &["120", "20", "10", "-70"],
    );
}

#[test]
fn tiers_of_packages_count_packages() {
    let tiers = packed(&[("1000", "100", "1"), ("-", "1000", "1")]);
    check("A9", &Tariff::of(Model::Graduated { tiers }), "5325", "15");
    // Two meters, each with tiers bounded by themselves: 10, 50 and 75 of FOO; 100, 500 and 750 of BAR.
    let foo = [("10", "1", "0"), ("60", "10", "0"), ("-", "100", "0")];
    let bar = [("100", "2", "0"), ("600", "20", "0"), ("-", "200", "0")];
    let both = |[foo, bar]: [&Tariff; 2], [of_foo, of_bar]: [&str; 2]| {
        amount(foo, of_foo) + amount(bar, of_bar)
    };
    let each = [&graduated(&foo), &graduated(&bar)];
    assert_eq!(both(each, ["5", "101"]), 22_500, "A10b");
    let top = [&volume(&foo), &volume(&bar)];
    assert_eq!(both(top, ["5", "101"]), 202_500, "B11");
    assert_eq!(both(top, ["76", "101"]), 962_000, "B11");
    let phone = [&package("1000", "0.5"), &package("512", "0.3")];
    assert_eq!(both(phone, ["1000", "30720"]), 1850, "A11");
    let tiers = packed(&[
        ("1000", "100", "1"),
        ("101000", "1000", "1"),
        ("-", "1000", "0.5"),
    ]);
    let b9 = Tariff::of(Model::Volume { tiers });
    check("B9b", &b9, "101000", "101");
    check("B9d", &b9, "300000", "150");
    // The source counts blocks, each tier by itself: 100 blocks, 200 more, then the rest.
    let tiers = packed(&[
        ("1000", "10", "100"),
        ("3000", "10", "10"),
        ("-", "10", "1"),
    ]);
    let b15 = Tariff::of(Model::Volume { tiers });
    check("B15", &b15, "15", "200");
    check("B15", &b15, "1100", "1100");
}

#[test]
fn packages_are_rounded_on_the_whole_quantity_of_the_period() {
    let c1 = package("10", "15");
    check("C1a", &c1, "0", "0");
    check("C1c", &c1, "9", "15");
    check("C1e", &c1, "11", "30");
    check_bookings(
        "C3",
        &with_maximum(c1, "100"),
        &["60", "110"],
        &["90", "10"],
    );
    assert_eq!(
        charge(&package("10", "100"), 10, "121").amount,
        120_000,
        "C4b"
    );
    check("C5a", &package("10", "50"), "25", "150");
    check("C5c", &package("100", "1"), "100", "1");
    check("C5e", &package("100", "1"), "150", "2");
    let down = Tariff::of(Model::Package {
        package: package_of("100", Rounding::Down),
        price_per_package: cents("1"),
        fixed_price: 0,
    });
    check("C5g", &down, "50", "0");
    check("C8", &package("10", "1"), "15", "2");
    check_bookings("C11a", &package("100", "1"), &["1", "401"], &["1", "4"]);
}

#[test]
fn conversion_comes_before_tiers() {
    let thousands = |tariff: Tariff| Tariff {
        conversion: Some(Conversion {
            factor: Factor::DivideBy(decimal("1000")),
            rounding: Some((Rounding::Up, 0)),
        }),
        ..tariff
    };
    let tiers = thousands(graduated(&[("5", "1", "0"), ("-", "0.5", "0")]));
    check("C9b", &tiers, "7400", "6.50");
    let one = thousands(per_unit("1"));
    check_bookings("C9d", &one, &["1400", "2700"], &["2", "1"]);
}

#[test]
fn percentages_are_of_the_value_in_minor_units() {
    let percentage = |percent: &str| {
        Tariff::of(Model::Percentage {
            percent: decimal(percent),
            fixed_price: 0,
        })
    };
    // Which events are free depends on their single values, which a meter does not keep; how many are and what they come to is
    // given here: 2 and 250, 3 and 400, none.
    let p1 = |id: &str, percent: &str, (free_amount, free_events), expected: i64| {
        let events = Some(EventPrice {
            price_per_event: cents("2"),
            free_events,
        });
        let tariff = Tariff {
            events,
            ..percentage(percent)
        };
        let usage = Usage::of(cents("800")).with_events(4);
        assert_eq!(
            rate(&tariff, free_amount, &usage).unwrap().amount,
            expected,
            "{id}"
        );
    };
    p1("P1a", "1.3", (25_000, 2), 1115);
    p1("P1c", "1.3", (40_000, 3), 720);
    p1("P1e", "0", (0, 0), 800);
    // Tiers of a value in major units: a percent of it is a hundredth for each.
    let p3 = graduated(&[
        ("10", "0.01", "200"),
        ("20", "0.02", "300"),
        ("-", "0.03", "400"),
    ]);
    check("P3a", &p3, "0", "200");
    check("P3c", &p3, "10", "200.10");
    check("P3e", &p3, "12", "500.14");
    check("P4a", &percentage("133.333"), "1000", "13.33");
}

#[test]
fn unit_prices_and_corrections_follow_the_one_rule() {
    check("N15", &per_unit("1"), "1.994", "1.99");
    check("N15", &per_unit("1"), "1.995", "2.00");
    check("N17", &per_unit("10"), "-5", "0");
    check("N19", &per_unit("0.000001"), "1000000", "1");
    check_bookings(
        "L1",
        &per_unit("10"),
        &["5", "8", "5", "0"],
        &["50", "30", "-30", "-50"],
    );
    check_bookings("L3", &per_unit("0.001"), &["1", "2"], &["0", "0"]);
    let l5 = graduated(&[("5", "1", "100"), ("10", "2", "200"), ("-", "3", "0")]);
    check_bookings("L5", &l5, &["3", "4"], &["103", "1"]);
    check_bookings("L5", &l5, &["3", "7"], &["103", "206"]);
    check_bookings("L11", &per_unit("3.95"), &["10", "30"], &["39.50", "79"]);
    check("L11", &per_unit("3.95"), "5", "19.75");
    // A fee of 31.00 joins at the month's end.
    let progressive = per_unit("0.0002");
    check_bookings(
        "L15",
        &progressive,
        &["1000000", "2000000"],
        &["200", "200"],
    );
    let free = |quantity: &str| allowance::divide(&decimal(quantity), 10).chargeable;
    assert_eq!(&free("20") - &free("5"), decimal("10"), "U3");
}

#[test]
fn bounds_hold_for_the_whole_period() {
    let a3 = graduated(&[
        ("5", "0", "100"),
        ("10", "0", "50"),
        ("15", "5", "0"),
        ("-", "1", "0"),
    ]);
    check_bookings(
        "A3",
        &with_maximum(a3, "170"),
        &["12", "22"],
        &["160", "10"],
    );
    let u1 = with_maximum(per_unit("10"), "100");
    check_bookings("U1", &u1, &["7", "12"], &["70", "30"]);
    let l9 = with_maximum(per_unit("1"), "100");
    check_bookings("L9", &l9, &["80", "120"], &["80", "20"]);
    // The minimum is asked for when the period is over, not before.
    let l9 = with_minimum(per_unit("1"), "100");
    let at = |served| {
        let usage = Usage::of(decimal("10")).served_for(served);
        rate(&l9, 0, &usage).unwrap().amount
    };
    assert_eq!(
        (at(Share::NONE), at(Share::WHOLE) - at(Share::NONE)),
        (1000, 9000),
        "L9"
    );
}

#[test]
fn a_minimum_is_asked_for_by_the_share_that_is_served() {
    let true_up =
        |id: &str, minimum: i64, (served, full): (i64, i64), used: &str, expected: i64| {
            let tariff = Tariff {
                minimum: Some(minimum),
                ..Tariff::per_unit(Decimal::one())
            };
            let usage = Usage::of(decimal(used)).served_for(Share { served, full });
            let charge = rate(&tariff, 0, &usage).unwrap();
            let step = charge.derivation.minimum.unwrap();
            assert_eq!(step.amount_exact, Decimal::from(expected), "{id}");
        };
    true_up("U5a", 1000, (25, 28), "800", 93);
    true_up("U6a", 1000, (15, 31), "200", 284);
    // A commitment of 10,000 of which the fee is 1,000.
    true_up("U7a", 900_000, (5, 7), "0", 642_857);
    true_up("U7c", 900_000, (56, 90), "0", 560_000);
    true_up("U7e", 900_000, (1, 1), "0", 900_000);
}

#[test]
fn where_systems_disagree_the_other_answer_is_a_policy() {
    // A5a, B1a, P3a: the flat part of the first tier is not owed at zero usage under the other policy.
    let tiers = [("5", "0", "100"), ("-", "1", "0")];
    for tariff in [graduated(&tiers), volume(&tiers)] {
        let free = Tariff {
            zero_usage: ZeroUsage::Free,
            ..tariff.clone()
        };
        check("zero_usage = charge", &tariff, "0", "100");
        check("zero_usage = free", &free, "0", "0");
        check("zero_usage = free", &free, "0.001", "100");
    }
    // A15f credits a negative quantity; here a line is never below zero unless it corrects an earlier one.
    let a15 = graduated(&[
        ("100", "0.10", "0"),
        ("500", "0.05", "0"),
        ("-", "0.02", "0"),
    ]);
    check("A15f", &a15, "-250", "0");
    check_bookings("A15f", &a15, &["250", "0"], &["17.50", "-17.50"]);
}
