//! What is to be collected, in whose time; and how long the outbox keeps messages.

use std::time::Duration;

use submeter_collector::billing::change;
use submeter_collector::storage::{
    ChangeOutcome, CollectionCursor, CreateOutcome, InvoiceStore, OutboxStore, PaymentStore,
    SettleOutcome, Storage, SubscriptionStore,
};
use submeter_collector::test_clock::{ClockScope, TestClock};

use crate::Engine;
use crate::builders::{DAY, HOUR, NEW_YEAR, after, opening, settlement};

/// Issues an invoice over 100, to be paid `days` after the new year.
async fn owe(store: &impl Storage, id: &str, clock: Option<&TestClock>, days: i64) {
    let mut begin = opening(id, id, &["calls"]);
    let timeline = clock.map(|clock| clock.test_clock_id.clone());
    begin.subscription.test_clock.clone_from(&timeline);
    let created = store.create_subscription(begin).await.unwrap();
    assert!(matches!(created, CreateOutcome::Created(_)));
    let mut closing = settlement(id, id, &["calls"], 0, 100);
    closing.subscription.test_clock.clone_from(&timeline);
    let invoice = closing.invoice.as_mut().unwrap();
    invoice.test_clock = timeline;
    invoice.due_at = after(days * DAY);
    let settled = store.settle(closing).await.unwrap();
    assert!(matches!(settled, SettleOutcome::Settled(Some(_))));
}

pub(crate) async fn what_is_to_be_collected_comes_in_order_by_its_own_clock<E: Engine>() {
    let store = &*E::new().open();
    let clock = TestClock::new(None, ClockScope::Customers, NEW_YEAR, NEW_YEAR);
    let own = &clock.test_clock_id;
    for (id, clock, days) in [
        ("late", None, 9),
        ("soon", None, 5),
        ("told", Some(&clock), 6),
        ("tied", None, 5),
    ] {
        owe(store, id, clock, days).await;
    }
    let due = async |told: bool, days, after: Option<&CollectionCursor>, limit| {
        let until = crate::builders::after(days * DAY);
        let due = store.collectable(told.then_some(own), until, after, limit);
        due.await.unwrap()
    };
    let names = |due: &[submeter_collector::billing::Invoice]| {
        let names = due.iter().map(|invoice| invoice.customer_id.to_string());
        names.collect::<Vec<_>>()
    };
    assert!(due(false, 4, None, 10).await.is_empty());
    let mut tied = names(&due(false, 5, None, 10).await);
    tied.sort();
    assert_eq!(tied, ["soon", "tied"], "at that very instant");
    assert_eq!(names(&due(true, 30, None, 10).await), ["told"]);
    // In slices of one, none twice and none left out.
    let whole = due(false, 30, None, 10).await;
    assert_eq!(names(&whole)[2], "late");
    let mut cursor = None;
    for expected in &whole {
        let slice = due(false, 30, cursor.as_ref(), 1).await;
        assert_eq!(names(&slice), names(std::slice::from_ref(expected)));
        cursor = Some(CollectionCursor {
            at: slice[0].collection.next_attempt_at.unwrap(),
            invoice_id: slice[0].invoice_id.clone(),
        });
    }
    assert!(due(false, 30, cursor.as_ref(), 1).await.is_empty());

    // The next instant of a clock is that of its own invoices. Open periods end on the second day.
    let next = async |told: bool, days| {
        let after = after(days * DAY);
        store.next_due(told.then_some(own), after).await.unwrap()
    };
    assert_eq!(next(true, 2).await, Some(after(6 * DAY)));
    assert_eq!(next(true, 6).await, None);
    assert_eq!(next(false, 2).await, Some(after(5 * DAY)));
    assert_eq!(next(false, 5).await, Some(after(9 * DAY)));

    // What is collected is off the list, and past due.
    let told = due(true, 30, None, 10).await.remove(0);
    let change = change::overdue(&told, after(6 * DAY));
    for expected in [true, false] {
        let outcome = store.change_invoice(change.clone()).await.unwrap();
        let is_changed = matches!(outcome, ChangeOutcome::Changed(_));
        assert_eq!(is_changed, expected, "over what was read only");
    }
    assert!(due(true, 30, None, 10).await.is_empty());
    let since = store.past_due_since(&told.subscription_id).await.unwrap();
    assert_eq!(since, Some(after(6 * DAY)));
}

pub(crate) async fn messages_are_kept_for_their_retention_whatever_their_own_time_is<E: Engine>() {
    let engine = E::new();
    let retention = Duration::from_secs(10 * 86_400);
    let left = async |store: &E::Store| {
        let messages = store.messages(0, 100).await.unwrap();
        let left = messages.iter().map(|message| message.sequence);
        left.collect::<Vec<_>>()
    };
    {
        let store = &*engine.open();
        let prune = async |at: i64| store.prune_messages(after(at), retention).await.unwrap();
        assert_eq!(prune(0).await, 0, "nothing is there");
        owe(store, "one", None, 300).await;
        assert_eq!(prune(HOUR).await, 0);
        owe(store, "two", None, -300).await;
        assert_eq!(prune(2 * DAY).await, 0);
        assert_eq!(left(store).await, [1, 2]);
        assert_eq!(prune(10 * DAY).await, 0, "an hour too early");
        assert_eq!(prune(10 * DAY + HOUR).await, 1);
        assert_eq!(left(store).await, [2]);
    }
    let store = &*engine.open();
    let prune = async |at: i64| store.prune_messages(after(at), retention).await.unwrap();
    owe(store, "three", None, 0).await;
    assert_eq!(prune(12 * DAY).await, 1, "a restart forgets no age");
    assert_eq!(left(store).await, [3]);
    assert_eq!(prune(21 * DAY).await, 0);
    assert_eq!(prune(22 * DAY).await, 1);
    assert_eq!(prune(50 * DAY).await, 0);
    owe(store, "four", None, 0).await;
    assert_eq!(left(store).await, [4], "numbers go on");
}
