//! How many files the agent has open beside its connections.

use submeter_common::descriptors::Descriptors;

use crate::config::Config;
use crate::store::FILES_OPEN_MAX;

/// Beside the store's tables: its logs, a run being written, the doors, calls of the collector.
const OTHERS: u32 = 64;

/// The settings as far as this process may open files for them.
///
/// # Errors
/// When it may open too few to work at all; says how many are expected.
pub(crate) fn within(config: &Config) -> Result<Config, String> {
    let kept = Descriptors {
        store: FILES_OPEN_MAX.unsigned_abs(),
        others: OTHERS,
    };
    let served = kept.raise(config.connections_max)?;
    if let Some(shortage) = served.shortage(config.connections_max) {
        tracing::warn!("{shortage}");
    }
    Ok(Config {
        connections_max: served.connections,
        ..config.clone()
    })
}
