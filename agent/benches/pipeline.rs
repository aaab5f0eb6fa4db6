//! How fast the durable core accepts: batches of 1000 from 4 callers, single events from 64, each answer after its fsync.
//!
//! Plain loops instead of a statistics harness: one run is tens of thousands of fsyncs, which is statistics enough.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark stops at the first surprise"
)]

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use submeter_agent::pipeline::{Pipeline, SealReason, StoreConfig};
use submeter_common::event::{Event, Value};
use submeter_common::filter::Filter;
use submeter_common::id::MeterId;
use submeter_common::meter::{Aggregation, AggregationKind, Meter};
use submeter_common::protocol::{Catalog, Position};
use submeter_common::quantity::Quantity;
use submeter_common::time::{Clock, SystemClock, Timestamp};

// As in the agent itself.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const RUN: Duration = Duration::from_secs(5);
const CUSTOMERS: u64 = 10_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    for (callers, batch) in [(4, 1000), (64, 1)] {
        runtime.block_on(measure(callers, batch));
    }
}

async fn measure(callers: u64, batch: u64) {
    let dir = tempfile::TempDir::new().unwrap();
    let pipeline = Pipeline::open(StoreConfig::new(dir.path()), Arc::new(SystemClock)).unwrap();
    pipeline.set_catalog(catalog()).await.unwrap();
    let next = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let callers: Vec<_> = (0..callers)
        .map(|_| tokio::spawn(call(pipeline.clone(), Arc::clone(&next), batch, started)))
        .collect();
    let flusher = tokio::spawn(flush(pipeline.clone()));
    let mut latencies = Vec::new();
    for caller in callers {
        latencies.append(&mut caller.await.unwrap());
    }
    let elapsed = started.elapsed();
    flusher.abort();
    latencies.sort_unstable();
    let events = latencies.len() as u64 * batch;
    let p99 = latencies[latencies.len() * 99 / 100];
    println!(
        "batches of {batch}: {} events/s, p50 {:?}, p99 {p99:?}, {} in {elapsed:?}, resident {} KiB, dedup {} KiB",
        u128::from(events) * 1000 / elapsed.as_millis(),
        latencies[latencies.len() / 2],
        latencies.len(),
        resident_kib(),
        pipeline.status().dedup_bytes / 1024,
    );
    for (thread, ticks) in cpu_ticks() {
        // A tick is 10 ms.
        println!(
            "  {thread}: {} ns an event",
            ticks * 10_000_000 / events.max(1)
        );
    }
    pipeline.stop().await.unwrap();
}

/// Processor time by thread name: what an event costs even when others use the machine.
fn cpu_ticks() -> std::collections::BTreeMap<String, u64> {
    let mut ticks = std::collections::BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten()
    {
        let read = |file: &str| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let stat = read("stat");
        // After the name in brackets: state, then user and system time as the 12th and 13th field.
        let fields = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace();
        let used: u64 = fields
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        *ticks.entry(read("comm").trim().to_owned()).or_default() += used;
    }
    ticks
}

async fn call(
    pipeline: Pipeline,
    next: Arc<AtomicU64>,
    batch: u64,
    started: Instant,
) -> Vec<Duration> {
    let mut latencies = Vec::new();
    while started.elapsed() < RUN {
        let first = next.fetch_add(batch, Ordering::Relaxed);
        let asked = Instant::now();
        let mut submission = pipeline.submission();
        let now = SystemClock.now();
        for n in first..first + batch {
            submission.push(&event(n, now));
        }
        if pipeline.submit(submission).await.is_ok() {
            latencies.push(asked.elapsed());
        } else {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    latencies
}

/// A collector that answers at once.
async fn flush(pipeline: Pipeline) {
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        pipeline.seal(SealReason::Interval).await.unwrap();
        let outbox = pipeline.outbox();
        while let Some(frame) = outbox.next().unwrap() {
            outbox
                .acknowledge(Position {
                    seq: frame.seq,
                    digest: frame.digest,
                })
                .unwrap();
        }
    }
}

fn event(n: u64, now: Timestamp) -> Event<'static> {
    let text = |text: &'static str| Value::String(Cow::Borrowed(text));
    Event {
        event_id: Cow::Owned(format!("evt_{n:032x}")),
        customer_id: Cow::Owned(format!("cus_{:08}", n % CUSTOMERS)),
        event_name: Cow::Borrowed("llm.request"),
        timestamp: now,
        timestamp_given: true,
        metadata: vec![
            (
                Cow::Borrowed("model"),
                text(if n.is_multiple_of(3) {
                    "large"
                } else {
                    "small"
                }),
            ),
            (Cow::Borrowed("region"), text("eu-central-1")),
            (
                Cow::Borrowed("tokens"),
                Value::Number(Quantity::from_u64(n % 4096)),
            ),
        ],
    }
}

/// Count, sum behind a filter, and max.
fn catalog() -> Catalog {
    let filter: Filter = serde_json::from_str(
        r#"{"conjunction":"and","clauses":[{"key":"model","operator":"equals","value":"small"}]}"#,
    )
    .unwrap();
    let meters = [
        meter(AggregationKind::Count, None),
        meter(AggregationKind::Sum, Some(filter)),
        meter(AggregationKind::Max, None),
    ];
    Catalog {
        version: 1,
        meters: meters.to_vec(),
    }
}

fn meter(kind: AggregationKind, filter: Option<Filter>) -> Meter {
    let epoch = Timestamp::from_micros(0);
    Meter {
        id: MeterId::new(format!("mtr_{kind:?}")).unwrap(),
        name: format!("{kind:?}"),
        description: None,
        event_name: "llm.request".to_owned(),
        measurement_unit: "tokens".to_owned(),
        aggregation: Aggregation {
            kind,
            key: Some("tokens".to_owned()),
        },
        filter,
        group_by: Vec::new(),
        archived: false,
        created_at: epoch,
        updated_at: epoch,
    }
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}
