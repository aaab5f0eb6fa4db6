//! Clients that send as fast as they are answered, each on a thread of its own, for a fixed time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// How often a running load is looked at.
const GLANCE: Duration = Duration::from_millis(250);

/// One connection of a load.
pub(super) trait Client: Send + 'static {
    /// Sends a request and waits until it is durable; how many events it held.
    fn send(&mut self) -> Result<u64>;
}

/// How long a load runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time {
    warm_up: Duration,
    measured: Duration,
}

impl Time {
    /// Measures for this long, after a warm-up of a sixth of it.
    pub(super) fn measuring(measured: Duration) -> Self {
        Self {
            warm_up: measured / 6,
            measured,
        }
    }

    /// A fraction of it.
    pub(super) fn divided(self, by: u32) -> Self {
        Self {
            warm_up: self.warm_up / by,
            measured: self.measured / by,
        }
    }
}

/// What the clients got done.
#[derive(Debug)]
pub(super) struct Driven<C> {
    /// Events acknowledged while measured.
    pub(super) events: u64,
    /// The same by second.
    pub(super) per_second: u64,
    /// How long each measured request took, ascending.
    pub(super) latencies: Vec<Duration>,
    /// The clients as they ended.
    pub(super) clients: Vec<C>,
}

impl<C> Driven<C> {
    /// The latency that `percent` of the requests did not exceed.
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let sorted = &self.latencies;
        let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        sorted.get(at).copied().unwrap_or_default()
    }
}

/// Lets the clients send; calls `watch` when measuring begins, again and again, and when it ends.
pub(super) async fn drive<C: Client>(
    clients: Vec<C>,
    time: Time,
    mut watch: impl FnMut() -> Result<()>,
) -> Result<Driven<C>> {
    let counting = Arc::new(AtomicU64::new(0));
    let from = Instant::now() + time.warm_up;
    let end = from + time.measured;
    let workers: Vec<_> = clients
        .into_iter()
        .map(|client| {
            let counting = Arc::clone(&counting);
            thread::spawn(move || work(client, from, end, &counting))
        })
        .collect();
    tokio::time::sleep_until(from.into()).await;
    let (first, from) = (counting.load(Ordering::Relaxed), Instant::now());
    watch()?;
    while Instant::now() < end && !workers.iter().all(JoinHandle::is_finished) {
        tokio::time::sleep_until(end.min(Instant::now() + GLANCE).into()).await;
        watch()?;
    }
    let (events, took) = (counting.load(Ordering::Relaxed) - first, from.elapsed());
    let mut driven = Driven {
        events,
        per_second: events * 1_000 / u64::try_from(took.as_millis())?.max(1),
        latencies: Vec::new(),
        clients: Vec::new(),
    };
    for worker in workers {
        let (client, latencies) = worker.join().map_err(|_| anyhow!("a client panicked"))??;
        driven.clients.push(client);
        driven.latencies.extend(latencies);
    }
    driven.latencies.sort_unstable();
    Ok(driven)
}

/// Sends until `end`; how long each request took that began after `from`.
fn work<C: Client>(
    mut client: C,
    from: Instant,
    end: Instant,
    counting: &AtomicU64,
) -> Result<(C, Vec<Duration>)> {
    let mut latencies = Vec::new();
    loop {
        let start = Instant::now();
        if start >= end {
            return Ok((client, latencies));
        }
        let events = client.send()?;
        counting.fetch_add(events, Ordering::Relaxed);
        if start >= from {
            latencies.push(start.elapsed());
        }
    }
}
