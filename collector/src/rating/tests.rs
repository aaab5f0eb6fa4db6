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
    // L15: 1 M units at 0.0002 are 200; with 40 units more than billed, only those are new.
    assert_eq!(cents("1000000", 0, "0.02"), 20_000, "L15");
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
    let part = |fee, served, full| flat::charge(fee, 1, Share { served, full }).unwrap();
    // R1: 5.00 a month for 17 of 31 days.
    assert_eq!(part(500, 17, 31).amount, 274, "R1");
    // R3: 20.00 a month from 21 January 21:55:18 to 1 February, by seconds.
    let second_of_21st = 20 * 86_400 + 21 * 3600 + 55 * 60 + 18;
    assert_eq!(
        part(2000, 31 * 86_400 - second_of_21st, 31 * 86_400).amount,
        651,
        "R3"
    );
    // R13: half of 100.00 and 300.00. R15: 22 of 29 days.
    assert_eq!(
        (part(10_000, 15, 30).amount, part(30_000, 15, 30).amount),
        (5000, 15_000),
        "R13"
    );
    assert_eq!(
        (part(10_000, 22, 29).amount, part(30_000, 22, 29).amount),
        (7586, 22_759),
        "R15"
    );
    assert_eq!(part(1, 1, 3).amount_exact, decimal("0.333333333333"));
    assert_eq!(
        flat::charge(i64::MAX, 2, Share::WHOLE),
        Err(MoneyError::Overflow)
    );
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
