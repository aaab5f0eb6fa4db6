//! Keys sort as what they name does, say what they hold, and never change.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use submeter_common::id::{AgentId, CustomerId, MeterId};
use submeter_common::time::Timestamp;
use uuid::Uuid;

use super::{CellSuffix, Index, Key, Kind, behind};
use crate::id::SubscriptionId;
use crate::usage::Level;

fn customer(text: &str) -> CustomerId {
    CustomerId::new(text).unwrap()
}

fn meter(text: &str) -> MeterId {
    MeterId::new(text).unwrap()
}

#[test]
fn keys_have_their_golden_bytes() {
    assert_eq!(Key::of_document(Kind::Customer, "cus_1"), b"\x04cus_1");
    assert_eq!(
        Key::of_numbered(Kind::Audit, 258),
        b"\x0b\0\0\0\0\0\0\x01\x02"
    );
    let agent = AgentId::new(Uuid::from_u128(7));
    assert_eq!(
        Key::of_agent(agent),
        b"\x09\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x07"
    );
    assert_eq!(
        Key::of_frame(agent, 1),
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x01"
    );
    let due = Key::due(
        None,
        Timestamp::from_micros(1),
        &SubscriptionId::from_text("sub_1"),
    );
    assert_eq!(due, b"\x06\0\0\x80\0\0\0\0\0\0\x01sub_1");
    let in_use = Key::meter_in_use(&customer("c"), &meter("m")).last(b"sub_1");
    assert_eq!(in_use, b"\x05\0\x01c\0\x01msub_1");
    let order = Key::of_index(Index::InvoicesOfCustomer).text("c").order(2);
    assert_eq!(order, b"\x08\0\x01c\0\0\0\0\0\0\0\x02");
    let cell = Key::of_meter(&customer("acme"), &meter("mtr"))
        .window(Level::Hour, 60)
        .last(b"g");
    assert_eq!(
        cell.first(),
        Some(&crate::storage::shard::shard_of(&customer("acme")))
    );
    assert_eq!(&cell[1..], b"\0\x04acme\0\x03mtr\x01\x80\0\0\x3cg");
}

#[test]
fn the_bound_behind_a_prefix_is_behind_all_that_begin_with_it() {
    assert_eq!(behind(b"ab"), Some(b"ac".to_vec()));
    assert_eq!(behind(b"a\xff\xff"), Some(b"b".to_vec()));
    assert_eq!(behind(b"\xff"), None);
}

proptest! {
    #[test]
    fn the_end_of_a_cells_key_can_be_read_back(minute: i32, level in 0_usize..3, group: Vec<u8>, name in "[a-z]{1,20}") {
        let level = Level::ALL[level];
        let prefix = Key::of_meter(&customer(&name), &meter("mtr_1"));
        let length = prefix.as_bytes().len();
        let key = prefix.window(level, minute).last(&group);
        prop_assert_eq!(CellSuffix::decode(&key[length..]), Some(CellSuffix { level, minute, group: &group }));
    }

    #[test]
    fn windows_sort_by_time(one: i32, other: i32) {
        let key = |minute| Key::of_meter(&customer("c"), &meter("m")).window(Level::Day, minute).into_bytes();
        prop_assert_eq!(key(one).cmp(&key(other)), one.cmp(&other));
    }

    #[test]
    fn what_is_due_sorts_by_time(one: i64, other: i64) {
        let key = |micros| Key::due(None, Timestamp::from_micros(micros), &SubscriptionId::from_text(""));
        prop_assert_eq!(key(one).cmp(&key(other)), one.cmp(&other));
    }

    #[test]
    fn no_customers_keys_begin_with_anothers(one in "[ab]{1,4}", other in "[ab]{1,4}") {
        prop_assume!(one != other);
        let key = |name: &str| Key::of_index(Index::InvoicesOfCustomer).text(name).into_bytes();
        prop_assert!(!key(&one).starts_with(&key(&other)));
    }
}
