//! The dedup room over ids in memory and a stand-in for the disk.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use submeter_common::time::Timestamp;

use super::merge::{Merge, Source};
use super::plan::{self, Mark, Next};
use super::{Dedup, Entry, Filter, Fingerprint, Fingerprinter, Run, RunIds, StoredRun, block};

const HOUR: Duration = Duration::from_secs(3600);

/// Counts how often the disk is asked.
#[derive(Default)]
struct Disk {
    ids: HashMap<(u32, Fingerprint), Entry>,
    asked: std::cell::Cell<usize>,
}

impl RunIds for Disk {
    type Error = ();

    fn find(&self, run: u32, fingerprint: Fingerprint) -> Result<Option<Entry>, ()> {
        self.asked.set(self.asked.get() + 1);
        Ok(self.ids.get(&(run, fingerprint)).copied())
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

fn ids(range: std::ops::Range<u64>) -> Vec<u64> {
    range.map(|id| entry(id).fingerprint.low()).collect()
}

#[test]
fn new_ids_rarely_ask_the_disk_and_old_ones_are_always_found() {
    let start = Timestamp::from_micros(0);
    let mut disk = Disk::default();
    let mut dedup = Dedup::new(1, start, 1000, HOUR);
    for id in 0..10_000 {
        dedup.insert(entry(id));
        if let Some(full) = dedup.rotate(start) {
            let sorted: Vec<Entry> = full.sorted().collect();
            assert!(sorted.is_sorted_by_key(|entry| entry.fingerprint));
            let mut run = Run::empty(full.id, 0);
            run.ids = sorted.len() as u64;
            let low = sorted.iter().map(|entry| entry.fingerprint.low()).collect();
            run.put(0, Filter::build(low, 13));
            for entry in sorted {
                disk.ids.insert((full.id, entry.fingerprint), entry);
            }
            dedup.closed(run);
        }
    }
    assert!((0..10_000).all(|id| dedup.find(entry(id).fingerprint, &disk) == Ok(Some(entry(id)))));
    assert_eq!(dedup.ids(), 10_000);
    assert!(disk.asked.get() >= 9_000, "closed ids are looked up");
    disk.asked.set(0);
    assert!((10_000..20_000).all(|id| dedup.find(entry(id).fingerprint, &disk) == Ok(None)));
    // Ten filters, each wrong once in 8192.
    assert!(disk.asked.get() < 40, "asked {} times", disk.asked.get());
}

#[test]
fn a_generation_closes_by_age_but_not_when_empty() {
    let start = Timestamp::from_micros(0);
    let later = start.saturating_add(HOUR);
    let mut dedup = Dedup::new(1, start, 1000, 24 * HOUR);
    assert!(dedup.rotate(later).is_none());
    dedup.insert(entry(1));
    assert_eq!(dedup.rotate(later).unwrap().id, 1);
    dedup.insert(entry(2));
    let still_closing = later.saturating_add(HOUR);
    assert_eq!(dedup.rotate(still_closing).unwrap().id, 2);
    // Both are asked until they are runs.
    let disk = Disk::default();
    for id in [1, 2] {
        assert_eq!(
            dedup.find(entry(id).fingerprint, &disk),
            Ok(Some(entry(id)))
        );
    }
    assert_eq!(dedup.ids(), 2);
}

#[test]
fn filters_of_any_size_hold_their_ids_and_little_else() {
    for bits in [9, 13] {
        for count in (1..40).chain([100, 1_000, 10_000, 229_376]) {
            let held = ids(0..count);
            let filter = Filter::build(held.clone(), bits);
            assert!(held.iter().all(|id| filter.may_contain(*id)), "{count} ids");
            let strangers = ids(1_000_000..1_020_000);
            let passed = strangers.iter().filter(|id| filter.may_contain(**id));
            let expected = 20_000 >> bits;
            let passed = passed.count();
            assert!(
                passed <= expected * 2 + 12,
                "{passed} pass, {count} ids of {bits} bits"
            );
            let cells = filter.bytes() as u64 * 8 / u64::from(bits);
            let most = if count < 10_000 {
                count * 3 / 2 + 64
            } else {
                count * 125 / 100
            };
            assert!(cells <= most, "{cells} cells for {count} ids");
        }
    }
    // What a full slice costs: the promise of 1.5 bytes an id stands on it.
    let full = Filter::build(ids(0..229_376), 9);
    assert!(
        full.bytes() * 1000 / 229_376 <= 1260,
        "{} bytes",
        full.bytes()
    );
}

#[test]
fn ids_that_share_their_low_half_do_not_spoil_a_filter() {
    let mut held = ids(0..1000);
    held.extend(ids(0..10));
    let filter = Filter::build(held.clone(), 9);
    assert!(held.iter().all(|id| filter.may_contain(*id)));
    assert!(filter.bytes() > 1000, "it was solved");
}

#[test]
fn a_filter_reads_back_or_says_it_does_not() {
    let held = ids(0..500);
    let bytes = Filter::build(held.clone(), 11).to_bytes();
    let filter = Filter::from_bytes(&bytes).unwrap();
    assert!(held.iter().all(|id| filter.may_contain(*id)));
    assert!(Filter::from_bytes(&bytes[..bytes.len() - 1]).is_none());
    assert!(Filter::from_bytes(&bytes[..10]).is_none());
    let empty = Filter::build(Vec::new(), 9);
    assert_eq!(Filter::from_bytes(&empty.to_bytes()), Some(empty));
}

#[test]
fn slices_cut_the_fingerprints_without_gap_or_overlap() {
    for log2 in 0..12 {
        let fingerprint = entry(u64::from(log2)).fingerprint;
        let slice = fingerprint.slice(log2);
        assert!(Fingerprint::first_of(slice, log2).unwrap() <= fingerprint);
        assert!(fingerprint <= Fingerprint::last_of(slice, log2));
        assert_eq!(Fingerprint::first_of(1 << log2, log2), None);
        for slice in 1..1 << log2 {
            let first = Fingerprint::first_of(slice, log2).unwrap();
            assert_eq!(
                (
                    first.slice(log2),
                    Fingerprint::last_of(slice - 1, log2) < first
                ),
                (slice, true)
            );
        }
    }
}

#[test]
fn a_merge_yields_each_wanted_id_once_in_order() {
    let sorted = |range: std::ops::Range<u64>| {
        let mut entries: Vec<Entry> = range.map(entry).collect();
        entries.sort_by_key(|entry| entry.fingerprint);
        entries.into_iter().map(Ok::<_, Infallible>)
    };
    let sources = vec![
        Source {
            entries: sorted(0..100),
            first_record: 50,
        },
        Source {
            entries: sorted(90..300),
            first_record: 0,
        },
        Source {
            entries: sorted(300..301),
            first_record: 301,
        },
    ];
    let merged: Vec<Entry> = Merge::new(sources).map(Result::unwrap).collect();
    let expected: Vec<Entry> = sorted(50..300).map(Result::unwrap).collect();
    assert_eq!(merged, expected);
}

#[test]
fn a_merge_passes_an_error_on() {
    let entries = vec![Ok(entry(1)), Err("torn")].into_iter();
    let mut merge = Merge::new(vec![Source {
        entries,
        first_record: 0,
    }]);
    assert!(merge.any(|entry| entry == Err("torn")));
}

/// Runs as the compactor leaves them, merged at once.
struct Shelf {
    runs: Vec<StoredRun>,
    next: u32,
    rewritten: u64,
}

impl Shelf {
    fn add(&mut self, ids: u64, record: u64, at: Timestamp) {
        let mark = Mark { record, at };
        self.next += 1;
        self.runs.push(StoredRun {
            id: self.next,
            level: 0,
            ids,
            slices_log2: 0,
            slices_done: 1,
            inputs: Vec::new(),
            opened_at: at,
            marks: vec![mark],
        });
    }

    fn settle(&mut self, now: Timestamp, retention: Duration) {
        loop {
            match plan::next(&self.runs, now, retention) {
                Next::Rest => return,
                Next::Forget(gone) => self.runs.retain(|run| !gone.contains(&run.id)),
                Next::Continue(_) => unreachable!("merges end at once here"),
                Next::Begin { inputs, level } => self.merge(&inputs, level, now, retention),
            }
        }
    }

    fn merge(&mut self, inputs: &[u32], level: u8, now: Timestamp, retention: Duration) {
        let oldest = now.saturating_sub(retention);
        let from: Vec<&StoredRun> = self
            .runs
            .iter()
            .filter(|run| inputs.contains(&run.id))
            .collect();
        self.next += 1;
        let mut output = plan::output(self.next, level, &from, 1000, now, retention);
        // A record an id here.
        let kept = |run: &&StoredRun| {
            let first = run.first_record(oldest);
            let last = run.last_record();
            run.ids.min((last + 1).saturating_sub(first))
        };
        output.ids = from.iter().map(kept).sum();
        output.inputs.clear();
        self.rewritten += output.ids;
        self.runs.retain(|run| !inputs.contains(&run.id));
        self.runs.push(output);
        self.runs.sort_by_key(StoredRun::last_record);
    }
}

#[test]
fn runs_stay_few_and_are_rarely_rewritten() {
    let start = Timestamp::from_micros(0);
    let mut shelf = Shelf {
        runs: Vec::new(),
        next: 0,
        rewritten: 0,
    };
    let mut most = 0;
    // 436 generations of 229 376 are 10^8 ids.
    for generation in 1..=436 {
        shelf.add(1000, generation * 1000, start);
        shelf.settle(start, 24 * HOUR);
        most = most.max(shelf.runs.len());
    }
    assert!(most <= 12, "{most} runs");
    assert!(
        shelf.rewritten <= 4 * 436_000,
        "{} rewritten",
        shelf.rewritten
    );
    let slices: u32 = shelf.runs.iter().map(StoredRun::slices).sum();
    assert!(
        slices >= 436 * 8 / 10,
        "a slice holds about a generation, {slices} slices"
    );
}

#[test]
fn ids_go_soon_after_the_retention_and_never_before() {
    let retention = 24 * HOUR;
    let mut shelf = Shelf {
        runs: Vec::new(),
        next: 0,
        rewritten: 0,
    };
    let start = 1_000_000 * 3600;
    // Ten days of ten generations an hour.
    for generation in 1..=2400u64 {
        let now =
            Timestamp::from_micros(i64::try_from(start + generation * 360).unwrap() * 1_000_000);
        shelf.add(1000, generation * 1000, now);
        shelf.settle(now, retention);
        let held: u64 = shelf.runs.iter().map(|run| run.ids).sum();
        let wanted = generation.min(240) * 1000;
        assert!(
            held >= wanted,
            "{held} held, {wanted} wanted, generation {generation}"
        );
        let first = now.saturating_sub(retention + retention / 3);
        let oldest = shelf
            .runs
            .iter()
            .filter_map(|run| run.marks.first())
            .map(|mark| mark.at)
            .min();
        assert!(oldest.unwrap() >= first, "generation {generation}");
        assert!(shelf.runs.len() <= 16, "{} runs", shelf.runs.len());
        assert!(shelf.runs.iter().all(|run| run.marks.len() <= 64));
    }
    assert!(
        shelf.rewritten <= 7 * 2_400_000,
        "{} rewritten",
        shelf.rewritten
    );
}

#[test]
fn a_clock_set_back_forgets_nothing_early() {
    let hour = |hour: i64| Timestamp::from_micros(hour * 3_600_000_000);
    let mut shelf = Shelf {
        runs: Vec::new(),
        next: 0,
        rewritten: 0,
    };
    for (record, at) in [(1, 100), (2, 101), (3, 40), (4, 41)] {
        shelf.add(1, record, hour(at));
    }
    // By the clock of the last ones all is long gone; by that of the first ones nothing is.
    shelf.settle(hour(41), 24 * HOUR);
    assert_eq!(shelf.runs.iter().map(|run| run.ids).sum::<u64>(), 4);
    shelf.settle(hour(120), 24 * HOUR);
    assert_eq!(shelf.runs.iter().map(|run| run.ids).sum::<u64>(), 4);
    shelf.settle(hour(126), 24 * HOUR);
    assert!(shelf.runs.is_empty());
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
