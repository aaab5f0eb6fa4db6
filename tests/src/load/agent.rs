//! One agent under a load: the real binary over real sockets, with a collector behind it.

use std::fmt;

use anyhow::{Result, ensure};
use serde_json::json;

use super::CUSTOMERS;
use super::connection::Connection;
use super::drive::{Client, Driven, Time, drive};
use super::table::{mebibytes, millis, ratio};
use super::traffic::{Spread, Traffic};
use crate::builders;
use crate::system::{Agent, Api, System};

/// What the table of the agent's shapes shows.
pub(super) const COLUMNS: [&str; 10] = [
    "batch",
    "connections",
    "events/s",
    "requests/s",
    "p50",
    "p99",
    "cpu/event",
    "agent",
    "collector",
    "bytes/event",
];
/// What its columns mean.
pub(super) const LEGEND: &str = "events/s: acknowledged after fsync; cpu/event: processor time of the agent; agent: its resident memory at its highest;
collector: the same at the end; bytes/event: frames sent to the collector, by accepted event.";

/// How events are sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Events of a request.
    pub(super) batch: usize,
    /// Requests in flight, each on a kept connection.
    pub(super) connections: usize,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} events a request, {} connections",
            self.batch, self.connections
        )
    }
}

/// A shape, and what the events meet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) shape: Shape,
    /// Customers the events are spread over.
    pub(super) customers: u64,
    /// Meters on event names that never come.
    pub(super) other_meters: usize,
}

impl Load {
    /// The load that the agent's promises are about.
    pub(super) fn of(shape: Shape) -> Self {
        Self {
            shape,
            customers: CUSTOMERS,
            other_meters: 0,
        }
    }
}

/// What was measured.
#[derive(Debug)]
pub(super) struct Measurement {
    pub(super) driven: Driven<Sender>,
    /// Processor time of the agent for each event.
    pub(super) cpu_nanos: u64,
    /// Resident memory of the agent at its highest.
    pub(super) agent_bytes: u64,
    collector_bytes: u64,
    frame_bytes: u64,
    accepted: u64,
}

/// Runs a load against a fresh agent.
pub(super) async fn measure(load: Load, time: Time) -> Result<Measurement> {
    let mut system = System::start("").await?;
    create_meters(system.collector.api(), load.other_meters).await?;
    let mut agent = system.agent("agent", "flush_interval = \"2s\"").await?;
    let clients = (0..load.shape.connections)
        .map(|worker| Sender::open(&agent, worker, load.shape.batch, load.customers))
        .collect::<Result<Vec<_>>>()?;

    let (mut agent_bytes, mut cpu) = (0, Vec::new());
    let process = agent.process();
    let driven = drive(clients, time, || {
        agent_bytes = agent_bytes.max(process.resident_bytes()?);
        cpu.push(process.cpu_time()?);
        Ok(())
    })
    .await?;
    agent.flush().await?;
    let cpu = cpu.last().copied().unwrap_or_default() - cpu.first().copied().unwrap_or_default();
    Ok(Measurement {
        cpu_nanos: u64::try_from(cpu.as_nanos())? / driven.events.max(1),
        driven,
        agent_bytes,
        collector_bytes: system.collector.process().resident_bytes()?,
        frame_bytes: frame_bytes(&agent).await?,
        accepted: accepted(&agent).await?,
    })
}

/// A row of the table of shapes.
pub(super) fn row(shape: Shape, measured: &Measurement) -> Vec<String> {
    let driven = &measured.driven;
    let batch = u64::try_from(shape.batch).unwrap_or(u64::MAX);
    vec![
        shape.batch.to_string(),
        shape.connections.to_string(),
        driven.per_second.to_string(),
        (driven.per_second / batch).to_string(),
        millis(driven.percentile(50)),
        millis(driven.percentile(99)),
        format!("{} ns", measured.cpu_nanos),
        mebibytes(measured.agent_bytes),
        mebibytes(measured.collector_bytes),
        ratio(measured.frame_bytes, measured.accepted),
    ]
}

/// Bytes of all frames sent to the collector.
pub(super) async fn frame_bytes(agent: &Agent) -> Result<u64> {
    let name = "submeter_agent_frame_bytes_sent_total";
    agent.api().counter(name).await
}

/// Events accepted, each once.
pub(super) async fn accepted(agent: &Agent) -> Result<u64> {
    let name = "submeter_agent_accepted_events_total";
    agent.api().counter(name).await
}

/// One connection to the agent.
#[derive(Debug)]
pub(super) struct Sender {
    connection: Connection,
    traffic: Traffic,
    batch: u64,
}

impl Sender {
    /// Connects; no other worker sends its events.
    pub(super) fn open(agent: &Agent, worker: usize, batch: usize, customers: u64) -> Result<Self> {
        let address = agent.api().base().trim_start_matches("http://");
        Ok(Self {
            connection: Connection::open(address)?,
            traffic: Traffic::new(worker, batch, Spread { customers }),
            batch: u64::try_from(batch)?,
        })
    }
}

impl Client for Sender {
    fn send(&mut self) -> Result<u64> {
        let status = self
            .connection
            .post("/events/ingest", self.traffic.body())?;
        ensure!(status == 200, "status {status}");
        Ok(self.batch)
    }
}

/// The three meters that match every event, and others that match none.
pub(super) async fn create_meters(api: &Api, others: usize) -> Result<()> {
    let on =
        |name, aggregation, key, unit| builders::meter(name, "llm.request", aggregation, key, unit);
    let tokens = on("Tokens", "sum", "tokens", "token");
    let mut meters = vec![
        on("Requests", "count", "", "request"),
        builders::filtered(tokens, "tokens", "greater_than", json!(0)),
        on("Longest", "max", "tokens", "token"),
    ];
    meters.extend((0..others).map(|number| {
        let (name, event) = (format!("Other {number}"), format!("other.{number}"));
        builders::meter(&name, &event, "sum", "tokens", "token")
    }));
    for meter in &meters {
        builders::create_meter(api, meter).await?;
    }
    Ok(())
}
