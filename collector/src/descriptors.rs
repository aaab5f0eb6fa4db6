//! How many files the collector has open beside its connections.

use submeter_common::descriptors::Descriptors;

use crate::config::Config;
use crate::storage::rocksdb as embedded;

/// Beside the store's tables: its logs, tables being written, the door.
const OTHERS: u32 = 64;

/// The settings as far as this process may open files for them.
///
/// # Errors
/// When it may open too few to work at all; says how many are expected.
pub(crate) fn within(mut config: Config) -> Result<Config, String> {
    let kept = Descriptors {
        store: embedded::FILES_OPEN_MAX.unsigned_abs(),
        others: OTHERS,
    };
    let served = kept.raise(config.api.connections_max)?;
    if let Some(shortage) = served.shortage(config.api.connections_max) {
        tracing::warn!("{shortage}");
    }
    config.api.connections_max = served.connections;
    Ok(config)
}
