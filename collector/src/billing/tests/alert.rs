//! Marks of open periods: told once each, whatever dies in between and whoever looks at once.

use super::{
    till::Gift,
    world::{WAIT, World, at, customer, in_tokens, per_unit},
};
use crate::{
    alerts::{Measure, NewThreshold, Scope, Threshold},
    billing::{self, alert},
    credits::GrantSource,
    money::{Currency, Decimal},
    outbox::Topic,
    storage::{AddOutcome, AlertStore, OutboxStore, StorageError, rocksdb::Death},
};
use serde_json::{Value, json};
use submeter_common::{AggregationKind::Sum, Clock as _, MeterId};

fn spend(limit: i64) -> NewThreshold {
    NewThreshold {
        name: None,
        scope: Scope {
            customer_id: Some(customer()),
            ..Scope::default()
        },
        measure: Measure::Spend {
            currency: Currency::USD,
        },
        limit: Decimal::from(limit),
        marks: None,
        cap: true,
        metadata: Default::default(),
    }
}

fn quantity(meter: &str, limit: i64) -> NewThreshold {
    NewThreshold {
        scope: Scope {
            meter_id: Some(MeterId::new(meter).unwrap()),
            ..Scope::default()
        },
        measure: Measure::Quantity,
        ..spend(limit)
    }
}

async fn watch(world: &World, new: NewThreshold) {
    let threshold = Threshold::new(new, world.clock.now()).unwrap();
    let added = world.store().add_threshold(&threshold).await.unwrap();
    assert_eq!(added, AddOutcome::Added);
}

/// Looks at everybody who was touched, as the job does.
async fn look(world: &World) -> Result<(), StorageError> {
    for touch in world.store().touched(None, 100).await? {
        match alert::look(world.store(), &touch, world.clock.now()).await {
            Err(billing::BillingError::Storage(error)) => return Err(error),
            looked => looked.unwrap(),
        }
    }
    Ok(())
}

/// What was told of thresholds: period, mark, what was used.
async fn told(world: &World) -> Vec<Value> {
    let messages = world.store().messages(0, 1000).await.unwrap();
    messages
        .iter()
        .map(|message| &message.message)
        .filter(|message| message.topic == Topic::ThresholdReached)
        .map(|message| {
            let data = &message.data;
            let start = data["period"]["start"].as_str().unwrap();
            json!([&start[..10], data["mark"], data["used"]])
        })
        .collect()
}

/// A customer of a plan at two cents a call.
async fn world() -> World {
    let world = World::new("2025-01-01").await;
    world.meter("calls", Sum).await;
    let product = world
        .product(500, vec![per_unit("calls", 100, "2")], Vec::new())
        .await;
    world.subscribe(&product, "2025-01-01", 1).await;
    world
}

#[tokio::test]
async fn what_usage_costs_is_told_at_each_mark_once_in_each_period() {
    let mut world = world().await;
    watch(&world, spend(1000)).await;
    world
        .deliver("2025-01-05", &[("calls", "2025-01-04", "499")])
        .await;
    look(&world).await.unwrap();
    // 399 calls above the free ones; the fee is no usage.
    assert!(told(&world).await.is_empty());
    for day in ["2025-01-05", "2025-01-06"] {
        world.deliver(day, &[("calls", "2025-01-04", "1")]).await;
        look(&world).await.unwrap();
        assert_eq!(told(&world).await, [json!(["2025-01-01", 80, "800"])]);
    }
    // Two marks at once, were there two: here the cap, and in the next period both.
    world
        .deliver("2025-01-20", &[("calls", "2025-01-20", "500")])
        .await;
    look(&world).await.unwrap();
    assert_eq!(told(&world).await.len(), 2);
    world.run_at("2025-02-01").await;
    look(&world).await.unwrap();
    assert_eq!(told(&world).await.len(), 2);
    world
        .deliver("2025-02-10", &[("calls", "2025-02-05", "1000")])
        .await;
    look(&world).await.unwrap();
    let expected = [
        json!(["2025-01-01", 80, "800"]),
        json!(["2025-01-01", 100, "1802"]),
        json!(["2025-02-01", 80, "1800"]),
        json!(["2025-02-01", 100, "1800"]),
    ];
    assert_eq!(told(&world).await, expected);
    // Late usage of a closed period is billed, and nobody is told again.
    world
        .deliver("2025-02-11", &[("calls", "2025-01-06", "9000")])
        .await;
    look(&world).await.unwrap();
    assert_eq!(told(&world).await, expected);
}

#[tokio::test]
async fn a_period_is_not_closed_with_a_mark_that_was_reached_in_time_and_not_told() {
    let mut world = world().await;
    watch(&world, quantity("calls", 1000)).await;
    look(&world).await.unwrap();
    world
        .deliver("2025-02-01", &[("calls", "2025-01-31", "1000")])
        .await;
    // The run comes before anybody has looked.
    world.clock.set(at("2025-02-01"));
    assert_eq!(world.run().await.closed, 1);
    assert_eq!(
        told(&world).await,
        [
            json!(["2025-01-01", 80, "1000"]),
            json!(["2025-01-01", 100, "1000"])
        ]
    );
}

#[tokio::test]
async fn a_period_is_closed_although_it_cannot_be_read_what_was_told_of_it() {
    let mut world = world().await;
    watch(&world, quantity("calls", 1000)).await;
    world
        .deliver("2025-02-01", &[("calls", "2025-01-31", "1000")])
        .await;
    world.store().damage_told(&customer(), b"{");
    assert!(look(&world).await.is_err());
    assert_eq!(world.run_at("2025-02-01").await.closed, 1);
}

#[tokio::test]
async fn a_period_that_has_ended_and_waits_is_watched_beside_the_one_that_runs() {
    let mut world = world().await;
    let slow = world.agent().await;
    watch(&world, quantity("calls", 1000)).await;
    world.clock.set(at("2025-02-01T12:00:00Z"));
    world
        .deliver(
            "2025-02-01T12:00:00Z",
            &[("calls", "2025-02-01T06:00:00Z", "900")],
        )
        .await;
    look(&world).await.unwrap();
    assert_eq!(world.run().await.closed, 0, "it waits for the other agent");
    world
        .deliver_from(slow, "2025-01-20", &[("calls", "2025-01-19", "850")])
        .await;
    look(&world).await.unwrap();
    let expected = [
        json!(["2025-02-01", 80, "900"]),
        json!(["2025-01-01", 80, "850"]),
    ];
    assert_eq!(told(&world).await, expected);
    world.deliver_from(slow, "2025-02-01T12:00:00Z", &[]).await;
    assert_eq!(world.run().await.closed, 1);
    look(&world).await.unwrap();
    assert_eq!(told(&world).await, expected);
}

#[tokio::test]
async fn overage_that_is_invoiced_is_spent_in_the_period_that_used_it() {
    let mut world = World::new("2025-01-01").await;
    world.meter("images", Sum).await;
    let tokens = world.tokens("100", 0).await;
    let product = world
        .product(0, vec![in_tokens("images", 0, "1")], vec![tokens])
        .await;
    world.subscribe(&product, "2025-01-01", 1).await;
    // Three cents for each credit beyond the hundred.
    watch(&world, spend(300)).await;
    world
        .deliver("2025-01-05", &[("images", "2025-01-04", "150")])
        .await;
    look(&world).await.unwrap();
    assert!(told(&world).await.is_empty());
    world
        .deliver("2025-01-06", &[("images", "2025-01-06", "50")])
        .await;
    look(&world).await.unwrap();
    let january = [
        json!(["2025-01-01", 80, "300"]),
        json!(["2025-01-01", 100, "300"]),
    ];
    assert_eq!(told(&world).await, january);
    // The next month has credits of its own, before the last one is closed, too.
    world.clock.set(at("2025-02-10"));
    world
        .deliver("2025-01-31", &[("images", "2025-02-05", "185")])
        .await;
    look(&world).await.unwrap();
    let february = json!(["2025-02-01", 80, "255"]);
    assert_eq!(
        told(&world).await,
        [january[0].clone(), january[1].clone(), february]
    );
}

#[tokio::test]
async fn marks_are_told_once_although_the_store_dies_at_any_write() {
    let expected = [
        json!(["2025-01-01", 80, "1000"]),
        json!(["2025-01-01", 100, "1000"]),
        json!(["2025-02-01", 80, "1600"]),
        json!(["2025-02-01", 100, "1600"]),
    ];
    for death in [Death::Before, Death::After] {
        for writes in 0.. {
            let mut world = world().await;
            watch(&world, spend(1000)).await;
            let used = [
                ("calls", "2025-01-10", "600"),
                ("calls", "2025-02-10", "900"),
            ];
            world.deliver("2025-02-11", &used).await;
            world.clock.set(at("2025-02-11"));
            world.store().die(death(writes));
            let died = match billing::close_due(&world.shared_store(), &world.clock, WAIT, "first")
                .await
            {
                Ok(_) => look(&world).await.is_err(),
                Err(_) => true,
            };
            if !world.store().is_dead() {
                assert!(writes >= 3, "there are but {writes} writes");
                break;
            }
            assert!(died, "at write {writes}");
            world.restart();
            world.run().await;
            look(&world).await.unwrap();
            assert_eq!(told(&world).await, expected, "at write {writes}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_that_look_at_once_tell_each_mark_once() {
    let mut world = world().await;
    watch(&world, spend(1000)).await;
    for round in 1..=10 {
        world
            .deliver("2025-01-11", &[("calls", "2025-01-10", "60")])
            .await;
        let touch = world.store().touch_of(&customer()).await.unwrap().unwrap();
        let looks: Vec<_> = (0..4)
            .map(|_| {
                let (store, touch) = (world.shared_store(), touch.clone());
                let now = world.clock.now();
                tokio::spawn(async move { alert::look(&*store, &touch, now).await.unwrap() })
            })
            .collect();
        for look in looks {
            look.await.unwrap();
        }
        // 100 calls are free, so that 500 calls are 800 and 600 calls 1000.
        let expected = usize::from(round >= 9) + usize::from(round >= 10);
        assert_eq!(told(&world).await.len(), expected, "round {round}");
    }
}

/// Which balances were told to be low, in order.
async fn low(world: &World) -> Vec<String> {
    let messages = world.store().messages(0, 1000).await.unwrap();
    let low = messages
        .iter()
        .map(|message| &message.message)
        .filter(|message| message.topic == Topic::CreditBalanceLow);
    low.map(|message| {
        message.data["available_balance"]
            .as_str()
            .unwrap()
            .to_owned()
    })
    .collect()
}

#[tokio::test]
async fn a_low_balance_is_told_when_it_falls_by_usage_or_by_a_debit() {
    let mut world = World::new("2025-01-01").await;
    world.meter("images", Sum).await;
    let mut tokens = world.tokens("100", 0).await;
    tokens.low_balance_threshold_percent = Some(20);
    let product = world
        .product(0, vec![in_tokens("images", 0, "1")], vec![tokens])
        .await;
    world.subscribe(&product, "2025-01-01", 1).await;
    let mut told = Vec::new();
    for (units, expected) in [("79", None), ("1", Some("20")), ("5", None)] {
        world
            .deliver("2025-01-05", &[("images", "2025-01-04", units)])
            .await;
        look(&world).await.unwrap();
        told.extend(expected.map(str::to_owned));
        assert_eq!(low(&world).await, told);
    }
    let gift = Gift {
        source: GrantSource::Api,
        amount: 50,
        priority: 1,
        effective_at: at("2025-01-01"),
        expires_at: None,
        repays_overage: false,
    };
    world.give("gift", gift).await;
    look(&world).await.unwrap();
    world.debit("debit", 60).await.unwrap();
    look(&world).await.unwrap();
    assert_eq!(low(&world).await, ["20", "5"]);
    // The next period begins with credits of its own, and is told by itself.
    world.run_at("2025-02-01").await;
    look(&world).await.unwrap();
    assert_eq!(low(&world).await.len(), 2);
    world
        .deliver("2025-02-03", &[("images", "2025-02-02", "100")])
        .await;
    look(&world).await.unwrap();
    assert_eq!(low(&world).await, ["20", "5", "0"]);
    let messages = world.store().messages(0, 1000).await.unwrap();
    let mut all = messages.iter().map(|message| &message.message);
    let last = all.rfind(|message| message.topic == Topic::CreditBalanceLow);
    let data = &last.unwrap().data;
    assert_eq!(
        json!([
            data["threshold_percent"],
            data["threshold_amount"],
            data["subscription_credits_amount"]
        ]),
        json!([20, "20", "100"])
    );
}
