//! Every issued invoice can be derived again, and explained down to the frames; a damaged row is found.

use super::world::{World, at, customer, in_tokens, per_unit};
use crate::{
    billing::{Invoice, change, explain, verify},
    money::Decimal,
    storage::InvoiceStore,
    subscription::Subscription,
    usage::Level,
};
use submeter_common::{AggregationKind::Sum, MeterId};

/// Three months: money with a threshold, credits with overage, a base fee, late usage, a payment and a credit note.
async fn billed() -> (World, Subscription) {
    let mut world = World::new("2025-01-01").await;
    for meter in ["calls", "images"] {
        world.meter(meter, Sum).await;
    }
    let tokens = world.tokens("10", 0).await;
    let prices = vec![per_unit("calls", 5, "0.7"), in_tokens("images", 0, "2")];
    let product = world.product(500, prices, vec![tokens]).await;
    let subscription = world.subscribe(&product, "2025-01-01", 1).await;
    let used = [
        ("calls", "2025-01-05T10:00:00Z", "30"),
        ("calls", "2025-01-05T11:30:00Z", "12.5"),
        ("images", "2025-01-07", "50"),
        ("calls", "2025-02-05", "40"),
    ];
    world.deliver("2025-02-01", &used).await;
    world.run_at("2025-02-01").await;
    world
        .deliver("2025-02-02", &[("calls", "2025-01-20", "1.5")])
        .await;
    world.run_at("2025-04-01").await;
    let invoice = world.invoices().await.remove(1);
    let paid = change::receive(&invoice, Some(100), None, "a", at("2025-04-01")).unwrap();
    let _ = world.store().change_invoice(paid).await.unwrap();
    (world, subscription)
}

impl World {
    async fn verify(&self, subscription: &Subscription) -> verify::Verification {
        let subscription = self.subscription(&subscription.subscription_id).await;
        verify::verify(self.store(), &subscription).await.unwrap()
    }

    /// What is found after one invoice was changed beside every rule.
    async fn damaged(
        &self,
        subscription: &Subscription,
        damage: impl FnOnce(&mut Invoice),
    ) -> Vec<String> {
        let sound = self.invoices().await.remove(1);
        let mut damaged = sound.clone();
        damage(&mut damaged);
        self.store().damage_invoice(&damaged);
        let found = self.verify(subscription).await.findings;
        self.store().damage_invoice(&sound);
        found.into_iter().map(|finding| finding.problem).collect()
    }
}

#[tokio::test]
async fn every_line_of_sound_invoices_is_derived_again() {
    let (world, subscription) = billed().await;
    let verified = world.verify(&subscription).await;
    assert_eq!(verified.findings, []);
    // The opening, three months, with late usage in one of them.
    assert_eq!(verified.invoices, 4);
    assert!(verified.lines >= 8, "{}", verified.lines);
}

#[tokio::test]
async fn usage_that_came_after_the_last_invoice_is_no_fault() {
    let (mut world, subscription) = billed().await;
    world
        .deliver("2025-04-01", &[("calls", "2025-02-20", "3")])
        .await;
    assert_eq!(world.verify(&subscription).await.findings, []);
}

#[tokio::test]
async fn a_damaged_cell_of_any_level_is_found() {
    for level in Level::ALL {
        let (world, subscription) = billed().await;
        let meter = MeterId::new("calls").unwrap();
        world
            .store()
            .damage_cell(&customer(), &meter, level, at("2025-01-05T10:00:00Z"));
        let found = world.verify(&subscription).await.findings;
        assert!(!found.is_empty(), "{level:?}");
    }
}

#[tokio::test]
async fn a_damaged_invoice_is_found_whatever_number_was_changed() {
    let (world, subscription) = billed().await;
    let check = async |damage: fn(&mut Invoice), expected: &str| {
        let found = world.damaged(&subscription, damage).await;
        assert!(
            found.iter().any(|problem| problem.contains(expected)),
            "{expected}: {found:?}"
        );
    };
    check(|invoice| invoice.total += 1, "the total is").await;
    check(|invoice| invoice.lines[0].amount -= 1, "rounds to another").await;
    check(
        |invoice| invoice.lines[0].quantity = Decimal::from(7_i64),
        "the parts make up",
    )
    .await;
    check(|invoice| invoice.lines[0].events += 1, "the frames brought").await;
    check(|invoice| invoice.collection.paid += 1, "payments come to").await;
    check(
        |invoice| {
            invoice.collection.credited.insert(1, 5);
        },
        "credit notes come to",
    )
    .await;
    // A line that is consistent in itself, and the total with it.
    check(
        |invoice| {
            invoice.lines[0].amount_exact = Decimal::from(900_i64);
            invoice.total += 900 - invoice.lines[0].amount;
            invoice.lines[0].amount = 900;
        },
        "rated again it comes to",
    )
    .await;
    check(
        |invoice| {
            let credits = invoice.lines[1].credits.as_mut().unwrap();
            credits.credits_used = Decimal::from(9_i64);
        },
        "the grants paid",
    )
    .await;
}

#[tokio::test]
async fn a_line_is_explained_by_day_and_hour_grants_and_frames() {
    let (world, _) = billed().await;
    let invoice = world.invoices().await.remove(1);
    let explained = explain::explain(world.store(), &invoice, None)
        .await
        .unwrap();
    assert_eq!(explained.len(), invoice.lines.len());
    let calls = &explained[0];
    let days: Vec<String> = calls
        .days
        .iter()
        .map(|day| format!("{} {} {}", day.period.start, day.quantity, day.hours.len()))
        .collect();
    // With what came late for the same month.
    assert_eq!(
        days,
        ["2025-01-05T00:00:00Z 42.5 2", "2025-01-20T00:00:00Z 1.5 1"]
    );
    assert_eq!((calls.line.events, calls.events_known), (2, 3));
    assert_eq!(calls.frames.len(), 1);
    assert_eq!(calls.frames[0].source.agent_id, world.agent_id(0));
    assert!(calls.frames[0].first_digest.is_some());
    let images = explained
        .iter()
        .find(|explained| explained.line.credits.is_some())
        .unwrap();
    assert_eq!(images.grants.len(), 1);
    let one = explain::explain(world.store(), &invoice, Some(2))
        .await
        .unwrap();
    assert_eq!(one.len(), 1);
    assert_eq!(one[0].line, invoice.lines[1]);
}
