//! Fills a store: subscriptions of a month, and its usage as frames bring it, day after day.

use std::sync::Arc;
use std::time::Instant;

use submeter_collector::billing::{self, CycleTerms, NewSubscription};
use submeter_collector::catalog::Product;
use submeter_collector::storage::rocksdb::RocksStore;
use submeter_collector::storage::{CreateOutcome, SubscriptionStore, UsageStore};
use submeter_collector::subscription::BillingAddress;
use submeter_common::protocol::Row;

use super::builders::{DAY, NEW_YEAR, Sender, after, count, customer, is_applied, minute, row};
use super::plan::{self, METERS};

/// Days of the month (January) with usage, at noon; and further hours, of the first day.
const DAYS: i32 = 30;
const HOURS: i32 = 4;
/// Windows of one customer.
pub(super) const WINDOWS: usize = 34 * METERS.len();
/// Days that come in together: the store's files overlap as they do in life, and the filling ends.
const DAYS_AT_ONCE: usize = 6;
/// Rows of one frame.
const FRAME_ROWS: usize = 20_000;
/// Subscriptions made at once: they share durable writes.
const OPENERS: usize = 32;

pub(super) fn name(number: usize) -> String {
    format!("cus_{number:07}")
}

pub(super) async fn fill(store: Arc<RocksStore>, customers: usize) {
    let started = Instant::now();
    let product = plan::catalog(&store).await;
    subscribe(&store, &product, customers).await;
    deliver(&store, customers).await;
    println!(
        "filled with {customers} customers, {} windows by the minute, in {:.0?}",
        customers * WINDOWS,
        started.elapsed()
    );
}

async fn subscribe(store: &Arc<RocksStore>, product: &Product, customers: usize) {
    let mut tasks = tokio::task::JoinSet::new();
    for opener in 0..OPENERS {
        let (store, product) = (Arc::clone(store), product.clone());
        tasks.spawn(async move {
            for number in (opener..customers).step_by(OPENERS) {
                let new = NewSubscription {
                    test_clock: None,
                    customer_id: customer(&name(number)),
                    product: &product,
                    quantity: 1,
                    start: Some(NEW_YEAR),
                    terms: CycleTerms::default(),
                    billing: BillingAddress::default(),
                    metadata: Default::default(),
                };
                let opening = billing::open(new, NEW_YEAR).unwrap();
                let made = store.create_subscription(opening).await.unwrap();
                assert!(matches!(made, CreateOutcome::Created(_)));
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

/// Delivers the month's usage, and ends with a farewell, so that nobody is waited for.
async fn deliver(store: &RocksStore, customers: usize) {
    let mut sender = Sender::registered(1, store).await;
    let noons = (0..DAYS).map(|day| day * 1_440 + 720);
    let hours = (0..HOURS).map(|hour| hour * 60 + 30);
    let mut minutes: Vec<i32> = noons.chain(hours).collect();
    minutes.sort_unstable();
    for together in minutes.chunks(DAYS_AT_ONCE) {
        let mut rows: Vec<Row> = Vec::with_capacity(FRAME_ROWS);
        for number in 0..customers {
            for (place, of) in METERS.into_iter().enumerate() {
                let events = 1 + (number + place) as u64 % 5;
                for at in together {
                    rows.push(row(&name(number), of, minute(*at), count(events)));
                }
            }
            if rows.len() >= FRAME_ROWS || number + 1 == customers {
                let frame = sender.seal(std::mem::take(&mut rows));
                assert!(is_applied(&store.apply_frame(frame).await.unwrap()));
            }
        }
    }
    sender.farewell = true;
    sender.watermark = after(40 * DAY);
    let last = sender.seal(Vec::new());
    assert!(is_applied(&store.apply_frame(last).await.unwrap()));
}
