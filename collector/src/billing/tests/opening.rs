//! What a subscription's beginning settles, and what it refuses.

use super::world::{World, at, customer, decimal, in_tokens, per_unit};
use crate::{
    billing::{self, CycleTerms, NewSubscription, OpeningError},
    catalog::{Frequency, Interval, Product},
    storage::{CreateOutcome, SubscriptionStore},
    subscription::BillingAddress,
};
use submeter_common::{AggregationKind::Sum, Timestamp};

fn new(product: &Product, quantity: u32, start: Option<Timestamp>) -> NewSubscription<'_> {
    NewSubscription {
        customer_id: customer(),
        test_clock: None,
        product,
        quantity,
        start,
        terms: CycleTerms::default(),
        billing: BillingAddress::default(),
        metadata: Default::default(),
    }
}

/// Returns the field that is refused.
fn refused(new: NewSubscription<'_>, now: &str) -> &'static str {
    match billing::open(new, at(now)) {
        Err(OpeningError::Invalid { field, .. }) => field,
        Err(OpeningError::ArchivedProduct) => "product_id",
        Ok(settlement) => panic!("{settlement:?}"),
    }
}

#[tokio::test]
async fn a_beginning_settles_the_first_fee_and_the_first_credits() {
    let world = World::new("2025-01-15T10:20:30Z").await;
    world.meter("calls", Sum).await;
    let tokens = world.tokens("100", 0).await;
    let product = world
        .product(250, vec![in_tokens("calls", 0, "1")], vec![tokens])
        .await;
    let subscription = world.subscribe(&product, "2025-01-15T10:20:30Z", 4).await;
    assert_eq!(
        subscription.current_period.start,
        at("2025-01-15T10:20:00Z")
    );
    assert_eq!(subscription.current_period.end, at("2025-02-15T10:20:00Z"));
    assert_eq!(subscription.ends_at(), at("2045-01-15T10:20:00Z"));
    let invoices = world.invoices().await;
    assert_eq!((invoices.len(), invoices[0].total), (1, 1000));
    assert_eq!(
        invoices[0].lines[0].service_period,
        subscription.current_period
    );
    // The quantity multiplies the fee, and nothing else.
    let grants = world.grants().await;
    assert_eq!((grants.len(), &grants[0].remaining), (1, &decimal("100")));
    assert_eq!(grants[0].expires_at, Some(subscription.current_period.end));
}

#[tokio::test]
async fn a_product_without_a_fee_begins_without_an_invoice() {
    let world = World::new("2025-01-15").await;
    world.meter("calls", Sum).await;
    let product = world
        .product(0, vec![per_unit("calls", 0, "1")], Vec::new())
        .await;
    world.subscribe(&product, "2025-01-15", 1).await;
    assert!(world.invoices().await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_billed_is_refused_with_its_field() {
    let world = World::new("2025-01-15").await;
    let mut product = world.product(i64::MAX, Vec::new(), Vec::new()).await;
    let now = "2025-01-15";
    assert_eq!(refused(new(&product, 0, None), now), "quantity");
    assert_eq!(refused(new(&product, 2_000_000, None), now), "quantity");
    assert_eq!(refused(new(&product, 2, None), now), "quantity");
    assert_eq!(
        refused(new(&product, 1, Some(at("2025-01-15T00:01:00Z"))), now),
        "start_date"
    );
    let crate::catalog::Price::UsageBased(price) = &mut product.price;
    price.payment_frequency = Frequency {
        count: 1,
        interval: Interval::Day,
    };
    assert_eq!(
        refused(new(&product, 1, Some(at("2022-04-20"))), now),
        "start_date"
    );
    assert!(billing::open(new(&product, 1, Some(at("2022-04-22"))), at(now)).is_ok());
    product.archived = true;
    assert_eq!(refused(new(&product, 1, None), now), "product_id");
}

#[tokio::test]
async fn usage_that_an_ended_subscription_billed_is_not_billed_again_by_a_backdated_one() {
    let mut world = World::new("2025-01-01").await;
    world.meter("calls", Sum).await;
    let mut product = world
        .product(0, vec![per_unit("calls", 0, "1")], Vec::new())
        .await;
    let crate::catalog::Price::UsageBased(price) = &mut product.price;
    price.subscription_period = Frequency {
        count: 1,
        interval: Interval::Month,
    };
    let first = world.subscribe(&product, "2025-01-01", 1).await;
    world.run_at("2025-02-10").await;
    let again = |start: &str| {
        let opening = billing::open(new(&product, 1, Some(at(start))), at("2025-02-10")).unwrap();
        world.store().create_subscription(opening)
    };
    let overlapping = again("2025-01-31T23:59:00Z").await.unwrap();
    let CreateOutcome::MeterInUse {
        subscription_id, ..
    } = overlapping
    else {
        panic!("{overlapping:?}")
    };
    assert_eq!(subscription_id, first.subscription_id);
    assert!(matches!(
        again("2025-02-01").await.unwrap(),
        CreateOutcome::Created(_)
    ));
}
