//! How many files the process may have open: each connection is one, and so is each file of the store.
//!
//! The soft limit is often 1024 for the sake of programs that use `select`; the hard one is what the machine allows. An
//! agent that ran out of descriptors could take no connection, and its store could open no file, which would end it. So
//! the limit is raised at the start, and where even the hard one is too low fewer connections are served at once.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;
use crate::store::FILES_OPEN_MAX;

/// Beside the connections and the store's tables: its logs, a run being written, the doors, calls of the collector.
const OTHER_FILES: u64 = 64;

/// An agent that serves fewer connections at once is of no use.
const CONNECTIONS_LEAST: u64 = 16;

/// The settings as far as this process may open files for them.
///
/// # Errors
/// When it may open too few to work at all; says how many are expected.
pub(crate) fn within(config: &Config) -> Result<Config, String> {
    let allowed = raise();
    let mut config = config.clone();
    let wanted = config.connections_max;
    config.connections_max = connections(wanted, allowed)?;
    if config.connections_max < wanted {
        tracing::warn!(
            allowed,
            connections_max = wanted,
            served = config.connections_max,
            "this process may open fewer files than connections_max needs: fewer connections are served at once; raise its limit (LimitNOFILE=, ulimit -Hn)"
        );
    }
    Ok(config)
}

/// Raises the soft limit to the hard one. Returns how many files may be open.
fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if limit.current == limit.maximum || setrlimit(Resource::Nofile, raised).is_ok() {
        return raised.current.unwrap_or(u64::MAX);
    }
    limit.current.unwrap_or(u64::MAX)
}

fn connections(wanted: usize, allowed: u64) -> Result<usize, String> {
    let kept = FILES_OPEN_MAX.unsigned_abs().into();
    let left = allowed.saturating_sub(kept).saturating_sub(OTHER_FILES);
    if left < CONNECTIONS_LEAST {
        return Err(format!(
            "connections_max: this process may open {allowed} files, expected at least {} ({kept} for the store, {OTHER_FILES} others, {CONNECTIONS_LEAST} connections): raise its limit (LimitNOFILE=, ulimit -Hn)",
            kept + OTHER_FILES + CONNECTIONS_LEAST
        ));
    }
    Ok(usize::try_from(left).map_or(wanted, |left| left.min(wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_get_what_the_store_leaves() {
        for (allowed, expected) in [
            (1_048_576, Ok(1024)),
            (1408, Ok(1024)),
            (1407, Ok(1023)),
            (400, Ok(16)),
            (399, Err(())),
            (0, Err(())),
        ] {
            let found = connections(1024, allowed).map_err(|_| ());
            assert_eq!(found, expected, "{allowed}");
        }
    }
}
