//! Changes of plan and cancellations, through to the invoices: what was used is billed, whatever is agreed on about fees.

use super::world::{World, at, customer, decimal, in_tokens, per_unit};
use crate::{
    billing::{self, LineKind, Settlement},
    bookkeeping::Posting,
    catalog::{Frequency, Interval, Product, UsageBasedPrice},
    money::Currency,
    outbox::{NewMessage, Topic},
    storage::{InvoiceStore, OutboxStore, SettleOutcome, SubscriptionOutcome, SubscriptionStore},
    subscription::{
        Subscription, SubscriptionStatus,
        change::{
            BillingMode, CancelRequest, ChangeError, ChangeRequest, Effective, cancel, change_plan,
            drop_scheduled, keep,
        },
        messages,
        plan::UnusedTime,
        proration::Proration,
    },
};
use submeter_common::{AggregationKind::Count, AggregationKind::Sum, Clock};

fn to<'a>(product: &'a Product, mode: BillingMode, effective: Effective) -> ChangeRequest<'a> {
    ChangeRequest {
        product,
        quantity: 1,
        proration: None,
        effective,
        mode,
        replace_scheduled: false,
    }
}

fn end(effective: Effective, unused_time: UnusedTime) -> CancelRequest {
    CancelRequest {
        effective,
        unused_time,
        reason: None,
        feedback: None,
        comment: None,
    }
}

impl World {
    async fn write(&self, before: &Subscription, after: &Subscription) -> SubscriptionOutcome {
        let message = self.message(after);
        let written = self.store().change_subscription(before, after, message);
        written.await.unwrap()
    }

    fn message(&self, after: &Subscription) -> NewMessage {
        messages::updated(after, self.clock.now())
    }

    /// Changes the plan as it is stored, at the clock's now.
    async fn change_to(
        &self,
        subscription: &Subscription,
        request: &ChangeRequest<'_>,
    ) -> Subscription {
        let before = self.subscription(&subscription.subscription_id).await;
        let after = change_plan(&before, request, self.clock.now()).unwrap();
        assert_eq!(
            self.write(&before, &after).await,
            SubscriptionOutcome::Changed
        );
        after
    }

    async fn cancel(&self, subscription: &Subscription, request: CancelRequest) -> Subscription {
        let before = self.subscription(&subscription.subscription_id).await;
        let after = cancel(&before, request, self.clock.now()).unwrap();
        assert_eq!(
            self.write(&before, &after).await,
            SubscriptionOutcome::Changed
        );
        after
    }

    async fn totals(&self) -> Vec<i64> {
        let invoices = self.invoices().await;
        invoices.iter().map(|invoice| invoice.total).collect()
    }

    /// A monthly product of 30.00 with calls at 1.00, one of 60.00 with calls at 0.50 and images, and a subscription to the first
    /// from 1 June, of which 3 000 minor units are paid.
    async fn two_plans(&self) -> (Product, Product, Subscription) {
        self.meter("calls", Count).await;
        self.meter("images", Sum).await;
        let small = self
            .product(3000, vec![per_unit("calls", 0, "100")], Vec::new())
            .await;
        let meters = vec![per_unit("calls", 0, "50"), per_unit("images", 0, "7")];
        let large = self.product(6000, meters, Vec::new()).await;
        let subscription = self.subscribe(&small, "2025-06-01", 1).await;
        (small, large, subscription)
    }
}

/// Ten calls before and ten after the middle of June, and two images before, when nobody billed them.
const USED: [(&str, &str, &str); 4] = [
    ("calls", "2025-06-15T23:59:00Z", "10"),
    ("calls", "2025-06-16T00:00:00Z", "10"),
    ("images", "2025-06-15T23:59:00Z", "2"),
    ("images", "2025-06-20", "3"),
];

async fn june_by(mode: BillingMode) -> (Vec<i64>, Subscription, World) {
    let mut world = World::new("2025-06-01").await;
    let (_, large, subscription) = world.two_plans().await;
    world.clock.set(at("2025-06-15T23:59:30Z"));
    world
        .change_to(&subscription, &to(&large, mode, Effective::Now))
        .await;
    world.deliver("2025-07-01", &USED).await;
    world.run_at("2025-07-01").await;
    let after = world.subscription(&subscription.subscription_id).await;
    let totals = world.totals().await;
    assert_eq!(totals[0], 3000);
    (totals[1..].to_vec(), after, world)
}

#[tokio::test]
async fn each_mode_bills_fees_its_way_and_usage_always_at_the_price_of_its_time() {
    let usage = (10 * 100, 10 * 50 + 3 * 7);
    // Half of June is credited, a month of the new plan is charged from the 16th on.
    let (totals, after, _) = june_by(BillingMode::ProratedImmediately).await;
    assert_eq!(totals, [usage.0 - 1500 + 6000]);
    assert_eq!(after.current_period.end, at("2025-07-16"));
    // The cycle goes on: half of both fees.
    let (totals, after, _) = june_by(BillingMode::ProratedImmediatelyKeepCycle).await;
    assert_eq!(totals, [usage.0 - 1500 + 3000, usage.1 + 6000]);
    assert_eq!(after.current_period.end, at("2025-08-01"));
    let (totals, after, _) = june_by(BillingMode::FullImmediately).await;
    assert_eq!(totals, [usage.0 + 6000]);
    assert_eq!(after.current_period.end, at("2025-07-16"));
    let (totals, _, _) = june_by(BillingMode::DifferenceImmediately).await;
    assert_eq!(totals, [usage.0 + 3000, usage.1 + 6000]);
    let (totals, _, _) = june_by(BillingMode::DoNotBill).await;
    assert_eq!(totals, [usage.0, usage.1 + 6000]);
}

#[tokio::test]
async fn a_change_at_once_credits_the_unused_time_on_a_line_of_its_own() {
    let (_, _, world) = june_by(BillingMode::ProratedImmediatelyKeepCycle).await;
    let closing = &world.invoices().await[1];
    let lines: Vec<_> = closing
        .lines
        .iter()
        .map(|line| {
            (
                line.kind,
                line.amount,
                line.already_billed,
                line.service_period.start,
            )
        })
        .collect();
    let (june, half) = (at("2025-06-01"), at("2025-06-16"));
    let expected = [
        (LineKind::Usage, 1000, None, june),
        (LineKind::BaseFee, -1500, Some(3000), june),
        (LineKind::BaseFee, 3000, None, half),
    ];
    assert_eq!(lines, expected);
    assert_eq!(closing.period.unwrap().end, half);
}

#[tokio::test]
async fn a_difference_may_be_credited_and_is_given_back_by_the_time_that_is_left() {
    let mut world = World::new("2025-06-01").await;
    let (_, large, up) = world.two_plans().await;
    let mut other = World::new("2025-06-01").await;
    other.meter("calls", Count).await;
    let dear = other
        .product(6000, vec![per_unit("calls", 0, "50")], Vec::new())
        .await;
    let cheap = other
        .product(3000, vec![per_unit("calls", 0, "100")], Vec::new())
        .await;
    let down = other.subscribe(&dear, "2025-06-01", 1).await;
    other.clock.set(at("2025-06-15T23:59:30Z"));
    other
        .change_to(
            &down,
            &to(&cheap, BillingMode::DifferenceImmediately, Effective::Now),
        )
        .await;
    other.run_at("2025-06-20").await;
    assert_eq!(other.totals().await, [6000, -3000]);
    // Up by the difference on the 16th and out on the 21st with the rest credited: 10 of the 15 days that it was paid for.
    world.clock.set(at("2025-06-15T23:59:30Z"));
    world
        .change_to(
            &up,
            &to(&large, BillingMode::DifferenceImmediately, Effective::Now),
        )
        .await;
    world.run_at("2025-06-16T00:00:00Z").await;
    world.clock.set(at("2025-06-20T23:59:30Z"));
    world
        .cancel(&up, end(Effective::Now, UnusedTime::Credited))
        .await;
    world.run_at("2025-06-21").await;
    assert_eq!(world.totals().await, [3000, 3000, -2000]);
}

#[tokio::test]
async fn a_change_with_the_next_period_changes_nothing_before() {
    let mut world = World::new("2025-01-31").await;
    world.meter("calls", Count).await;
    let small = world
        .product(3000, vec![per_unit("calls", 0, "100")], Vec::new())
        .await;
    let large = world
        .product(6000, vec![per_unit("calls", 0, "50")], Vec::new())
        .await;
    let subscription = world.subscribe(&small, "2025-01-31", 1).await;
    world.clock.set(at("2025-02-10"));
    let later = to(
        &large,
        BillingMode::ProratedImmediately,
        Effective::PeriodEnd,
    );
    let after = world.change_to(&subscription, &later).await;
    assert_eq!(
        after.pending_change(world.clock.now()).unwrap().starts_at,
        at("2025-02-28")
    );
    let used = [("calls", "2025-02-27", "1"), ("calls", "2025-02-28", "1")];
    world.deliver("2025-03-31", &used).await;
    world.run_at("2025-03-31").await;
    assert_eq!(world.totals().await, [3000, 100 + 6000, 50 + 6000]);
    let after = world.subscription(&subscription.subscription_id).await;
    // The anchor on the 31st is not lost by the change in February.
    assert_eq!(after.current_period.end, at("2025-04-30"));
    assert_eq!(
        (after.plan.product_id.clone(), after.former_plans.len()),
        (large.product_id, 1)
    );
}

#[tokio::test]
async fn late_usage_is_billed_by_the_plan_of_its_time() {
    let (_, subscription, mut world) = june_by(BillingMode::ProratedImmediatelyKeepCycle).await;
    let late = [
        ("calls", "2025-06-10", "5"),
        ("calls", "2025-06-18", "5"),
        ("images", "2025-06-10", "5"),
    ];
    world.deliver("2025-07-02", &late).await;
    world.run_at("2025-08-01").await;
    let last = world.invoices().await.pop().unwrap();
    let adjusted: Vec<_> = last
        .lines
        .iter()
        .filter(|line| line.kind == LineKind::Adjustment)
        .map(|line| (line.service_period.start, line.amount))
        .collect();
    assert_eq!(adjusted, [(at("2025-06-01"), 500), (at("2025-06-16"), 250)]);
    let history = billing::history(world.store(), &subscription, at("2025-08-01"), 0, 10).await;
    let history = history.unwrap();
    let meters: Vec<usize> = history.iter().map(|period| period.meters.len()).collect();
    assert_eq!(meters, [2, 2, 1], "newest first, each by its plan");
}

#[tokio::test]
async fn credits_of_a_cut_period_end_with_it_and_the_new_plans_begin() {
    let mut world = World::new("2025-06-01").await;
    world.meter("calls", Sum).await;
    let few = world.tokens("100", 0).await;
    let many = world.tokens("500", 0).await;
    let small = world
        .product(0, vec![in_tokens("calls", 0, "1")], vec![few])
        .await;
    let large = world
        .product(0, vec![in_tokens("calls", 0, "1")], vec![many])
        .await;
    let subscription = world.subscribe(&small, "2025-06-01", 1).await;
    world.clock.set(at("2025-06-15T23:59:30Z"));
    world
        .change_to(
            &subscription,
            &to(
                &large,
                BillingMode::ProratedImmediatelyKeepCycle,
                Effective::Now,
            ),
        )
        .await;
    world
        .deliver("2025-06-16T00:00:00Z", &[("calls", "2025-06-10", "30")])
        .await;
    world.run_at("2025-06-16T00:00:00Z").await;
    let mut grants = world.grants().await;
    grants.sort_by_key(|grant| grant.effective_at);
    let shown: Vec<_> = grants
        .iter()
        .map(|grant| {
            (
                grant.remaining.clone(),
                grant.expired.clone(),
                grant.expires_at.unwrap(),
            )
        })
        .collect();
    let expected = [
        (decimal("0"), decimal("70"), at("2025-06-16")),
        (decimal("500"), decimal("0"), at("2025-07-01")),
    ];
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn a_cancellation_at_once_bills_what_was_used_up_to_the_minute_and_nothing_after() {
    let mut world = World::new("2025-06-01").await;
    let (_, _, subscription) = world.two_plans().await;
    world.clock.set(at("2025-06-15T23:59:30Z"));
    world
        .cancel(&subscription, end(Effective::Now, UnusedTime::Kept))
        .await;
    let used = [
        ("calls", "2025-06-15T23:59:00Z", "1"),
        ("calls", "2025-06-16T00:00:00Z", "2"),
    ];
    world.deliver("2025-07-05", &used).await;
    world.run_at("2025-07-05").await;
    assert_eq!(world.totals().await, [3000, 100]);
    let ended = world.subscription(&subscription.subscription_id).await;
    assert_eq!(ended.status, SubscriptionStatus::Cancelled);
    assert_eq!(
        change_plan(
            &ended,
            &to(
                &world.any_product().await,
                BillingMode::DoNotBill,
                Effective::Now
            ),
            at("2025-07-05")
        ),
        Err(ChangeError::Ended)
    );
}

#[tokio::test]
async fn an_end_with_the_period_can_be_taken_back_until_it_comes() {
    let mut world = World::new("2025-06-01").await;
    let (_, large, subscription) = world.two_plans().await;
    world.clock.set(at("2025-06-10"));
    let cancelled = world
        .cancel(&subscription, end(Effective::PeriodEnd, UnusedTime::Kept))
        .await;
    assert_eq!(cancelled.ends_at(), at("2025-07-01"));
    let refused = change_plan(
        &cancelled,
        &to(&large, BillingMode::DoNotBill, Effective::Now),
        at("2025-06-11"),
    );
    assert_eq!(refused, Err(ChangeError::Cancelled(at("2025-07-01"))));
    let kept = keep(&cancelled, at("2025-06-12")).unwrap();
    assert_eq!(
        world.write(&cancelled, &kept).await,
        SubscriptionOutcome::Changed
    );
    world.run_at("2025-07-01").await;
    assert_eq!(world.totals().await, [3000, 3000]);
    world.clock.set(at("2025-07-10"));
    let again = world
        .cancel(&subscription, end(Effective::PeriodEnd, UnusedTime::Kept))
        .await;
    assert_eq!(keep(&again, at("2025-08-01")), Err(ChangeError::Ended));
    world.run_at("2025-08-05").await;
    assert_eq!(world.totals().await, [3000, 3000]);
    let ended = world.subscription(&subscription.subscription_id).await;
    assert_eq!(ended.status, SubscriptionStatus::Cancelled);
}

#[tokio::test]
async fn a_change_waits_for_none_but_overlapping_ones_are_refused_or_replaced() {
    let mut world = World::new("2025-06-01").await;
    let (small, large, subscription) = world.two_plans().await;
    world.clock.set(at("2025-06-10"));
    let later = to(
        &large,
        BillingMode::ProratedImmediately,
        Effective::PeriodEnd,
    );
    let scheduled = world.change_to(&subscription, &later).await;
    let now = at("2025-06-11");
    for effective in [Effective::Now, Effective::PeriodEnd] {
        let refused = change_plan(
            &scheduled,
            &to(&small, BillingMode::FullImmediately, effective),
            now,
        );
        assert!(
            matches!(refused, Err(ChangeError::Pending { effective_at, .. }) if effective_at == at("2025-07-01"))
        );
    }
    let replacing = ChangeRequest {
        replace_scheduled: true,
        quantity: 2,
        ..later.clone()
    };
    let replaced = change_plan(&scheduled, &replacing, now).unwrap();
    assert_eq!(replaced.upcoming_plans.len(), 1);
    assert_eq!(replaced.upcoming_plans[0].quantity, 2);
    let taken_back = drop_scheduled(&replaced, now).unwrap();
    assert!(taken_back.upcoming_plans.is_empty());
    assert_eq!(
        drop_scheduled(&taken_back, now),
        Err(ChangeError::NothingToTakeBack("scheduled change of plan"))
    );
    // Two changes one after the other before the first period could be closed: an agent is behind.
    let behind = world.agent().await;
    world.clock.set(at("2025-06-12"));
    let first = ChangeRequest {
        replace_scheduled: true,
        ..to(
            &large,
            BillingMode::ProratedImmediatelyKeepCycle,
            Effective::Now,
        )
    };
    world.change_to(&subscription, &first).await;
    world.clock.set(at("2025-06-22"));
    world
        .change_to(
            &subscription,
            &to(
                &small,
                BillingMode::ProratedImmediatelyKeepCycle,
                Effective::Now,
            ),
        )
        .await;
    world
        .deliver_from(behind, "2025-07-01", &[("images", "2025-06-20", "1")])
        .await;
    world.run_at("2025-07-01").await;
    let invoices = world.invoices().await;
    let periods: Vec<_> = invoices
        .iter()
        .skip(1)
        .map(|invoice| invoice.period.unwrap().end)
        .collect();
    assert_eq!(
        periods,
        [
            at("2025-06-12T00:01:00Z"),
            at("2025-06-22T00:01:00Z"),
            at("2025-07-01")
        ]
    );
    // Whatever the cuts, all June costs the share of each plan, each rounded once.
    let fees: i64 = invoices
        .iter()
        .flat_map(|invoice| &invoice.lines)
        .filter(|line| {
            line.kind == LineKind::BaseFee && line.service_period.start < at("2025-07-01")
        })
        .map(|line| line.amount)
        .sum();
    let minutes = |from: &str, to: &str| (at(to).as_micros() - at(from).as_micros()) / 60_000_000;
    let share = |fee: i64, minutes: i64| (2 * fee * minutes + 43_200) / (2 * 43_200);
    let expected = share(3000, minutes("2025-06-01", "2025-06-12T00:01:00Z"))
        + share(
            6000,
            minutes("2025-06-12T00:01:00Z", "2025-06-22T00:01:00Z"),
        )
        + share(3000, minutes("2025-06-22T00:01:00Z", "2025-07-01"));
    assert_eq!(fees, expected);
}

#[tokio::test]
async fn a_change_to_a_meter_that_another_subscription_bills_is_refused() {
    let world = World::new("2025-06-01").await;
    let (_, large, subscription) = world.two_plans().await;
    let images = world
        .product(0, vec![per_unit("images", 0, "1")], Vec::new())
        .await;
    let other = world.subscribe(&images, "2025-06-01", 1).await;
    let change = to(&large, BillingMode::DoNotBill, Effective::PeriodEnd);
    let after = change_plan(&subscription, &change, world.clock.now()).unwrap();
    let outcome = world.write(&subscription, &after).await;
    assert!(
        matches!(&outcome, SubscriptionOutcome::MeterInUse { meter_id, subscription_id }
        if meter_id.as_str() == "images" && *subscription_id == other.subscription_id),
        "{outcome:?}"
    );
    assert_eq!(
        world.subscription(&subscription.subscription_id).await,
        subscription
    );
    // The other one ends with June; then the change may come.
    world
        .cancel(&other, end(Effective::PeriodEnd, UnusedTime::Kept))
        .await;
    assert_eq!(
        world.write(&subscription, &after).await,
        SubscriptionOutcome::Changed
    );
    // And now the other one cannot be kept: both would bill images from July on.
    let ending = world.subscription(&other.subscription_id).await;
    let kept = keep(&ending, world.clock.now()).unwrap();
    assert!(matches!(
        world.write(&ending, &kept).await,
        SubscriptionOutcome::MeterInUse { .. }
    ));
}

#[tokio::test]
async fn a_change_over_what_its_author_had_not_seen_is_refused_and_a_close_over_a_change_too() {
    let world = World::new("2025-06-01").await;
    let (_, large, subscription) = world.two_plans().await;
    world.clock.set(at("2025-06-10"));
    let change = to(&large, BillingMode::DoNotBill, Effective::Now);
    let after = change_plan(&subscription, &change, world.clock.now()).unwrap();
    assert_eq!(
        world.write(&subscription, &after).await,
        SubscriptionOutcome::Changed
    );
    assert_eq!(
        world.write(&subscription, &after).await,
        SubscriptionOutcome::Conflict
    );
    // A change is told once, with its write.
    let told = world.store().messages(0, 100).await.unwrap();
    let updates = told
        .iter()
        .filter(|message| message.message.topic == Topic::SubscriptionUpdated);
    assert_eq!(updates.count(), 1);
    // The closing of a period that was computed before the change is stale.
    let posting = Posting::empty(customer());
    let settlement = Settlement {
        subscription: Subscription {
            next_period: 1,
            version: 1,
            ..subscription
        },
        expected_next_period: 0,
        invoice: None,
        posting,
    };
    let outcome = world.store().settle(settlement).await.unwrap();
    assert!(matches!(outcome, SettleOutcome::Stale), "{outcome:?}");
}

#[tokio::test]
async fn a_change_in_a_trial_keeps_the_trial_and_can_be_taken_back() {
    let mut world = World::new("2025-06-01").await;
    world.meter("calls", Count).await;
    let small = world
        .product(3000, vec![per_unit("calls", 0, "100")], Vec::new())
        .await;
    let large = world
        .product(6000, vec![per_unit("calls", 0, "50")], Vec::new())
        .await;
    let terms = billing::CycleTerms {
        trial_days: 14,
        ..Default::default()
    };
    let subscription = world.subscribe_by(&small, "2025-06-01", terms).await;
    world.clock.set(at("2025-06-05"));
    let now = world.clock.now();
    let later = change_plan(
        &subscription,
        &to(&large, BillingMode::FullImmediately, Effective::PeriodEnd),
        now,
    )
    .unwrap();
    assert_eq!(later.upcoming_plans.len(), 1);
    let back = drop_scheduled(&later, now).unwrap();
    assert_eq!(back.upcoming_plans, subscription.upcoming_plans);
    world
        .change_to(
            &subscription,
            &to(&large, BillingMode::FullImmediately, Effective::Now),
        )
        .await;
    let used = [
        ("calls", "2025-06-04", "9"),
        ("calls", "2025-06-06", "9"),
        ("calls", "2025-06-16", "9"),
    ];
    world.deliver("2025-07-15", &used).await;
    world.run_at("2025-07-15").await;
    assert_eq!(world.totals().await, [0, 6000, 450 + 6000]);
}

#[tokio::test]
async fn a_change_is_checked_field_by_field() {
    let world = World::new("2025-06-01").await;
    let (_, large, subscription) = world.two_plans().await;
    let now = world.clock.now();
    let change = to(&large, BillingMode::DoNotBill, Effective::Now);
    let refused = |request: &ChangeRequest<'_>| match change_plan(&subscription, request, now) {
        Err(ChangeError::Invalid { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        refused(&ChangeRequest {
            quantity: 0,
            ..change.clone()
        }),
        "quantity"
    );
    assert_eq!(
        refused(&ChangeRequest {
            quantity: 1_000_001,
            ..change.clone()
        }),
        "quantity"
    );
    let yearly = world.yearly(Currency::USD).await;
    assert_eq!(
        refused(&to(&yearly, BillingMode::DoNotBill, Effective::Now)),
        "proration_billing_mode"
    );
    assert_eq!(
        refused(&to(
            &yearly,
            BillingMode::ProratedImmediatelyKeepCycle,
            Effective::Now
        )),
        "proration_billing_mode"
    );
    assert!(
        change_plan(
            &subscription,
            &to(&yearly, BillingMode::DoNotBill, Effective::PeriodEnd),
            now
        )
        .is_ok()
    );
    let euros = world.yearly(Currency::parse("EUR").unwrap()).await;
    assert_eq!(
        refused(&to(&euros, BillingMode::FullImmediately, Effective::Now)),
        "product_id"
    );
    let mut archived = large.clone();
    archived.archived = true;
    let request = ChangeRequest {
        product: &archived,
        proration: Some(Proration::Day),
        ..change
    };
    assert_eq!(
        change_plan(&subscription, &request, now),
        Err(ChangeError::ArchivedProduct)
    );
}

impl World {
    async fn yearly(&self, currency: Currency) -> Product {
        let year = Frequency {
            count: 1,
            interval: Interval::Year,
        };
        let price = UsageBasedPrice {
            currency,
            fixed_price: 100,
            payment_frequency: year,
            subscription_period: year,
            meters: Vec::new(),
            discount: 0,
            purchasing_power_parity: false,
            tax_inclusive: false,
        };
        self.product_of(price, Vec::new()).await
    }

    async fn any_product(&self) -> Product {
        self.yearly(Currency::USD).await
    }
}
