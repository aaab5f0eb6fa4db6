//! How RocksDB is set up: small memory, one log for all families, fast sequential journal.

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType,
    DBRecoveryMode, LogLevel, Options,
};

use super::Family;

const MIB: usize = 1024 * 1024;

/// The journal's memtable: one is being filled while the other is written out.
const JOURNAL_BUFFER_BYTES: usize = 4 * MIB;
/// Every other family writes little.
const OTHER_BUFFER_BYTES: usize = 2 * MIB;
/// Memtables of one family: one is filled while the other is written out.
const BUFFERS_MAX: i32 = 2;
/// Blocks of closed dedup generations and of the journal that were read lately.
const CACHE_BYTES: usize = 4 * MIB;
/// Families that rarely fill their memtable pin old log files; past this the oldest is written out.
const LOG_BYTES_MAX: u64 = 96 * MIB as u64;
/// Finished log files kept for writing over: overwriting needs no new disk blocks, so the fsync is one write
/// instead of two. Half as fast without.
const LOGS_RECYCLED: usize = 2;

/// Files kept open. The journal at its default budget is some 128 of them and 10^8 dedup ids some 60: a look-up of an id
/// that must open its file first takes ten times as long.
pub(crate) const FILES_OPEN_MAX: i32 = 320;

/// The options of the whole database.
pub(super) fn database() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_max_background_jobs(2);
    options.set_max_total_wal_size(LOG_BYTES_MAX);
    options.set_recycle_log_file_num(LOGS_RECYCLED);
    // A torn tail is cut at the last whole write; it was not acknowledged.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_max_open_files(FILES_OPEN_MAX);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(MIB);
    options.set_bytes_per_sync(MIB as u64);
    options
}

/// The same for a disk with little room: what the log holds is not written out at the start, but when it must be, and no
/// room is taken ahead (4 MiB for the list of files alone, else).
pub(super) fn frugal_database() -> Result<Options, rocksdb::Error> {
    database().get_options_from_string("avoid_flush_during_recovery=true; allow_fallocate=false")
}

/// The options of a database that is only looked at: nothing on the disk changes.
pub(super) fn read_only() -> Options {
    let mut options = database();
    options.create_if_missing(false);
    options.create_missing_column_families(false);
    // No place for a log of RocksDB's own doings, so that it keeps none.
    options.set_db_log_dir("/dev/null");
    options
}

/// The blocks that all families share in memory.
pub(super) fn cache() -> Cache {
    Cache::new_lru_cache(CACHE_BYTES)
}

/// The options of one family.
pub(super) fn family(family: Family, cache: &Cache) -> ColumnFamilyDescriptor {
    let mut options = Options::default();
    options.set_write_buffer_size(match family {
        Family::Journal => JOURNAL_BUFFER_BYTES,
        _ => OTHER_BUFFER_BYTES,
    });
    options.set_max_write_buffer_number(BUFFERS_MAX);
    options.set_compression_type(match family {
        // Fingerprints and frames do not compress.
        Family::Dedup | Family::Outbox => DBCompressionType::None,
        _ => DBCompressionType::Lz4,
    });
    let mut table = table(family);
    table.set_block_cache(cache);
    options.set_block_based_table_factory(&table);
    ColumnFamilyDescriptor::new(family.name(), options)
}

/// The options of files that are written whole and then taken into the family of dedup runs.
pub(super) fn ingested() -> Options {
    let mut options = Options::default();
    options.set_compression_type(DBCompressionType::None);
    options.set_block_based_table_factory(&table(Family::Dedup));
    options
}

fn table(family: Family) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_format_version(5);
    if family == Family::Dedup {
        // 10^8 ids are 780 000 blocks: their index comes through the cache in parts, too, instead of lying in memory.
        table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        table.set_cache_index_and_filter_blocks(true);
    }
    table
}
