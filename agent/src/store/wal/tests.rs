//! The log as RocksDB really writes it.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::io;
use std::path::PathBuf;

use tempfile::TempDir;

use super::{Operation, WalScan, log_files, scan};
use crate::store::{Durability, Family, Store, directory};

/// A database that was killed with `records` journal records in its log.
fn killed(records: u64) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let store = Store::open(&dir.path().join("state")).unwrap();
    for record in 1..=records {
        let mut batch = store.batch();
        batch.put_record(
            record,
            &vec![7; 5000 + usize::try_from(record).unwrap() * 13],
        );
        store.write(batch, Durability::Synced).unwrap();
    }
    // A copy while it is open is what a kill leaves.
    let copy = dir.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(directory::database(&dir.path().join("state"))).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    (dir, copy)
}

fn records(database: &std::path::Path) -> (WalScan, Vec<u64>) {
    let mut found = Vec::new();
    let scan = scan(database, |batch, _| {
        for operation in batch.operations() {
            if let Operation::Put(Family::Journal, key, _) = operation {
                found.push(crate::store::key::trailing_u64(key).unwrap());
            }
        }
        Ok::<_, io::Error>(())
    });
    (scan.unwrap(), found)
}

#[test]
fn every_batch_of_a_real_log_reads() {
    let (_dir, database) = killed(40);
    let (scan, found) = records(&database);
    assert_eq!(found, (1..=40).collect::<Vec<_>>());
    assert_eq!(scan.breaks, []);
    assert_eq!(scan.torn, None);
    assert_eq!(scan.last_record, Some(40));
}

#[test]
fn families_are_numbered_as_they_are_listed() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for family in Family::ALL {
        let mut batch = store.batch();
        batch.put(family, family.name().as_bytes(), b"");
        batch.delete(family, b"x");
        batch.delete_range(family, b"x", b"y");
        store.write(batch, Durability::Synced).unwrap();
    }
    let mut found = Vec::new();
    let scanned = scan(&directory::database(dir.path()), |batch, _| {
        for operation in batch.operations() {
            match operation {
                Operation::Put(family, key, _) if key == family.name().as_bytes() => {
                    found.push(family);
                }
                Operation::Put(_, key, _) => assert_eq!(key, b"layout"),
                Operation::Delete(family, key) => {
                    assert_eq!((family, key), (*found.last().unwrap(), &b"x"[..]));
                }
                Operation::DeleteRange(family, from, to) => assert_eq!(
                    (family, from, to),
                    (*found.last().unwrap(), &b"x"[..], &b"y"[..])
                ),
            }
        }
        Ok::<_, io::Error>(())
    });
    assert_eq!(scanned.unwrap().breaks, []);
    assert_eq!(found, Family::ALL);
}

#[test]
fn a_flip_anywhere_costs_one_write_and_is_seen() {
    let (_dir, database) = killed(40);
    let (_, path) = log_files(&database).unwrap().pop().unwrap();
    let whole = std::fs::read(&path).unwrap();
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..300 {
        let at = random.usize(..whole.len());
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << random.u8(..8);
        std::fs::write(&path, &bytes).unwrap();
        let (scan, found) = records(&database);
        let lost: Vec<u64> = (1..=40).filter(|record| !found.contains(record)).collect();
        assert!(lost.len() <= 1, "at {at}: {lost:?}");
        match lost.first() {
            Some(40) => assert!(scan.torn.is_some() && scan.breaks.is_empty(), "at {at}"),
            Some(_) => assert_eq!(scan.breaks.len(), 1, "at {at}"),
            // The log's first write is the layout's number; a block's padding says nothing.
            None => assert!(scan.breaks.len() <= 1, "at {at}"),
        }
    }
}

#[test]
fn a_cut_tail_is_torn_and_no_break() {
    let (_dir, database) = killed(10);
    let (_, path) = log_files(&database).unwrap().pop().unwrap();
    let whole = std::fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(997) {
        std::fs::write(&path, &whole[..length]).unwrap();
        let (scan, found) = records(&database);
        assert_eq!(scan.breaks, [], "cut at {length}");
        assert_eq!(found, (1..=found.len() as u64).collect::<Vec<_>>());
    }
}
