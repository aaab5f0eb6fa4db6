//! The fixed fee, whole and in part.

use super::decimal;
use crate::{
    money::{Decimal, MoneyError},
    rating::{
        Charge,
        flat::{self, Share},
    },
};

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
