//! How many invoices a second the embedded engine makes durable, and how long a month's total takes.
//!
//! Closes a month of customers with three meters: one with a free threshold, one graduated, one paid by credits, each used on
//! thirty days and in a few further hours. Filling, closing and reading are processes of their own, so that none's memory is
//! taken for another's.
//!
//! `CUSTOMERS=1000000` reads among 100 million windows. `STORE=/some/directory` keeps the filled store there, for the next
//! time: filling takes longer than all else.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

#[path = "../tests/conformance/builders.rs"]
#[allow(
    dead_code,
    reason = "shared with the conformance suite, which uses all of it"
)]
mod builders;
#[path = "billing/fill.rs"]
mod fill;
#[path = "billing/plan.rs"]
mod plan;
#[path = "billing/process.rs"]
mod process;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use submeter_collector::billing;
use submeter_collector::storage::UsageStore;
use submeter_collector::storage::rocksdb::RocksStore;
use submeter_common::time::{ManualClock, Period};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use builders::{DAY, NEW_YEAR, after, customer, meter};
use fill::name;
use plan::METERS;

/// The allocator of the real process.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Totals read for the latency.
const READS: usize = 20_000;

fn main() {
    let customers = std::env::var("CUSTOMERS").map_or(100_000, |text| text.parse().unwrap());
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, step, place] = &arguments[..] {
        return step_of(step, Path::new(place), customers);
    }
    let temporary = TempDir::new().unwrap();
    let kept = std::env::var("STORE").unwrap_or_else(|_| temporary.path().display().to_string());
    let filled = Path::new(&kept).join(format!("filled-{customers}"));
    if !filled.exists() {
        let unfinished = filled.with_extension("unfinished");
        run("fill", &unfinished);
        fs::rename(&unfinished, &filled).unwrap();
    }
    let copy = Path::new(&kept).join("closed");
    copy_store(&filled, &copy);
    run("read", &copy);
    run("close", &copy);
    run("read", &copy);
    fs::remove_dir_all(&copy).unwrap();
}

/// Does one step in a process of its own.
fn run(step: &str, place: &Path) {
    let own = std::env::current_exe().unwrap();
    let ended = Command::new(own).arg(step).arg(place).status().unwrap();
    assert!(ended.success(), "{step}: {ended}");
}

fn step_of(step: &str, place: &Path, customers: usize) {
    let store = Arc::new(RocksStore::open(place).unwrap());
    match step {
        "fill" => several_threads().block_on(fill::fill(store, customers)),
        // Billing has a thread of its own, as in the collector.
        "close" => one_thread().block_on(close(store, customers)),
        "read" => one_thread().block_on(read(&store, customers)),
        other => panic!("no step {other}"),
    }
}

fn several_threads() -> Runtime {
    Builder::new_multi_thread().enable_all().build().unwrap()
}

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Copies a store that is closed. Sorted files never change: a second name is a copy of them.
fn copy_store(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to.join("store")).unwrap();
    for file in fs::read_dir(from.join("store")).unwrap() {
        let file = file.unwrap();
        let copy = to.join("store").join(file.file_name());
        if file.path().extension().is_some_and(|kind| kind == "sst") {
            fs::hard_link(file.path(), copy).unwrap();
        } else {
            fs::copy(file.path(), copy).unwrap();
        }
    }
}

async fn close(store: Arc<RocksStore>, customers: usize) {
    let clock = ManualClock::new(after(31 * DAY));
    process::forget_peak();
    let (before, _) = process::resident();
    let (written, busy) = (process::written(), process::busy_micros());
    let started = Instant::now();
    let report = billing::close_due(&store, &clock, Duration::from_secs(1), "bench")
        .await
        .unwrap();
    let took = started.elapsed();
    assert_eq!(report.issued, customers as u64, "{report:?}");
    let each = |of: u64| of / customers as u64;
    let rate = customers as u128 * 1_000_000 / took.as_micros();
    println!("closed {customers} periods in {took:.2?}: {rate} invoices/s, durable");
    println!(
        "  each: {} µs of a processor over all threads, {} bytes to the disk",
        each(process::busy_micros() - busy),
        each(process::written() - written)
    );
    let (now, most) = process::resident();
    println!("  memory {before} MiB before, {most} MiB at most, {now} MiB after");
}

async fn read(store: &RocksStore, customers: usize) {
    let mut random = fastrand::Rng::with_seed(1);
    let month = Period {
        start: NEW_YEAR,
        end: after(31 * DAY),
    };
    let mut took: Vec<Duration> = Vec::with_capacity(READS);
    for _ in 0..READS {
        let whose = customer(&name(random.usize(0..customers)));
        let of = meter(METERS[random.usize(0..METERS.len())]);
        let started = Instant::now();
        let usage = store.usage(&whose, &of, month).await.unwrap();
        took.push(started.elapsed());
        assert_eq!(usage.len(), 1);
    }
    took.sort_unstable();
    let at = |permille: usize| took[(READS - 1) * permille / 1000];
    println!(
        "a month of one customer and meter, among {} windows by the minute (and their hours and days): p50 {:.0?}, p99 {:.0?}, p99.9 {:.0?}, most {:.0?}",
        customers * fill::WINDOWS,
        at(500),
        at(990),
        at(999),
        at(1000)
    );
}
