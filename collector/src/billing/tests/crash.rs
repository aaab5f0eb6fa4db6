//! A billing run that dies at any of its writes, is run twice, or by two at once: the same invoices, once.

use super::world::{WAIT, World, at, in_tokens, per_unit};
use crate::{
    billing::{self, LineKind},
    credits::Grant,
    outbox::Topic,
    storage::{InvoiceStore, JobStore, OutboxStore, Page, rocksdb::Death},
};
use submeter_common::AggregationKind::Sum;

/// Two subscriptions of one customer that share credits, three months behind, and a third that cannot be billed.
async fn backlog() -> World {
    let mut world = World::new("2025-01-01").await;
    for meter in ["calls", "images", "broken"] {
        world.meter(meter, Sum).await;
    }
    let tokens = world.tokens("100", 0).await;
    let calls = vec![per_unit("calls", 5, "2")];
    let images = vec![in_tokens("images", 0, "1")];
    let plain = world.product(500, calls, Vec::new()).await;
    let credited = world.product(0, images, vec![tokens]).await;
    let broken = world
        .product(0, vec![per_unit("broken", 0, "1")], Vec::new())
        .await;
    world.subscribe(&plain, "2025-01-01", 1).await;
    world.subscribe(&credited, "2025-01-01", 1).await;
    world.subscribe(&broken, "2025-01-01", 1).await;
    let used = [
        ("calls", "2025-01-05", "30"),
        ("calls", "2025-02-05", "40"),
        ("calls", "2025-03-05", "50"),
        ("images", "2025-01-05", "90"),
        ("images", "2025-02-05", "120"),
        ("images", "2025-03-05", "1"),
        ("broken", "2025-01-05", "999999999999999999999999"),
    ];
    world.deliver("2025-04-01", &used).await;
    world.clock.set(at("2025-04-01"));
    world
}

/// Number, period, total, and kind and amount of each line.
type Paper = (String, Option<u32>, i64, Vec<(LineKind, i64)>);

/// All that billing wrote, without the ids, which differ from world to world.
#[derive(PartialEq, Debug)]
struct Written {
    invoices: Vec<Paper>,
    grants: Vec<(Option<u32>, String, String)>,
    transfers: Vec<String>,
    topics: Vec<Topic>,
    drafts: usize,
}

async fn written(world: &World) -> Written {
    let invoices = world.invoices().await;
    let told = world.store().messages(0, 1000).await.unwrap();
    let drafts = world
        .store()
        .blocked_drafts(&Default::default(), Page::new(0, 10))
        .await;
    let mut transfers: Vec<String> = world
        .transfers()
        .await
        .iter()
        .map(|transfer| {
            format!(
                "{:?} {:?} {}",
                transfer.debit, transfer.credit, transfer.amount
            )
        })
        .collect();
    transfers.sort();
    let grant = |grant: &Grant| {
        let rest = grant.remaining.to_string();
        (grant.period, rest, grant.expired.to_string())
    };
    // Periods that end at one instant are closed in the order of their subscriptions' ids, which are random.
    let mut papers: Vec<_> = invoices
        .iter()
        .map(|invoice| {
            let lines = invoice.lines.iter();
            let lines = lines.map(|line| (line.kind, line.amount)).collect();
            (String::new(), invoice.closes_period, invoice.total, lines)
        })
        .collect();
    papers.sort_by_key(|paper| format!("{paper:?}"));
    for (paper, invoice) in papers.iter_mut().zip(&invoices) {
        paper.0 = invoice.number.clone();
    }
    let mut topics: Vec<Topic> = told.iter().map(|message| message.message.topic).collect();
    topics.sort();
    Written {
        invoices: papers,
        grants: world.grants().await.iter().map(grant).collect(),
        transfers,
        topics,
        drafts: drafts.unwrap().len(),
    }
}

async fn undisturbed() -> Written {
    let world = backlog().await;
    let report = world.run().await;
    assert_eq!((report.closed, report.failed_count), (6, 1));
    let written = written(&world).await;
    let numbers: Vec<&str> = written.invoices.iter().map(|paper| &*paper.0).collect();
    assert_eq!(numbers.len(), 7, "{numbers:?}");
    assert_eq!(numbers[6], "INV-2025-000007");
    assert_eq!(written.drafts, 1);
    written
}

#[tokio::test]
async fn a_run_that_dies_before_or_after_any_of_its_writes_is_finished_by_the_next() {
    let expected = undisturbed().await;
    for death in [Death::Before, Death::After] {
        for writes in 0.. {
            let mut world = backlog().await;
            world.store().die(death(writes));
            let died = billing::close_due(&world.shared_store(), &world.clock, WAIT, "first").await;
            if !world.store().is_dead() {
                assert!(writes >= 3, "the run makes but {writes} writes");
                break;
            }
            assert!(died.is_err(), "at write {writes}");
            world.restart();
            let report =
                billing::close_due(&world.shared_store(), &world.clock, WAIT, "second").await;
            assert!(!report.unwrap().leased_elsewhere);
            assert_eq!(written(&world).await, expected, "at write {writes}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_runners_at_once_write_the_same_invoices_once() {
    let expected = undisturbed().await;
    for round in 0..5 {
        let world = backlog().await;
        // One holder: the lease lets both pass, so that only the settlements themselves keep them apart.
        let runs: Vec<_> = (0..3)
            .map(|_| {
                let (store, clock) = (world.shared_store(), world.clock.clone());
                tokio::spawn(async move {
                    billing::close_due(&store, &clock, WAIT, "same")
                        .await
                        .unwrap()
                })
            })
            .collect();
        let mut closed = 0;
        for run in runs {
            closed += run.await.unwrap().closed;
        }
        // One run more than there are periods: each closes one at least, or there is none left.
        for _ in 0..=6 {
            closed += world.run().await.closed;
        }
        assert_eq!(closed, 6, "round {round}");
        assert_eq!(written(&world).await, expected, "round {round}");
    }
}

#[tokio::test]
async fn a_runner_leaves_alone_what_another_has_leased_until_the_lease_is_over() {
    let world = backlog().await;
    let (now, later) = (at("2025-04-01"), at("2025-04-01T00:01:00Z"));
    let store = world.store();
    assert!(
        store
            .take_lease("billing", "other", now, later)
            .await
            .unwrap()
    );
    let report = world.run().await;
    assert!(report.leased_elsewhere);
    assert_eq!((report.closed, world.invoices().await.len()), (0, 1));
    world.clock.set(later);
    assert_eq!(world.run().await.closed, 6);
    // Given back: the other finds nothing to do, but may look.
    assert!(
        store
            .take_lease("billing", "other", later, later)
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn settlements_of_one_write_that_do_not_pass_take_no_other_with_them() {
    let world = backlog().await;
    let due =
        crate::storage::SubscriptionStore::due(world.store(), None, at("2025-04-01"), None, 10);
    let mut settlements = Vec::new();
    for subscription in due.await.unwrap() {
        let closing =
            billing::gather::gather(world.store(), &subscription, Vec::new(), at("2025-04-01"))
                .await
                .unwrap();
        settlements.extend(billing::close::close(&closing));
    }
    assert_eq!(settlements.len(), 2);
    let mut stale = settlements[0].clone();
    stale.expected_next_period = 7;
    let mut refused = settlements[1].clone();
    refused.posting.transfers.clear();
    let all = vec![stale, settlements.remove(0), refused, settlements.remove(0)];
    let outcomes = world.store().settle_all(all).await.unwrap();
    // The last one was computed before the customer's ledger moved on.
    let told: Vec<&str> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Ok(crate::storage::SettleOutcome::Settled(_)) => "settled",
            Ok(crate::storage::SettleOutcome::Stale) => "stale",
            Err(_) => "refused",
        })
        .collect();
    assert_eq!(told, ["stale", "settled", "refused", "stale"]);
}
