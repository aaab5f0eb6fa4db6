//! Thresholds, whose usage is to be looked at, and what has been told of it.

use submeter_collector::alerts::{
    Measure, NewThreshold, Place, Scope, Standing, Threshold, ThresholdUpdate, Told,
};
use submeter_collector::id::{ProductId, SubscriptionId, ThresholdId};
use submeter_collector::money::{Currency, Decimal};
use submeter_collector::outbox::{NewMessage, Topic};
use submeter_collector::storage::{
    AddOutcome, AlertStore, CreateOutcome, InvoiceStore, OutboxStore, Page, PutOutcome, Storage,
    SubscriptionStore, TellOutcome, Telling, ThresholdFilter, Touch, UsageStore,
};

use crate::Engine;
use crate::builders::{
    HOUR, NEW_YEAR, Sender, after, count, customer, is_applied, meter, minute, opening, period,
    row, settlement,
};

fn threshold(of: Option<&str>, meter_name: Option<&str>) -> Threshold {
    let new = NewThreshold {
        name: None,
        scope: Scope {
            customer_id: of.map(customer),
            product_id: of.is_none().then(|| ProductId::from_text("pdt_1")),
            meter_id: meter_name.map(meter),
        },
        measure: Measure::Spend {
            currency: Currency::USD,
        },
        limit: Decimal::from(100_i64),
        marks: None,
        cap: false,
        metadata: Default::default(),
    };
    Threshold::new(new, NEW_YEAR).unwrap()
}

async fn touched(store: &impl Storage) -> Vec<String> {
    let touched = store.touched(None, 100).await.unwrap();
    let names = touched.iter().map(|touch| touch.customer_id.to_string());
    names.collect()
}

/// Looks at everybody and tells nothing.
async fn look_at_all(store: &impl Storage) {
    for touch in store.touched(None, 100).await.unwrap() {
        let before = store.told(&touch.customer_id).await.unwrap();
        let telling = Telling {
            touch,
            after: before.clone(),
            before,
            messages: Vec::new(),
        };
        assert_eq!(store.tell(telling).await.unwrap(), TellOutcome::Told);
    }
}

pub(crate) async fn thresholds_are_kept_over_what_was_read_and_survive<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    let of_ada = threshold(Some("ada"), None);
    let of_all = Threshold {
        threshold_id: ThresholdId::fresh(after(HOUR)),
        ..threshold(None, None)
    };
    for new in [&of_ada, &of_all] {
        assert_eq!(store.add_threshold(new).await.unwrap(), AddOutcome::Added);
    }
    // What she used before is looked at, too.
    assert_eq!(touched(&*store).await, ["ada"]);
    let update = ThresholdUpdate {
        limit: Some(Decimal::from(50_i64)),
        ..ThresholdUpdate::default()
    };
    let raised = of_ada.updated(update, NEW_YEAR).unwrap();
    for expected in [PutOutcome::Written, PutOutcome::Conflict] {
        assert_eq!(
            store.put_threshold(&of_ada, &raised).await.unwrap(),
            expected
        );
    }
    drop(store);

    for engine in [engine.killed(), engine] {
        let store = engine.open();
        let listed = store
            .thresholds(&ThresholdFilter::default(), Page::new(0, 10))
            .await
            .unwrap();
        assert_eq!(listed, [of_all.clone(), raised.clone()]);
        let hers = ThresholdFilter {
            customer_id: Some(customer("ada")),
        };
        let listed = store.thresholds(&hers, Page::new(0, 10)).await.unwrap();
        assert_eq!(listed, std::slice::from_ref(&raised));
        let concern_bob = store.thresholds_for(&customer("bob")).await.unwrap();
        assert_eq!(concern_bob, std::slice::from_ref(&of_all));
        assert_eq!(touched(&*store).await, ["ada"]);
        for expected in [PutOutcome::Written, PutOutcome::Conflict] {
            assert_eq!(store.remove_threshold(&raised).await.unwrap(), expected);
        }
        assert_eq!(store.threshold(&raised.threshold_id).await.unwrap(), None);
    }
    let many: Vec<Threshold> = (0..101).map(|_| threshold(Some("ada"), None)).collect();
    let engine = E::new();
    let store = engine.open();
    for new in &many[..100] {
        assert_eq!(store.add_threshold(new).await.unwrap(), AddOutcome::Added);
    }
    assert_eq!(
        store.add_threshold(&many[100]).await.unwrap(),
        AddOutcome::TooMany(100)
    );
}

pub(crate) async fn who_is_watched_is_touched_in_the_write_that_changes_something<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    let mut sender = Sender::registered(1, &*store).await;
    let mut used = async |rows| {
        let outcome = store.apply_frame(sender.seal(rows)).await.unwrap();
        assert!(is_applied(&outcome), "{outcome:?}");
    };
    let everywhere = || {
        let names = ["ada", "bob", "eve"];
        let meters = ["calls", "images"];
        let rows = names.map(|name| meters.map(|meter| row(name, meter, minute(0), count(1))));
        rows.into_iter().flatten().collect()
    };
    used(everywhere()).await;
    assert!(touched(&*store).await.is_empty());

    let hers = threshold(Some("ada"), Some("calls"));
    assert_eq!(store.add_threshold(&hers).await.unwrap(), AddOutcome::Added);
    look_at_all(&*store).await;
    used(vec![row("ada", "images", minute(1), count(1))]).await;
    assert!(
        touched(&*store).await.is_empty(),
        "of a meter nobody watches"
    );
    used(everywhere()).await;
    assert_eq!(touched(&*store).await, ["ada"]);

    look_at_all(&*store).await;
    let images = threshold(None, Some("images"));
    assert_eq!(
        store.add_threshold(&images).await.unwrap(),
        AddOutcome::Added
    );
    used(everywhere()).await;
    assert_eq!(touched(&*store).await, ["ada", "bob", "eve"]);
    drop(store);
    // Nobody is forgotten when the process dies before it looks.
    assert_eq!(
        touched(&*engine.killed().open()).await,
        ["ada", "bob", "eve"]
    );
}

pub(crate) async fn a_product_is_watched_in_every_meter_it_ever_priced<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    let of_product = threshold(None, None);
    assert_eq!(
        store.add_threshold(&of_product).await.unwrap(),
        AddOutcome::Added
    );
    let created = store
        .create_subscription(opening("sub_1", "ada", &["calls"]))
        .await
        .unwrap();
    assert!(matches!(created, CreateOutcome::Created(_)));
    // A subscription may begin in the past, and its usage be there already.
    assert_eq!(touched(&*store).await, ["ada"]);
    look_at_all(&*store).await;
    drop(store);

    let store = engine.open();
    let mut sender = Sender::registered(1, &*store).await;
    let rows = vec![
        row("bob", "calls", minute(0), count(1)),
        row("eve", "images", minute(0), count(1)),
    ];
    let _ = store.apply_frame(sender.seal(rows)).await.unwrap();
    assert_eq!(touched(&*store).await, ["bob"]);
    look_at_all(&*store).await;
    // Another period begins.
    let settled = store
        .settle(settlement("sub_1", "ada", &["calls"], 0, 100))
        .await;
    assert!(settled.is_ok());
    assert_eq!(touched(&*store).await, ["ada"]);
}

pub(crate) async fn what_is_told_is_told_once_over_what_was_read<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    let threshold = threshold(Some("ada"), None);
    assert_eq!(
        store.add_threshold(&threshold).await.unwrap(),
        AddOutcome::Added
    );
    let touch = store.touch_of(&customer("ada")).await.unwrap().unwrap();
    let telling = |touch: &Touch, used: i64, before: &Told| {
        let standing = Standing {
            threshold: threshold.clone(),
            customer_id: customer("ada"),
            place: Place {
                subscription_id: SubscriptionId::from_text("sub_1"),
                period: 0,
            },
            product_id: ProductId::from_text("pdt_1"),
            period: period(0, 1),
            used: Decimal::from(used),
        };
        let mut told = Told::default();
        let marks = before.reach(&mut told, &standing);
        let message = |mark: u32| {
            let cause = [mark.to_string()];
            let cause: Vec<&str> = cause.iter().map(String::as_str).collect();
            NewMessage::new(
                Topic::ThresholdReached,
                &cause,
                NEW_YEAR,
                None,
                serde_json::Value::Null,
            )
        };
        Telling {
            touch: touch.clone(),
            before: before.clone(),
            after: told,
            messages: marks.into_iter().map(message).collect(),
        }
    };
    let nothing = Told::default();
    // Two look at once: one of them tells.
    let (one, other) = tokio::join!(
        store.tell(telling(&touch, 85, &nothing)),
        store.tell(telling(&touch, 85, &nothing))
    );
    let mut outcomes = [one.unwrap(), other.unwrap()];
    outcomes.sort_by_key(|outcome| *outcome == TellOutcome::Stale);
    assert_eq!(outcomes, [TellOutcome::Told, TellOutcome::Stale]);
    assert_eq!(store.messages(0, 10).await.unwrap().len(), 1);
    assert!(touched(&*store).await.is_empty());

    // Touched between the reading and the telling: it is told, and there is more to look at.
    let mut sender = Sender::registered(1, &*store).await;
    let mut use_more = async || {
        let rows = vec![row("ada", "calls", minute(0), count(1))];
        let _ = store.apply_frame(sender.seal(rows)).await.unwrap();
        store.touch_of(&customer("ada")).await.unwrap().unwrap()
    };
    let first = use_more().await;
    let second = use_more().await;
    assert_ne!(first, second);
    let told = store.told(&customer("ada")).await.unwrap();
    let outcome = store.tell(telling(&first, 100, &told)).await.unwrap();
    assert_eq!(outcome, TellOutcome::Told);
    assert_eq!(store.messages(0, 10).await.unwrap().len(), 2);
    assert_eq!(touched(&*store).await, ["ada"]);
    drop(store);

    let engine = engine.killed();
    let store = engine.open();
    assert_eq!(touched(&*store).await, ["ada"]);
    let told = store.told(&customer("ada")).await.unwrap();
    let again = telling(&second, 100, &told);
    assert!(again.messages.is_empty());
    assert_eq!(store.tell(again).await.unwrap(), TellOutcome::Told);
    assert!(touched(&*store).await.is_empty());
}
