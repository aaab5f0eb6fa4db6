//! Usage that credits pay: free first, then credits, then money.

use super::world::{World, at, decimal, in_tokens, per_unit};
use crate::{
    billing::{Invoice, InvoiceLine, LineKind},
    credits::OverageBehavior,
    ledger::{Account, LedgerUnit},
    money::Decimal,
};
use std::collections::BTreeMap;
use submeter_common::AggregationKind::Sum;

fn line(invoice: &Invoice, kind: LineKind) -> &InvoiceLine {
    invoice.lines.iter().find(|line| line.kind == kind).unwrap()
}

/// Adds up every account of the customer over all transfers.
async fn balances(world: &World) -> BTreeMap<(LedgerUnit, Account), Decimal> {
    let mut balances: BTreeMap<_, Decimal> = BTreeMap::new();
    for transfer in world.transfers().await {
        *balances
            .entry((transfer.unit.clone(), transfer.debit))
            .or_default() += &transfer.amount;
        *balances
            .entry((transfer.unit, transfer.credit))
            .or_default() -= &transfer.amount;
    }
    balances
}

async fn tokens(world: &World, account: Account) -> Decimal {
    let found = balances(world).await;
    let unit = found
        .keys()
        .find(|(unit, _)| matches!(unit, LedgerUnit::Credits(_)))
        .unwrap()
        .0
        .clone();
    found.get(&(unit, account)).cloned().unwrap_or_default()
}

#[tokio::test]
async fn usage_is_free_then_paid_by_credits_then_by_money() {
    let mut world = World::new("2025-01-01").await;
    world.meter("calls", Sum).await;
    let attachment = world.tokens("100", 0).await;
    // 1000 units free, 10 units a credit, 100 credits, 3 cents for each further credit.
    let product = world
        .product(0, vec![in_tokens("calls", 1000, "10")], vec![attachment])
        .await;
    world.subscribe(&product, "2025-01-01", 1).await;
    world
        .deliver("2025-02-01", &[("calls", "2025-01-05", "2250")])
        .await;
    world.run_at("2025-02-01").await;

    let invoices = world.invoices().await;
    let usage = line(&invoices[0], LineKind::Usage);
    let credits = usage.credits.as_ref().unwrap();
    assert_eq!(
        (&usage.quantity, &usage.free_quantity, usage.amount),
        (&decimal("2250"), &decimal("1000"), 0)
    );
    assert_eq!(
        (&credits.credits_needed, &credits.credits_used),
        (&decimal("125"), &decimal("100"))
    );
    assert_eq!(
        (&credits.overage_credits, &credits.overage_billed),
        (&decimal("25"), &decimal("25"))
    );
    let grants = world.grants().await;
    assert_eq!(credits.grants[0].grant_id, grants[0].grant_id);
    let overage = line(&invoices[0], LineKind::CreditOverage);
    assert_eq!(
        (
            &overage.billed_quantity,
            overage.unit_price.as_ref(),
            overage.amount
        ),
        (&decimal("25"), Some(&decimal("3")), 75)
    );
    assert_eq!(invoices[0].total, 75);
    // February's credits are there, January's are used up.
    assert_eq!(
        grants
            .iter()
            .map(|g| g.remaining.to_string())
            .collect::<Vec<_>>(),
        ["0", "100"]
    );
    assert_eq!(grants[1].effective_at, at("2025-02-01"));
    assert_eq!(grants[1].expires_at, Some(at("2025-03-01")));
}

#[tokio::test]
async fn unused_credits_expire_with_their_period_and_the_ledger_adds_up() {
    let mut world = World::new("2025-01-01").await;
    world.meter("calls", Sum).await;
    let attachment = world.tokens("100.5", 1).await;
    let product = world
        .product(0, vec![in_tokens("calls", 0, "10")], vec![attachment])
        .await;
    world.subscribe(&product, "2025-01-01", 1).await;
    world
        .deliver("2025-02-01", &[("calls", "2025-01-05", "405")])
        .await;
    world.run_at("2025-02-01").await;
    let january = &world.grants().await[0];
    assert_eq!(
        (&january.remaining, &january.expired),
        (&decimal("0"), &decimal("60"))
    );
    assert_eq!(
        tokens(&world, Account::CreditsConsumed).await,
        decimal("40.5")
    );
    assert_eq!(tokens(&world, Account::CreditsExpired).await, decimal("60"));
    assert_eq!(
        tokens(&world, Account::CreditsAvailable).await,
        decimal("100.5")
    );
    assert_eq!(
        tokens(&world, Account::CreditsIssued).await,
        decimal("-201")
    );
    let sum = balances(&world)
        .await
        .values()
        .fold(Decimal::zero(), |sum, balance| &sum + balance);
    assert!(sum.is_zero());
}

#[tokio::test]
async fn forgiven_overage_costs_nothing_and_a_limit_bounds_what_is_invoiced() {
    for (behavior, limit, expected) in [
        (OverageBehavior::ForgiveAtReset, None, 0),
        (OverageBehavior::InvoiceAtBilling, Some("15"), 45),
        (OverageBehavior::InvoiceAtBilling, None, 90),
    ] {
        let mut world = World::new("2025-01-01").await;
        world.meter("calls", Sum).await;
        world.meter("images", Sum).await;
        let mut attachment = world.tokens("10", 0).await;
        attachment.overage_behavior = behavior;
        attachment.overage_limit = limit.map(decimal);
        let meters = vec![in_tokens("calls", 0, "1"), in_tokens("images", 0, "0.5")];
        let product = world.product(0, meters, vec![attachment]).await;
        world.subscribe(&product, "2025-01-01", 1).await;
        // 20 credits of calls, of which 10 are covered, and 20 of images.
        world
            .deliver(
                "2025-02-01",
                &[
                    ("calls", "2025-01-05", "20"),
                    ("images", "2025-01-01", "10"),
                ],
            )
            .await;
        world.run_at("2025-02-01").await;
        assert_eq!(
            world.invoices().await[0].total,
            expected,
            "{behavior:?} {limit:?}"
        );
    }
}

#[tokio::test]
async fn credits_that_expire_inside_the_period_pay_only_for_usage_before() {
    let mut world = World::new("2025-01-01").await;
    world.meter("calls", Sum).await;
    let mut attachment = world.tokens("100", 0).await;
    attachment.expires_after_days = Some(7);
    let product = world
        .product(0, vec![in_tokens("calls", 5, "1")], vec![attachment])
        .await;
    world.subscribe(&product, "2025-01-01", 1).await;
    let used = [
        ("calls", "2025-01-07T23:59:00Z", "35"),
        ("calls", "2025-01-08", "20"),
    ];
    world.deliver("2025-02-01", &used).await;
    world.run_at("2025-02-01").await;
    let invoices = world.invoices().await;
    let credits = line(&invoices[0], LineKind::Usage).credits.clone().unwrap();
    assert_eq!(
        (credits.credits_used, credits.overage_credits),
        (decimal("30"), decimal("20"))
    );
    assert_eq!(invoices[0].total, 60);
    assert_eq!(world.grants().await[0].expired, decimal("70"));
}

#[tokio::test]
async fn late_usage_draws_for_itself_and_undoes_no_overage() {
    let mut world = World::new("2025-01-01").await;
    world.meter("calls", Sum).await;
    let mut attachment = world.tokens("100", 0).await;
    attachment.expires_after_days = Some(7);
    let product = world
        .product(0, vec![in_tokens("calls", 0, "1")], vec![attachment])
        .await;
    world.subscribe(&product, "2025-01-01", 1).await;
    let after_the_expiry = [("calls", "2025-01-20", "50")];
    world.deliver("2025-02-01", &after_the_expiry).await;
    world.run_at("2025-02-01").await;
    assert_eq!(world.invoices().await[0].total, 150);

    // One unit more draws one credit of the grant that lived in the period; the fifty stay billed.
    let late = [("calls", "2025-01-02", "1")];
    world.deliver("2025-03-01", &late).await;
    world.run_at("2025-03-01").await;
    let invoices = world.invoices().await;
    let adjustment = line(&invoices[1], LineKind::Adjustment);
    let credits = adjustment.credits.as_ref().unwrap();
    assert_eq!(
        (
            &credits.credits_used,
            &credits.overage_credits,
            adjustment.amount
        ),
        (&decimal("1"), &decimal("50"), 0)
    );
    assert_eq!(world.grants().await[0].expired, decimal("99"));
}

#[tokio::test]
async fn credits_and_money_meters_live_on_one_product() {
    let mut world = World::new("2025-01-01").await;
    world.meter("calls", Sum).await;
    world.meter("images", Sum).await;
    let attachment = world.tokens("100", 2).await;
    let meters = vec![in_tokens("calls", 0, "3"), per_unit("images", 0, "4")];
    let product = world.product(1000, meters, vec![attachment]).await;
    world.subscribe(&product, "2025-01-01", 1).await;
    world
        .deliver(
            "2025-02-01",
            &[
                ("calls", "2025-01-05", "100"),
                ("images", "2025-01-05", "2"),
            ],
        )
        .await;
    world.run_at("2025-02-01").await;
    let closing = &world.invoices().await[1];
    assert_eq!(closing.total, 1008);
    assert_eq!(
        closing.lines[0].credits.as_ref().unwrap().credits_used,
        decimal("33.33")
    );
}
