//! When a period is closed: complete, overdue, after a crash, beside one that cannot be billed.

use super::world::{WAIT, World, at, by_hand, per_unit};
use crate::{
    billing::{BillingError, close, gather},
    jobs::{self, JobsConfig},
    storage::{InvoiceStore, SettleOutcome},
};
use std::{sync::Arc, time::Duration};
use submeter_common::AggregationKind::Sum;

/// A job that has not done its work by then never will.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_period_waits_for_every_live_agents_watermark() {
    let mut world = World::new("2025-01-01").await;
    let slow = world.agent().await;
    world.meter("calls", Sum).await;
    let product = world
        .product(0, vec![per_unit("calls", 0, "1")], Vec::new())
        .await;
    let subscription = world.subscribe(&product, "2025-01-01", 1).await;
    world
        .deliver("2025-02-01", &[("calls", "2025-01-05", "1")])
        .await;
    world.deliver_from(slow, "2025-01-31T23:59:00Z", &[]).await;
    world.clock.set(at("2025-02-01T06:00:00Z"));

    let report = world.run().await;
    assert_eq!((report.closed, report.waiting_count), (0, 1));
    assert_eq!(report.waiting[0].agents, [world.agent_id(slow)]);
    assert_eq!(
        report.waiting[0].subscription_id,
        subscription.subscription_id
    );

    world
        .deliver_from(
            slow,
            "2025-02-01",
            &[("calls", "2025-01-31T23:59:00Z", "2")],
        )
        .await;
    assert_eq!(world.run().await.closed, 1);
    let invoices = world.invoices().await;
    assert_eq!((invoices[0].total, invoices[0].complete), (3, true));
}

#[tokio::test]
async fn after_the_wait_the_invoice_names_the_missing_agents() {
    let mut world = World::new("2025-01-01").await;
    let silent = world.agent().await;
    world.meter("calls", Sum).await;
    let product = world
        .product(0, vec![per_unit("calls", 0, "1")], Vec::new())
        .await;
    world.subscribe(&product, "2025-01-01", 1).await;
    world
        .deliver("2025-02-01", &[("calls", "2025-01-05", "1")])
        .await;

    world.clock.set(
        at("2025-02-01")
            .checked_add(WAIT)
            .unwrap()
            .saturating_sub(std::time::Duration::from_micros(1)),
    );
    assert_eq!(world.run().await.waiting_count, 1);
    world.clock.set(at("2025-02-01").checked_add(WAIT).unwrap());
    let report = world.run().await;
    assert_eq!((report.issued, report.incomplete), (1, 1));
    let invoices = world.invoices().await;
    assert!(!invoices[0].complete);
    assert_eq!(invoices[0].missing_agents, [world.agent_id(silent)]);
}

#[tokio::test]
async fn what_is_complete_is_closed_although_something_else_waits() {
    let mut world = World::new("2025-01-01").await;
    let product = world.product(100, Vec::new(), Vec::new()).await;
    let early = world.subscribe(&product, "2025-01-01", 1).await;
    // A backdated one whose first period is complete and whose second waits, before one that is complete.
    world.clock.set(at("2025-03-01T12:00:00Z"));
    world.subscribe(&product, "2025-01-01T01:00:00Z", 1).await;
    world.subscribe(&product, "2025-01-02", 1).await;
    world.deliver("2025-02-15", &[]).await;
    let report = world.run().await;
    assert_eq!((report.closed, report.waiting_count), (3, 2));
    assert_eq!(
        world.subscription(&early.subscription_id).await.next_period,
        1
    );
}

#[tokio::test]
async fn who_has_waited_long_enough_does_not_wait_for_those_that_came_later() {
    let mut world = World::new("2025-01-01").await;
    world.agent().await;
    let product = world.product(100, Vec::new(), Vec::new()).await;
    let patient = world.subscribe(&product, "2025-01-01", 1).await;
    // More backdated ones than are read at once, all before it in the list of what is due, and each with a wait of its own.
    world.clock.set(at("2025-02-01T12:00:00Z"));
    for _ in 0..300 {
        world.subscribe(&product, "2024-12-15", 1).await;
    }
    let report = world.run_at("2025-02-02").await;
    assert_eq!((report.closed, report.waiting_count), (1, 300));
    let patient = world.subscription(&patient.subscription_id).await;
    assert_eq!(patient.next_period, 1);
}

#[tokio::test]
async fn the_job_closes_what_is_due_until_it_is_told_to_stop() {
    let mut world = World::new("2025-01-01").await;
    let product = world.product(100, Vec::new(), Vec::new()).await;
    world.subscribe(&product, "2025-01-01", 1).await;
    let config = JobsConfig {
        billing_interval: std::time::Duration::from_millis(1),
        completeness_wait: WAIT,
        agent_silent_after: WAIT,
        ..JobsConfig::default()
    };
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let clock = world.billing_clock(None);
    let collecting = Arc::new(by_hand());
    let store = world.shared_store();
    let job = tokio::spawn(jobs::run(store, clock, config, collecting, stopped));
    world.deliver("2025-02-01", &[]).await;
    world.clock.set(at("2025-02-01"));
    let issued = async {
        while world.invoices().await.len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    let issued = tokio::time::timeout(PATIENCE, issued).await;
    issued.expect("two invoices are issued");
    stop.send(true).unwrap();
    job.await.unwrap();
    assert_eq!(world.invoices().await.len(), 2);
}

#[tokio::test]
async fn a_crash_between_computing_and_settling_changes_nothing() {
    let mut world = World::new("2025-01-01").await;
    world.meter("calls", Sum).await;
    let attachment = world.tokens("100", 0).await;
    let product = world
        .product(500, vec![per_unit("calls", 0, "1")], vec![attachment])
        .await;
    let subscription = world.subscribe(&product, "2025-01-01", 1).await;
    world
        .deliver("2025-02-01", &[("calls", "2025-01-05", "7")])
        .await;
    world.clock.set(at("2025-02-01"));

    let closing = gather::gather(world.store(), &subscription, Vec::new(), at("2025-02-01"))
        .await
        .unwrap();
    let lost = close::close(&closing).unwrap();
    world.restart();
    assert_eq!(world.run().await.issued, 1);
    let after = (
        world.invoices().await,
        world.grants().await,
        world.transfers().await,
    );
    assert_eq!(after.0.len(), 2);
    assert_eq!(
        after.0[1].invoice_id,
        lost.invoice.as_ref().unwrap().invoice_id
    );
    assert_eq!(after.0[1].lines, lost.invoice.as_ref().unwrap().lines);

    // The settlement of the run before the crash arrives after all: it is stale, and nothing happens twice.
    assert!(matches!(
        world.store().settle(lost).await.unwrap(),
        SettleOutcome::Stale
    ));
    world.restart();
    assert_eq!(world.run().await.closed, 0);
    assert_eq!(
        (
            world.invoices().await,
            world.grants().await,
            world.transfers().await
        ),
        after
    );
}

#[tokio::test]
async fn a_period_that_cannot_be_billed_stays_open_and_blocks_no_other() {
    let mut world = World::new("2025-01-01").await;
    world.meter("calls", Sum).await;
    world.meter("images", Sum).await;
    let bad = world
        .product(0, vec![per_unit("calls", 0, "99999")], Vec::new())
        .await;
    let good = world
        .product(0, vec![per_unit("images", 0, "1")], Vec::new())
        .await;
    let stuck = world.subscribe(&bad, "2025-01-01", 1).await;
    world.subscribe(&good, "2025-01-01", 1).await;
    let used = [
        ("calls", "2025-01-05", "999999999999999999999999"),
        ("images", "2025-01-05", "4"),
    ];
    world.deliver("2025-02-01", &used).await;
    let report = world.run_at("2025-02-01").await;
    assert_eq!((report.closed, report.failed_count), (1, 1));
    assert!(
        matches!(&report.failed[0], (id, BillingError::Rating { .. }) if *id == stuck.subscription_id)
    );
    assert_eq!(world.invoices().await.len(), 1);
    assert_eq!(
        world.subscription(&stuck.subscription_id).await.next_period,
        0
    );
}

#[tokio::test]
async fn more_subscriptions_than_one_batch_are_all_closed() {
    let mut world = World::new("2025-01-01").await;
    let product = world.product(100, Vec::new(), Vec::new()).await;
    for _ in 0..300 {
        world.subscribe(&product, "2025-01-01", 1).await;
    }
    let report = world.run_at("2025-02-01").await;
    assert_eq!((report.closed, report.issued), (300, 300));
    let mut numbers: Vec<String> = world
        .invoices()
        .await
        .into_iter()
        .map(|invoice| invoice.number)
        .collect();
    numbers.sort();
    let expected: Vec<String> = (1..=600)
        .map(|position| format!("INV-2025-{position:06}"))
        .collect();
    assert_eq!(numbers, expected);
}
