//! What periods and trials grant, when grants end by themselves, and what is told of all that.

use super::{
    till::Gift,
    world::{World, at, customer, decimal, in_tokens},
};
use crate::{
    billing::CycleTerms,
    credits::{CreditAttachment, GrantSource},
    jobs::expiry,
    outbox::Message,
    storage::{LedgerStore, OutboxStore, rocksdb::Death},
    subscription::period::Alignment,
    test_clock::Present,
};
use serde_json::{Value, json};
use submeter_common::{AggregationKind::Sum, Clock as _};

/// A customer whose calls burn tokens one by one, by these terms.
async fn subscribed(
    start: &str,
    amount: &str,
    terms: CycleTerms,
    change: impl FnOnce(&mut CreditAttachment),
) -> World {
    let world = World::new(start).await;
    world.meter("calls", Sum).await;
    let mut tokens = world.tokens(amount, 2).await;
    change(&mut tokens);
    let product = world
        .product(0, vec![in_tokens("calls", 0, "1")], vec![tokens])
        .await;
    world.subscribe_by(&product, start, terms).await;
    world
}

/// Source, amount, rest, what was forfeited, and the day of the end of each grant.
async fn grants(world: &World) -> Vec<Value> {
    let grants = world.grants().await;
    grants
        .iter()
        .map(|grant| {
            let end = grant.expires_at.map(|end| end.to_string()[..10].to_owned());
            json!([
                grant.source,
                grant.amount,
                grant.remaining,
                grant.expired,
                end
            ])
        })
        .collect()
}

/// What was told of credits: the topic without its room, the amount and the balance behind it.
async fn told(world: &World) -> Vec<Value> {
    let messages = world.store().messages(0, 1000).await.unwrap();
    let of_credits = |message: &Message| {
        let topic = message.message.topic.name().strip_prefix("credit.")?;
        let data = &message.message.data;
        Some(json!([topic, data["amount"], data["balance_after"]]))
    };
    messages.iter().filter_map(of_credits).collect()
}

fn trial() -> CycleTerms {
    CycleTerms {
        trial_days: 14,
        ..CycleTerms::default()
    }
}

#[tokio::test]
async fn a_trial_has_credits_of_its_own_that_end_with_it() {
    let mut world = subscribed("2025-01-01", "100", trial(), |tokens| {
        tokens.trial_credits = Some(decimal("50"));
        tokens.trial_credits_expire_after_trial = true;
    })
    .await;
    assert_eq!(
        grants(&world).await,
        [json!(["trial", "50", "50", "0", "2025-01-15"])]
    );
    world
        .deliver("2025-01-11", &[("calls", "2025-01-10", "20")])
        .await;
    world.run_at("2025-01-15").await;
    let both = [
        json!(["trial", "50", "0", "30", "2025-01-15"]),
        json!(["subscription", "100", "100", "0", "2025-02-15"]),
    ];
    assert_eq!(grants(&world).await, both);
    assert_eq!(
        told(&world).await,
        [
            json!(["added", "50", "50"]),
            json!(["deducted", "20", "30"]),
            json!(["added", "100", "130"]),
            json!(["expired", "30", "100"]),
        ]
    );
}

#[tokio::test]
async fn credits_of_a_trial_may_outlive_it() {
    let mut world = subscribed("2025-01-01", "100", trial(), |tokens| {
        tokens.trial_credits = Some(decimal("50"));
        tokens.expires_after_days = Some(20);
    })
    .await;
    world.run_at("2025-01-15").await;
    let present = Present::of_machine(at("2025-01-21"));
    expiry::end_overdue(world.store(), &present).await.unwrap();
    // The period's own credits end after twenty days, too, by themselves.
    assert_eq!(
        grants(&world).await,
        [
            json!(["trial", "50", "0", "50", "2025-01-21"]),
            json!(["subscription", "100", "100", "0", "2025-02-04"]),
        ]
    );
    let present = Present::of_machine(at("2025-02-04"));
    expiry::end_overdue(world.store(), &present).await.unwrap();
    assert_eq!(
        told(&world).await,
        [
            json!(["added", "50", "50"]),
            json!(["added", "100", "150"]),
            json!(["expired", "50", "100"]),
            json!(["expired", "100", "0"]),
        ]
    );
}

#[tokio::test]
async fn a_part_of_a_period_grants_its_share_where_that_is_agreed() {
    for (behavior, first) in [("prorate", "51.61"), ("no_prorate", "100")] {
        let calendar = CycleTerms {
            alignment: Alignment::Calendar,
            ..CycleTerms::default()
        };
        let mut world = subscribed("2025-01-16", "100", calendar, |tokens| {
            tokens.proration_behavior = behavior.to_owned();
        })
        .await;
        world.run_at("2025-02-01").await;
        // Sixteen days of thirty-one, to two digits; then all of February.
        assert_eq!(
            grants(&world).await,
            [
                json!(["subscription", first, "0", first, "2025-02-01"]),
                json!(["subscription", "100", "100", "0", "2025-03-01"]),
            ],
            "{behavior}"
        );
    }
}

#[tokio::test]
async fn an_expiry_is_booked_once_although_the_store_dies_before_or_after_it() {
    for death in [Death::Before, Death::After] {
        let mut world = subscribed("2025-01-01", "100", CycleTerms::default(), |_| {}).await;
        for (key, amount, priority) in [("one", 40, 1), ("two", 7, 2)] {
            let gift = Gift {
                source: GrantSource::Api,
                amount,
                priority,
                effective_at: at("2025-01-01"),
                expires_at: Some(at("2025-01-10")),
                repays_overage: false,
            };
            world.give(key, gift).await;
        }
        world
            .deliver("2025-01-09", &[("calls", "2025-01-08", "15")])
            .await;
        world.clock.set(at("2025-01-10"));
        let now = Present::of_machine(world.clock.now());
        world.store().die(death(0));
        assert!(expiry::end_overdue(world.store(), &now).await.is_err());
        world.restart();
        for _ in 0..2 {
            expiry::end_overdue(world.store(), &now).await.unwrap();
        }
        let overdue = world.store().overdue_grants(None, now.now, 10).await;
        assert!(overdue.unwrap().is_empty());
        let expired = told(&world).await;
        let expired: Vec<&Value> = expired.iter().filter(|told| told[0] == "expired").collect();
        assert_eq!(expired.len(), 2, "{expired:?}");
        // What January's usage took of the first one stays for its close.
        let grants = world.grants().await;
        let left: Vec<String> = grants
            .iter()
            .map(|grant| grant.remaining.to_string())
            .collect();
        assert_eq!(
            left.iter().filter(|left| *left == "15").count(),
            1,
            "{left:?}"
        );
        world.run_at("2025-02-01").await;
        let faults = world.store().audit_ledger(&customer()).await.unwrap();
        assert!(faults.is_empty(), "{faults:?}");
        let told = told(&world).await;
        let deducted: Vec<&Value> = told.iter().filter(|told| told[0] == "deducted").collect();
        assert_eq!(deducted.len(), 1, "{told:?}");
        assert_eq!(deducted[0][1], "15");
    }
}
