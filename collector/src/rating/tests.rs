#![allow(clippy::unwrap_used)]

use super::*;
use crate::rating::flat::Share;
use proptest::prelude::*;

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

/// Rates `quantity` at `price` minor units after `free` units, and returns the minor units.
fn cents(quantity: &str, free: i64, price: &str) -> i64 {
    per_unit::charge(&decimal(quantity), free, &decimal(price))
        .unwrap()
        .amount
}

#[test]
fn worked_examples_from_the_field() {
    let check = |id: &str, quantity: &str, free: i64, price: &str, expected: i64| {
        assert_eq!(cents(quantity, free, price), expected, "{id}");
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
fn oracle_cases_of_unit_prices_hold() {
    // N15: 1.994 and 1.995 units at 100 cents.
    assert_eq!(
        (cents("1.994", 0, "100"), cents("1.995", 0, "100")),
        (199, 200),
        "N15"
    );
    // N17: a negative quantity charges nothing.
    assert_eq!(cents("-5", 0, "1000"), 0, "N17");
    // N19: a million units at a millionth of a dollar.
    assert_eq!(cents("1000000", 0, "0.0001"), 100, "N19");
    // L3: a thousandth of a cent, once and twice.
    assert_eq!((cents("1", 0, "0.1"), cents("2", 0, "0.1")), (0, 0), "L3");
    // L1 by the one rule: cumulative 5 → 8 → 5 → 0 at 10 books 50, 30, −30, −50.
    let totals: Vec<i64> = ["0", "5", "8", "5", "0"]
        .iter()
        .map(|quantity| cents(quantity, 0, "10"))
        .collect();
    let booked: Vec<i64> = totals.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(booked, [50, 30, -30, -50], "L1");
    // L11: 10 units at 3.95 were billed; 20 late ones and 5 of the next period are 79.00 and 19.75.
    assert_eq!(cents("10", 0, "395"), 3950, "L11");
    assert_eq!(
        (cents("30", 0, "395") - 3950, cents("5", 0, "395")),
        (7900, 1975),
        "L11"
    );
    // U3: 5 of 10 free units were used before a line of 15; by the cumulative rule 10 more are charged.
    let billable = |quantity: &str| allowance::divide(&decimal(quantity), 10).chargeable;
    assert_eq!(&billable("20") - &billable("5"), decimal("10"), "U3");
    // L15: 1 M units at 0.0002 are billed at a threshold; at the month's end 2 M units and a fee of 31.00, less those.
    let billed = cents("1000000", 0, "0.02");
    assert_eq!(
        (billed, 3100 + cents("2000000", 0, "0.02") - billed),
        (20_000, 23_100),
        "L15"
    );
}

#[test]
fn a_charge_shows_every_number_on_the_way() {
    let charge = per_unit::charge(&decimal("10.5"), 10, &decimal("0.123456789012")).unwrap();
    assert_eq!(charge.free_quantity, decimal("10"));
    assert_eq!(charge.billed_quantity, decimal("0.5"));
    assert_eq!(charge.amount_exact, decimal("0.061728394506"));
    assert_eq!(charge.amount, 0);
}

#[test]
fn the_free_threshold_covers_up_to_and_with_itself() {
    let check = |quantity: &str, free: &str, chargeable: &str| {
        let divided = allowance::divide(&decimal(quantity), 10);
        assert_eq!(
            (divided.free, divided.chargeable),
            (decimal(free), decimal(chargeable)),
            "{quantity}"
        );
    };
    check("0", "0", "0");
    check("9.999", "9.999", "0");
    check("10", "10", "0");
    check("10.001", "10", "0.001");
    check("-3", "0", "0");
}

#[test]
fn a_fixed_fee_is_multiplied_and_a_part_of_it_rounded_once() {
    assert_eq!(flat::charge(4900, 3, Share::WHOLE).unwrap().amount, 14_700);
    assert_eq!(part(1, 1, 3).amount_exact, decimal("0.333333333333"));
    assert_eq!(
        flat::charge(i64::MAX, 2, Share::WHOLE),
        Err(MoneyError::Overflow)
    );
}

/// Charges `served` of `full` units of time of a fee.
fn part(fee: i64, served: i64, full: i64) -> Charge {
    flat::charge(fee, 1, Share { served, full }).unwrap()
}

#[test]
fn oracle_cases_of_prorated_fees_hold() {
    let check = |id: &str, fee: i64, (served, full): (i64, i64), expected: i64| {
        assert_eq!(part(fee, served, full).amount, expected, "{id}");
    };
    check("R1", 500, (17, 31), 274);
    // R3: 20.00 a month from 21 January 21:55:18 to 1 February, by seconds.
    let before = 20 * 86_400 + 21 * 3600 + 55 * 60 + 18;
    check("R3", 2000, (31 * 86_400 - before, 31 * 86_400), 651);
    // A credit is a charge for the rest with its sign turned.
    check("R5 credit of 2 × 50", 10_000, (17, 31), 5484);
    check("R5 charge", 3000, (17, 31), 1645);
    check("R7 added", 2500, (17, 31), 1371);
    check("R7 removed", 4000, (17, 31), 2194);
    check("R13 credit", 10_000, (15, 30), 5000);
    check("R13 debit", 30_000, (15, 30), 15_000);
    check("R15 credit", 10_000, (22, 29), 7586);
    check("R15 debit", 30_000, (22, 29), 22_759);
    check("R17 leap credit", 100_000, (166, 366), 45_355);
    check("R17 leap debit", 300_000, (166, 366), 136_066);
    check("R17 credit", 100_000, (166, 365), 45_479);
    check("R17 debit", 300_000, (166, 365), 136_438);
    check("R17c of 365", 100_000, (365 - 73, 365), 80_000);
    check("R17c of 366", 100_000, (366 - 61, 366), 83_333);
    check("R25", 50_000, (20, 30), 33_333);
    check("U5c before tax", 5000, (24, 31), 3871);
}

#[test]
fn oracle_cases_of_shares_hold_to_their_last_digit() {
    let check = |id: &str, served: i64, full: i64, digits: u8, expected: &str| {
        let share = Decimal::from(served).divided_rounded(&Decimal::from(full), digits);
        assert_eq!(share, Some(decimal(expected)), "{id}");
    };
    check("R19", 13, 28, 9, "0.464285714");
    check("R21", 14, 29, 9, "0.482758621");
    check("R21", 8, 28, 9, "0.285714286");
    // 14/31 + 1 + 12/28 over one denominator.
    check(
        "R23",
        14 * 28 + 31 * 28 + 12 * 31,
        31 * 28,
        9,
        "1.880184332",
    );
    check("R27", 17, 31, 16, "0.5483870967741935");
}

fn any_quantity() -> impl Strategy<Value = Decimal> {
    (any::<i128>(), 0_usize..=36).prop_map(|(digits, scale)| {
        let sign = if digits < 0 { "-" } else { "" };
        let digits = format!("{:0>66}", digits.unsigned_abs());
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        decimal(&format!("{sign}{whole}.{fraction}0"))
    })
}

fn any_price() -> impl Strategy<Value = Decimal> {
    (0_u32..100_000, 0_u64..1_000_000_000_000)
        .prop_map(|(whole, fraction)| decimal(&format!("{whole}.{fraction:012}")))
}

proptest! {
    #[test]
    fn no_quantity_panics_and_the_parts_add_up(quantity in any_quantity(), free in 0_i64.., price in any_price()) {
        if let Ok(charge) = per_unit::charge(&quantity, free, &price) {
            prop_assert!(charge.amount >= 0);
            prop_assert!(!charge.free_quantity.is_negative() && charge.free_quantity <= Decimal::from(free));
            if !quantity.is_negative() {
                prop_assert_eq!(&(&charge.free_quantity + &charge.billed_quantity), &quantity);
            }
        }
    }

    #[test]
    fn more_usage_never_costs_less(one in -1_000_000_i64..1_000_000, more in 0_i64..1_000_000, free in 0_i64..1_000, price in any_price()) {
        let less = per_unit::charge(&Decimal::from(one), free, &price).unwrap();
        let greater = per_unit::charge(&Decimal::from(one + more), free, &price).unwrap();
        prop_assert!(less.amount <= greater.amount);
    }
}
