//! Settlements: once, whole, numbered without gaps, and only if the books balance.

use std::sync::Arc;

use submeter_collector::billing::{InvoiceStatus, Settlement};
use submeter_collector::bookkeeping::GrantChange;
use submeter_collector::ledger::{Account, Cause, Transfer};
use submeter_collector::money::Decimal;
use submeter_collector::storage::{
    CreateOutcome, DueCursor, EntryFilter, InvoiceFilter, InvoiceStore, LedgerStore, Page,
    PutOutcome, SettleOutcome, Storage, StorageError, SubscriptionFilter, SubscriptionStore,
    TestClockStore,
};
use submeter_collector::subscription::SubscriptionStatus;
use submeter_collector::test_clock::{ClockScope, TestClock};
use submeter_common::time::Timestamp;

use crate::Engine;
use crate::builders::{
    DAY, NEW_YEAR, after, customer, grant, meter, opening, settlement, subscription, transfer,
};

const ALL: fn() -> Page = || Page::new(0, 1000);

async fn create(store: &impl Storage, id: &str, customer_name: &str, meters: &[&str]) {
    let outcome = store
        .create_subscription(opening(id, customer_name, meters))
        .await
        .unwrap();
    assert!(
        matches!(outcome, CreateOutcome::Created(None)),
        "{outcome:?}"
    );
}

async fn numbers(store: &impl Storage) -> Vec<String> {
    let invoices = store
        .invoices(&InvoiceFilter::default(), ALL())
        .await
        .unwrap();
    invoices
        .into_iter()
        .rev()
        .map(|invoice| invoice.number)
        .collect()
}

async fn transfers(store: &impl Storage) -> Vec<Transfer> {
    let entries = store
        .entries(&customer("acme"), &EntryFilter::default(), ALL())
        .await
        .unwrap();
    entries.into_iter().map(|entry| entry.transfer).collect()
}

/// A settlement that burns `burned` of a grant of 100, beside its invoice.
fn burning(n: u32, burned: i64, left_before: i64) -> Settlement {
    let mut settlement = settlement("sub_1", "acme", &["calls"], n, 5);
    let before = submeter_collector::credits::Grant {
        remaining: Decimal::from(left_before),
        ..grant("cgr_1", "acme", 100)
    };
    let after = submeter_collector::credits::Grant {
        remaining: Decimal::from(left_before - burned),
        ..before.clone()
    };
    settlement
        .posting
        .grants_changed
        .push(GrantChange { before, after });
    let mut burn = transfer(&format!("burn:{n}"), "acme", burned);
    (burn.debit, burn.credit) = (Account::CreditsConsumed, Account::CreditsAvailable);
    burn.cause = Cause::Debited {
        grant_id: submeter_collector::id::GrantId::from_text("cgr_1"),
    };
    settlement.posting.transfers.push(burn);
    settlement
}

fn granting(id: &str) -> Settlement {
    let mut opening = opening(id, "acme", &["calls"]);
    opening.posting.grants_new.push(grant("cgr_1", "acme", 100));
    opening
        .posting
        .transfers
        .push(transfer("grant:cgr_1", "acme", 100));
    opening
}

pub(crate) async fn a_period_is_settled_once<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    create(&*store, "sub_1", "acme", &["calls"]).await;
    let closing = settlement("sub_1", "acme", &["calls"], 0, 1234);
    let SettleOutcome::Settled(Some(invoice)) = store.settle(closing.clone()).await.unwrap() else {
        panic!("stale")
    };
    assert_eq!(
        (invoice.number.as_str(), invoice.total),
        ("INV-2024-000001", 1234)
    );
    assert!(matches!(
        store.settle(closing).await.unwrap(),
        SettleOutcome::Stale
    ));

    let filters = [
        InvoiceFilter::default(),
        InvoiceFilter {
            customer_id: Some(customer("acme")),
            ..InvoiceFilter::default()
        },
        InvoiceFilter {
            subscription_id: Some(invoice.subscription_id.clone()),
            ..InvoiceFilter::default()
        },
        InvoiceFilter {
            customer_id: Some(customer("acme")),
            subscription_id: Some(invoice.subscription_id.clone()),
            status: Some(InvoiceStatus::Issued),
        },
    ];
    for filter in filters {
        assert_eq!(
            store.invoices(&filter, ALL()).await.unwrap(),
            [(*invoice).clone()],
            "{filter:?}"
        );
    }
    let other = InvoiceFilter {
        customer_id: Some(customer("other")),
        subscription_id: Some(invoice.subscription_id.clone()),
        status: None,
    };
    assert!(store.invoices(&other, ALL()).await.unwrap().is_empty());
    assert_eq!(
        store.invoice(&invoice.invoice_id).await.unwrap(),
        Some(*invoice.clone())
    );
    let stored = store
        .subscription(&invoice.subscription_id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stored, subscription("sub_1", "acme", &["calls"], 1));
    assert_eq!(transfers(&*store).await.len(), 1);
}

pub(crate) async fn settlements_from_many_places_settle_once<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    create(&*store, "sub_1", "acme", &["calls"]).await;
    for n in 0..5 {
        let places = (0..16).map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                store
                    .settle(settlement("sub_1", "acme", &["calls"], n, 7))
                    .await
                    .unwrap()
            })
        });
        let mut settled = 0;
        for place in places.collect::<Vec<_>>() {
            settled += i32::from(matches!(
                place.await.unwrap(),
                SettleOutcome::Settled(Some(_))
            ));
        }
        assert_eq!(settled, 1);
    }
    let expected: Vec<_> = (1..=5)
        .map(|position| format!("INV-2024-{position:06}"))
        .collect();
    assert_eq!(numbers(&*store).await, expected);
    assert_eq!(transfers(&*store).await.len(), 5);
}

pub(crate) async fn a_grant_that_changed_meanwhile_makes_it_stale<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    assert!(matches!(
        store.create_subscription(granting("sub_1")).await.unwrap(),
        CreateOutcome::Created(None)
    ));
    assert!(matches!(
        store.settle(burning(0, 30, 100)).await.unwrap(),
        SettleOutcome::Settled(_)
    ));
    assert!(
        matches!(
            store.settle(burning(1, 10, 100)).await.unwrap(),
            SettleOutcome::Stale
        ),
        "read before the burn"
    );
    assert_eq!(
        numbers(&*store).await.len(),
        1,
        "nothing of a stale settlement is written"
    );
    assert!(matches!(
        store.settle(burning(1, 10, 70)).await.unwrap(),
        SettleOutcome::Settled(_)
    ));
    let grants = store.grants(&customer("acme"), None).await.unwrap();
    assert_eq!(
        grants
            .iter()
            .map(|grant| grant.remaining.clone())
            .collect::<Vec<_>>(),
        [Decimal::from(60_i64)]
    );

    let mut again = granting("sub_2");
    again.subscription = subscription("sub_2", "acme", &["other"], 0);
    assert!(
        matches!(
            store.create_subscription(again).await.unwrap(),
            CreateOutcome::Conflict
        ),
        "the grant is there"
    );
}

pub(crate) async fn invoice_numbers_have_no_gaps_and_begin_anew_each_year<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    create(&*store, "sub_1", "acme", &["calls"]).await;
    create(&*store, "sub_2", "globex", &["calls"]).await;
    for n in 0..3 {
        for (id, name) in [("sub_1", "acme"), ("sub_2", "globex")] {
            let mut closing = settlement(id, name, &["calls"], n, 1);
            if n == 2
                && let Some(invoice) = &mut closing.invoice
            {
                invoice.issued_at = after(370 * DAY);
            }
            assert!(matches!(
                store.settle(closing.clone()).await.unwrap(),
                SettleOutcome::Settled(_)
            ));
            assert!(matches!(
                store.settle(closing).await.unwrap(),
                SettleOutcome::Stale
            ));
        }
    }
    let expected = [
        "INV-2024-000001",
        "INV-2024-000002",
        "INV-2024-000003",
        "INV-2024-000004",
        "INV-2025-000001",
        "INV-2025-000002",
    ];
    assert_eq!(numbers(&*store).await, expected);
}

pub(crate) async fn books_that_do_not_balance_are_refused<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    let _ = store.create_subscription(granting("sub_1")).await.unwrap();
    let spoil: [fn(&mut Settlement); 7] = [
        |settlement| settlement.posting.transfers.clear(),
        |settlement| settlement.posting.transfers[0].amount = Decimal::from(4_i64),
        |settlement| settlement.posting.transfers[1].amount = Decimal::from(29_i64),
        |settlement| settlement.posting.transfers[1].credit = settlement.posting.transfers[1].debit,
        |settlement| settlement.posting.transfers[0].customer_id = customer("globex"),
        |settlement| settlement.posting.grants_changed[0].after.amount = Decimal::from(1_000_i64),
        |settlement| settlement.posting.grants_changed.clear(),
    ];
    for (number, spoil) in spoil.into_iter().enumerate() {
        let mut closing = burning(0, 30, 100);
        spoil(&mut closing);
        let refused = store.settle(closing).await;
        assert!(
            matches!(refused, Err(StorageError::Refused(_))),
            "{number}: {refused:?}"
        );
    }
    assert!(
        matches!(
            store.settle(burning(0, 101, 100)).await,
            Err(StorageError::Refused(_))
        ),
        "overdrawn"
    );
    let unknown = settlement("sub_9", "acme", &["calls"], 0, 5);
    assert!(matches!(
        store.settle(unknown).await,
        Err(StorageError::Refused(_))
    ));
    assert!(numbers(&*store).await.is_empty());
    assert!(matches!(
        store.settle(burning(0, 30, 100)).await.unwrap(),
        SettleOutcome::Settled(_)
    ));
    assert_eq!(
        numbers(&*store).await,
        ["INV-2024-000001"],
        "a refused settlement takes no number"
    );
}

pub(crate) async fn a_meter_is_billed_by_one_subscription_only<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    create(&*store, "sub_1", "acme", &["calls", "images"]).await;
    let taken = store
        .create_subscription(opening("sub_2", "acme", &["sms", "images"]))
        .await
        .unwrap();
    let CreateOutcome::MeterInUse {
        meter_id,
        subscription_id,
    } = taken
    else {
        panic!("{taken:?}")
    };
    assert_eq!(
        (meter_id, subscription_id.as_str()),
        (meter("images"), "sub_1")
    );
    create(&*store, "sub_3", "globex", &["calls", "images"]).await;
    create(&*store, "sub_4", "acme", &["sms"]).await;
    let repeated = store
        .create_subscription(opening("sub_4", "acme", &["other"]))
        .await
        .unwrap();
    assert!(matches!(repeated, CreateOutcome::Conflict));

    let attempts = (0..16).map(|number| {
        let store = Arc::clone(&store);
        let opening = opening(&format!("sub_race_{number}"), "initech", &["calls"]);
        tokio::spawn(async move { store.create_subscription(opening).await.unwrap() })
    });
    let mut created = 0;
    for attempt in attempts.collect::<Vec<_>>() {
        created += i32::from(matches!(attempt.await.unwrap(), CreateOutcome::Created(_)));
    }
    assert_eq!(created, 1);

    // An expired subscription bills no more, and gives its meters free from its end on.
    let mut closing = settlement("sub_1", "acme", &["calls", "images"], 0, 5);
    closing.subscription.status = SubscriptionStatus::Expired;
    closing.subscription.plan.term_ends_at = after(31 * DAY);
    assert!(matches!(
        store.settle(closing).await.unwrap(),
        SettleOutcome::Settled(_)
    ));
    let mut backdated = opening("sub_5", "acme", &["images"]);
    begin(&mut backdated, after(30 * DAY));
    let taken = store.create_subscription(backdated).await.unwrap();
    assert!(
        matches!(taken, CreateOutcome::MeterInUse { .. }),
        "usage before the end is billed already"
    );
    let mut next = opening("sub_5", "acme", &["images"]);
    begin(&mut next, after(31 * DAY));
    let created = store.create_subscription(next).await.unwrap();
    assert!(matches!(created, CreateOutcome::Created(_)), "{created:?}");
    let of_acme = SubscriptionFilter {
        customer_id: Some(customer("acme")),
    };
    let listed = store.subscriptions(&of_acme, ALL()).await.unwrap();
    let ids: Vec<_> = listed
        .iter()
        .map(|subscription| subscription.subscription_id.as_str())
        .collect();
    assert_eq!(ids, ["sub_5", "sub_4", "sub_1"]);
    let paged = store
        .subscriptions(&SubscriptionFilter::default(), Page::new(1, 2))
        .await
        .unwrap();
    assert_eq!(paged.len(), 2);
}

fn begin(opening: &mut Settlement, at: Timestamp) {
    opening.subscription.starts_at = at;
    opening.subscription.plan.starts_at = at;
}

pub(crate) async fn what_is_due_comes_in_order_and_in_slices<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    for (id, n) in [("sub_c", 2), ("sub_a", 0), ("sub_b", 1), ("sub_b2", 1)] {
        let mut opening = opening(id, id, &["calls"]);
        opening.subscription = subscription(id, id, &["calls"], n);
        assert!(matches!(
            store.create_subscription(opening).await.unwrap(),
            CreateOutcome::Created(_)
        ));
    }
    let ids = |found: Vec<submeter_collector::subscription::Subscription>| {
        found
            .into_iter()
            .map(|subscription| subscription.subscription_id.to_string())
            .collect::<Vec<_>>()
    };
    let due = |now| {
        let store = Arc::clone(&store);
        async move { ids(store.due(None, after(now), None, 100).await.unwrap()) }
    };
    assert!(due(DAY - 1).await.is_empty());
    assert_eq!(due(DAY).await, ["sub_a"], "due at the very end");
    assert_eq!(due(2 * DAY).await, ["sub_a", "sub_b", "sub_b2"]);
    assert_eq!(due(30 * DAY).await, ["sub_a", "sub_b", "sub_b2", "sub_c"]);

    let first = store.due(None, after(30 * DAY), None, 2).await.unwrap();
    let last = first.last().unwrap();
    let cursor = DueCursor {
        period_end: last.current_period.end,
        subscription_id: last.subscription_id.clone(),
    };
    assert_eq!(
        ids(store
            .due(None, after(30 * DAY), Some(&cursor), 2)
            .await
            .unwrap()),
        ["sub_b2", "sub_c"]
    );

    assert!(matches!(
        store
            .settle(settlement("sub_a", "sub_a", &["calls"], 0, 5))
            .await
            .unwrap(),
        SettleOutcome::Settled(_)
    ));
    assert!(due(DAY).await.is_empty());
    assert_eq!(
        due(2 * DAY).await,
        ["sub_a", "sub_b", "sub_b2"],
        "its next period"
    );
    let mut last = settlement("sub_a", "sub_a", &["calls"], 1, 5);
    last.subscription.status = SubscriptionStatus::Expired;
    assert!(matches!(
        store.settle(last).await.unwrap(),
        SettleOutcome::Settled(_)
    ));
    assert_eq!(due(30 * DAY).await, ["sub_b", "sub_b2", "sub_c"]);
}

pub(crate) async fn settlements_survive_a_restart_and_a_kill<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    let _ = store.create_subscription(granting("sub_1")).await.unwrap();
    assert!(matches!(
        store.settle(burning(0, 30, 100)).await.unwrap(),
        SettleOutcome::Settled(_)
    ));
    let killed = engine.killed();
    drop(store);
    for engine in [killed, engine] {
        let store = engine.open();
        assert!(matches!(
            store.settle(burning(0, 30, 100)).await.unwrap(),
            SettleOutcome::Stale
        ));
        assert!(matches!(
            store.settle(burning(1, 30, 70)).await.unwrap(),
            SettleOutcome::Settled(_)
        ));
        assert_eq!(
            numbers(&*store).await,
            ["INV-2024-000001", "INV-2024-000002"]
        );
        let taken = store
            .create_subscription(opening("sub_2", "acme", &["calls"]))
            .await
            .unwrap();
        assert!(matches!(taken, CreateOutcome::MeterInUse { .. }));
        let ledger = transfers(&*store).await;
        let balance = ledger
            .iter()
            .filter(|transfer| transfer.unit == transfer_unit())
            .fold(0_i64, |balance, transfer| {
                let amount = transfer.amount.to_i64().unwrap();
                let into = i64::from(transfer.debit == Account::CreditsAvailable);
                let out_of = i64::from(transfer.credit == Account::CreditsAvailable);
                balance + amount * (into - out_of)
            });
        assert_eq!(
            balance, 40,
            "what the transfers say is what the grants hold"
        );
        assert_eq!(
            store.grants(&customer("acme"), None).await.unwrap()[0].remaining,
            Decimal::from(40_i64)
        );
    }
}

fn transfer_unit() -> submeter_collector::ledger::LedgerUnit {
    transfer("any", "acme", 1).unit
}

pub(crate) async fn what_is_due_under_a_test_clock_is_due_under_no_other<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    let clock = TestClock::new(None, ClockScope::Collector, NEW_YEAR, NEW_YEAR);
    let written = store.put_test_clock(None, &clock).await.unwrap();
    assert_eq!(written, PutOutcome::Written);
    let second = TestClock::new(None, ClockScope::Collector, NEW_YEAR, NEW_YEAR);
    let refused = store.put_test_clock(None, &second).await.unwrap();
    assert_eq!(refused, PutOutcome::Conflict, "one rules the collector");
    let going = clock.advance(after(DAY), NEW_YEAR).unwrap();
    for expected in [PutOutcome::Written, PutOutcome::Conflict] {
        let outcome = store.put_test_clock(Some(&clock), &going).await.unwrap();
        assert_eq!(outcome, expected, "over what was read");
    }
    let own = clock.test_clock_id.clone();
    for (id, n, timeline) in [
        ("sub_a", 0, None),
        ("sub_b", 1, Some(own.clone())),
        ("sub_c", 3, Some(own.clone())),
    ] {
        let mut opening = opening(id, id, &["calls"]);
        opening.subscription = subscription(id, id, &["calls"], n);
        opening.subscription.test_clock = timeline;
        let created = store.create_subscription(opening).await.unwrap();
        assert!(matches!(created, CreateOutcome::Created(_)));
    }
    let (store, own) = (&store, &own);
    let due = |timeline: bool, now: i64| async move {
        let due = store
            .due(timeline.then_some(own), after(now), None, 10)
            .await
            .unwrap();
        due.into_iter()
            .map(|due| due.subscription_id.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(due(false, 30 * DAY).await, ["sub_a"]);
    assert_eq!(due(true, 2 * DAY).await, ["sub_b"]);
    assert_eq!(due(true, 30 * DAY).await, ["sub_b", "sub_c"]);
    let next = |timeline: bool, now: i64| async move {
        store
            .next_due(timeline.then_some(own), after(now))
            .await
            .unwrap()
    };
    assert_eq!(next(false, 0).await, Some(after(DAY)));
    assert_eq!(
        next(false, DAY).await,
        None,
        "what ends at that very instant is no longer ahead"
    );
    assert_eq!(next(true, 0).await, Some(after(2 * DAY)));
    assert_eq!(next(true, 2 * DAY).await, Some(after(4 * DAY)));
    assert_eq!(next(true, 4 * DAY).await, None);
}
