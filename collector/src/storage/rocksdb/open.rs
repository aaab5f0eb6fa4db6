//! Opening the store: lock, options, format version.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use ::rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType,
    DBRecoveryMode, Options, WriteOptions,
};

use super::codec;
use super::database::Family;
use super::disk;
use super::key;
use crate::storage::StorageError;

/// The format this version writes. Raised when an older version could not read what is stored.
const FORMAT_VERSION: u32 = 1;

/// Blocks that are kept decompressed in memory, over all families.
const BLOCK_CACHE_BYTES: usize = 64 * 1024 * 1024;

/// Writes that are in memory and in the log only, over all families, before they go to sorted files.
const WRITE_BUFFERS_BYTES: usize = 96 * 1024 * 1024;

/// One write buffer of `usage`, which takes nearly all writes but at a month's end, and of `documents`, which takes them then.
/// All families are written out when one's buffer is full, so that small ones would make many small files.
const LARGE_BUFFER_BYTES: usize = 32 * 1024 * 1024;

/// One write buffer of each other family.
const BUFFER_BYTES: usize = 16 * 1024 * 1024;

/// Log that a start has to replay at most (a family that is seldom written would keep it all alive).
const LOG_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Files kept open: some 64 GiB of usage. Each takes a descriptor, of which connections need theirs.
pub(crate) const FILES_OPEN_MAX: i32 = 1024;

/// Why the store did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{0} is in use by another process")]
    Locked(PathBuf),
    /// A newer version wrote it. Nothing was touched.
    #[error(
        "{path} has the format {found}, this version reads up to {supported}: use the newer version"
    )]
    NewerFormat {
        /// The store.
        path: PathBuf,
        /// The format found.
        found: u32,
        /// The newest format this version reads.
        supported: u32,
    },
    /// The directory cannot be made, or its lock not be taken.
    #[error("cannot use {path}: {error}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// RocksDB cannot open it.
    #[error("cannot open {path}: {error}")]
    Database {
        /// The store.
        path: PathBuf,
        /// What RocksDB says.
        error: ::rocksdb::Error,
    },
    /// What the store needs at its start cannot be read.
    #[error(transparent)]
    Content(#[from] StorageError),
    /// No thread could be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

impl OpenError {
    /// Says whether it will open when there is room on the disk.
    #[must_use]
    pub fn is_for_want_of_disk(&self) -> bool {
        match self {
            OpenError::Content(StorageError::DiskFull(_)) => true,
            OpenError::Database { error, .. } => disk::is_for_want_of_room(error),
            OpenError::Directory { error, .. } => matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ),
            _ => false,
        }
    }
}

/// Takes the lock of the data directory; it is held until the file is closed, by whatever end.
pub(super) fn lock(data_dir: &Path) -> Result<File, OpenError> {
    let directory = |error| OpenError::Directory {
        path: data_dir.to_owned(),
        error,
    };
    fs::create_dir_all(data_dir).map_err(directory)?;
    let file = File::create(data_dir.join("store.lock")).map_err(directory)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(data_dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(directory(error)),
    }
}

/// Opens the database and checks its format.
pub(super) fn open(data_dir: &Path) -> Result<DB, OpenError> {
    let path = data_dir.join("store");
    let database = |error| OpenError::Database {
        path: path.clone(),
        error,
    };
    let options = database_options();
    let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
    let families = families(&options, &path)
        .into_iter()
        .map(|name| ColumnFamilyDescriptor::new(&name, family_options(&name, &cache)));
    let db = DB::open_cf_descriptors(&options, &path, families).map_err(database)?;
    check_format(&db, &path)?;
    Ok(db)
}

/// Lists our families and those that are there: a newer version's store has to open before it can be
/// refused for what it is.
fn families(options: &Options, path: &Path) -> Vec<String> {
    let mut names: Vec<String> = Family::ALL
        .iter()
        .map(|family| family.name().to_owned())
        .collect();
    // A store that is not there yet has none.
    let there = DB::list_cf(options, path).unwrap_or_default();
    names.extend(
        there
            .into_iter()
            .filter(|name| Family::ALL.iter().all(|known| known.name() != name)),
    );
    names
}

fn check_format(db: &DB, path: &Path) -> Result<(), OpenError> {
    let database = |error| OpenError::Database {
        path: path.to_owned(),
        error,
    };
    let meta = Family::Meta.of(db);
    match db.get_pinned_cf(meta, key::FORMAT).map_err(database)? {
        Some(bytes) => {
            let found: u32 = codec::decode_document("format version", &bytes)?;
            if found > FORMAT_VERSION {
                let path = path.to_owned();
                return Err(OpenError::NewerFormat {
                    path,
                    found,
                    supported: FORMAT_VERSION,
                });
            }
            Ok(())
        }
        None => {
            let bytes = codec::encode_document(&FORMAT_VERSION)?;
            db.put_cf_opt(meta, key::FORMAT, bytes, &synced())
                .map_err(database)
        }
    }
}

/// A write that has returned is on stable storage.
pub(super) fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_db_write_buffer_size(WRITE_BUFFERS_BYTES);
    options.set_max_total_wal_size(LOG_BYTES_MAX);
    // A write that failed is perhaps in the log all the same. What is written out to go on without that log has to be all
    // families at one cut: after a crash in between, the log would be replayed for those that lag, and half a write be there.
    options.set_atomic_flush(true);
    // Cuts a torn tail and nothing else: damage before the tail fails the start.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_max_background_jobs(2);
    options.set_max_open_files(FILES_OPEN_MAX);
    options.set_bytes_per_sync(1024 * 1024);
    options.set_keep_log_file_num(4);
    options.set_max_log_file_size(4 * 1024 * 1024);
    options
}

fn family_options(name: &str, cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    // In parts of a few KiB. The index and the filter of a large file are a MiB each: read whole for each look-up they would
    // drive each other out of the cache.
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_metadata_block_size(4096);
    table.set_pin_top_level_index_and_filter(true);
    // Most cells a frame asks for are a new minute's: the filter answers that without a read.
    table.set_bloom_filter(10.0, false);
    table.set_format_version(5);

    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
    let is_large = [Family::Usage, Family::Documents]
        .map(Family::name)
        .contains(&name);
    options.set_write_buffer_size(if is_large {
        LARGE_BUFFER_BYTES
    } else {
        BUFFER_BYTES
    });
    options
}
