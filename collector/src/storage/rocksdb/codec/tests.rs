//! What is stored today has to be read for ever: the bytes are written down here.
#![allow(clippy::unwrap_used)]

use submeter_common::aggregate::{Group, LastValue, Partial, State, UniqueSet};
use submeter_common::id::AgentId;
use submeter_common::quantity::Quantity;
use submeter_common::time::Timestamp;
use uuid::Uuid;

use super::{
    decode_cell, decode_document, decode_group, encode_cell, encode_document, encode_group,
};
use crate::storage::StorageError;
use crate::usage::{Cell, Source};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn cell(events: u64, state: State) -> Cell {
    let agent_id = AgentId::new(Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10));
    let sources = vec![Source {
        agent_id,
        first_seq: 3,
        last_seq: 300,
        events,
    }];
    Cell {
        partial: Partial {
            events,
            non_numeric: 1,
            state,
        },
        sources,
    }
}

fn check(cell: &Cell, golden: &str) {
    let mut bytes = Vec::new();
    encode_cell(cell, &mut bytes).unwrap();
    assert_eq!(hex(&bytes), golden);
    assert_eq!(&decode_cell(&bytes).unwrap(), cell);
}

#[test]
fn cells_have_their_golden_bytes() {
    let number = |text| Quantity::parse(text).unwrap();
    let last = LastValue {
        at: Timestamp::from_micros(1),
        event_id: "evt".to_owned(),
        value: number("7"),
    };
    check(&cell(5, State::Count), "GOLDEN_COUNT");
    check(&cell(5, State::Sum(number("-12.5"))), "GOLDEN_SUM");
    check(&cell(5, State::Max(Some(number("1000")))), "GOLDEN_MAX");
    check(&cell(5, State::Min(None)), "GOLDEN_MIN");
    check(&cell(5, State::Last(Some(last))), "GOLDEN_LAST");
    check(
        &cell(5, State::Unique(UniqueSet::default())),
        "GOLDEN_UNIQUE",
    );
}

#[test]
fn groups_have_their_golden_bytes() {
    let regions = Group::of([Some("eu".to_owned()), None]);
    for (group, golden) in [
        (Group::none(), "GOLDEN_NONE"),
        (regions, "GOLDEN_GROUP"),
        (Group::other(), "GOLDEN_OTHER"),
    ] {
        let bytes = encode_group(&group).unwrap();
        assert_eq!(hex(&bytes), golden);
        assert_eq!(decode_group(&bytes).unwrap(), group);
    }
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
    encode_cell(&cell(5, State::Count), &mut bytes).unwrap();
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
