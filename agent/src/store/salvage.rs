//! Reading what still reads of a damaged database, without changing it.
//!
//! Two views are had of the tables. *As it is*: the database opened read-only with its own list of files, so that newer
//! values hide older ones; a block that does not read is stepped over. *Repaired*: the tables alone, linked into a place
//! of their own, with a list of files made anew by RocksDB. It leaves out whole tables for one bad block, and may bring
//! back what was deleted, so it serves only where the first view has nothing to say.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rocksdb::{ColumnFamilyDescriptor, DB, DBRawIterator, ReadOptions};

use super::{Family, StoreError, options};

/// Bytes of a key that are counted with when a way around a bad block is looked for.
const STEP_BYTES: usize = 24;
const STEP_BITS: usize = STEP_BYTES * 8;

/// A view of the damaged database.
pub(super) struct View {
    db: DB,
    families: Vec<String>,
}

/// How much of a family did read.
#[derive(Default, Debug)]
pub(super) struct Reading {
    pub(super) entries: u64,
    /// Stretches of keys that do not read.
    pub(super) gaps: u64,
    pub(super) problem: Option<String>,
}

impl View {
    /// The database with its own list of files, up to the first break of its log.
    pub(super) fn as_it_is(database: &Path) -> Result<Self, StoreError> {
        Self::open(database)
    }

    /// Its tables, with a list of files made anew in `scratch`.
    pub(super) fn repaired(database: &Path, scratch: &Path) -> Result<Self, StoreError> {
        let place = scratch.join("repaired");
        link_tables(database, &place)
            .map_err(|error| StoreError::Failed(format!("{}: {error}", place.display())))?;
        DB::repair(&options::database(), &place)?;
        Self::open(&place)
    }

    fn open(database: &Path) -> Result<Self, StoreError> {
        let mut database_options = options::read_only();
        // One table that cannot be opened must not hide the others.
        database_options.set_paranoid_checks(false);
        let families = DB::list_cf(&database_options, database)?;
        let cache = options::cache();
        let descriptors: Vec<ColumnFamilyDescriptor> = families
            .iter()
            .map(|name| match Family::named(name) {
                Some(family) => options::family(family, &cache),
                None => ColumnFamilyDescriptor::new(name, rocksdb::Options::default()),
            })
            .collect();
        let db =
            DB::open_cf_descriptors_read_only(&database_options, database, descriptors, false)?;
        Ok(Self { db, families })
    }

    /// Hands over everything of a family that reads, in key order.
    pub(super) fn read(
        &self,
        family: Family,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<Reading, StoreError> {
        let mut reading = Reading::default();
        if !self.families.iter().any(|name| name == family.name()) {
            return Ok(reading);
        }
        let mut walk = self.iterate(family);
        walk.seek_to_first();
        let mut last: Option<Vec<u8>> = None;
        loop {
            while let (true, Some(key), Some(value)) = (walk.valid(), walk.key(), walk.value()) {
                visit(key, value)?;
                reading.entries += 1;
                match &mut last {
                    Some(last) => {
                        last.clear();
                        last.extend_from_slice(key);
                    }
                    None => last = Some(key.to_vec()),
                }
                walk.next();
            }
            let Err(error) = walk.status() else {
                return Ok(reading);
            };
            reading.gaps += 1;
            reading.problem.get_or_insert(error.into_string());
            let Some(next) = self.around(family, last.as_deref().unwrap_or_default()) else {
                return Ok(reading);
            };
            walk = self.iterate(family);
            walk.seek(&next);
            last = Some(next);
        }
    }

    fn iterate(&self, family: Family) -> DBRawIterator<'_> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        let handle = self
            .db
            .cf_handle(family.name())
            .expect("the family is among those that were opened");
        self.db.raw_iterator_cf_opt(handle, options)
    }

    /// The first key behind a stretch that does not read, which begins behind `last`: steps that double until one lands
    /// on something that reads, then halves between.
    fn around(&self, family: Family, last: &[u8]) -> Option<Vec<u8>> {
        let start = number(last);
        let reads = |at: &[u8; STEP_BYTES]| {
            let mut walk = self.iterate(family);
            walk.seek(at);
            walk.status()
                .is_ok()
                .then(|| walk.key().map(<[u8]>::to_vec))
        };
        let mut bad = start;
        let (mut good, mut bit) = (None, 0);
        while bit < STEP_BITS {
            let Some(at) = plus(start, bit) else { break };
            if reads(&at).is_some() {
                good = Some(at);
                break;
            }
            bad = at;
            bit += 1;
        }
        let mut good = good?;
        // Between `bad` and `good` lie fewer than 2^bit keys.
        while bit > 0 {
            bit -= 1;
            let Some(middle) = plus(bad, bit).filter(|middle| *middle < good) else {
                continue;
            };
            if reads(&middle).is_some() {
                good = middle;
            } else {
                bad = middle;
            }
        }
        reads(&good).flatten()
    }
}

fn number(key: &[u8]) -> [u8; STEP_BYTES] {
    let mut number = [0; STEP_BYTES];
    let length = key.len().min(STEP_BYTES);
    number[..length].copy_from_slice(&key[..length]);
    number
}

/// Adds 2^bit; none past the greatest key.
fn plus(mut number: [u8; STEP_BYTES], bit: usize) -> Option<[u8; STEP_BYTES]> {
    let mut carry = 1u16 << (bit % 8);
    for byte in number[..STEP_BYTES - bit / 8].iter_mut().rev() {
        let sum = u16::from(*byte) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
        if carry == 0 {
            return Some(number);
        }
    }
    None
}

fn link_tables(database: &Path, place: &Path) -> io::Result<()> {
    fs::create_dir_all(place)?;
    for entry in fs::read_dir(database)? {
        let path: PathBuf = entry?.path();
        let is_table = path.extension().is_some_and(|extension| extension == "sst");
        if let (true, Some(name)) = (is_table, path.file_name()) {
            let linked = place.join(name);
            // A table never changes once it is written.
            if fs::hard_link(&path, &linked).is_err() {
                fs::copy(&path, &linked)?;
            }
        }
    }
    Ok(())
}
