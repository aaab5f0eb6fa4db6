//! The insides of `make bench`: how fast one agent is, beside what else one would pick, and how small it stays.
//!
//! Generator, agent and collector share the machine, so the numbers are a lower bound. A load runs against fresh
//! processes for a fixed time; its shape is a batch size and a number of connections. An event is some 215 bytes, one in
//! a hundred is a retry, and three meters match each: a count, a sum behind a filter, a maximum, for 10 000 customers.
//!
//! - [`agent`]: the agent under a load, the real binary over real sockets;
//! - [`peers`]: Redis and PostgreSQL with the same work, and how many times faster the agent is;
//! - [`curve`]: what an event costs as meters and customers grow;
//! - [`restart`]: how long a start takes after `kill -9`;
//! - [`size`]: the binary, memory at rest, bytes to the collector.
//!
//! What an event costs as ids grow is measured inside the agent: `agent/benches/dedup.rs`.

mod agent;
mod connection;
mod curve;
mod drive;
mod peers;
mod restart;
mod size;
mod table;
mod traffic;

use std::time::Duration;

use anyhow::Result;

use agent::{Load, Shape};
use drive::Time;
use table::Sheet;

const CUSTOMERS: u64 = 10_000;

const SHAPES: [Shape; 3] = [
    Shape {
        batch: 1_000,
        connections: 4,
    },
    Shape {
        batch: 100,
        connections: 16,
    },
    Shape {
        batch: 1,
        connections: 64,
    },
];

/// What to measure, and for how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The agent under these batch sizes; none named: every shape.
    pub batches: Vec<usize>,
    /// How long each load is measured, after a warm-up of a sixth of it.
    pub measured: Duration,
    /// Whether to run the peers beside it.
    pub peers: bool,
    /// Whether to draw the curves.
    pub curves: bool,
    /// Whether to kill an agent and start it again.
    pub restart: bool,
    /// Whether to measure sizes.
    pub size: bool,
}

/// Measures what is planned and prints a table for each part.
///
/// # Errors
/// When a process does not start, a request is refused, or a peer does not hold what it acknowledged.
pub async fn run(plan: &Plan) -> Result<()> {
    let time = Time::measuring(plan.measured);
    let mut paces = Vec::new();
    let mut sheet = Sheet::new(&agent::COLUMNS);
    for shape in SHAPES {
        if plan.batches.is_empty() || plan.batches.contains(&shape.batch) {
            println!("» agent: {shape}");
            let measured = agent::measure(Load::of(shape), time).await?;
            sheet.row(agent::row(shape, &measured));
            paces.push((shape, measured.driven.per_second));
        }
    }
    println!("{sheet}");
    println!("{}", agent::LEGEND);
    if plan.peers {
        peers::run(&paces, time).await?;
    }
    if plan.curves {
        curve::run(time).await?;
    }
    if plan.restart {
        restart::run().await?;
    }
    if plan.size {
        size::run().await?;
    }
    Ok(())
}
