//! Grants that end by themselves, and what is told with every entry of credits.

use submeter_collector::bookkeeping::{GrantChange, Posting};
use submeter_collector::credits::Grant;
use submeter_collector::ledger::{Account, Cause, Transfer};
use submeter_collector::money::Decimal;
use submeter_collector::outbox::Topic;
use submeter_collector::storage::{
    LedgerStore, OutboxStore, PostOutcome, Storage, SubscriptionStore,
};

use crate::Engine;
use crate::builders::{DAY, HOUR, after, customer, grant, transfer};

/// Ten credits that end so many hours after the new year.
fn ending(id: &str, hours: i64) -> Grant {
    Grant {
        expires_at: Some(after(hours * HOUR)),
        ..grant(id, "ada", 10)
    }
}

async fn give(store: &impl Storage, grant: &Grant) {
    let posting = Posting {
        grants_new: vec![grant.clone()],
        transfers: vec![transfer(&format!("grant:{}", grant.grant_id), "ada", 10)],
        ..Posting::empty(customer("ada"))
    };
    assert_eq!(store.post(posting).await.unwrap(), PostOutcome::Posted);
}

/// Books the end of a grant.
fn end(grant: &Grant) -> Posting {
    let forfeited = Transfer {
        debit: Account::CreditsExpired,
        credit: Account::CreditsAvailable,
        cause: Cause::Expired {
            grant_id: grant.grant_id.clone(),
        },
        ..transfer(&format!("expire:{}", grant.grant_id), "ada", 10)
    };
    let after = Grant {
        remaining: Decimal::zero(),
        expired: grant.remaining.clone(),
        ..grant.clone()
    };
    Posting {
        grants_changed: vec![GrantChange {
            before: grant.clone(),
            after,
        }],
        transfers: vec![forfeited],
        ..Posting::empty(customer("ada"))
    }
}

async fn overdue(store: &impl Storage, hours: i64, limit: usize) -> Vec<String> {
    let now = after(hours * HOUR);
    let grants = store.overdue_grants(None, now, limit).await.unwrap();
    grants
        .iter()
        .map(|grant| grant.grant_id.to_string())
        .collect()
}

pub(crate) async fn what_expires_by_itself_is_listed_by_its_time_until_it_is_booked<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    let first = ending("cgr_first", 5);
    let at_close = Grant {
        ends_at_close: true,
        ..ending("cgr_close", 6)
    };
    for grant in [
        &ending("cgr_last", 9),
        &first,
        &at_close,
        &grant("cgr_never", "ada", 10),
    ] {
        give(&*store, grant).await;
    }
    assert!(overdue(&*store, 4, 10).await.is_empty());
    assert_eq!(overdue(&*store, 5, 10).await, ["cgr_first"]);
    assert_eq!(overdue(&*store, 10, 10).await, ["cgr_first", "cgr_last"]);
    assert_eq!(overdue(&*store, 10, 1).await, ["cgr_first"]);
    assert_eq!(
        store.next_due(None, after(5 * HOUR)).await.unwrap(),
        Some(after(9 * HOUR))
    );
    assert_eq!(store.next_due(None, after(DAY)).await.unwrap(), None);
    for expected in [PostOutcome::Posted, PostOutcome::Stale] {
        assert_eq!(store.post(end(&first)).await.unwrap(), expected);
    }
    drop(store);
    for engine in [engine.killed(), engine] {
        assert_eq!(overdue(&*engine.open(), 10, 10).await, ["cgr_last"]);
    }
}

pub(crate) async fn every_entry_of_credits_is_told_with_it<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    let grant = ending("cgr_first", 5);
    give(&*store, &grant).await;
    assert_eq!(store.post(end(&grant)).await.unwrap(), PostOutcome::Posted);
    // What is not booked is not told.
    assert_eq!(store.post(end(&grant)).await.unwrap(), PostOutcome::Stale);
    drop(store);
    let store = engine.killed().open();
    let messages = store.messages(0, 10).await.unwrap();
    let told: Vec<(Topic, &str)> = messages
        .iter()
        .map(|message| {
            let after = &message.message.data["balance_after"];
            (message.message.topic, after.as_str().unwrap())
        })
        .collect();
    assert_eq!(
        told,
        [(Topic::CreditAdded, "10"), (Topic::CreditExpired, "0")]
    );
}
