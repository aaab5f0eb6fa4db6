//! A collector's storage with a clock that the test moves, and agents that send what the test says.

use crate::{
    billing::{self, CycleTerms, NewSubscription, RunReport},
    catalog::{
        Frequency, Interval, MeterPrice, MeterPricing, NewProduct, Price, Product, UsageBasedPrice,
    },
    credits::{CreditAttachment, CreditEntitlement, Grant, OverageBehavior, Rollover},
    id::EntitlementId,
    ledger::Transfer,
    merge::FrameOutcome,
    money::{Currency, Decimal},
    payment::{Collecting, Exhausted, Terms},
    rating::Tariff,
    storage::{
        AgentStore, CatalogStore, CreateOutcome, EntryFilter, IncomingFrame, InvoiceFilter,
        InvoiceStore, LedgerStore, Page, SubscriptionStore, UsageStore, rocksdb::RocksStore,
    },
    subscription::{BillingAddress, Subscription, SubscriptionId},
    test_clock::{BillingClock, TestClock},
};
use std::{path::Path, sync::Arc, time::Duration};
use submeter_common::{
    AgentId, Aggregation, AggregationKind, Clock, CustomerId, Digest, Frame, FrameHeader, Group,
    ManualClock, Meter, MeterId, Partial, Quantity, Receipts, Row, State, Timestamp, encode_frame,
    protocol::{Lineage, Position, Reach, RegisterRequest, events_by_meter},
};
use tempfile::TempDir;
use uuid::Uuid;

/// How long the tests' periods wait for agents.
pub(super) const WAIT: Duration = Duration::from_secs(86_400);

pub(super) fn at(text: &str) -> Timestamp {
    let text = if text.len() == 10 {
        format!("{text}T00:00:00Z")
    } else {
        text.to_owned()
    };
    Timestamp::parse(&text).unwrap()
}

pub(super) fn decimal(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

pub(super) fn customer() -> CustomerId {
    CustomerId::new("cus_1").unwrap()
}

/// Collecting without anybody to ask: invoices are due at once, and past due.
pub(super) fn by_hand() -> Collecting {
    Collecting {
        gateway: None,
        terms: Terms {
            due_after: Duration::ZERO,
            retries: vec![Duration::from_secs(86_400), Duration::from_secs(3 * 86_400)],
            exhausted: Exhausted::PastDue,
            recheck_after: Duration::from_secs(60),
            answer_within: Duration::from_secs(3 * 86_400),
        },
        concurrency: 4,
    }
}

/// One agent of the test, as far as the collector can tell.
struct Agent {
    id: AgentId,
    epoch: u64,
    position: Position,
    receipts: Receipts,
}

pub(super) struct World {
    directory: TempDir,
    store: Option<Arc<RocksStore>>,
    pub clock: ManualClock,
    agents: Vec<Agent>,
}

/// Usage of a meter at one instant: `(meter, instant, units)`. `calls@eu` is of the group `eu`.
pub(super) type Used<'a> = (&'a str, &'a str, &'a str);

impl World {
    /// Starts a collector at `now` with one live agent.
    pub(super) async fn new(now: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Some(open(directory.path()));
        let clock = ManualClock::new(at(now));
        let mut world = Self {
            directory,
            store,
            clock,
            agents: Vec::new(),
        };
        world.agent().await;
        world
    }

    pub(super) fn shared_store(&self) -> Arc<RocksStore> {
        Arc::clone(self.store.as_ref().unwrap())
    }

    /// The time of background work: that of `ruling`, or of the machine when there is none.
    pub(super) fn billing_clock(&self, ruling: Option<TestClock>) -> Arc<BillingClock> {
        Arc::new(BillingClock::new(Arc::new(self.clock.clone()), ruling))
    }

    pub(super) fn store(&self) -> &RocksStore {
        self.store.as_ref().unwrap()
    }

    /// Stops the collector as a crash between two writes would, and starts it again.
    pub(super) fn restart(&mut self) {
        self.store = None;
        self.store = Some(open(self.directory.path()));
    }

    /// Registers a further agent, which has delivered nothing yet; returns its place.
    pub(super) async fn agent(&mut self) -> usize {
        let id = AgentId::new(Uuid::from_u128(self.agents.len() as u128 + 1));
        let request = RegisterRequest {
            agent_id: id,
            state_nonce: Uuid::from_u128(7),
            boot_id: Uuid::from_u128(8),
            agent_version: "test".to_owned(),
            catalog_version: 0,
            acknowledged: Position::default(),
            sealed: Position::default(),
            watermark: Timestamp::from_micros(0),
            lineage: Lineage::default(),
            name: None,
            disowned: None,
            incidents: Vec::new(),
        };
        let epoch = self
            .store()
            .register(&request, self.clock.now())
            .await
            .unwrap()
            .epoch;
        let agent = Agent {
            id,
            epoch,
            position: Position::default(),
            receipts: Receipts::default(),
        };
        self.agents.push(agent);
        self.agents.len() - 1
    }

    pub(super) fn agent_id(&self, place: usize) -> AgentId {
        self.agents[place].id
    }

    /// Makes a meter that sums units under its name as id.
    pub(super) async fn meter(&self, name: &str, kind: AggregationKind) {
        self.meter_by(name, kind, &[]).await;
    }

    /// Makes a meter whose usage is kept apart by these keys.
    pub(super) async fn meter_by(&self, name: &str, kind: AggregationKind, group_by: &[&str]) {
        let key = (kind != AggregationKind::Count).then(|| "units".to_owned());
        let meter = Meter {
            id: MeterId::new(name).unwrap(),
            name: name.to_owned(),
            description: None,
            event_name: name.to_owned(),
            measurement_unit: "units".to_owned(),
            aggregation: Aggregation { kind, key },
            filter: None,
            group_by: group_by.iter().map(|key| (*key).to_owned()).collect(),
            archived: false,
            created_at: self.clock.now(),
            updated_at: self.clock.now(),
        };
        let _ = self.store().put_meter(None, &meter).await.unwrap();
    }

    /// Lets the first agent deliver usage of the customer, and promise that all before `watermark` is delivered.
    pub(super) async fn deliver(&mut self, watermark: &str, used: &[Used<'_>]) {
        self.deliver_from(0, watermark, used).await;
    }

    pub(super) async fn deliver_from(&mut self, place: usize, watermark: &str, used: &[Used<'_>]) {
        let rows = self.rows(used).await;
        let catalog_version = self.store().catalog().await.unwrap().version;
        let now = self.clock.now();
        let agent = &mut self.agents[place];
        let events = rows.iter().map(|row| row.partial.events).sum::<u64>();
        agent.receipts.received += events;
        agent.receipts.accepted += events;
        agent.receipts.matched += events;
        let header = FrameHeader {
            agent_id: agent.id,
            epoch: agent.epoch,
            seq: agent.position.seq + 1,
            previous: agent.position.digest,
            sealed_at: now,
            watermark: at(watermark),
            farewell: false,
            catalog_version,
            receipts: agent.receipts.clone(),
            reach: Reach::default(),
            meter_events: events_by_meter(&rows).unwrap(),
        };
        let frame = Frame { header, rows };
        let (_, digest): (_, Digest) = encode_frame(&frame).unwrap();
        agent.position = Position {
            seq: frame.header.seq,
            digest,
        };
        let incoming = IncomingFrame {
            epoch: agent.epoch,
            frame,
            digest,
            // A promise about the future is believed up to the present only; these come when they may.
            received_at: now.max(at(watermark)),
        };
        let outcome = self.store().apply_frame(incoming).await.unwrap();
        assert!(
            matches!(outcome, FrameOutcome::Applied { quarantined: 0, .. }),
            "{outcome:?}"
        );
    }

    async fn rows(&self, used: &[Used<'_>]) -> Vec<Row> {
        let catalog = self.store().catalog().await.unwrap();
        let mut rows = Vec::new();
        for (meter, instant, units) in used {
            let (meter, group) = meter.split_once('@').unwrap_or((meter, ""));
            let group = match group {
                "" => Group::none(),
                value => Group::of([Some(value.to_owned())]),
            };
            let meter_id = MeterId::new(meter).unwrap();
            let units = Quantity::parse(units).unwrap();
            let (events, state) = match catalog.meters[&meter_id].aggregation.kind {
                AggregationKind::Count => (units.to_u64().unwrap(), State::Count),
                AggregationKind::Max => (1, State::Max(Some(units))),
                _ => (1, State::Sum(units)),
            };
            let partial = Partial {
                events,
                non_numeric: 0,
                state,
            };
            let window = at(instant).window();
            rows.push(Row {
                customer_id: customer(),
                meter_id,
                group,
                window,
                partial,
            });
        }
        rows
    }

    /// Subscribes the customer to `product` from `start`.
    pub(super) async fn subscribe(
        &self,
        product: &Product,
        start: &str,
        quantity: u32,
    ) -> Subscription {
        self.subscribe_to(product, start, quantity, CycleTerms::default())
            .await
    }

    /// Subscribes the customer once to `product` from `start`, by other terms than the default ones.
    pub(super) async fn subscribe_by(
        &self,
        product: &Product,
        start: &str,
        terms: CycleTerms,
    ) -> Subscription {
        self.subscribe_to(product, start, 1, terms).await
    }

    async fn subscribe_to(
        &self,
        product: &Product,
        start: &str,
        quantity: u32,
        terms: CycleTerms,
    ) -> Subscription {
        let new = NewSubscription {
            customer_id: customer(),
            test_clock: None,
            product,
            quantity,
            start: Some(at(start)),
            terms,
            billing: BillingAddress {
                country: "DE".to_owned(),
                ..BillingAddress::default()
            },
            metadata: Default::default(),
        };
        let opening = billing::open(new, self.clock.now()).unwrap();
        let subscription = opening.subscription.clone();
        let outcome = self.store().create_subscription(opening).await.unwrap();
        assert!(matches!(outcome, CreateOutcome::Created(_)), "{outcome:?}");
        subscription
    }

    pub(super) async fn run(&self) -> RunReport {
        billing::close_due(&self.shared_store(), &self.clock, WAIT, "test")
            .await
            .unwrap()
    }

    /// Sets the clock, lets the first agent say that nothing older will come, and runs billing.
    pub(super) async fn run_at(&mut self, now: &str) -> RunReport {
        self.clock.set(at(now));
        self.deliver(now, &[]).await;
        self.run().await
    }

    /// Returns all invoices, oldest first.
    pub(super) async fn invoices(&self) -> Vec<billing::Invoice> {
        let mut invoices = self
            .store()
            .invoices(&InvoiceFilter::default(), Page::new(0, 1000))
            .await
            .unwrap();
        invoices.reverse();
        invoices
    }

    pub(super) async fn grants(&self) -> Vec<Grant> {
        self.store().grants(&customer(), None).await.unwrap()
    }

    pub(super) async fn transfers(&self) -> Vec<Transfer> {
        let entries = self
            .store()
            .entries(&customer(), &EntryFilter::default(), Page::new(0, 1000))
            .await
            .unwrap();
        entries.into_iter().map(|entry| entry.transfer).collect()
    }

    pub(super) async fn subscription(&self, id: &SubscriptionId) -> Subscription {
        self.store().subscription(id).await.unwrap().unwrap()
    }

    /// Stores an entitlement of tokens and returns its attachment of `amount` credits each period.
    pub(super) async fn tokens(&self, amount: &str, precision: u8) -> CreditAttachment {
        let now = self.clock.now();
        let entitlement = CreditEntitlement {
            id: EntitlementId::from_text("cde_tokens"),
            name: "Tokens".to_owned(),
            description: None,
            unit: "tokens".to_owned(),
            precision,
            expires_after_days: None,
            rollover: Rollover::default(),
            overage_enabled: true,
            overage_limit: None,
            overage_behavior: OverageBehavior::InvoiceAtBilling,
            currency: Some(Currency::USD),
            price_per_unit: Some(decimal("3")),
            archived: false,
            created_at: now,
            updated_at: now,
        };
        let _ = self
            .store()
            .put_entitlement(None, &entitlement)
            .await
            .unwrap();
        entitlement.attach(decimal(amount), now)
    }

    /// Stores a monthly product.
    pub(super) async fn product(
        &self,
        fixed_price: i64,
        meters: Vec<MeterPrice>,
        credit_entitlements: Vec<CreditAttachment>,
    ) -> Product {
        let price = UsageBasedPrice {
            currency: Currency::USD,
            fixed_price,
            payment_frequency: Frequency {
                count: 1,
                interval: Interval::Month,
            },
            subscription_period: Frequency {
                count: 20,
                interval: Interval::Year,
            },
            meters,
            discount: 0,
            purchasing_power_parity: false,
            tax_inclusive: false,
        };
        self.product_of(price, credit_entitlements).await
    }

    pub(super) async fn product_of(
        &self,
        price: UsageBasedPrice,
        credit_entitlements: Vec<CreditAttachment>,
    ) -> Product {
        let new = NewProduct {
            name: "Plan".to_owned(),
            description: None,
            tax_category: "saas".to_owned(),
            metadata: Default::default(),
            price: Price::UsageBased(price),
            credit_entitlements,
        };
        let catalog = self.store().catalog().await.unwrap();
        let meters: Vec<Meter> = catalog.meters.values().cloned().collect();
        let entitlements: Vec<CreditEntitlement> = catalog.entitlements.values().cloned().collect();
        let product = Product::create(new, &meters, &entitlements, self.clock.now()).unwrap();
        let _ = self.store().put_product(None, &product).await.unwrap();
        product
    }
}

/// Prices a meter in money, every unit alike.
pub(super) fn per_unit(meter: &str, free_threshold: i64, price: &str) -> MeterPrice {
    by_tariff(meter, free_threshold, Tariff::per_unit(decimal(price)))
}

/// Prices a meter in money.
pub(super) fn by_tariff(meter: &str, free_threshold: i64, tariff: Tariff) -> MeterPrice {
    MeterPrice {
        meter_id: MeterId::new(meter).unwrap(),
        free_threshold,
        pricing: MeterPricing::money(tariff),
    }
}

/// Prices a meter in tokens.
pub(super) fn in_tokens(meter: &str, free_threshold: i64, units_per_credit: &str) -> MeterPrice {
    MeterPrice {
        meter_id: MeterId::new(meter).unwrap(),
        free_threshold,
        pricing: MeterPricing::Credits {
            credit_entitlement_id: EntitlementId::from_text("cde_tokens"),
            meter_units_per_credit: decimal(units_per_credit),
        },
    }
}

fn open(path: &Path) -> Arc<RocksStore> {
    Arc::new(RocksStore::open(path).unwrap())
}
