//! The catalog: versioned, in memory, never overwritten unseen.

use submeter_collector::storage::{CatalogStore, PutOutcome};
use submeter_common::meter::{Aggregation, AggregationKind, Meter};

use crate::Engine;
use crate::builders::{NEW_YEAR, meter};

pub(crate) fn definition(id: &str) -> Meter {
    Meter {
        id: meter(id),
        name: "Calls".to_owned(),
        description: None,
        event_name: "call".to_owned(),
        measurement_unit: "calls".to_owned(),
        aggregation: Aggregation {
            kind: AggregationKind::Count,
            key: None,
        },
        filter: None,
        group_by: Vec::new(),
        archived: false,
        created_at: NEW_YEAR,
        updated_at: NEW_YEAR,
    }
}

pub(crate) async fn the_catalog_is_versioned_and_survives<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    assert_eq!(store.catalog().await.unwrap().version, 0);
    let first = definition("mtr_1");
    let archived = Meter {
        archived: true,
        ..first.clone()
    };
    assert_eq!(
        store.put_meter(None, &first).await.unwrap(),
        PutOutcome::Written
    );
    assert_eq!(
        store.put_meter(None, &definition("mtr_2")).await.unwrap(),
        PutOutcome::Written
    );
    let before = store.catalog().await.unwrap();
    assert_eq!(
        store.put_meter(Some(&first), &archived).await.unwrap(),
        PutOutcome::Written
    );
    assert_eq!(
        (before.version, before.meters.len()),
        (2, 2),
        "a snapshot does not change"
    );
    drop(store);
    let catalog = engine.open().catalog().await.unwrap();
    assert_eq!(catalog.version, 3);
    assert_eq!(catalog.meters.get(&first.id), Some(&archived));
    assert_eq!(catalog.for_agents().meters.len(), 2);
}

pub(crate) async fn a_change_over_something_else_is_a_conflict<E: Engine>() {
    let engine = E::new();
    let store = engine.open();
    let first = definition("mtr_1");
    let renamed = Meter {
        name: "Renamed".to_owned(),
        ..first.clone()
    };
    let archived = Meter {
        archived: true,
        ..first.clone()
    };
    assert_eq!(
        store.put_meter(Some(&first), &renamed).await.unwrap(),
        PutOutcome::Conflict,
        "not there"
    );
    assert_eq!(
        store.put_meter(None, &first).await.unwrap(),
        PutOutcome::Written
    );
    assert_eq!(
        store.put_meter(None, &first).await.unwrap(),
        PutOutcome::Conflict,
        "there already"
    );
    assert_eq!(
        store.put_meter(Some(&first), &renamed).await.unwrap(),
        PutOutcome::Written
    );
    assert_eq!(
        store.put_meter(Some(&first), &archived).await.unwrap(),
        PutOutcome::Conflict,
        "read too early"
    );
    let catalog = store.catalog().await.unwrap();
    assert_eq!(
        (catalog.version, catalog.meters.get(&first.id)),
        (2, Some(&renamed))
    );
}
