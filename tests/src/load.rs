//! The load generator behind `make bench`: how many events a second one agent acknowledges, each
//! acknowledgement after an fsync, and what it costs in memory and in bytes to the collector.
//!
//! Generator, agent and collector share the machine, so the numbers are a lower bound. Each shape of
//! traffic runs against a fresh agent for a fixed time; a shape is a batch size and a number of
//! connections. An event is some 215 bytes, one in a hundred is a retry, and three meters match each: a
//! count, a sum behind a filter, a maximum, for 10 000 customers.

mod connection;
mod traffic;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use serde_json::json;

use crate::builders;
use crate::system::{Api, System};
use connection::Connection;
use traffic::{Spread, Traffic};

/// Time each shape is measured for, after a warm-up.
const MEASURED: Duration = Duration::from_secs(12);
const WARM_UP: Duration = Duration::from_secs(2);

/// One shape of traffic.
#[derive(Clone, Copy, Debug)]
struct Shape {
    batch: usize,
    connections: usize,
}

const SPREAD: Spread = Spread { customers: 10_000 };

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

/// What one shape measured.
#[derive(Debug)]
struct Measurement {
    events: u64,
    seconds_tenths: u64,
    latencies: Vec<Duration>,
    agent_bytes: u64,
    collector_bytes: u64,
    frame_bytes: u64,
    accepted: u64,
}

/// Runs the shapes of these batch sizes (none named: every shape) and prints a table.
///
/// # Errors
/// When a process does not start or a request is refused.
pub async fn run(batches: &[usize]) -> Result<()> {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header([
        "batch",
        "connections",
        "events/s",
        "requests/s",
        "p50",
        "p99",
        "agent",
        "collector",
        "bytes/event",
    ]);
    let shapes = SHAPES
        .into_iter()
        .filter(|shape| batches.is_empty() || batches.contains(&shape.batch));
    for shape in shapes {
        println!(
            "» {} events a request, {} connections",
            shape.batch, shape.connections
        );
        table.add_row(row(shape, &measure(shape).await?));
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}");
    println!("events/s: acknowledged after fsync; agent, collector: resident memory at the end;");
    println!("bytes/event: frames sent to the collector, by accepted event.");
    Ok(())
}

async fn measure(shape: Shape) -> Result<Measurement> {
    let mut system = System::start("").await?;
    create_meters(system.collector.api()).await?;
    let mut agent = system.agent("agent", "flush_interval = \"2s\"").await?;
    let address = agent.api().base().trim_start_matches("http://").to_owned();

    let counting = Arc::new(AtomicU64::new(0));
    let end = Instant::now() + WARM_UP + MEASURED;
    let workers: Vec<_> = (0..shape.connections)
        .map(|worker| {
            let (address, counting) = (address.clone(), Arc::clone(&counting));
            std::thread::spawn(move || work(&address, worker, shape.batch, end, &counting))
        })
        .collect();
    tokio::time::sleep(WARM_UP).await;
    let (first, from) = (counting.load(Ordering::Relaxed), Instant::now());
    tokio::time::sleep(MEASURED).await;
    let (last, took) = (counting.load(Ordering::Relaxed), from.elapsed());

    let mut latencies = Vec::new();
    for worker in workers {
        latencies.extend(
            worker
                .join()
                .map_err(|_| anyhow::anyhow!("a worker panicked"))??,
        );
    }
    latencies.sort();
    agent.flush().await?;
    Ok(Measurement {
        events: last - first,
        seconds_tenths: u64::try_from(took.as_millis() / 100)?,
        latencies,
        agent_bytes: agent.process().resident_bytes()?,
        collector_bytes: system.collector.process().resident_bytes()?,
        frame_bytes: agent
            .api()
            .counter("submeter_agent_frame_bytes_sent_total")
            .await?,
        accepted: agent
            .api()
            .counter("submeter_agent_accepted_events_total")
            .await?,
    })
}

/// Sends batches over one connection until `end`; how long each took.
fn work(
    address: &str,
    worker: usize,
    batch: usize,
    end: Instant,
    counting: &AtomicU64,
) -> Result<Vec<Duration>> {
    let mut connection = Connection::open(address)?;
    let mut traffic = Traffic::new(worker, batch, SPREAD);
    let mut latencies = Vec::new();
    while Instant::now() < end {
        let body = traffic.body();
        let start = Instant::now();
        let status = connection.post("/events/ingest", body)?;
        ensure!(status == 200, "status {status}");
        latencies.push(start.elapsed());
        counting.fetch_add(u64::try_from(batch)?, Ordering::Relaxed);
    }
    Ok(latencies)
}

async fn create_meters(api: &Api) -> Result<()> {
    let on =
        |name, aggregation, key, unit| builders::meter(name, "llm.request", aggregation, key, unit);
    let tokens = on("Tokens", "sum", "tokens", "token");
    let meters = [
        on("Requests", "count", "", "request"),
        builders::filtered(tokens, "tokens", "greater_than", json!(0)),
        on("Longest", "max", "tokens", "token"),
    ];
    for meter in &meters {
        builders::create_meter(api, meter).await?;
    }
    Ok(())
}

fn row(shape: Shape, measured: &Measurement) -> Vec<String> {
    let per_second = measured.events * 10 / measured.seconds_tenths.max(1);
    let batch = u64::try_from(shape.batch).unwrap_or(u64::MAX);
    let hundredths = measured.frame_bytes * 100 / measured.accepted.max(1);
    vec![
        shape.batch.to_string(),
        shape.connections.to_string(),
        per_second.to_string(),
        (per_second / batch).to_string(),
        millis(percentile(&measured.latencies, 50)),
        millis(percentile(&measured.latencies, 99)),
        mebibytes(measured.agent_bytes),
        mebibytes(measured.collector_bytes),
        format!("{}.{:02}", hundredths / 100, hundredths % 100),
    ]
}

/// The latency that `percent` of the requests did not exceed; `sorted` ascending.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}

fn millis(duration: Duration) -> String {
    let micros = duration.as_micros();
    format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100)
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}
