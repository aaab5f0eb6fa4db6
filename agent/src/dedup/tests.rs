//! The dedup room over ids in memory and a stand-in for the disk.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::HashMap;
use std::time::Duration;

use submeter_common::time::Timestamp;

use super::{ClosedIds, Dedup, Entry, Filter, Fingerprint, Fingerprinter, block};

/// Counts how often the disk is asked.
#[derive(Default)]
struct Disk {
    ids: HashMap<(u32, Fingerprint), Entry>,
    asked: std::cell::Cell<usize>,
}

impl ClosedIds for Disk {
    type Error = ();

    fn find(&self, generation: u32, fingerprint: Fingerprint) -> Result<Option<Entry>, ()> {
        self.asked.set(self.asked.get() + 1);
        Ok(self.ids.get(&(generation, fingerprint)).copied())
    }
}

fn entry(id: u64) -> Entry {
    let fingerprint = Fingerprinter::new(&[7; 16]).id(&format!("evt_{id}"));
    Entry {
        fingerprint,
        payload: id,
        location: id << 20,
    }
}

#[test]
fn new_ids_rarely_ask_the_disk_and_old_ones_are_always_found() {
    let start = Timestamp::from_micros(0);
    let mut disk = Disk::default();
    let mut dedup = Dedup::new(1, start, 1000, Duration::from_secs(3600));
    for id in 0..10_000 {
        dedup.insert(entry(id));
        if let Some(full) = dedup.rotate(start) {
            let sorted = full.sorted();
            disk.ids.extend(
                sorted
                    .iter()
                    .map(|entry| ((full.id, entry.fingerprint), *entry)),
            );
            dedup.closed(full.id, Filter::build(&sorted));
        }
    }
    assert!((0..10_000).all(|id| dedup.find(entry(id).fingerprint, &disk) == Ok(Some(entry(id)))));
    assert_eq!(dedup.ids(), 10_000);
    disk.asked.set(0);
    assert!((10_000..20_000).all(|id| dedup.find(entry(id).fingerprint, &disk) == Ok(None)));
    // Ten filters, each wrong once in 256.
    assert!(disk.asked.get() < 800, "asked {} times", disk.asked.get());
    // Filters of nine bits an id, and the map of the open generation, made large enough at once.
    assert!(dedup.bytes() < 90_000, "{} bytes", dedup.bytes());
}

#[test]
fn a_generation_closes_by_age_but_not_when_empty() {
    let start = Timestamp::from_micros(0);
    let later = start.saturating_add(Duration::from_secs(3600));
    let mut dedup = Dedup::new(1, start, 1000, Duration::from_secs(24 * 3600));
    assert!(dedup.rotate(later).is_none());
    dedup.insert(entry(1));
    assert_eq!(dedup.rotate(later).unwrap().id, 1);
    dedup.insert(entry(2));
    let still_closing = later.saturating_add(Duration::from_secs(3600));
    assert!(
        dedup.rotate(still_closing).is_none(),
        "one closes at a time"
    );
}

#[test]
fn a_filter_reads_back_or_says_it_does_not() {
    let entries: Vec<Entry> = (0..500).map(entry).collect();
    let bytes = Filter::build(&entries).to_bytes();
    let filter = Filter::from_bytes(&bytes).unwrap();
    assert!(
        entries
            .iter()
            .all(|entry| filter.may_contain(entry.fingerprint))
    );
    assert!(Filter::from_bytes(&bytes[..bytes.len() - 1]).is_none());
    assert!(Filter::from_bytes(&bytes[..10]).is_none());
    let empty = Filter::build(&[]);
    assert!(Filter::from_bytes(&empty.to_bytes()).is_none_or(|filter| filter.bytes() < 100));
}

#[test]
fn filters_of_few_ids_hold_them() {
    for count in 1..40 {
        let entries: Vec<Entry> = (0..count).map(entry).collect();
        let filter = Filter::build(&entries);
        assert!(
            entries
                .iter()
                .all(|entry| filter.may_contain(entry.fingerprint)),
            "{count} ids"
        );
    }
}

#[test]
fn a_block_finds_what_it_holds() {
    let mut entries: Vec<Entry> = (0..128).map(entry).collect();
    entries.sort_by_key(|entry| entry.fingerprint);
    let bytes = block::encode(&entries);
    assert_eq!(bytes.len(), 4096);
    assert_eq!(block::decode(&bytes).unwrap(), entries);
    assert!(
        entries
            .iter()
            .all(|e| block::find(&bytes, e.fingerprint) == Some(Some(*e)))
    );
    assert_eq!(block::find(&bytes, entry(500).fingerprint), Some(None));
    assert_eq!(block::find(&bytes[1..], entry(1).fingerprint), None);
}
