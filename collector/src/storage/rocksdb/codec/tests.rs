//! What is stored today has to be read for ever: the bytes are written down here.
#![allow(clippy::unwrap_used)]

use submeter_common::aggregate::{Group, LastValue, Partial, State, UniqueSet};
use submeter_common::quantity::Quantity;
use submeter_common::time::Timestamp;

use super::super::roster::{AgentNumber, StoredCell};
use super::{
    decode_cell, decode_document, decode_group, encode_cell, encode_document, encode_group,
};
use crate::storage::StorageError;
use crate::usage::{Cell, Source};

const GOLDEN_CELLS: [&str; 6] = [
    "010501000200000001fb2c0103fb2c0104",
    "01050101817d0200000001fb2c0103fb2c0104",
    "010501020100e8070200000001fb2c0103fb2c0104",
    "01050103000200000001fb2c0103fb2c0104",
    "0105010401020365767400070200000001fb2c0103fb2c0104",
    "01050105000200000001fb2c0103fb2c0104",
];

const GOLDEN_GROUPS: [&str; 3] = ["00", "020102657500", "ff"];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn cell(state: State) -> StoredCell {
    let source = |agent, first_seq, last_seq, events| Source {
        agent_id: AgentNumber(agent),
        first_seq,
        last_seq,
        events,
    };
    let sources = vec![source(0, 0, 0, 1), source(300, 3, 303, 4)];
    Cell {
        partial: Partial {
            events: 5,
            non_numeric: 1,
            state,
        },
        sources,
    }
}

#[test]
fn cells_have_their_golden_bytes() {
    let number = |text| Quantity::parse(text).unwrap();
    let last = LastValue {
        at: Timestamp::from_micros(1),
        event_id: "evt".to_owned(),
        value: number("7"),
    };
    let states = [
        State::Count,
        State::Sum(number("-12.5")),
        State::Max(Some(number("1000"))),
        State::Min(None),
        State::Last(Some(last)),
        State::Unique(UniqueSet::default()),
    ];
    let mut found = Vec::new();
    for state in states {
        let cell = cell(state);
        let mut bytes = Vec::new();
        encode_cell(&cell, &mut bytes).unwrap();
        assert_eq!(decode_cell(&bytes).unwrap(), cell);
        found.push(hex(&bytes));
    }
    assert_eq!(found, GOLDEN_CELLS);
}

#[test]
fn groups_have_their_golden_bytes() {
    let regions = Group::of([Some("eu".to_owned()), None]);
    let mut found = Vec::new();
    for group in [Group::none(), regions, Group::other()] {
        let bytes = encode_group(&group).unwrap();
        assert_eq!(decode_group(&bytes).unwrap(), group);
        found.push(hex(&bytes));
    }
    assert_eq!(found, GOLDEN_GROUPS);
}

#[test]
fn documents_are_a_version_and_json() {
    assert_eq!(encode_document(&["a"]).unwrap(), b"\x01[\"a\"]");
    assert_eq!(
        decode_document::<Vec<String>>("list", b"\x01[\"a\"]").unwrap(),
        ["a"]
    );
}

#[test]
fn damage_is_told_and_never_guessed_at() {
    let mut bytes = Vec::new();
    encode_cell(&cell(State::Count), &mut bytes).unwrap();
    let mut newer = bytes.clone();
    newer[0] = 2;
    let mut longer = bytes.clone();
    longer.push(0);
    for damaged in [&[][..], &bytes[..bytes.len() - 1], &newer, &longer] {
        assert!(
            matches!(decode_cell(damaged), Err(StorageError::Corrupt { .. })),
            "{damaged:?}"
        );
    }
    for damaged in [&b""[..], b"\x02[]", b"\x01[", b"\x01{}"] {
        assert!(
            decode_document::<Vec<String>>("list", damaged).is_err(),
            "{damaged:?}"
        );
    }
    assert!(decode_group(b"\x07").is_err());
}
