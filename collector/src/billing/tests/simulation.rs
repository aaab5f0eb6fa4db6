//! What another price would have made of past usage.

use super::world::{World, at, decimal, in_tokens, per_unit};
use crate::{
    billing::simulation::{MeterCost, Proposal, Simulation, simulate},
    catalog::{Interval, Product},
    storage::Page,
};
use submeter_common::AggregationKind::Sum;

fn proposal(product: &Product, other: &Product, periods: usize) -> Proposal {
    Proposal {
        product_id: product.product_id.clone(),
        price: other.price.usage_based().clone(),
        credit_entitlements: other.credit_entitlements.clone(),
        customer_id: None,
        periods,
    }
}

async fn run(world: &World, proposal: &Proposal) -> Simulation {
    simulate(world.store(), proposal, Page::new(0, 10))
        .await
        .unwrap()
}

/// Two closed months of calls at 2 cents with a fee of 1.00, and an open one.
async fn two_months() -> (World, Product) {
    let mut world = World::new("2024-01-01").await;
    world.meter("calls", Sum).await;
    world.meter("images", Sum).await;
    let product = world
        .product(100, vec![per_unit("calls", 0, "2")], Vec::new())
        .await;
    world.subscribe(&product, "2024-01-01", 1).await;
    let used = [
        ("calls", "2024-01-10T00:00:00Z", "100"),
        ("calls", "2024-02-10T00:00:00Z", "200"),
        ("calls", "2024-03-10T00:00:00Z", "999"),
        ("images", "2024-02-11T00:00:00Z", "7"),
    ];
    world.deliver("2024-03-11", &used).await;
    world.run_at("2024-03-12").await;
    (world, product)
}

#[tokio::test]
async fn past_periods_are_rated_at_both_prices_and_nothing_changes() {
    let (world, product) = two_months().await;
    let other = vec![per_unit("calls", 50, "3"), per_unit("images", 0, "10")];
    let other = world.product(0, other, Vec::new()).await;
    let before = world.invoices().await;
    let simulation = run(&world, &proposal(&product, &other, 5)).await;
    assert_eq!((simulation.skipped.len(), simulation.more), (0, false));
    let [comparison] = simulation.compared.as_slice() else {
        panic!("{simulation:?}");
    };
    // February, then January; the open month is not among them.
    let totals: Vec<_> = comparison
        .periods
        .iter()
        .map(|compared| {
            (
                compared.period.start,
                compared.current.total,
                compared.simulated.total,
            )
        })
        .collect();
    let (january, february) = (at("2024-01-01"), at("2024-02-01"));
    assert_eq!(totals, [(february, 500, 450 + 70), (january, 300, 150)]);
    // The current side is what was billed, period for period.
    let billed: i64 = before
        .iter()
        .flat_map(|invoice| &invoice.lines)
        .map(|line| line.amount)
        .sum();
    let of_march = 100;
    assert_eq!(billed, 500 + 300 + of_march);
    assert_eq!(world.invoices().await, before);
    let one = run(&world, &proposal(&product, &other, 1)).await;
    assert_eq!(one.compared[0].periods.len(), 1);
    let none = run(&world, &proposal(&other, &product, 1)).await;
    assert!(none.compared.is_empty(), "{none:?}");
}

#[tokio::test]
async fn what_credits_would_pay_is_told_in_credits() {
    let (world, product) = two_months().await;
    let tokens = world.tokens("10", 2).await;
    let other = world
        .product(0, vec![in_tokens("calls", 50, "7")], vec![tokens])
        .await;
    let simulation = run(&world, &proposal(&product, &other, 1)).await;
    let february = &simulation.compared[0].periods[0];
    assert_eq!((february.current.total, february.simulated.total), (500, 0));
    let MeterCost::Credits { credits, quantity } = &february.simulated.meters[0].cost else {
        panic!("{february:?}");
    };
    assert_eq!((quantity, credits), (&decimal("200"), &decimal("21.43")));
}

#[tokio::test]
async fn subscriptions_that_cannot_be_compared_are_named() {
    let (world, product) = two_months().await;
    let mut yearly = proposal(&product, &product, 1);
    yearly.price.payment_frequency.interval = Interval::Year;
    let simulation = run(&world, &yearly).await;
    assert_eq!(
        (simulation.compared.len(), simulation.skipped.len()),
        (0, 1)
    );
    let mut dear = proposal(&product, &product, 1);
    dear.price.fixed_price = i64::MAX;
    let simulation = run(&world, &dear).await;
    assert!(simulation.skipped[0].1.contains("beyond"), "{simulation:?}");
}
