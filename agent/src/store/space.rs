//! Getting by with little disk: opening without writing more than must be, and giving room back.

use std::path::Path;

use rocksdb::{CompactOptions, FlushOptions};

use super::{Family, Store, StoreError};

/// Below this a start writes out nothing it can keep in its log.
const SCARCE_BYTES: u64 = 128 * 1024 * 1024;

/// Unwritten bytes in memory that are worth a file of their own, to let go of the logs that hold them.
const UNWRITTEN_BYTES_MAX: u64 = 1024 * 1024;

/// Says whether the disk under `path` (or under the directory it will be made in) has little room.
pub(super) fn is_scarce(path: &Path) -> bool {
    let there = path.ancestors().find(|ancestor| ancestor.exists());
    let disk = there.and_then(|directory| rustix::fs::statvfs(directory).ok());
    disk.is_some_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < SCARCE_BYTES)
}

/// Says whether a failure means that the disk, or the user's share of it, is full. RocksDB has no kind of error for it
/// that its binding shows; the text is the C library's.
pub(super) fn is_lacking(message: &str) -> bool {
    message.contains("No space left on device") || message.contains("Disk quota exceeded")
}

impl Store {
    /// Gives back to the disk at once what the next compactions would: the room of deleted journal records and frames
    /// (up to these) and of the open sets before this one, and the logs that families pin which are seldom written out.
    pub(crate) fn give_back(
        &self,
        records: Option<u64>,
        frames: Option<u64>,
        open_set: u64,
    ) -> Result<(), StoreError> {
        if self.unwritten_bytes()? > UNWRITTEN_BYTES_MAX || records.is_some() || frames.is_some() {
            let families = Family::ALL.map(|family| self.family(family));
            let mut options = FlushOptions::default();
            options.set_wait(true);
            self.db.flush_cfs_opt(&families, &options)?;
        }
        if let Some(last) = records {
            let end = last.to_be_bytes();
            self.compact(Family::Journal, &0u64.to_be_bytes(), &end);
        }
        for (first, last) in frames.map(Self::frame_ranges).into_iter().flatten() {
            self.compact(Family::Outbox, &first, &last);
        }
        // Nothing comes in while the disk is short, so no compaction would come by itself either.
        self.compact(Family::Open, &0u64.to_be_bytes(), &open_set.to_be_bytes());
        Ok(())
    }

    /// Bytes that the open set takes up, what was overwritten and is not compacted yet included.
    pub(crate) fn open_bytes(&self) -> Result<u64, StoreError> {
        let files = self.number(Family::Open, "rocksdb.live-sst-files-size")?;
        Ok(files + self.number(Family::Open, "rocksdb.cur-size-active-mem-table")?)
    }

    fn unwritten_bytes(&self) -> Result<u64, StoreError> {
        let mut bytes = 0;
        for family in Family::ALL {
            bytes += self.number(family, "rocksdb.cur-size-active-mem-table")?;
        }
        Ok(bytes)
    }

    fn number(&self, family: Family, property: &str) -> Result<u64, StoreError> {
        let family = self.family(family);
        Ok(self
            .db
            .property_int_value_cf(family, property)?
            .unwrap_or(0))
    }

    fn compact(&self, family: Family, first: &[u8], last: &[u8]) {
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        self.db
            .compact_range_cf_opt(self.family(family), Some(first), Some(last), &options);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use submeter_common::aggregate::{Group, Partial};
    use submeter_common::meter::AggregationKind;
    use submeter_common::time::Window;
    use tempfile::TempDir;

    use super::*;
    use crate::store::Durability;
    use crate::store::key::OpenKey;

    #[test]
    fn what_a_sealed_open_set_took_is_given_back_at_once() {
        let dir = TempDir::new().unwrap();
        let store = Store::open(dir.path()).unwrap();
        fill_open_set(&store, 7);
        store.give_back(None, None, 7).unwrap();
        let open = store.open_bytes().unwrap();
        assert!(open > UNWRITTEN_BYTES_MAX, "{open}");

        let mut batch = store.batch();
        batch.delete_open_set(7);
        store.write(batch, Durability::Synced).unwrap();
        store.give_back(None, None, 8).unwrap();
        let left = store.open_bytes().unwrap();
        assert!(left < open / 10, "{left} of {open} bytes");
    }

    /// Partials of some MiB that no compression makes small.
    fn fill_open_set(store: &Store, set: u64) {
        let mut random = fastrand::Rng::with_seed(1);
        let mut batch = store.batch();
        for minute in 0..10_000 {
            let name = std::iter::repeat_with(|| random.alphanumeric()).take(400);
            let key = OpenKey {
                part: 0,
                customer: "cus".to_owned(),
                meter: "mtr".to_owned(),
                window: Window::from_minute(minute),
                group: Group::of([Some(name.collect())]),
            };
            let partial = Partial::identity(AggregationKind::Count);
            batch.put_open(set, &key, &partial).unwrap();
        }
        store.write(batch, Durability::Synced).unwrap();
    }
}
