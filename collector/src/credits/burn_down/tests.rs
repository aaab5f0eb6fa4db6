#![allow(clippy::unwrap_used)]

use super::*;
use crate::credits::{EntitlementId, GrantSource};
use proptest::prelude::*;
use submeter_common::CustomerId;

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

fn minute(minute: i64) -> Timestamp {
    Timestamp::from_micros(minute * 60_000_000)
}

/// The span in which the tests' usage takes place, unless they say otherwise.
fn span() -> Period {
    Period {
        start: minute(0),
        end: minute(100),
    }
}

struct Given {
    name: &'static str,
    amount: i64,
    priority: u32,
    expires: Option<i64>,
    age: i64,
}

fn given(name: &'static str, amount: i64) -> Given {
    Given {
        name,
        amount,
        priority: 10,
        expires: None,
        age: 0,
    }
}

fn grant(given: &Given) -> Grant {
    Grant {
        grant_id: GrantId::from_text(given.name),
        customer_id: CustomerId::new("cus_1").unwrap(),
        credit_entitlement_id: EntitlementId::from_text("cde_1"),
        source: GrantSource::Api,
        amount: Decimal::from(given.amount),
        remaining: Decimal::from(given.amount),
        held: Decimal::zero(),
        expired: Decimal::zero(),
        priority: given.priority,
        effective_at: minute(-given.age),
        expires_at: given.expires.map(minute),
        ends_at_close: false,
        subscription_id: None,
        period: None,
        parent_grant_id: None,
        rollover_count: 0,
        metadata: Default::default(),
        created_at: minute(-given.age),
        updated_at: minute(-given.age),
    }
}

fn purse(grants: &[Given]) -> Purse {
    Purse::new(grants.iter().map(grant).collect())
}

/// Burns `need` and returns what each grant gave, and what none had.
fn burn(purse: &mut Purse, need: i64) -> (Vec<(String, String)>, String) {
    let burned = purse.burn(
        &Decimal::from(need),
        Usable::Throughout(span()),
        minute(100),
    );
    let draw = |draw: &Draw| (draw.grant_id.to_string(), draw.amount().to_string());
    (
        burned.draws.iter().map(draw).collect(),
        burned.uncovered.to_string(),
    )
}

fn remaining(purse: Purse, name: &str) -> String {
    let found = purse
        .grants
        .iter()
        .find(|grant| grant.grant_id.as_str() == name);
    found.map(|grant| grant.remaining.to_string()).unwrap()
}

fn owned(draws: &[(&str, &str)]) -> Vec<(String, String)> {
    draws
        .iter()
        .map(|(name, amount)| ((*name).to_owned(), (*amount).to_owned()))
        .collect()
}

#[test]
fn oracle_k1_without_grants_everything_is_uncovered() {
    assert_eq!(burn(&mut purse(&[]), 50), (vec![], "50".to_owned()));
}

#[test]
fn oracle_k3_the_earlier_expiry_burns_first() {
    let later = Given {
        expires: Some(900),
        age: 5,
        ..given("later", 100)
    };
    let earlier = Given {
        expires: Some(500),
        ..given("earlier", 100)
    };
    let mut purse = purse(&[later, earlier]);
    assert_eq!(
        burn(&mut purse, 120).0,
        owned(&[("earlier", "100"), ("later", "20")])
    );
    assert_eq!(remaining(purse.clone(), "earlier"), "0");
    assert_eq!(remaining(purse, "later"), "80");
}

#[test]
fn oracle_k17_priorities_burn_in_order() {
    let p = |name, amount, priority, age| Given {
        priority,
        age,
        ..given(name, amount)
    };
    let mut purse = purse(&[
        p("d", 30, 2, 1),
        p("c", 25, 2, 2),
        p("b", 25, 2, 3),
        p("a", 20, 1, 0),
    ]);
    assert_eq!(
        burn(&mut purse, 80).0,
        owned(&[("a", "20"), ("b", "25"), ("c", "25"), ("d", "10")])
    );
    assert_eq!(remaining(purse, "d"), "20");
}

#[test]
fn oracle_k23_only_the_first_priority_is_touched_when_it_suffices() {
    // Our default for "no priority" is the lowest rank; within priority 1 the grant that expires burns first.
    let p = |name, amount, priority| Given {
        priority,
        ..given(name, amount)
    };
    let expiring = Given {
        expires: Some(900),
        ..p("1e", 60, 1)
    };
    let mut purse = purse(&[
        p("none", 50, u32::MAX),
        p("3", 30, 3),
        p("1", 40, 1),
        p("2", 20, 2),
        expiring,
    ]);
    assert_eq!(burn(&mut purse, 90).0, owned(&[("1e", "60"), ("1", "30")]));
    let left: Decimal = purse
        .grants
        .iter()
        .fold(Decimal::zero(), |sum, grant| &sum + &grant.remaining);
    assert_eq!(left, Decimal::from(110_i64));
}

#[test]
fn the_order_is_priority_then_expiry_with_none_last_then_age() {
    let young = Given {
        age: 1,
        ..given("young", 1)
    };
    let old = Given {
        age: 2,
        ..given("old", 1)
    };
    let expiring = Given {
        expires: Some(999),
        ..given("expiring", 1)
    };
    let first = Given {
        priority: 9,
        ..given("first", 1)
    };
    let mut purse = purse(&[young, old, expiring, first]);
    assert_eq!(
        burn(&mut purse, 4).0,
        owned(&[
            ("first", "1"),
            ("expiring", "1"),
            ("old", "1"),
            ("young", "1")
        ])
    );
}

#[test]
fn a_grant_pays_only_for_usage_of_its_own_lifetime() {
    let expired = Given {
        expires: Some(99),
        ..given("expired", 10)
    };
    let unborn = Given {
        age: -1,
        ..given("unborn", 10)
    };
    let until_the_end = Given {
        expires: Some(100),
        ..given("until_the_end", 10)
    };
    let mut purse = purse(&[expired, unborn, until_the_end]);
    assert_eq!(
        burn(&mut purse, 25),
        (owned(&[("until_the_end", "10")]), "15".to_owned())
    );
    assert_eq!(purse.cuts(span()), [minute(1), minute(99)]);
}

#[test]
fn the_rest_is_forfeited_at_expiry_and_late_usage_may_still_draw_on_it() {
    let mut purse = purse(&[Given {
        expires: Some(100),
        ..given("g", 100)
    }]);
    burn(&mut purse, 30);
    assert_eq!(purse.expire(minute(99), minute(100)), []);
    assert_eq!(
        purse.expire(minute(100), minute(100)),
        [(GrantId::from_text("g"), Decimal::from(70_i64))]
    );
    assert_eq!(purse.expire(minute(100), minute(100)), []);
    let late = purse.burn(
        &Decimal::from(90_i64),
        Usable::SomeTimeIn(span()),
        minute(200),
    );
    assert_eq!(late.draws[0].from_expired, Decimal::from(70_i64));
    assert_eq!(late.uncovered, Decimal::from(20_i64));
    let next = Period {
        start: minute(100),
        end: minute(200),
    };
    assert_eq!(
        purse
            .burn(&Decimal::from(1_i64), Usable::SomeTimeIn(next), minute(200))
            .uncovered,
        Decimal::from(1_i64)
    );
}

#[test]
fn a_correction_gives_back_in_the_reverse_order_of_burning() {
    let one = Given {
        priority: 1,
        expires: Some(100),
        ..given("one", 10)
    };
    let two = Given {
        priority: 2,
        ..given("two", 10)
    };
    let mut purse = purse(&[one, two]);
    burn(&mut purse, 15);
    let taken = BTreeMap::from([
        (GrantId::from_text("one"), decimal("10")),
        (GrantId::from_text("two"), decimal("5")),
    ]);
    let draws = purse.give_back(&decimal("7"), &taken, minute(150));
    let found: Vec<(&str, String, String)> = draws
        .iter()
        .map(|draw| {
            (
                draw.grant_id.as_str(),
                draw.from_remaining.to_string(),
                draw.from_expired.to_string(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("two", "-5".to_owned(), "0".to_owned()),
            ("one", "0".to_owned(), "-2".to_owned())
        ]
    );
    assert_eq!(remaining(purse, "two"), "10");
}

#[test]
fn units_cost_credits_rounded_once_half_away_at_the_precision() {
    let check = |units: &str, per_credit: &str, precision, expected: &str| {
        assert_eq!(
            credits_for(&decimal(units), &decimal(per_credit), precision),
            decimal(expected),
            "{units}/{per_credit}"
        );
    };
    check("1500", "1000", 0, "2");
    check("1499", "1000", 0, "1");
    check("1499", "1000", 2, "1.5");
    check("1494", "1000", 2, "1.49");
    check("1", "3", 10, "0.3333333333");
    check("2", "3", 10, "0.6666666667");
    check("0", "3", 10, "0");
    check("5", "0.5", 0, "10");
}

proptest! {
    // Oracle K15: grants = usage + balance − overage, whatever happens.
    #[test]
    fn nothing_is_burned_twice_and_nothing_is_lost(
        amounts in prop::collection::vec((1_i64..1_000, 0_u32..4, prop::option::of(1_i64..300), 0_i64..50), 0..8),
        needs in prop::collection::vec(0_i64..800, 0..8),
    ) {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let grants: Vec<Given> = amounts.iter().zip(names)
            .map(|((amount, priority, expires, age), name)| Given { name, amount: *amount, priority: *priority, expires: *expires, age: *age })
            .collect();
        let mut purse = purse(&grants);
        let mut burned: BTreeMap<GrantId, Decimal> = BTreeMap::new();
        for need in needs {
            let need = Decimal::from(need);
            let outcome = purse.burn(&need, Usable::Throughout(span()), minute(100));
            let drawn = outcome.draws.iter().fold(Decimal::zero(), |sum, draw| &sum + &draw.amount());
            prop_assert_eq!(&(&drawn + &outcome.uncovered), &need);
            for draw in outcome.draws {
                *burned.entry(draw.grant_id.clone()).or_default() += &draw.amount();
            }
            // Uncovered credits mean that no usable grant has any left.
            if !outcome.uncovered.is_zero() {
                let usable = purse.grants.iter().filter(|grant| Usable::Throughout(span()).allows(grant));
                prop_assert!(usable.into_iter().all(|grant| grant.remaining.is_zero()));
            }
        }
        purse.expire(minute(100), minute(100));
        for grant in &purse.grants {
            let taken = burned.get(&grant.grant_id).cloned().unwrap_or_default();
            prop_assert_eq!(&(&(&grant.remaining + &grant.expired) + &taken), &grant.amount);
            prop_assert!(!grant.remaining.is_negative() && !grant.expired.is_negative());
        }
    }
}
