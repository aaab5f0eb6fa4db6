//! `make bench`: see [`submeter_tests::load`].

use std::time::Duration;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use submeter_tests::interrupt::unless_stopped;
use submeter_tests::load::{self, Plan};

/// How fast and small the agent is, beside Redis and PostgreSQL.
#[derive(Debug, Parser)]
struct Arguments {
    /// Seconds each load is measured for.
    #[arg(long, default_value_t = 12)]
    seconds: u64,
    /// What to measure beside the agent itself; without it, everything.
    #[arg(long, value_delimiter = ',')]
    only: Option<Vec<Part>>,
    /// Events a request: of the agent's shapes only these.
    batches: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Nothing else.
    Agent,
    /// Redis and PostgreSQL with the same work.
    Peers,
    /// The cost of an event as meters and customers grow.
    Curves,
    /// A start after `kill -9`.
    Restart,
    /// The binary, memory at rest, bytes to the collector.
    Size,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let wanted = |part| {
        let only = arguments.only.as_ref();
        only.map_or(arguments.batches.is_empty(), |parts| parts.contains(&part))
    };
    let plan = Plan {
        peers: wanted(Part::Peers),
        curves: wanted(Part::Curves),
        restart: wanted(Part::Restart),
        size: wanted(Part::Size),
        measured: Duration::from_secs(arguments.seconds),
        batches: arguments.batches,
    };
    unless_stopped(load::run(&plan)).await
}
