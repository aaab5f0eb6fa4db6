//! Rows per second that the embedded engine makes durable: frames of 1000 rows over 10 000 customers and
//! three meters, from one agent and from 64 at once. Each frame is on stable storage when it is answered.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

#[path = "../tests/conformance/builders.rs"]
#[allow(
    dead_code,
    reason = "shared with the conformance suite, which uses all of it"
)]
mod builders;

use std::sync::Arc;

use divan::Bencher;
use divan::counter::ItemsCount;
use submeter_collector::alerts::{Measure, NewThreshold, Scope, Threshold};
use submeter_collector::money::Decimal;
use submeter_collector::storage::rocksdb::RocksStore;
use submeter_collector::storage::{AddOutcome, AlertStore, IncomingFrame, UsageStore};
use submeter_common::protocol::Row;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use builders::{NEW_YEAR, Sender, count, customer, is_applied, meter, minute, row, sum};

/// The allocator of the real process.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const ROWS: usize = 1000;
const CUSTOMERS: usize = 10_000;

fn main() {
    divan::main();
}

/// Frames of agents that share the customers, minute after minute.
struct Load {
    store: Arc<RocksStore>,
    runtime: Runtime,
    senders: Vec<Sender>,
    random: fastrand::Rng,
    now: i32,
    _place: TempDir,
}

impl Load {
    fn new(agents: usize) -> Self {
        let place = TempDir::new().unwrap();
        let runtime = Runtime::new().unwrap();
        let store = Arc::new(RocksStore::open(place.path()).unwrap());
        let senders = (1..=agents)
            .map(|number| runtime.block_on(Sender::registered(number as u128, &*store)))
            .collect();
        Self {
            store,
            runtime,
            senders,
            random: fastrand::Rng::with_seed(1),
            now: 0,
            _place: place,
        }
    }

    /// One frame of each agent.
    fn frames(&mut self) -> Vec<IncomingFrame> {
        self.now += 1;
        let minute = minute(self.now / 6);
        let random = &mut self.random;
        self.senders
            .iter_mut()
            .map(|sender| {
                let mut rows: Vec<Row> = (0..ROWS)
                    .map(|_| {
                        let customer = format!("cus_{:05}", random.usize(0..CUSTOMERS));
                        match random.u8(0..3) {
                            0 => row(&customer, "mtr_calls", minute, count(random.u64(1..100))),
                            1 => row(&customer, "mtr_images", minute, count(random.u64(1..100))),
                            _ => row(
                                &customer,
                                "mtr_gigabytes",
                                minute,
                                sum(random.u64(1..100), "12.345678"),
                            ),
                        }
                    })
                    .collect();
                rows.sort_by(|one, other| {
                    (&one.customer_id, &one.meter_id).cmp(&(&other.customer_id, &other.meter_id))
                });
                rows.dedup_by(|one, other| {
                    (&one.customer_id, &one.meter_id) == (&other.customer_id, &other.meter_id)
                });
                sender.seal(rows)
            })
            .collect()
    }

    /// Lets somebody want to know of usage.
    fn watch(&self, whom: &str) {
        let scope = match whom {
            "nobody" => return,
            "one customer" => Scope {
                customer_id: Some(customer("cus_00001")),
                ..Scope::default()
            },
            _ => Scope::default(),
        };
        let new = NewThreshold {
            name: None,
            scope: Scope {
                meter_id: Some(meter("mtr_calls")),
                ..scope
            },
            measure: Measure::Quantity,
            limit: Decimal::from(1_000_i64),
            marks: None,
            cap: false,
            metadata: Default::default(),
        };
        let threshold = Threshold::new(new, NEW_YEAR).unwrap();
        let added = self.store.add_threshold(&threshold);
        assert_eq!(self.runtime.block_on(added).unwrap(), AddOutcome::Added);
    }

    fn apply(&self, frames: Vec<IncomingFrame>) {
        self.runtime.block_on(async {
            let sent: Vec<_> = frames
                .into_iter()
                .map(|frame| {
                    let store = Arc::clone(&self.store);
                    tokio::spawn(async move { store.apply_frame(frame).await.unwrap() })
                })
                .collect();
            for outcome in sent {
                assert!(is_applied(&outcome.await.unwrap()));
            }
        });
    }
}

#[divan::bench(args = [1, 8, 64], sample_count = 50, sample_size = 1)]
fn durable_rows_from_agents(bencher: Bencher<'_, '_>, agents: usize) {
    let load = std::cell::RefCell::new(Load::new(agents));
    bencher
        .with_inputs(|| load.borrow_mut().frames())
        .input_counter(|frames| {
            ItemsCount::new(
                frames
                    .iter()
                    .map(|frame| frame.frame.rows.len())
                    .sum::<usize>(),
            )
        })
        .bench_local_values(|frames| load.borrow().apply(frames));
}

/// What it costs a frame that somebody wants to know of usage: of nobody's, of one customer's, of everybody's of one meter.
#[divan::bench(args = ["nobody", "one customer", "everybody"], sample_count = 50, sample_size = 1)]
fn durable_rows_while_somebody_watches(bencher: Bencher<'_, '_>, whom: &str) {
    let load = std::cell::RefCell::new(Load::new(8));
    load.borrow().watch(whom);
    bencher
        .with_inputs(|| load.borrow_mut().frames())
        .input_counter(|frames| {
            ItemsCount::new(
                frames
                    .iter()
                    .map(|frame| frame.frame.rows.len())
                    .sum::<usize>(),
            )
        })
        .bench_local_values(|frames| load.borrow().apply(frames));
}
