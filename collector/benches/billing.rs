//! How many invoices a second the embedded engine makes durable, and how long a month's total takes.
//!
//! Closes a month of customers with three meters: one with a free threshold, one graduated, one paid by credits, each used on
//! thirty days and in a few further hours. `CUSTOMERS=100000 cargo bench --bench billing` says how many.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

#[path = "../tests/conformance/builders.rs"]
#[allow(
    dead_code,
    reason = "shared with the conformance suite, which uses all of it"
)]
mod builders;

use std::sync::Arc;
use std::time::{Duration, Instant};

use submeter_collector::billing::{self, CycleTerms, NewSubscription};
use submeter_collector::catalog::{
    Frequency, Interval, MeterPrice, MeterPricing, NewProduct, Price, Product, UsageBasedPrice,
};
use submeter_collector::credits::{CreditAttachment, CreditEntitlement, OverageBehavior, Rollover};
use submeter_collector::id::EntitlementId;
use submeter_collector::money::{Currency, Decimal};
use submeter_collector::rating::{Model, Tariff, Tier};
use submeter_collector::storage::rocksdb::RocksStore;
use submeter_collector::storage::{CatalogStore, CreateOutcome, SubscriptionStore, UsageStore};
use submeter_collector::subscription::BillingAddress;
use submeter_common::meter::{Aggregation, AggregationKind, Meter};
use submeter_common::protocol::Row;
use submeter_common::time::{ManualClock, Period};
use tempfile::TempDir;

use builders::{DAY, NEW_YEAR, Sender, after, count, customer, is_applied, meter, minute, row};

/// The allocator of the real process.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const METERS: [&str; 3] = ["calls", "images", "tokens"];
/// Days of the month (January) with usage, at noon; and further hours, of the first day.
const DAYS: i32 = 30;
const HOURS: i32 = 4;
/// Rows of one frame.
const FRAME_ROWS: usize = 20_000;
/// Totals read for the latency.
const READS: usize = 20_000;
/// Subscriptions made at once, so that the set-up does not take longer than the bench.
const OPENERS: usize = 32;

/// The set-up shares out over threads; billing has one of its own, as in the collector.
fn main() {
    let customers = std::env::var("CUSTOMERS").map_or(100_000, |text| text.parse().unwrap());
    let place = TempDir::new().unwrap();
    let store = Arc::new(RocksStore::open(place.path()).unwrap());
    let many = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let started = Instant::now();
    let windows = many.block_on(async {
        let product = catalog(&store).await;
        subscribe(&store, &product, customers).await;
        deliver(&store, customers).await
    });
    println!(
        "set up {customers} customers with {windows} windows by the minute in {:.0?}",
        started.elapsed()
    );
    let one = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    one.block_on(close(&store, customers));
    many.block_on(read(&store, customers, windows));
}

async fn catalog(store: &RocksStore) -> Product {
    let meters = METERS.map(|name| Meter {
        id: meter(name),
        name: name.to_owned(),
        description: None,
        event_name: name.to_owned(),
        measurement_unit: "units".to_owned(),
        aggregation: Aggregation {
            kind: AggregationKind::Count,
            key: None,
        },
        filter: None,
        group_by: Vec::new(),
        archived: false,
        created_at: NEW_YEAR,
        updated_at: NEW_YEAR,
    });
    for meter in &meters {
        let _ = store.put_meter(None, meter).await.unwrap();
    }
    let (entitlement, credits) = credits();
    let _ = store.put_entitlement(None, &entitlement).await.unwrap();
    let month = Frequency {
        count: 1,
        interval: Interval::Month,
    };
    let new = NewProduct {
        name: "Plan".to_owned(),
        description: None,
        tax_category: "saas".to_owned(),
        metadata: Default::default(),
        price: Price::UsageBased(UsageBasedPrice {
            currency: Currency::USD,
            fixed_price: 0,
            payment_frequency: month,
            subscription_period: Frequency {
                count: 120,
                ..month
            },
            meters: prices(),
            discount: 0,
            purchasing_power_parity: false,
            tax_inclusive: false,
        }),
        credit_entitlements: vec![credits],
    };
    let product = Product::create(new, &meters, &[entitlement], NEW_YEAR).unwrap();
    let _ = store.put_product(None, &product).await.unwrap();
    product
}

fn credits() -> (CreditEntitlement, CreditAttachment) {
    let entitlement = CreditEntitlement {
        id: EntitlementId::from_text("cde_tokens"),
        name: "Tokens".to_owned(),
        description: None,
        unit: "tokens".to_owned(),
        precision: 0,
        expires_after_days: None,
        rollover: Rollover::default(),
        overage_enabled: true,
        overage_limit: None,
        overage_behavior: OverageBehavior::InvoiceAtBilling,
        currency: Some(Currency::USD),
        price_per_unit: Some(Decimal::from(3_i64)),
        archived: false,
        created_at: NEW_YEAR,
        updated_at: NEW_YEAR,
    };
    let attachment = entitlement.attach(Decimal::from(50_i64), NEW_YEAR);
    (entitlement, attachment)
}

fn prices() -> Vec<MeterPrice> {
    let decimal = |text: &str| Decimal::parse(text).unwrap();
    let tier = |up_to: Option<i64>, price: &str| Tier {
        up_to: up_to.map(Decimal::from),
        price_per_unit: decimal(price),
        package: None,
        flat_price: 0,
    };
    let tiers = vec![
        tier(Some(20), "2"),
        tier(Some(60), "1.5"),
        tier(None, "0.75"),
    ];
    let tokens = MeterPricing::Credits {
        credit_entitlement_id: EntitlementId::from_text("cde_tokens"),
        meter_units_per_credit: Decimal::from(2_i64),
    };
    [
        (10, MeterPricing::money(Tariff::per_unit(decimal("0.25")))),
        (
            0,
            MeterPricing::money(Tariff::of(Model::Graduated { tiers })),
        ),
        (0, tokens),
    ]
    .into_iter()
    .zip(METERS)
    .map(|((free_threshold, pricing), name)| MeterPrice {
        meter_id: meter(name),
        free_threshold,
        pricing,
    })
    .collect()
}

fn name(number: usize) -> String {
    format!("cus_{number:07}")
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
async fn deliver(store: &RocksStore, customers: usize) -> usize {
    let mut sender = Sender::registered(1, store).await;
    let noons = (0..DAYS).map(|day| day * 1_440 + 720);
    let hours = (0..HOURS).map(|hour| hour * 60 + 30);
    let mut delivered = 0;
    for at in noons.chain(hours) {
        let mut rows: Vec<Row> = Vec::with_capacity(FRAME_ROWS);
        for number in 0..customers {
            for (place, of) in METERS.into_iter().enumerate() {
                let events = 1 + (number + place) as u64 % 5;
                rows.push(row(&name(number), of, minute(at), count(events)));
            }
            if rows.len() >= FRAME_ROWS || number + 1 == customers {
                delivered += rows.len();
                let frame = sender.seal(std::mem::take(&mut rows));
                assert!(is_applied(&store.apply_frame(frame).await.unwrap()));
            }
        }
    }
    sender.farewell = true;
    sender.watermark = after(40 * DAY);
    let last = sender.seal(Vec::new());
    assert!(is_applied(&store.apply_frame(last).await.unwrap()));
    delivered
}

async fn close(store: &RocksStore, customers: usize) {
    let clock = ManualClock::new(after(31 * DAY));
    let before = resident();
    let started = Instant::now();
    let report = billing::close_due(store, &clock, Duration::from_secs(1), "bench")
        .await
        .unwrap();
    let took = started.elapsed();
    assert_eq!(report.issued, customers as u64, "{report:?}");
    let rate = customers as u128 * 1_000_000 / took.as_micros();
    println!("closed {customers} periods in {took:.2?}: {rate} invoices/s, durable");
    println!("memory {} MiB before, {} MiB after", before, resident());
}

async fn read(store: &RocksStore, customers: usize, windows: usize) {
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
    let at = |percent: usize| took[(READS - 1) * percent / 100];
    println!(
        "a month of one customer and meter, among {windows} windows by the minute (and their hours and days): p50 {:.0?}, p99 {:.0?}",
        at(50),
        at(99)
    );
}

/// Resident memory in MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024
}
