//! Between two periods: rollover, carried overage, and what a wallet pays.

use super::world::{World, at, customer, decimal, in_tokens};
use crate::{
    billing::{InvoiceStatus, holdings},
    bookkeeping::wallet,
    credits::{CreditAttachment, OverageBehavior, Rollover},
    id::EntitlementId,
    money::Currency,
    storage::LedgerStore,
};
use submeter_common::AggregationKind::Sum;

/// A world with a monthly subscription since January, on terms as `change` leaves them.
async fn subscribed(amount: &str, change: impl Fn(&mut CreditAttachment)) -> World {
    let world = World::new("2025-01-01").await;
    world.meter("calls", Sum).await;
    let mut attachment = world.tokens(amount, 0).await;
    change(&mut attachment);
    let product = world
        .product(0, vec![in_tokens("calls", 0, "1")], vec![attachment])
        .await;
    world.subscribe(&product, "2025-01-01", 1).await;
    world
}

async fn available(world: &World, now: &str) -> String {
    let kind = EntitlementId::from_text("cde_tokens");
    let held = holdings(world.store(), &customer(), &kind, at(now))
        .await
        .unwrap();
    held.available(at(now)).to_string()
}

async fn owed(world: &World, now: &str) -> String {
    let kind = EntitlementId::from_text("cde_tokens");
    let held = holdings(world.store(), &customer(), &kind, at(now))
        .await
        .unwrap();
    held.overage().to_string()
}

async fn is_sound(world: &World) {
    assert_eq!(world.store().audit_ledger(&customer()).await.unwrap(), []);
}

fn rollover(change: impl Fn(&mut Rollover)) -> impl Fn(&mut CreditAttachment) {
    move |terms| {
        terms.rollover.enabled = true;
        change(&mut terms.rollover);
    }
}

#[tokio::test]
async fn oracle_k25_k30_the_unused_rest_comes_on_top_of_the_next_period() {
    for (used, expected) in [("600", "1400"), ("800", "1200"), ("1000", "1000")] {
        let mut world = subscribed("1000", rollover(|_| {})).await;
        world
            .deliver("2025-02-01", &[("calls", "2025-01-05", used)])
            .await;
        world.run_at("2025-02-01").await;
        assert_eq!(
            available(&world, "2025-02-01").await,
            expected,
            "{used} used"
        );
        is_sound(&world).await;
    }
}

#[tokio::test]
async fn a_percentage_carries_over_so_often_and_the_rest_is_forfeited() {
    let terms = rollover(|rollover| {
        rollover.percentage = Some(75);
        rollover.count_max = Some(1);
    });
    let mut world = subscribed("200", terms).await;
    world.run_at("2025-02-01").await;
    // 200 unused: 150 carried, 50 forfeited.
    let grants = world.grants().await;
    let of_january = &grants[0];
    assert_eq!(of_january.expired, decimal("50"));
    let carried = grants
        .iter()
        .find(|grant| grant.parent_grant_id.is_some())
        .unwrap();
    assert_eq!(
        (&carried.amount, carried.rollover_count),
        (&decimal("150"), 1)
    );
    assert_eq!(carried.expires_at, Some(at("2025-03-01")));
    assert_eq!(available(&world, "2025-02-01").await, "350");
    // The 150 were carried once, which is as often as agreed; of February's 200 again 150.
    world.run_at("2025-03-01").await;
    assert_eq!(available(&world, "2025-03-01").await, "350");
    is_sound(&world).await;
}

#[tokio::test]
async fn carried_credits_live_as_long_as_agreed() {
    let terms = rollover(|rollover| {
        rollover.timeframe = Some(crate::catalog::Frequency {
            count: 2,
            interval: crate::catalog::Interval::Month,
        });
    });
    let mut world = subscribed("10", terms).await;
    world.run_at("2025-02-01").await;
    let grants = world.grants().await;
    let carried = grants
        .iter()
        .find(|grant| grant.parent_grant_id.is_some())
        .unwrap();
    assert_eq!(carried.expires_at, Some(at("2025-04-01")));
    world.run_at("2025-03-01").await;
    // January's 10, February's 10, March's own 10.
    assert_eq!(available(&world, "2025-03-01").await, "30");
    is_sound(&world).await;
}

#[tokio::test]
async fn oracle_k5_overage_is_repaid_by_the_credits_that_arrive() {
    let terms = |terms: &mut CreditAttachment| {
        terms.overage_behavior = OverageBehavior::CarryDeficitAutoRepay;
    };
    let mut world = subscribed("100", terms).await;
    world
        .deliver("2025-02-01", &[("calls", "2025-01-05", "120")])
        .await;
    assert_eq!(owed(&world, "2025-01-06").await, "20", "seen at once");
    world.run_at("2025-02-01").await;
    assert_eq!(available(&world, "2025-02-01").await, "80");
    assert_eq!(owed(&world, "2025-02-01").await, "0");
    assert!(
        world
            .invoices()
            .await
            .iter()
            .all(|invoice| invoice.total == 0)
    );
    is_sound(&world).await;
}

#[tokio::test]
async fn a_carried_deficit_stays_until_its_limit_and_is_never_invoiced() {
    let terms = |terms: &mut CreditAttachment| {
        terms.overage_behavior = OverageBehavior::CarryDeficit;
        terms.overage_limit = Some(decimal("30"));
    };
    let mut world = subscribed("100", terms).await;
    world
        .deliver("2025-02-01", &[("calls", "2025-01-05", "120")])
        .await;
    world.run_at("2025-02-01").await;
    assert_eq!(owed(&world, "2025-02-01").await, "20");
    assert_eq!(available(&world, "2025-02-01").await, "100");
    world
        .deliver("2025-03-01", &[("calls", "2025-02-05", "150")])
        .await;
    world.run_at("2025-03-01").await;
    assert_eq!(
        owed(&world, "2025-03-01").await,
        "30",
        "50 more, of which 10 are within the limit"
    );
    assert!(
        world
            .invoices()
            .await
            .iter()
            .all(|invoice| invoice.total == 0)
    );
    is_sound(&world).await;
}

#[tokio::test]
async fn late_usage_of_a_period_with_a_deficit_is_owed_too() {
    let terms = |terms: &mut CreditAttachment| {
        terms.overage_behavior = OverageBehavior::CarryDeficit;
    };
    let mut world = subscribed("100", terms).await;
    world
        .deliver("2025-02-01", &[("calls", "2025-01-05", "120")])
        .await;
    world.run_at("2025-02-01").await;
    world
        .deliver("2025-03-01", &[("calls", "2025-01-06", "5")])
        .await;
    world.run_at("2025-03-01").await;
    assert_eq!(owed(&world, "2025-03-01").await, "25");
    world
        .deliver("2025-04-01", &[("calls", "2025-01-06", "-8")])
        .await;
    world.run_at("2025-04-01").await;
    assert_eq!(owed(&world, "2025-04-01").await, "17");
    is_sound(&world).await;
}

#[tokio::test]
async fn a_wallet_pays_for_invoices_before_anybody_is_asked() {
    // 3 cents for each credit of overage: 60 cents for January, 90 for February.
    let mut world = subscribed("100", |_| {}).await;
    assert!(world.fund("paid in advance", 100).await);
    world
        .deliver("2025-02-01", &[("calls", "2025-01-05", "120")])
        .await;
    world.run_at("2025-02-01").await;
    world
        .deliver("2025-03-01", &[("calls", "2025-02-05", "130")])
        .await;
    world.run_at("2025-03-01").await;
    let invoices = world.invoices().await;
    let found: Vec<_> = invoices
        .iter()
        .map(|invoice| {
            (
                invoice.total,
                invoice.wallet_applied,
                invoice.amount_due(),
                invoice.status,
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (60, 60, 0, InvoiceStatus::Paid),
            (90, 40, 50, InvoiceStatus::Issued),
        ]
    );
    let books = world.store().books(&customer()).await.unwrap();
    assert_eq!(wallet::balance(&books, Currency::USD), 0);
    // A withdrawn invoice gives back what the wallet paid for it.
    let change = crate::billing::change::void(&invoices[1], at("2025-03-02")).unwrap();
    let _ = crate::storage::InvoiceStore::change_invoice(world.store(), change)
        .await
        .unwrap();
    let books = world.store().books(&customer()).await.unwrap();
    assert_eq!(wallet::balance(&books, Currency::USD), 40);
    is_sound(&world).await;
}
