//! Calendars, time zones and trials, from the subscription to the invoice.

use super::world::{World, at, in_tokens, per_unit};
use crate::{
    billing::CycleTerms,
    subscription::{period::Alignment, proration::Proration, zone::Zone},
};
use submeter_common::AggregationKind::{Count, Sum};

fn calendar(zone: &str, proration: Proration) -> CycleTerms {
    CycleTerms {
        time_zone: Zone::parse(zone).unwrap(),
        alignment: Alignment::Calendar,
        proration,
        trial_days: 0,
    }
}

#[tokio::test]
async fn a_calendar_cycle_bills_the_part_of_the_first_month_and_then_whole_ones() {
    let mut world = World::new("2025-01-15T12:00:00Z").await;
    world.meter("calls", Count).await;
    let product = world
        .product(3100, vec![per_unit("calls", 10, "100")], Vec::new())
        .await;
    let terms = calendar("America/New_York", Proration::Day);
    let subscription = world
        .subscribe_by(&product, "2025-01-15T12:00:00Z", terms)
        .await;
    assert_eq!(subscription.current_period.end, at("2025-02-01T05:00:00Z"));
    let used = [
        ("calls", "2025-02-01T04:59:00Z", "15"),
        ("calls", "2025-02-01T05:00:00Z", "11"),
    ];
    world.deliver("2025-03-02", &used).await;
    world.run_at("2025-03-02").await;
    let invoices = world.invoices().await;
    // 17 of 31 days of the fee; usage and its free units are not prorated.
    assert_eq!(invoices[0].total, 1700);
    let totals: Vec<i64> = invoices.iter().map(|invoice| invoice.total).collect();
    assert_eq!(totals, [1700, 500 + 3100, 100 + 3100]);
    assert_eq!(invoices[2].period.unwrap().end, at("2025-03-01T05:00:00Z"));
}

#[tokio::test]
async fn an_anniversary_keeps_its_hour_over_a_change_of_the_clock() {
    let mut world = World::new("2025-03-15T09:00:00Z").await;
    world.meter("calls", Count).await;
    let product = world
        .product(0, vec![per_unit("calls", 0, "100")], Vec::new())
        .await;
    let terms = CycleTerms {
        time_zone: Zone::parse("Europe/Berlin").unwrap(),
        ..CycleTerms::default()
    };
    let subscription = world
        .subscribe_by(&product, "2025-03-15T09:00:00Z", terms)
        .await;
    assert_eq!(subscription.current_period.end, at("2025-04-15T08:00:00Z"));
    let used = [
        ("calls", "2025-04-15T07:59:00Z", "1"),
        ("calls", "2025-04-15T08:00:00Z", "2"),
    ];
    world.deliver("2025-05-15T08:00:00Z", &used).await;
    world.run_at("2025-05-15T08:00:00Z").await;
    let totals: Vec<i64> = world
        .invoices()
        .await
        .iter()
        .map(|invoice| invoice.total)
        .collect();
    assert_eq!(totals, [100, 200]);
}

#[tokio::test]
async fn a_trial_is_free_and_shows_what_it_was_worth_and_the_cycle_begins_at_its_end() {
    let mut world = World::new("2025-01-17T08:00:00Z").await;
    world.meter("calls", Count).await;
    world.meter("images", Sum).await;
    let tokens = world.tokens("100", 0).await;
    let meters = vec![per_unit("calls", 0, "100"), in_tokens("images", 0, "1")];
    let product = world.product(2000, meters, vec![tokens]).await;
    let terms = CycleTerms {
        trial_days: 14,
        ..CycleTerms::default()
    };
    let subscription = world
        .subscribe_by(&product, "2025-01-17T08:00:00Z", terms)
        .await;
    assert!(subscription.plan.is_trial());
    assert_eq!(subscription.current_period.end, at("2025-01-31T08:00:00Z"));
    assert!(world.invoices().await.is_empty());
    assert!(
        world.grants().await.is_empty(),
        "credits begin with the paid plan"
    );
    let used = [
        ("calls", "2025-01-20", "7"),
        ("images", "2025-01-20", "3"),
        ("calls", "2025-02-01", "2"),
    ];
    world.deliver("2025-02-28T08:00:00Z", &used).await;
    world.run_at("2025-02-28T08:00:00Z").await;
    let invoices = world.invoices().await;
    let totals: Vec<i64> = invoices.iter().map(|invoice| invoice.total).collect();
    assert_eq!(totals, [2000, 200 + 2000]);
    let trial = &invoices[0].lines[0];
    assert_eq!(
        (
            trial.amount,
            trial.quantity.to_string(),
            trial.free_quantity.to_string()
        ),
        (0, "7".into(), "7".into())
    );
    assert_eq!(world.grants().await.len(), 2);
    // Month ends clamp from the trial's end.
    let after = world.subscription(&subscription.subscription_id).await;
    assert_eq!(after.current_period.end, at("2025-03-31T08:00:00Z"));
    // What comes late of a trial is free, too.
    world
        .deliver("2025-02-28T09:00:00Z", &[("calls", "2025-01-21", "5")])
        .await;
    world.run_at("2025-03-31T08:00:00Z").await;
    assert_eq!(world.invoices().await.last().unwrap().total, 2000);
}
