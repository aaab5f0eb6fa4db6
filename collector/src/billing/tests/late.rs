//! Late usage: never lost, never twice, and never a change of an issued invoice.

use super::world::{World, at, in_tokens, per_unit};
use crate::billing::{self, InvoiceStatus, LineKind};
use submeter_common::AggregationKind::{Max, Sum};

#[tokio::test]
async fn late_usage_is_an_adjustment_on_the_next_invoice_of_its_own_period() {
    let mut world = World::new("2025-01-01").await;
    world.meter("calls", Sum).await;
    let product = world
        .product(0, vec![per_unit("calls", 10, "2.5")], Vec::new())
        .await;
    let subscription = world.subscribe(&product, "2025-01-01", 1).await;
    world
        .deliver("2025-02-01", &[("calls", "2025-01-05", "11")])
        .await;
    world.run_at("2025-02-01").await;
    let before = world.invoices().await;
    // 11 − 10 units at 2.5 cents: 2.5, rounded to 3.
    assert_eq!(before[0].total, 3);

    world
        .deliver(
            "2025-02-10",
            &[("calls", "2025-01-06", "1"), ("calls", "2025-02-02", "14")],
        )
        .await;
    world.run_at("2025-03-01").await;
    let invoices = world.invoices().await;
    assert_eq!(invoices[0], before[0]);
    let [usage, adjustment] = &invoices[1].lines[..] else {
        panic!("{:?}", invoices[1])
    };
    assert_eq!((usage.kind, usage.amount), (LineKind::Usage, 10));
    // All of January is 5 cents; 3 were billed.
    assert_eq!(
        (
            adjustment.kind,
            adjustment.amount,
            adjustment.already_billed
        ),
        (LineKind::Adjustment, 2, Some(3))
    );
    assert_eq!(
        (
            adjustment.service_period.start,
            adjustment.service_period.end
        ),
        (at("2025-01-01"), at("2025-02-01"))
    );
    assert_eq!(adjustment.quantity.to_string(), "12");
    assert_eq!(adjustment.billed_quantity.to_string(), "1");
    assert_eq!(adjustment.amount_exact.to_string(), "2");

    // It is billed once.
    world.run_at("2025-04-01").await;
    assert_eq!(world.invoices().await.len(), 2);
    // More of it later, over two closed periods, on one invoice.
    world
        .deliver(
            "2025-04-10",
            &[("calls", "2025-01-07", "1"), ("calls", "2025-03-07", "12")],
        )
        .await;
    world.run_at("2025-05-01").await;
    let last = world.invoices().await.pop().unwrap();
    let lines: Vec<_> = last
        .lines
        .iter()
        .map(|line| (line.service_period.start, line.amount))
        .collect();
    // January is 7.5 → 8 now, 5 were billed; March is 5 and nothing was.
    assert_eq!(lines, [(at("2025-01-01"), 3), (at("2025-03-01"), 5)]);

    let subscription = world.subscription(&subscription.subscription_id).await;
    let history = billing::history(world.store(), &subscription, at("2025-05-01"), 0, 10)
        .await
        .unwrap();
    let shown: Vec<_> = history
        .iter()
        .map(|p| {
            (
                p.meters[0].consumed_units.to_string(),
                p.meters[0].total_price,
            )
        })
        .collect();
    let expected = [("0", 0), ("0", 0), ("12", 5), ("14", 10), ("13", 8)]
        .map(|(units, price)| (units.to_owned(), price));
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn a_correction_may_be_negative_and_is_then_the_customers() {
    let mut world = World::new("2025-01-01").await;
    world.meter("calls", Sum).await;
    let product = world
        .product(0, vec![per_unit("calls", 0, "10")], Vec::new())
        .await;
    world.subscribe(&product, "2025-01-01", 1).await;
    world
        .deliver("2025-02-01", &[("calls", "2025-01-05", "8")])
        .await;
    world.run_at("2025-02-01").await;
    world
        .deliver("2025-02-02", &[("calls", "2025-01-05", "-3")])
        .await;
    world.run_at("2025-03-01").await;
    let invoices = world.invoices().await;
    assert_eq!((invoices[0].total, invoices[1].total), (80, -30));
    assert_eq!(invoices[1].status, InvoiceStatus::Paid);
}

#[tokio::test]
async fn late_usage_that_costs_nothing_makes_no_line() {
    let mut world = World::new("2025-01-01").await;
    world.meter("calls", Sum).await;
    world.meter("seats", Max).await;
    let meters = vec![per_unit("calls", 100, "10"), per_unit("seats", 0, "10")];
    let product = world.product(0, meters, Vec::new()).await;
    world.subscribe(&product, "2025-01-01", 1).await;
    world
        .deliver(
            "2025-02-01",
            &[("calls", "2025-01-05", "8"), ("seats", "2025-01-05", "3")],
        )
        .await;
    world.run_at("2025-02-01").await;
    world
        .deliver(
            "2025-02-02",
            &[("calls", "2025-01-06", "9"), ("seats", "2025-01-06", "2")],
        )
        .await;
    world.run_at("2025-03-01").await;
    assert_eq!(world.invoices().await.len(), 1);
}

#[tokio::test]
async fn late_usage_draws_on_what_its_own_period_had_left_before_it_costs_money() {
    let mut world = World::new("2025-01-01").await;
    world.meter("calls", Sum).await;
    let attachment = world.tokens("100", 0).await;
    let product = world
        .product(0, vec![in_tokens("calls", 0, "1")], vec![attachment])
        .await;
    world.subscribe(&product, "2025-01-01", 1).await;
    world
        .deliver("2025-02-01", &[("calls", "2025-01-05", "70")])
        .await;
    world.run_at("2025-02-01").await;
    assert_eq!(world.grants().await[0].expired.to_string(), "30");

    world
        .deliver(
            "2025-02-02",
            &[("calls", "2025-01-06", "50"), ("calls", "2025-02-02", "10")],
        )
        .await;
    world.run_at("2025-03-01").await;
    let invoices = world.invoices().await;
    let adjustment = invoices[1]
        .lines
        .iter()
        .find(|line| line.kind == LineKind::Adjustment)
        .unwrap();
    let credits = adjustment.credits.as_ref().unwrap();
    assert_eq!(
        (
            credits.credits_needed.to_string(),
            credits.credits_used.to_string()
        ),
        ("120".to_owned(), "30".to_owned())
    );
    assert_eq!(
        (credits.overage_billed.to_string(), adjustment.amount),
        ("20".to_owned(), 60)
    );
    assert_eq!(invoices[1].total, 60);
    // February's own credits paid for February only.
    let grants: Vec<_> = world
        .grants()
        .await
        .iter()
        .map(|g| (g.remaining.to_string(), g.expired.to_string()))
        .collect();
    let expected =
        [("0", "0"), ("0", "90"), ("100", "0")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(grants, expected);

    // Half of it is taken back: money first, then credits.
    world
        .deliver("2025-03-02", &[("calls", "2025-01-06", "-45")])
        .await;
    world.run_at("2025-04-01").await;
    let invoices = world.invoices().await;
    assert_eq!(invoices[2].total, -60);
    assert_eq!(world.grants().await[0].expired.to_string(), "25");
    // And then nothing is left to correct.
    world.run_at("2025-05-01").await;
    assert_eq!(world.invoices().await.len(), 3);
}
