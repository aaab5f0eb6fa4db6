//! How many files a process may have open: each connection is one, and so is each file of its store.
//!
//! The soft limit is often 1024 for the sake of programs that use `select`; the hard one is what the machine allows. A
//! process that ran out of descriptors could take no connection, and its store could open no file, which would end it. So
//! the limit is raised at the start, and where even the hard one is too low fewer connections are served at once.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A process that serves fewer connections at once is of no use.
const CONNECTIONS_LEAST: u64 = 16;

/// What a process keeps open beside its connections.
#[derive(Debug, Clone, Copy)]
pub struct Descriptors {
    /// Tables of its store.
    pub store: u32,
    /// Everything else.
    pub others: u32,
}

/// What that leaves for connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Connections that are served at once.
    pub connections: usize,
    /// Files that the process may open.
    pub allowed: u64,
}

impl Descriptors {
    /// Raises the soft limit to the hard one, and says how many of the `wanted` connections can be served.
    ///
    /// # Errors
    /// When the process may open too few files to work at all; says how many are expected.
    pub fn raise(self, wanted: usize) -> Result<Served, String> {
        self.serve(wanted, raise())
    }

    fn serve(self, wanted: usize, allowed: u64) -> Result<Served, String> {
        let Self { store, others } = self;
        let kept = u64::from(store) + u64::from(others);
        let left = allowed.saturating_sub(kept);
        if left < CONNECTIONS_LEAST {
            return Err(format!(
                "connections_max: this process may open {allowed} files, expected at least {} ({store} for the store, {others} others, {CONNECTIONS_LEAST} connections): raise its limit (LimitNOFILE=, ulimit -Hn)",
                kept + CONNECTIONS_LEAST
            ));
        }
        let connections = usize::try_from(left).map_or(wanted, |left| left.min(wanted));
        Ok(Served {
            connections,
            allowed,
        })
    }
}

impl Served {
    /// What an operator should know, when that is less than `wanted`.
    #[must_use]
    pub fn shortage(self, wanted: usize) -> Option<String> {
        let Self {
            connections,
            allowed,
        } = self;
        (connections < wanted).then(|| {
            format!(
                "this process may open fewer files than connections_max needs ({allowed}): {connections} connections are served at once instead of {wanted}; raise its limit (LimitNOFILE=, ulimit -Hn)"
            )
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_get_what_the_rest_leaves() {
        let kept = Descriptors {
            store: 320,
            others: 64,
        };
        for (allowed, expected) in [
            (1_048_576, Some(1024)),
            (1408, Some(1024)),
            (1407, Some(1023)),
            (400, Some(16)),
            (399, None),
            (0, None),
        ] {
            let served = kept.serve(1024, allowed).ok();
            assert_eq!(
                served.map(|served| served.connections),
                expected,
                "{allowed}"
            );
            let short = served.and_then(|served| served.shortage(1024));
            assert_eq!(short.is_some(), served.is_some() && expected < Some(1024));
        }
    }
}
