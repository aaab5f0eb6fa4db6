//! Cells merge like their partials, and their sources always add up.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use submeter_common::aggregate::{AggregateError, Fingerprint, Partial, State};
use submeter_common::event::Value;
use submeter_common::id::AgentId;
use submeter_common::meter::AggregationKind;
use submeter_common::quantity::Quantity;
use uuid::Uuid;

use super::{Cell, Source, UNIQUE_VALUES_MAX};

fn sum(events: u64, quantity: i64) -> Partial {
    Partial {
        events,
        non_numeric: 0,
        state: State::Sum(Quantity::from_i64(quantity)),
    }
}

fn source(agent: u8, seq: u64, events: u64) -> Source {
    Source::of_frame(
        AgentId::new(Uuid::from_u128(u128::from(agent))),
        seq,
        events,
    )
}

#[test]
fn a_set_counts_so_many_values_and_refuses_what_goes_beyond() {
    let values = |numbers: std::ops::Range<u64>| {
        let value = |number| Fingerprint::of(&Value::Number(Quantity::from_u64(number)));
        Partial {
            events: 1,
            non_numeric: 0,
            state: State::Unique(numbers.map(value).collect()),
        }
    };
    let max = UNIQUE_VALUES_MAX as u64;
    let mut cell = Cell::identity(AggregationKind::UniqueCount);
    cell.add(&values(0..max - 10), &source(1, 1, 1)).unwrap();
    // Known values need no room, and the last places are given away.
    assert_eq!(cell.fits(&values(0..max)), Ok(()));
    let beyond = cell.fits(&values(max - 20..max + 1));
    let full = AggregateError::TooManyValues {
        max: UNIQUE_VALUES_MAX,
    };
    assert_eq!(beyond, Err(full));
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let mut cell = Cell::identity(AggregationKind::Sum);
    cell.add(&sum(2, 5), &source(1, 1, 2)).unwrap();
    let before = cell.clone();
    let misfits = [
        Partial {
            events: 1,
            non_numeric: 0,
            state: State::Count,
        },
        sum(u64::MAX, 1),
        Partial {
            events: 1,
            non_numeric: u64::MAX,
            state: State::Sum(Quantity::ZERO),
        },
    ];
    // Only the last fits, as nothing was non-numeric so far.
    let fits = misfits.map(|partial| {
        let judged = cell.fits(&partial);
        let added = cell.clone().add(&partial, &source(1, 2, partial.events));
        assert_eq!(judged, added, "the judgement foresees the merge");
        judged
    });
    let kinds = AggregateError::KindMismatch {
        expected: AggregationKind::Sum,
        found: AggregationKind::Count,
    };
    assert_eq!(fits, [Err(kinds), Err(AggregateError::Overflow), Ok(())]);
    assert_eq!(cell, before);
}

#[test]
fn a_sum_beyond_what_can_be_kept_exactly_does_not_fit() {
    let largest = Quantity::parse("999999999999999999999999999999").unwrap();
    let mut cell = Cell::identity(AggregationKind::Sum);
    let partial = Partial {
        events: 1,
        non_numeric: 0,
        state: State::Sum(largest),
    };
    let mut refused = 0_u32;
    // Doubling reaches the end of the range soon.
    for round in 0..200 {
        let doubled = Partial {
            events: 1,
            ..cell.partial.clone()
        };
        let next = if round == 0 { partial.clone() } else { doubled };
        let judged = cell.fits(&next);
        assert_eq!(judged, cell.clone().add(&next, &source(1, 1, 1)));
        match judged {
            Ok(()) => cell.add(&next, &source(1, 1, 1)).unwrap(),
            Err(error) => {
                assert_eq!(error, AggregateError::Overflow);
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "a sum of this size has to end somewhere");
    assert!(cell.is_conserved());
}

proptest! {
    #[test]
    fn sources_add_up_and_merging_in_any_grouping_is_the_same(
        rows in prop::collection::vec((0_u8..5, 1_u64..20, 0_u64..100, -50_i64..50), 0..40),
        cut in 0_usize..40,
    ) {
        let add = |cell: &mut Cell, (agent, seq, events, quantity): (u8, u64, u64, i64)| {
            cell.add(&sum(events, quantity), &source(agent, seq, events)).unwrap();
        };
        let mut whole = Cell::identity(AggregationKind::Sum);
        let (mut left, mut right) = (whole.clone(), whole.clone());
        for (number, row) in rows.iter().enumerate() {
            add(&mut whole, *row);
            add(if number < cut { &mut left } else { &mut right }, *row);
        }
        prop_assert!(whole.is_conserved());
        let mut other_way = right.clone();
        other_way.merge(&left).unwrap();
        left.merge(&right).unwrap();
        prop_assert_eq!(&left, &whole);
        prop_assert_eq!(&other_way, &whole);
    }
}
