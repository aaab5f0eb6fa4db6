//! The stored forms, frozen: bytes that a released program wrote must read back for ever.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use submeter_common::aggregate::Group;
use submeter_common::time::{Timestamp, Window};
use tempfile::TempDir;

use super::key::OpenKey;
use super::meta::{Deltas, Imported, Progress};
use super::record::{self, Location, Record};
use super::{Durability, LAYOUT, Store, StoreError};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_journal_record_keeps_its_form() {
    let mut body = Vec::new();
    record::push_event(&mut body, |arena| arena.extend_from_slice(b"one"));
    record::push_event(&mut body, |arena| arena.extend_from_slice(b"three"));
    let deltas = Deltas {
        duplicate: 1,
        conflict: 300,
        rejected: [("INVALID_FIELD".to_owned(), 2)].into(),
        imported: vec![Imported {
            import: "ab".to_owned(),
            from: 0,
            to: 2,
        }],
        conflicts: Vec::new(),
    };
    let bytes = record::encode(
        Timestamp::from_micros(1_700_000_000_000_000),
        2,
        &deltas,
        &body,
    );
    let expected = concat!(
        "01",
        "00401e18240a0600",
        "02000000",
        "1b000000",
        "01fb2c01010d494e56414c49445f4649454c4402",
        "01026162000200",
        "030000006f6e65",
        "050000007468726565",
    );
    assert_eq!(hex(&bytes), expected);
    let read = Record::decode(&bytes).unwrap();
    assert_eq!(
        read.accepted_at,
        Timestamp::from_micros(1_700_000_000_000_000)
    );
    assert_eq!(read.deltas, deltas);
    assert_eq!(read.events().collect::<Vec<_>>(), [&b"one"[..], b"three"]);
}

#[test]
fn a_damaged_journal_record_is_seen() {
    let mut body = Vec::new();
    record::push_event(&mut body, |arena| arena.extend_from_slice(b"one"));
    let bytes = record::encode(Timestamp::from_micros(0), 1, &Deltas::default(), &body);
    for length in 0..bytes.len() {
        assert!(Record::decode(&bytes[..length]).is_err(), "cut at {length}");
    }
    let longer = [&bytes[..], b"x"].concat();
    assert!(Record::decode(&longer).is_err());
    let mut other = bytes;
    other[0] = 2;
    assert!(
        Record::decode(&other).is_err(),
        "a version that nobody wrote"
    );
}

#[test]
fn an_open_key_keeps_its_form() {
    let key = OpenKey {
        part: 1,
        customer: "cus".to_owned(),
        meter: "mtr".to_owned(),
        window: Window::from_minute(29_000_000),
        group: Group::of([Some("eu".to_owned()), None]),
    };
    let bytes = key.encode(7).unwrap();
    assert_eq!(
        hex(&bytes),
        concat!(
            "0000000000000007",
            "0001",
            "0003637573",
            "00036d7472",
            "01ba8140",
            "020102657500",
        )
    );
    assert_eq!(OpenKey::decode(&bytes).unwrap(), key);
    assert!(OpenKey::decode(&bytes[..bytes.len() - 1]).is_err());
}

#[test]
fn the_first_progress_keeps_its_form() {
    // Cursor, receipts, then the open set's number and the records it begins with, and nothing yet of the rest: a field
    // more or less shows.
    let expected = format!("{}010101{}", "00".repeat(8), "00".repeat(48));
    assert_eq!(hex(&super::meta::encode(&Progress::new())), expected);
}

#[test]
fn a_place_in_the_journal_packs_and_unpacks() {
    let place = Location::new(123_456_789, 1_048_575);
    assert_eq!((place.record(), place.index()), (123_456_789, 1_048_575));
    assert_eq!(Location::from_u64(place.as_u64()), place);
}

#[test]
fn a_newer_layout_is_refused() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut batch = store.batch();
    batch.put_layout(LAYOUT + 1);
    store.write(batch, Durability::Synced).unwrap();
    drop(store);
    let opened = Store::open(dir.path());
    assert!(matches!(opened, Err(StoreError::NewerLayout { found }) if found == LAYOUT + 1));
}
