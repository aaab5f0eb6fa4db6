//! Late usage of a period whose rest was carried over, and credits that have begun while the period before them waits.

use super::{
    till::{Gift, kind},
    world::{World, at, customer, decimal, in_tokens, per_unit},
};
use crate::{
    billing::{LineKind, holdings},
    credits::{CreditAttachment, GrantSource},
    money::Decimal,
    storage::LedgerStore,
};
use submeter_common::AggregationKind::Sum;

/// A world with 200 credits a month since January, of whose rest three quarters are carried over.
async fn rolling() -> World {
    let world = World::new("2025-01-01").await;
    world.meter("calls", Sum).await;
    let mut attachment = world.tokens("200", 0).await;
    attachment.rollover.enabled = true;
    attachment.rollover.percentage = Some(75);
    subscribe(&world, attachment).await;
    world
}

async fn subscribe(world: &World, attachment: CreditAttachment) {
    let product = world
        .product(0, vec![in_tokens("calls", 0, "1")], vec![attachment])
        .await;
    world.subscribe(&product, "2025-01-01", 1).await;
}

async fn available(world: &World) -> String {
    let held = world.held().await;
    held.available(submeter_common::Clock::now(&world.clock))
        .to_string()
}

#[tokio::test]
async fn late_usage_draws_on_what_its_credits_were_carried_over_as() {
    let mut world = rolling().await;
    world.run_at("2025-02-01").await;
    assert_eq!(available(&world).await, "350", "150 carried, 50 forfeited");

    // 100 of January come late: the 50 that were forfeited pay first, then 50 of the 150.
    world
        .deliver("2025-02-01", &[("calls", "2025-01-05", "100")])
        .await;
    assert_eq!(available(&world).await, "300", "seen at once");
    world.run_at("2025-03-01").await;
    let line = adjustment(&world, 0).await;
    let paid: Vec<Decimal> = line.grants.iter().map(|used| used.amount.clone()).collect();
    assert_eq!(paid, [decimal("50"), decimal("50")]);
    assert_eq!(
        (line.credits_used, line.overage_credits),
        (decimal("100"), decimal("0"))
    );
    // Of the 100 left of what was carried, and of February's 200, three quarters each; and March's 200.
    assert_eq!(available(&world).await, "425");
    assert_eq!(world.store().audit_ledger(&customer()).await.unwrap(), []);
}

#[tokio::test]
async fn late_usage_beyond_all_that_became_of_its_credits_is_overage() {
    let mut world = rolling().await;
    world.run_at("2025-02-01").await;
    world
        .deliver("2025-02-01", &[("calls", "2025-01-05", "230")])
        .await;
    assert_eq!(
        available(&world).await,
        "200",
        "February's own are February's"
    );
    world.run_at("2025-03-01").await;
    let line = adjustment(&world, 0).await;
    assert_eq!(
        (line.credits_used, line.overage_billed),
        (decimal("200"), decimal("30"))
    );
    assert_eq!(world.invoices().await[0].total, 90);

    // Told that it was less, the credits come back where they were taken last, and the money first.
    world
        .deliver("2025-03-01", &[("calls", "2025-01-05", "-80")])
        .await;
    world.run_at("2025-04-01").await;
    let line = adjustment(&world, 1).await;
    assert_eq!(
        (line.credits_used, line.overage_billed),
        (decimal("-50"), decimal("-30"))
    );
    assert_eq!(world.invoices().await[1].total, -90);
    assert_eq!(world.store().audit_ledger(&customer()).await.unwrap(), []);
}

async fn adjustment(world: &World, invoice: usize) -> crate::billing::CreditUse {
    let invoices = world.invoices().await;
    let mut lines = invoices[invoice].lines.iter();
    let line = lines.find(|line| line.kind == LineKind::Adjustment);
    line.unwrap().credits.clone().unwrap()
}

#[tokio::test]
async fn looking_writes_nothing_and_a_decision_books_the_credits_that_have_begun() {
    let world = rolling().await;
    // January is over and waits for the agent, so that nobody has given February's credits yet.
    world.clock.set(at("2025-02-10"));
    let before = world.store().books(&customer()).await.unwrap();
    assert_eq!(available(&world).await, "200");
    assert_eq!(world.held().await.due.len(), 1);
    assert_eq!(world.store().books(&customer()).await.unwrap(), before);
    assert_eq!(world.grants().await.len(), 1);

    world.debit("first", 30).await.unwrap();
    assert_eq!(available(&world).await, "170");
    assert_eq!(world.grants().await.len(), 2);
    // The close finds them given, once.
    let mut world = world;
    world.run_at("2025-02-11").await;
    assert_eq!(available(&world).await, "320", "with 150 of January's");
    assert_eq!(world.grants().await.len(), 3);
    assert_eq!(world.store().audit_ledger(&customer()).await.unwrap(), []);
}

#[tokio::test]
async fn what_cannot_be_billed_in_money_does_not_hide_the_credits() {
    let mut world = World::new("2025-01-01").await;
    world.meter("calls", Sum).await;
    world.meter("bytes", Sum).await;
    let mut attachment = world.tokens("200", 0).await;
    // A price for which the overage below comes to more than any amount can say.
    attachment.price_per_unit = Some(decimal("99999"));
    let meters = vec![in_tokens("calls", 0, "1"), per_unit("bytes", 0, "1")];
    let product = world.product(0, meters, vec![attachment]).await;
    world.subscribe(&product, "2025-01-01", 1).await;
    let beyond = "900000000000000000000";
    world
        .deliver(
            "2025-01-02",
            &[
                ("bytes", "2025-01-01", beyond),
                ("calls", "2025-01-01", "50"),
            ],
        )
        .await;
    world.clock.set(at("2025-01-02"));
    assert_eq!(available(&world).await, "150");
    world
        .deliver("2025-01-02", &[("calls", "2025-01-01", beyond)])
        .await;
    let held = world.held().await;
    assert_eq!(held.available(at("2025-01-02")), Decimal::zero());
    assert_eq!(held.overage(), decimal("899999999999999999850"));
    // The period itself stays a draft, and the balance goes on to be told.
    let report = world.run_at("2025-02-02").await;
    assert_eq!(report.failed_count, 1);
    assert!(
        holdings(world.store(), &customer(), &kind(), at("2025-02-02"))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn oracle_k7_overage_is_charged_to_the_credits_that_come_later() {
    // 25 used before 100 credits begin, 25 after: 50 are left.
    let mut world = World::new("2025-01-01").await;
    world.meter("calls", Sum).await;
    let mut attachment = world.tokens("1", 0).await;
    attachment.overage_behavior = crate::credits::OverageBehavior::CarryDeficitAutoRepay;
    attachment.expires_after_days = Some(1);
    subscribe(&world, attachment).await;
    let gift = Gift {
        source: GrantSource::Api,
        amount: 100,
        priority: 1,
        effective_at: at("2025-01-10"),
        expires_at: None,
        repays_overage: true,
    };
    world.clock.set(at("2025-01-09"));
    let grant = world.give("later", gift).await;
    let used = [("calls", "2025-01-05", "25"), ("calls", "2025-01-15", "25")];
    world.deliver("2025-01-20", &used).await;
    world.clock.set(at("2025-01-20"));
    let held = world.held().await;
    let balance = &held.available(at("2025-01-20")) - &held.overage();
    assert_eq!(balance, decimal("50"), "while the period is open");
    world.run_at("2025-02-01").await;
    let grants = world.grants().await;
    let grant = grants
        .iter()
        .find(|stored| stored.grant_id == grant.grant_id);
    assert_eq!(grant.unwrap().remaining, decimal("50"));
    assert_eq!(world.held().await.owed(), Decimal::zero());
}
