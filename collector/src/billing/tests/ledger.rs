//! The ledger as the one truth: whatever is derived from it can be damaged or lost, and is written anew.

use super::{
    till::Gift,
    world::{World, at, customer, decimal, in_tokens},
};
use crate::{
    credits::{Grant, GrantSource},
    ledger::{Books, Fault},
    storage::{LedgerStore, RebuildOutcome},
};
use submeter_common::{AggregationKind::Sum, Timestamp};

/// A customer of whom everything was booked: grants, usage, a rest carried over, a debit, a hold, money.
async fn lived() -> World {
    let mut world = World::new("2025-01-01").await;
    world.meter("calls", Sum).await;
    let mut attachment = world.tokens("100", 0).await;
    attachment.rollover.enabled = true;
    attachment.rollover.percentage = Some(50);
    let product = world
        .product(1000, vec![in_tokens("calls", 0, "1")], vec![attachment])
        .await;
    world.subscribe(&product, "2025-01-01", 1).await;
    world.fund("money", 5_000).await;
    let gift = Gift {
        source: GrantSource::OneTime,
        amount: 40,
        priority: 20,
        effective_at: at("2025-01-01"),
        expires_at: None,
        repays_overage: false,
    };
    world.give("gift", gift).await;
    world.debit("debit", 7).await.unwrap();
    world
        .deliver("2025-02-01", &[("calls", "2025-01-05", "33")])
        .await;
    world.run_at("2025-02-01").await;
    world.hold("hold", 12, at("2025-02-03")).await.unwrap();
    world
}

/// All that is derived from the entries.
async fn derived(world: &World) -> (Books, Vec<Grant>) {
    let mut grants = world.grants().await;
    grants.sort_by(|one, other| one.grant_id.cmp(&other.grant_id));
    // When a balance last changed is told for people; no entry says so of a grant.
    for grant in &mut grants {
        grant.updated_at = Timestamp::from_micros(0);
    }
    (world.store().books(&customer()).await.unwrap(), grants)
}

async fn audit(world: &World) -> Vec<Fault> {
    world.store().audit_ledger(&customer()).await.unwrap()
}

#[tokio::test]
async fn whatever_is_derived_is_written_anew_from_the_entries() {
    type Damage = fn(&World, &[Grant]);
    let damages: [(&str, Damage); 7] = [
        ("balances deleted", |world, _| {
            world.store().damage_books(&customer(), None)
        }),
        ("balances illegible", |world, _| {
            world
                .store()
                .damage_books(&customer(), Some(b"{\"entries\":"));
        }),
        ("balances of nobody", |world, _| {
            let none = serde_json::to_vec(&Books::default()).unwrap();
            world.store().damage_books(&customer(), Some(&none));
        }),
        ("a grant richer than it was made", |world, grants| {
            let grant = Grant {
                remaining: decimal("1000000"),
                ..grants[0].clone()
            };
            world.store().damage_grant(&grant);
        }),
        ("every grant emptied", |world, grants| {
            for grant in grants {
                let [remaining, held, expired] = [decimal("0"), decimal("0"), decimal("0")];
                world.store().damage_grant(&Grant {
                    remaining,
                    held,
                    expired,
                    ..grant.clone()
                });
            }
        }),
        ("the list of grants deleted", |world, _| {
            world.store().forget_grants(&customer())
        }),
        ("all of it", |world, grants| {
            world.store().damage_books(&customer(), None);
            let grant = Grant {
                remaining: decimal("1"),
                ..grants[1].clone()
            };
            world.store().damage_grant(&grant);
            world.store().forget_grants(&customer());
        }),
    ];
    let mut world = lived().await;
    let before = derived(&world).await;
    for (name, damage) in damages {
        damage(&world, &before.1);
        assert_ne!(audit(&world).await, [], "{name}");
        let outcome = world.store().rebuild_ledger(&customer()).await.unwrap();
        match outcome {
            RebuildOutcome::Rebuilt { rebuilt, lost } => {
                assert!(!rebuilt.is_empty() && lost.is_empty(), "{name}: {lost:?}");
            }
            other => panic!("{name}: {other:?}"),
        }
        world.restart();
        assert_eq!(audit(&world).await, [], "{name}");
        assert_eq!(derived(&world).await, before, "{name}");
        let again = world.store().rebuild_ledger(&customer()).await.unwrap();
        assert_eq!(again, RebuildOutcome::Unchanged, "{name}");
    }
    // And life goes on.
    world.debit("after", 1).await.unwrap();
    assert_eq!(audit(&world).await, []);
}

#[tokio::test]
async fn what_no_entry_can_bring_back_is_told() {
    let world = lived().await;
    let grants = world.grants().await;
    world.store().delete_grant(&grants[1].grant_id);
    let outcome = world.store().rebuild_ledger(&customer()).await.unwrap();
    let RebuildOutcome::Rebuilt { lost, .. } = outcome else {
        panic!("{outcome:?}");
    };
    let [Fault::Lost { grant_id, derived }] = &lost[..] else {
        panic!("{lost:?}");
    };
    assert_eq!(
        (grant_id, &derived.remaining),
        (&grants[1].grant_id, &grants[1].remaining)
    );
    assert_eq!(audit(&world).await, lost, "until somebody sees to it");
}

#[tokio::test]
async fn a_damaged_entry_is_found_and_nothing_is_built_on_it() {
    let world = lived().await;
    let before = derived(&world).await;
    world.store().damage_entry(&customer(), 3);
    assert_eq!(audit(&world).await, [Fault::Digest(3)]);
    world.store().damage_books(&customer(), None);
    let outcome = world.store().rebuild_ledger(&customer()).await.unwrap();
    assert_eq!(outcome, RebuildOutcome::Damaged(Box::new(Fault::Digest(3))));
    assert_eq!(derived(&world).await.1, before.1);
}

#[tokio::test]
async fn a_ledger_is_added_up_while_others_write() {
    let world = lived().await;
    let found = world.store().audit_beside_a_writer(&customer());
    assert_eq!(found, Some(Vec::new()), "it does not wait for the writer");
}
