//! What invoices say in money, period after period.

use super::world::{World, at, decimal, per_unit};
use crate::{
    billing::{self, InvoiceStatus, LineKind},
    catalog::{Frequency, Interval},
    ledger::Account,
    subscription::SubscriptionStatus,
};
use submeter_common::AggregationKind::{Count, Max, Sum};

#[tokio::test]
async fn worked_examples_from_the_field_are_billed_to_the_cent() {
    let mut world = World::new("2025-01-01").await;
    world.meter("calls", Sum).await;
    world.meter("images", Sum).await;
    world.meter("requests", Count).await;
    let product = |fixed, meter| world.product(fixed, vec![meter], Vec::new());
    let thirty = product(0, per_unit("calls", 1000, "2")).await;
    let three_quarters = product(0, per_unit("images", 10, "5")).await;
    let base_and_usage = product(4900, per_unit("requests", 10_000, "0.5")).await;
    for product in [&thirty, &three_quarters, &base_and_usage] {
        world.subscribe(product, "2025-01-01", 1).await;
    }
    let used = [
        ("calls", "2025-01-02", "2000"),
        ("calls", "2025-01-31T23:59:59Z", "500"),
        ("images", "2025-01-03", "25"),
        ("requests", "2025-01-04", "25000"),
        // The first minute of the next period.
        ("calls", "2025-02-01", "7"),
    ];
    world.deliver("2025-02-01", &used).await;
    world.run_at("2025-02-01T00:00:01Z").await;

    let totals = |id: &str| {
        let id = id.to_owned();
        let invoices = world.invoices();
        async move {
            let of_product = invoices
                .await
                .into_iter()
                .filter(|invoice| invoice.product_id.as_str() == id);
            of_product.map(|invoice| invoice.total).collect::<Vec<_>>()
        }
    };
    assert_eq!(totals(thirty.product_id.as_str()).await, [3000]);
    assert_eq!(totals(three_quarters.product_id.as_str()).await, [75]);
    // The base fee of January at the start, then January's usage with the base fee of February.
    assert_eq!(
        totals(base_and_usage.product_id.as_str()).await,
        [4900, 12_400]
    );
}

#[tokio::test]
async fn a_line_shows_how_its_amount_came_about() {
    let mut world = World::new("2025-01-01").await;
    let second = world.agent().await;
    world.meter("calls", Sum).await;
    let product = world
        .product(100, vec![per_unit("calls", 10, "0.125")], Vec::new())
        .await;
    world.subscribe(&product, "2025-01-01", 3).await;
    world
        .deliver("2025-01-10", &[("calls", "2025-01-02", "12.5")])
        .await;
    world
        .deliver("2025-02-01", &[("calls", "2025-01-20", "0.5")])
        .await;
    world
        .deliver_from(second, "2025-02-01", &[("calls", "2025-01-02", "1")])
        .await;
    world.run_at("2025-02-01").await;

    let invoices = world.invoices().await;
    let [opening, closing] = &invoices[..] else {
        panic!("{invoices:?}")
    };
    assert_eq!(
        (opening.total, opening.period, opening.closes_period),
        (300, None, None)
    );
    assert_eq!(
        (opening.number.as_str(), closing.number.as_str()),
        ("INV-2025-000001", "INV-2025-000002")
    );
    assert_eq!(closing.closes_period, Some(0));
    assert!(closing.complete && closing.missing_agents.is_empty());
    let [usage, fee] = &closing.lines[..] else {
        panic!("{closing:?}")
    };
    assert_eq!(usage.kind, LineKind::Usage);
    assert_eq!(
        (&usage.quantity, &usage.free_quantity),
        (&decimal("14"), &decimal("10"))
    );
    assert_eq!(
        (&usage.billed_quantity, usage.unit_price.as_ref()),
        (&decimal("4"), Some(&decimal("0.125")))
    );
    assert_eq!((&usage.amount_exact, usage.amount), (&decimal("0.5"), 1));
    let sources: Vec<_> = usage
        .sources
        .iter()
        .map(|s| (s.agent_id, s.first_seq, s.last_seq, s.events))
        .collect();
    assert_eq!(
        sources,
        [
            (world.agent_id(0), 1, 2, 2),
            (world.agent_id(second), 1, 1, 1)
        ]
    );
    assert_eq!(usage.events, 3);
    assert_eq!((fee.kind, fee.amount), (LineKind::BaseFee, 300));
    assert_eq!(
        (fee.service_period.start, fee.service_period.end),
        (at("2025-02-01"), at("2025-03-01"))
    );
    assert_eq!(closing.total, 301);
}

#[tokio::test]
async fn month_ends_clamp_and_come_back() {
    let mut world = World::new("2025-01-31T12:34:56Z").await;
    world.meter("calls", Sum).await;
    let product = world
        .product(0, vec![per_unit("calls", 0, "100")], Vec::new())
        .await;
    let subscription = world.subscribe(&product, "2025-01-31T12:34:56Z", 1).await;
    assert_eq!(subscription.starts_at, at("2025-01-31T12:34:00Z"));
    let used = [
        ("calls", "2025-02-28T12:33:59Z", "1"),
        ("calls", "2025-02-28T12:34:00Z", "2"),
        ("calls", "2025-03-31T12:33:00Z", "4"),
    ];
    world.deliver("2025-03-31T12:34:00Z", &used).await;
    let report = world.run_at("2025-03-31T12:34:00Z").await;
    assert_eq!((report.closed, report.issued), (2, 2));
    let found: Vec<_> = world
        .invoices()
        .await
        .iter()
        .map(|i| (i.total, i.period.unwrap().end))
        .collect();
    assert_eq!(
        found,
        [
            (100, at("2025-02-28T12:34:00Z")),
            (600, at("2025-03-31T12:34:00Z"))
        ]
    );
}

#[tokio::test]
async fn a_backdated_subscription_is_invoiced_period_after_period_at_once() {
    let mut world = World::new("2025-04-15").await;
    world.meter("calls", Sum).await;
    let product = world
        .product(500, vec![per_unit("calls", 0, "1")], Vec::new())
        .await;
    let used = [
        ("calls", "2025-01-05", "10"),
        ("calls", "2025-03-05", "30"),
        ("calls", "2025-04-05", "40"),
    ];
    world.deliver("2025-04-15", &used).await;
    let subscription = world.subscribe(&product, "2025-01-01", 1).await;
    let report = world.run().await;
    assert_eq!((report.closed, report.issued), (3, 3));
    let totals: Vec<i64> = world
        .invoices()
        .await
        .iter()
        .map(|invoice| invoice.total)
        .collect();
    assert_eq!(totals, [500, 510, 500, 530]);
    let now = world.subscription(&subscription.subscription_id).await;
    assert_eq!(
        (now.next_period, now.current_period.start),
        (3, at("2025-04-01"))
    );
    // Nothing more happens until the next period is over.
    assert_eq!(world.run().await.closed, 0);
    assert_eq!(world.invoices().await.len(), 4);
}

#[tokio::test]
async fn a_period_without_usage_and_fee_has_no_invoice_and_a_free_one_is_paid() {
    let mut world = World::new("2025-01-01").await;
    world.meter("calls", Sum).await;
    let product = world
        .product(0, vec![per_unit("calls", 10, "1")], Vec::new())
        .await;
    world.subscribe(&product, "2025-01-01", 1).await;
    world
        .deliver("2025-02-15", &[("calls", "2025-02-10", "9")])
        .await;
    assert_eq!(world.run_at("2025-02-01").await.issued, 0);
    assert_eq!(world.run_at("2025-03-01").await.issued, 1);
    let invoices = world.invoices().await;
    assert_eq!(
        (invoices[0].total, invoices[0].status),
        (0, InvoiceStatus::Paid)
    );
    assert_eq!(invoices[0].lines[0].free_quantity, decimal("9"));
}

#[tokio::test]
async fn a_subscription_ends_with_its_last_usage_and_a_fee_for_the_part_that_is_served() {
    let mut world = World::new("2025-01-01").await;
    world.meter("seats", Max).await;
    let mut product = world
        .product(3100, vec![per_unit("seats", 0, "100")], Vec::new())
        .await;
    let crate::catalog::Price::UsageBased(price) = &mut product.price;
    price.subscription_period = Frequency {
        count: 46,
        interval: Interval::Day,
    };
    let subscription = world.subscribe(&product, "2025-01-01", 1).await;
    let used = [
        ("seats", "2025-01-10", "3"),
        ("seats", "2025-01-20", "5"),
        ("seats", "2025-02-10", "2"),
    ];
    world.deliver("2025-02-16", &used).await;
    assert_eq!(world.run_at("2025-02-16").await.closed, 2);
    let totals: Vec<i64> = world
        .invoices()
        .await
        .iter()
        .map(|invoice| invoice.total)
        .collect();
    // January's fee; 5 seats and 15 of 28 days of February's fee (1660.71); 2 seats and no further fee.
    assert_eq!(totals, [3100, 500 + 1661, 200]);
    let ended = world.subscription(&subscription.subscription_id).await;
    assert_eq!(ended.status, SubscriptionStatus::Expired);
    assert_eq!(world.run_at("2025-06-01").await.closed, 0);
}

#[tokio::test]
async fn receivables_are_the_sum_of_all_invoices() {
    let mut world = World::new("2025-01-01").await;
    world.meter("calls", Sum).await;
    let product = world
        .product(500, vec![per_unit("calls", 0, "1")], Vec::new())
        .await;
    world.subscribe(&product, "2025-01-01", 1).await;
    world
        .deliver("2025-02-01", &[("calls", "2025-01-02", "7")])
        .await;
    world.run_at("2025-02-01").await;
    let owed: i64 = world
        .invoices()
        .await
        .iter()
        .map(|invoice| invoice.total)
        .sum();
    let transfers = world.transfers().await;
    let receivable = transfers
        .iter()
        .filter(|transfer| transfer.debit == Account::Receivable);
    let booked = receivable.fold(decimal("0"), |sum, transfer| &sum + &transfer.amount);
    assert_eq!((owed, booked), (1007, decimal("1007")));
}

#[tokio::test]
async fn the_preview_is_the_invoice_to_come_and_history_shows_it_first() {
    let mut world = World::new("2025-01-01").await;
    world.meter("calls", Sum).await;
    let product = world
        .product(0, vec![per_unit("calls", 10, "2")], Vec::new())
        .await;
    let subscription = world.subscribe(&product, "2025-01-01", 1).await;
    world
        .deliver("2025-01-20", &[("calls", "2025-01-02", "15")])
        .await;
    world.run_at("2025-02-01").await;
    world
        .deliver("2025-02-10", &[("calls", "2025-02-05", "30")])
        .await;
    world.clock.set(at("2025-02-10"));

    let subscription = world.subscription(&subscription.subscription_id).await;
    let store = world.store();
    let preview = billing::preview(store, &subscription, at("2025-02-10"))
        .await
        .unwrap();
    assert_eq!((preview.total, preview.complete), (40, false));
    assert_eq!(world.invoices().await.len(), 1);

    let history = billing::history(store, &subscription, at("2025-02-10"), 0, 10)
        .await
        .unwrap();
    let shown: Vec<_> = history
        .iter()
        .map(|period| {
            let meter = &period.meters[0];
            (
                period.open,
                meter.consumed_units.to_string(),
                meter.chargeable_units.to_string(),
                meter.total_price,
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (true, "30".to_owned(), "20".to_owned(), 40),
            (false, "15".to_owned(), "5".to_owned(), 10)
        ]
    );
    let second = billing::history(store, &subscription, at("2025-02-10"), 1, 10)
        .await
        .unwrap();
    assert_eq!(second, history[1..]);
}
