//! Customers, keys and the audit log.

use submeter_collector::auth::{ApiKey, Scopes, Secret};
use submeter_collector::customer::Customer;
use submeter_collector::storage::{
    AuditEntry, AuditStore, CustomerFilter, CustomerStore, InsertOutcome, KeyStore, Page,
    PutOutcome, RevokeOutcome,
};

use crate::Engine;
use crate::builders::{HOUR, NEW_YEAR, after, customer};

fn person(name: &str, email: &str, hours: i64) -> Customer {
    Customer {
        customer_id: customer(name),
        name: name.to_owned(),
        email: email.to_owned(),
        phone_number: None,
        metadata: Default::default(),
        test_clock: None,
        created_at: after(hours * HOUR),
        updated_at: after(hours * HOUR),
    }
}

pub(crate) async fn customers_are_found_by_id_age_and_address<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    for (hours, (name, email)) in [
        ("a", "x@example.com"),
        ("c", "y@example.com"),
        ("b", "x@example.com"),
    ]
    .into_iter()
    .enumerate()
    {
        let new = person(name, email, i64::try_from(hours).unwrap());
        assert_eq!(
            store.insert_customer(&new).await.unwrap(),
            InsertOutcome::Inserted
        );
        assert_eq!(
            store.insert_customer(&new).await.unwrap(),
            InsertOutcome::Exists
        );
    }
    let list = |email: Option<&str>, page: Page| {
        let (store, filter) = (
            std::sync::Arc::clone(&store),
            CustomerFilter {
                email: email.map(str::to_owned),
            },
        );
        async move {
            let found = store.customers(&filter, page).await.unwrap();
            found
                .into_iter()
                .map(|customer| customer.name)
                .collect::<Vec<_>>()
        }
    };
    assert_eq!(list(None, Page::new(0, 10)).await, ["b", "c", "a"]);
    assert_eq!(list(None, Page::new(1, 2)).await, ["a"]);
    assert_eq!(
        list(Some("x@example.com"), Page::new(0, 10)).await,
        ["b", "a"]
    );
    assert_eq!(
        list(Some("x@example"), Page::new(0, 10)).await,
        Vec::<String>::new()
    );

    let before = store.customer(&customer("a")).await.unwrap().unwrap();
    let moved = Customer {
        email: "z@example.com".to_owned(),
        ..before.clone()
    };
    assert_eq!(
        store.put_customer(&before, &moved).await.unwrap(),
        PutOutcome::Written
    );
    assert_eq!(
        store.put_customer(&before, &moved).await.unwrap(),
        PutOutcome::Conflict
    );
    assert_eq!(list(Some("x@example.com"), Page::new(0, 10)).await, ["b"]);
    assert_eq!(list(Some("z@example.com"), Page::new(0, 10)).await, ["a"]);
    assert_eq!(store.customer(&customer("nobody")).await.unwrap(), None);
}

pub(crate) async fn keys_are_found_by_hash_and_stay_revoked<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    let secret = Secret::generate().unwrap();
    let key = ApiKey::new("first".to_owned(), Scopes::all(), &secret, NEW_YEAR);
    assert_eq!(
        store.insert_key(&key).await.unwrap(),
        InsertOutcome::Inserted
    );
    assert_eq!(store.insert_key(&key).await.unwrap(), InsertOutcome::Exists);
    assert_eq!(
        store.key_by_hash(&secret.hash()).await.unwrap(),
        Some(key.clone())
    );
    assert_eq!(
        store
            .key_by_hash(&Secret::generate().unwrap().hash())
            .await
            .unwrap(),
        None
    );
    assert_eq!(
        store.revoke_key("key_none", NEW_YEAR).await.unwrap(),
        RevokeOutcome::NotFound
    );
    assert_eq!(
        store.revoke_key(&key.key_id, NEW_YEAR).await.unwrap(),
        RevokeOutcome::Revoked
    );
    assert_eq!(
        store.revoke_key(&key.key_id, NEW_YEAR).await.unwrap(),
        RevokeOutcome::AlreadyRevoked
    );
    let later = ApiKey::new(
        "later".to_owned(),
        Scopes::all(),
        &Secret::generate().unwrap(),
        after(HOUR),
    );
    assert_eq!(
        store.insert_key(&later).await.unwrap(),
        InsertOutcome::Inserted
    );
    drop(store);
    let store = engine.open();
    let names: Vec<_> = store
        .keys()
        .await
        .unwrap()
        .into_iter()
        .map(|key| key.name)
        .collect();
    assert_eq!(names, ["later", "first"]);
    let found = store.key_by_hash(&secret.hash()).await.unwrap().unwrap();
    assert_eq!(found.revoked_at, Some(NEW_YEAR));
}

pub(crate) async fn the_audit_log_has_no_gaps<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    let entry = |number: u64| AuditEntry {
        at: NEW_YEAR,
        actor: "key_1".to_owned(),
        action: "meter.created".to_owned(),
        subject: number.to_string(),
        detail: serde_json::json!({ "number": number }),
    };
    for number in 1..=5 {
        assert_eq!(
            store.append_audit(entry(number)).await.unwrap().audit_id,
            number
        );
    }
    drop(store);
    let store = engine.open();
    assert_eq!(store.append_audit(entry(6)).await.unwrap().audit_id, 6);
    let page = store.audit(Page::new(1, 2)).await.unwrap();
    assert_eq!(
        page.iter()
            .map(|record| record.audit_id)
            .collect::<Vec<_>>(),
        [4, 3]
    );
    assert_eq!(page[0].entry, entry(4));
}
