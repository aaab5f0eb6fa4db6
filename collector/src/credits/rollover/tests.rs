#![allow(clippy::unwrap_used)]

use super::*;
use crate::{credits::burn_down::Purse, id::EntitlementId};
use submeter_common::CustomerId;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_micros(minute * 60_000_000)
}

fn whole(amount: i64) -> Decimal {
    Decimal::from(amount)
}

fn grant(name: &str, amount: i64, priority: u32) -> Grant {
    Grant {
        grant_id: GrantId::from_text(name),
        customer_id: CustomerId::new("cus_1").unwrap(),
        credit_entitlement_id: EntitlementId::from_text("cde_1"),
        source: GrantSource::Subscription,
        amount: whole(amount),
        remaining: whole(amount),
        held: Decimal::zero(),
        expired: Decimal::zero(),
        priority,
        effective_at: at(0),
        expires_at: Some(at(100)),
        ends_at_close: true,
        subscription_id: None,
        period: None,
        parent_grant_id: None,
        rollover_count: 0,
        metadata: Default::default(),
        created_at: at(0),
        updated_at: at(0),
    }
}

fn up_to(most: i64) -> Rollover {
    Rollover {
        enabled: true,
        amount_max: Some(whole(most)),
        ..Rollover::default()
    }
}

const fn life() -> Life {
    Life {
        effective_at: Timestamp::from_micros(100 * 60_000_000),
        expires_at: Timestamp::from_micros(200 * 60_000_000),
    }
}

/// Uses `used` credits of grants with these rollover terms, resets, and repays what was used beyond them.
fn reset(given: &[(Grant, Rollover)], used: i64) -> Vec<String> {
    let mut purse = Purse::new(given.iter().map(|(grant, _)| grant.clone()).collect());
    let usable = crate::credits::burn_down::Usable::At(at(50));
    let beyond = purse.burn(&whole(used), usable, at(50)).uncovered;
    let terms = |grant: &Grant| {
        &given
            .iter()
            .find(|(known, _)| known.grant_id == grant.grant_id)
            .unwrap()
            .1
    };
    purse.carry_over(
        |_| true,
        |grant| divide(grant, terms(grant), life(), 0, at(100)),
        at(100),
    );
    purse.repay(&beyond, at(100), at(100));
    purse
        .take_added()
        .iter()
        .map(|grant| grant.remaining.to_string())
        .collect()
}

#[test]
fn oracle_k11_each_grant_carries_over_up_to_its_own_most() {
    let given = [
        (grant("g1", 1000, 1), up_to(1000)),
        (grant("g2", 1000, 3), up_to(100)),
    ];
    assert_eq!(reset(&given, 600), ["400", "100"]);
}

#[test]
fn oracle_k13_a_least_amount_is_given_and_repays_the_overage() {
    let fixed = Rollover {
        amount_min: Some(whole(500)),
        ..up_to(500)
    };
    let given = [
        (grant("g1", 1000, 1), up_to(1000)),
        (grant("g2", 1000, 3), fixed),
    ];
    assert_eq!(reset(&given, 2100), ["400"]);
}

#[test]
fn a_rest_divides_into_what_goes_over_and_what_is_forfeited() {
    let check = |percent: u32, rest: &str, carried: &str, forfeited: &str| {
        let mut from = grant("g", 1000, 1);
        from.remaining = Decimal::parse(rest).unwrap();
        let rollover = Rollover {
            enabled: true,
            percentage: Some(percent),
            count_max: Some(2),
            ..Rollover::default()
        };
        let divided = divide(&from, &rollover, life(), 1, at(100));
        let found = [&divided.carried, &divided.forfeited].map(ToString::to_string);
        assert_eq!(found, [carried, forfeited], "{percent} % of {rest}");
        assert_eq!(&divided.carried + &divided.forfeited, from.remaining);
        // As often as agreed, and not once more.
        from.rollover_count = 2;
        let worn_out = divide(&from, &rollover, life(), 1, at(100));
        assert!(worn_out.successor.is_none());
        assert_eq!(worn_out.forfeited, from.remaining);
    };
    check(75, "200", "150", "50");
    check(100, "0.1", "0.1", "0");
    check(0, "7", "0", "7");
    check(50, "0.1", "0.1", "0");
    check(33, "10", "3.3", "6.7");
}
