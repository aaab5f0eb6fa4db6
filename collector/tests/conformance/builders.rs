//! What the tests put into a store.

use submeter_collector::billing::{InvoiceStatus, NewInvoice, Settlement};
use submeter_collector::bookkeeping::Posting;
use submeter_collector::catalog::{
    Frequency, Interval, MeterPrice, MeterPricing, Price, UsageBasedPrice,
};
use submeter_collector::credits::{Grant, GrantSource};
use submeter_collector::id::{
    EntitlementId, GrantId, InvoiceId, ProductId, SubscriptionId, TransferId,
};
use submeter_collector::ledger::{Account, Cause, LedgerUnit, Note, Transfer};
use submeter_collector::merge::FrameOutcome;
use submeter_collector::money::{Currency, Decimal};
use submeter_collector::rating::Tariff;
use submeter_collector::storage::{IncomingFrame, Registration, Storage};
use submeter_collector::subscription::period::{Alignment, Cycle};
use submeter_collector::subscription::plan::{FirstFee, Plan, Schedule};
use submeter_collector::subscription::proration::Proration;
use submeter_collector::subscription::zone::Zone;
use submeter_collector::subscription::{BillingAddress, Subscription, SubscriptionStatus};
use submeter_common::aggregate::{Group, Partial, State};
use submeter_common::id::{AgentId, CustomerId, Digest, MeterId};
use submeter_common::protocol::{
    Frame, FrameHeader, Lineage, Position, Reach, Receipts, RegisterRequest, Row, encode_frame,
    events_by_meter,
};
use submeter_common::quantity::Quantity;
use submeter_common::time::{Period, Timestamp, Window};
use uuid::Uuid;

/// 2024-01-01T00:00:00Z
pub(crate) const NEW_YEAR: Timestamp = Timestamp::from_micros(1_704_067_200_000_000);

pub(crate) const HOUR: i64 = 3600 * 1_000_000;
pub(crate) const DAY: i64 = 24 * HOUR;

pub(crate) fn after(micros: i64) -> Timestamp {
    Timestamp::from_micros(NEW_YEAR.as_micros() + micros)
}

/// The minute so many minutes after the new year.
pub(crate) fn minute(number: i32) -> Window {
    Window::from_minute(NEW_YEAR.window().minute() + number)
}

pub(crate) fn period(start: i32, end: i32) -> Period {
    Period {
        start: minute(start).start(),
        end: minute(end).start(),
    }
}

pub(crate) fn customer(name: &str) -> CustomerId {
    CustomerId::new(name).unwrap()
}

pub(crate) fn meter(name: &str) -> MeterId {
    MeterId::new(name).unwrap()
}

pub(crate) fn agent_id(number: u128) -> AgentId {
    AgentId::new(Uuid::from_u128(number))
}

pub(crate) fn count(events: u64) -> Partial {
    Partial {
        events,
        non_numeric: 0,
        state: State::Count,
    }
}

pub(crate) fn sum(events: u64, text: &str) -> Partial {
    Partial {
        events,
        non_numeric: 0,
        state: State::Sum(Quantity::parse(text).unwrap()),
    }
}

pub(crate) fn row(customer_name: &str, meter_name: &str, window: Window, partial: Partial) -> Row {
    Row {
        customer_id: customer(customer_name),
        meter_id: meter(meter_name),
        group: Group::none(),
        window,
        partial,
    }
}

/// An agent as the network sees it: a chain of frames.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(crate) agent_id: AgentId,
    pub(crate) nonce: Uuid,
    /// The process it runs in.
    pub(crate) boot: Uuid,
    pub(crate) name: Option<String>,
    pub(crate) lineage: Lineage,
    /// Of the frames to come.
    pub(crate) reach: Reach,
    pub(crate) epoch: u64,
    pub(crate) sealed: Position,
    pub(crate) acknowledged: Position,
    pub(crate) receipts: Receipts,
    pub(crate) watermark: Timestamp,
    pub(crate) farewell: bool,
}

impl Sender {
    pub(crate) fn new(number: u128) -> Self {
        Self {
            agent_id: agent_id(number),
            nonce: Uuid::from_u128(number << 64),
            boot: Uuid::from_u128(1),
            name: None,
            lineage: Lineage::default(),
            reach: Reach::default(),
            epoch: 0,
            sealed: Position {
                seq: 0,
                digest: Digest::ZERO,
            },
            acknowledged: Position {
                seq: 0,
                digest: Digest::ZERO,
            },
            receipts: Receipts::default(),
            watermark: NEW_YEAR,
            farewell: false,
        }
    }

    pub(crate) async fn registered(number: u128, store: &impl Storage) -> Self {
        let mut sender = Self::new(number);
        let _ = sender.register(store).await;
        sender
    }

    pub(crate) async fn register(&mut self, store: &impl Storage) -> Registration {
        let answer = store.register(&self.request(), NEW_YEAR).await.unwrap();
        self.epoch = answer.epoch;
        answer
    }

    pub(crate) fn request(&self) -> RegisterRequest {
        RegisterRequest {
            agent_id: self.agent_id,
            state_nonce: self.nonce,
            boot_id: self.boot,
            agent_version: "0.1.0".to_owned(),
            catalog_version: 0,
            acknowledged: self.acknowledged,
            sealed: self.sealed,
            watermark: self.watermark,
            lineage: self.lineage.clone(),
            name: self.name.clone(),
            disowned: None,
            incidents: Vec::new(),
        }
    }

    /// Seals the next frame. Its receipts say that every row's events were accepted and matched.
    pub(crate) fn seal(&mut self, rows: Vec<Row>) -> IncomingFrame {
        let events: u64 = rows.iter().map(|row| row.partial.events).sum();
        self.receipts.received += events;
        self.receipts.accepted += events;
        self.receipts.matched += events;
        self.seal_as_is(rows)
    }

    pub(crate) fn seal_as_is(&mut self, rows: Vec<Row>) -> IncomingFrame {
        let header = FrameHeader {
            agent_id: self.agent_id,
            epoch: self.epoch,
            seq: self.sealed.seq + 1,
            previous: self.sealed.digest,
            sealed_at: NEW_YEAR,
            watermark: self.watermark,
            farewell: self.farewell,
            catalog_version: 0,
            receipts: self.receipts.clone(),
            reach: self.reach,
            meter_events: events_by_meter(&rows).unwrap(),
        };
        let frame = Frame { header, rows };
        let (_, digest) = encode_frame(&frame).unwrap();
        self.sealed = Position {
            seq: frame.header.seq,
            digest,
        };
        IncomingFrame {
            epoch: self.epoch,
            frame,
            digest,
            received_at: NEW_YEAR,
        }
    }
}

pub(crate) fn is_applied(outcome: &FrameOutcome) -> bool {
    matches!(
        outcome,
        FrameOutcome::Applied {
            quarantined: 0,
            unconserved: false,
            ..
        }
    )
}

/// Events of a meter over a period, all groups together.
pub(crate) async fn events(
    store: &impl Storage,
    customer_name: &str,
    meter_name: &str,
    period: Period,
) -> u64 {
    let groups = store
        .usage(&customer(customer_name), &meter(meter_name), period)
        .await
        .unwrap();
    groups.iter().map(|usage| usage.cell.partial.events).sum()
}

pub(crate) fn subscription(id: &str, customer_name: &str, meters: &[&str], n: u32) -> Subscription {
    let month = Frequency {
        count: 1,
        interval: Interval::Month,
    };
    let meters = meters.iter().map(|name| MeterPrice {
        meter_id: meter(name),
        free_threshold: 0,
        pricing: MeterPricing::money(Tariff::per_unit(Decimal::from(1_i64))),
    });
    let start = i64::from(n) * DAY;
    Subscription {
        subscription_id: SubscriptionId::from_text(id),
        customer_id: customer(customer_name),
        status: SubscriptionStatus::Active,
        test_clock: None,
        currency: Currency::USD,
        starts_at: NEW_YEAR,
        plan: plan(Price::UsageBased(UsageBasedPrice {
            currency: Currency::USD,
            fixed_price: 0,
            payment_frequency: month,
            subscription_period: month,
            meters: meters.collect(),
            discount: 0,
            purchasing_power_parity: false,
            tax_inclusive: false,
        })),
        former_plans: Vec::new(),
        upcoming_plans: Vec::new(),
        cancellation: None,
        next_period: n,
        current_period: Period {
            start: after(start),
            end: after(start + DAY),
        },
        billing: BillingAddress::default(),
        metadata: Default::default(),
        version: u64::from(n),
        created_at: NEW_YEAR,
        updated_at: NEW_YEAR,
    }
}

/// A plan of a thousand days from the new year on.
fn plan(price: Price) -> Plan {
    let frequency = price.usage_based().payment_frequency;
    let cycle = Cycle::starting(NEW_YEAR, frequency, Zone::UTC, Alignment::Anniversary).unwrap();
    Plan {
        product_id: ProductId::from_text("pdt_1"),
        product_name: "Product".to_owned(),
        quantity: 1,
        price,
        credit_entitlements: Vec::new(),
        first_period: 0,
        starts_at: NEW_YEAR,
        term_ends_at: after(1000 * DAY),
        schedule: Schedule::Cycle { cycle, first: 0 },
        proration: Proration::Second,
        first_fee: FirstFee::Prorated,
        change: None,
    }
}

/// Settles period `n` of a subscription: an invoice over `total`, and nothing else.
pub(crate) fn settlement(
    id: &str,
    customer_name: &str,
    meters: &[&str],
    n: u32,
    total: i64,
) -> Settlement {
    let invoice_id = InvoiceId::derived(&[id, &n.to_string()]);
    let after_it = subscription(id, customer_name, meters, n + 1);
    let invoice = NewInvoice {
        invoice_id: invoice_id.clone(),
        status: InvoiceStatus::Issued,
        customer_id: after_it.customer_id.clone(),
        subscription_id: after_it.subscription_id.clone(),
        test_clock: after_it.test_clock.clone(),
        product_id: after_it.plan.product_id.clone(),
        period: None,
        closes_period: Some(n),
        issued_at: after_it.current_period.start,
        due_at: after_it.current_period.start,
        currency: Currency::USD,
        lines: Vec::new(),
        total,
        wallet_applied: 0,
        complete: true,
        missing_agents: Vec::new(),
    };
    let transfer = Transfer {
        unit: LedgerUnit::Money(Currency::USD),
        debit: Account::Receivable,
        credit: Account::Revenue,
        cause: Cause::Invoiced {
            invoice_id: invoice_id.clone(),
        },
        ..transfer(&format!("invoice:{invoice_id}"), customer_name, total)
    };
    Settlement {
        subscription: after_it,
        expected_next_period: n,
        invoice: Some(invoice),
        posting: Posting {
            transfers: vec![transfer],
            ..Posting::empty(customer(customer_name))
        },
    }
}

/// Opens a subscription at period 0, with nothing to settle.
pub(crate) fn opening(id: &str, customer_name: &str, meters: &[&str]) -> Settlement {
    Settlement {
        subscription: subscription(id, customer_name, meters, 0),
        expected_next_period: 0,
        invoice: None,
        posting: Posting::empty(customer(customer_name)),
    }
}

pub(crate) fn grant(id: &str, customer_name: &str, amount: i64) -> Grant {
    Grant {
        grant_id: GrantId::from_text(id),
        customer_id: customer(customer_name),
        credit_entitlement_id: EntitlementId::from_text("cde_1"),
        source: GrantSource::Subscription,
        amount: Decimal::from(amount),
        remaining: Decimal::from(amount),
        held: Decimal::zero(),
        expired: Decimal::zero(),
        priority: 0,
        effective_at: NEW_YEAR,
        expires_at: None,
        ends_at_close: false,
        subscription_id: None,
        period: None,
        parent_grant_id: None,
        rollover_count: 0,
        metadata: Default::default(),
        created_at: NEW_YEAR,
        updated_at: NEW_YEAR,
    }
}

/// Credits granted; other movements are made from it.
pub(crate) fn transfer(key: &str, customer_name: &str, amount: i64) -> Transfer {
    Transfer {
        transfer_id: TransferId::derived(&[key]),
        customer_id: customer(customer_name),
        unit: LedgerUnit::Credits(EntitlementId::from_text("cde_1")),
        debit: Account::CreditsAvailable,
        credit: Account::CreditsIssued,
        amount: Decimal::from(amount),
        idempotency_key: key.to_owned(),
        at: NEW_YEAR,
        cause: Cause::Granted {
            grant_id: GrantId::from_text(key.trim_start_matches("grant:")),
        },
        note: Note::default(),
    }
}
