//! Grants that end inside a period: usage before the end draws on them, usage behind it does not, whether or not the rest was
//! forfeited before the period is closed.

use super::{
    till::Gift,
    world::{World, at, customer, decimal, in_tokens},
};
use crate::{
    billing::{CreditUse, LineKind},
    credits::GrantSource,
    storage::LedgerStore,
};
use submeter_common::AggregationKind::Sum;

/// 100 credits for January, and 50 given that burn first and end on the 15th.
async fn with_a_gift_until_the_15th() -> World {
    let world = World::new("2025-01-01").await;
    world.meter("calls", Sum).await;
    let attachment = world.tokens("100", 0).await;
    let product = world
        .product(0, vec![in_tokens("calls", 0, "1")], vec![attachment])
        .await;
    world.subscribe(&product, "2025-01-01", 1).await;
    let gift = Gift {
        source: GrantSource::Api,
        amount: 50,
        priority: 1,
        effective_at: at("2025-01-01"),
        expires_at: Some(at("2025-01-15")),
        repays_overage: false,
    };
    world.give("gift", gift).await;
    world
}

async fn usage_line(world: &World) -> CreditUse {
    let invoices = world.invoices().await;
    let line = invoices[0]
        .lines
        .iter()
        .find(|line| line.kind == LineKind::Usage);
    line.unwrap().credits.clone().unwrap()
}

#[tokio::test]
async fn an_expiry_in_the_middle_of_a_period_changes_nothing_of_what_its_close_burns() {
    for is_forfeited_at_once in [false, true] {
        let mut world = with_a_gift_until_the_15th().await;
        world
            .deliver("2025-01-14", &[("calls", "2025-01-10", "30")])
            .await;
        world.clock.set(at("2025-01-15"));
        if is_forfeited_at_once {
            world.expire("due").await;
            let gift = &world.grants().await[1];
            assert_eq!(
                (&gift.remaining, &gift.expired),
                (&decimal("30"), &decimal("20")),
                "what the open period used stays for it"
            );
        }
        // 25 of before the end come only now, and 40 of behind it.
        let late = [
            ("calls", "2025-01-14T23:59:00Z", "25"),
            ("calls", "2025-01-15", "40"),
        ];
        world.deliver("2025-01-20", &late).await;
        world.run_at("2025-02-01").await;

        let used = usage_line(&world).await;
        let paid: Vec<String> = used.grants.iter().map(|g| g.amount.to_string()).collect();
        assert_eq!(paid, ["50", "45"], "forfeited: {is_forfeited_at_once}");
        let grants = world.grants().await;
        let gift = &grants[1];
        assert_eq!(
            (&gift.remaining, &gift.expired),
            (&decimal("0"), &decimal("0"))
        );
        assert_eq!(grants[0].expired, decimal("55"));
        assert_eq!(world.store().audit_ledger(&customer()).await.unwrap(), []);
    }
}

#[tokio::test]
async fn usage_behind_an_expiry_draws_nothing_of_it() {
    for is_forfeited_at_once in [false, true] {
        let mut world = with_a_gift_until_the_15th().await;
        world
            .deliver("2025-01-20", &[("calls", "2025-01-15", "120")])
            .await;
        world.clock.set(at("2025-01-20"));
        if is_forfeited_at_once {
            world.expire("due").await;
        }
        let held = world.held().await;
        assert_eq!(held.available(at("2025-01-20")), decimal("0"));
        world.run_at("2025-02-01").await;
        let used = usage_line(&world).await;
        assert_eq!(
            (used.credits_used, used.overage_billed),
            (decimal("100"), decimal("20"))
        );
        assert_eq!(world.grants().await[1].expired, decimal("50"));
        assert_eq!(world.store().audit_ledger(&customer()).await.unwrap(), []);
    }
}
