//! Does an event cost the same however many ids are remembered?
//!
//! `cargo bench --bench dedup` holds 10^3 to 10^7 ids, `-- 100000000` goes on to 10^8 (4 GiB of disk, some minutes).
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark stops at the first surprise"
)]

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use submeter_agent::pipeline::{EventOutcome, Pipeline, Status, StoreConfig};
use submeter_common::event::{Event, Value};
use submeter_common::time::{Clock, SystemClock, Timestamp};

// As in the agent itself.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const BATCH: u64 = 1000;
/// Submissions in flight, so that fsyncs are shared as under load.
const IN_FLIGHT: usize = 4;
/// Events measured at each size.
const MEASURED: u64 = 200_000;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|text| text != "--bench");
    let most = arguments.next();
    curve(most.map_or(10_000_000, |text| text.parse().unwrap()));
}

#[tokio::main]
async fn curve(most: u64) {
    let dir = tempfile::TempDir::new().unwrap();
    let pipeline = open(dir.path());
    println!(
        "{:>11} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7} {:>5} {:>11} {:>10}",
        "ids",
        "cpu ns/ev",
        "committer",
        "compactor",
        "wall ns/ev",
        "cpu ratio",
        "B/id",
        "runs",
        "reads/1000",
        "resident"
    );
    let (mut next, mut size, mut base) = (0, 1000, None);
    while size <= most {
        next = send(&pipeline, next, size, IN_FLIGHT).await;
        settle(&pipeline).await;
        let (before, cpu, wall) = (pipeline.status(), cpu_time(), Instant::now());
        let (commit, compact) = (cpu_of("committer"), cpu_of("compactor"));
        next = send(&pipeline, next, next + MEASURED, IN_FLIGHT).await;
        let cpu = (cpu_time() - cpu).as_nanos() / u128::from(MEASURED);
        let each = |spent: Duration| spent.as_nanos() / u128::from(MEASURED);
        let commit = each(cpu_of("committer") - commit);
        let compact = each(cpu_of("compactor") - compact);
        let wall = wall.elapsed().as_nanos() / u128::from(MEASURED);
        let after = pipeline.status();
        let base = *base.get_or_insert(cpu);
        println!(
            "{:>11} {cpu:>9} {commit:>9} {compact:>9} {wall:>9} {:>9.2} {:>7.2} {:>5} {:>11.2} {:>6} MiB",
            before.dedup_ids,
            cpu as f64 / base as f64,
            before.dedup_bytes as f64 / before.dedup_ids as f64,
            before.dedup_runs,
            (after.dedup_disk_reads - before.dedup_disk_reads) as f64 * 1000.0 / MEASURED as f64,
            resident_kib() / 1024,
        );
        size *= 10;
    }
    pipeline.stop().await.unwrap();
}

/// Waits until the background has nothing left to merge: what is measured is the hot path.
async fn settle(pipeline: &Pipeline) {
    let mut still = 0;
    let mut last = pipeline.status();
    while still < 3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = pipeline.status();
        let key = |status: &Status| (status.dedup_runs, status.dedup_bytes);
        still = if key(&now) == key(&last) {
            still + 1
        } else {
            0
        };
        last = now;
    }
}

fn open(directory: &Path) -> Pipeline {
    let mut config = StoreConfig::new(directory);
    config.dedup_bytes_max = 1 << 30;
    Pipeline::open(config, Arc::new(SystemClock)).unwrap()
}

/// Sends the events `from..to`, all new, as an application in batches; answers `to`.
async fn send(pipeline: &Pipeline, from: u64, to: u64, in_flight: usize) -> u64 {
    let mut waiting = tokio::task::JoinSet::new();
    let mut next = from;
    while next < to || !waiting.is_empty() {
        while next < to && waiting.len() < in_flight {
            let end = (next + BATCH).min(to);
            waiting.spawn(submit(pipeline.clone(), next, end));
            next = end;
        }
        let outcomes = waiting.join_next().await.unwrap().unwrap();
        assert!(
            outcomes
                .iter()
                .all(|outcome| *outcome == EventOutcome::Accepted)
        );
    }
    to.max(from)
}

async fn submit(pipeline: Pipeline, from: u64, to: u64) -> Vec<EventOutcome> {
    let now = SystemClock.now();
    loop {
        let mut submission = pipeline.submission();
        (from..to).for_each(|n| submission.push(&event(n, now)));
        match pipeline.submit(submission).await {
            Ok(outcomes) => return outcomes,
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// Some hundred bytes in the journal: ten million are a gibibyte.
fn event(n: u64, now: Timestamp) -> Event<'static> {
    Event {
        event_id: Cow::Owned(format!("evt_{n:032x}")),
        customer_id: Cow::Borrowed("cus_00000001"),
        event_name: Cow::Borrowed("llm.request"),
        timestamp: now,
        // An id sent again has another time, and is a repetition all the same.
        timestamp_given: false,
        metadata: vec![(
            Cow::Borrowed("region"),
            Value::String(Cow::Borrowed("eu-central-1")),
        )],
    }
}

/// Processor time of the threads of this name.
fn cpu_of(name: &str) -> Duration {
    let mut time = Duration::ZERO;
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let read = |file| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
        if read("comm").trim() == name {
            let spent = read("schedstat");
            let spent = spent
                .split_whitespace()
                .next()
                .map(|text| text.parse().unwrap());
            time += Duration::from_nanos(spent.unwrap_or(0));
        }
    }
    time
}

/// Processor time of all threads: what an event costs even when others use the machine.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    let ticks: u64 = fields
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 10)
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}
