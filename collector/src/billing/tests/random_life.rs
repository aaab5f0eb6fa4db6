//! Random lives of a customer over the real store, each step held to the model: grants of every kind, debits, voids, holds,
//! usage, expiries, a wallet, and periods that close in time or late, with rollover and every way of overage. Now and then
//! the collector starts anew in between.

use super::{
    model::{DAY, Model, Terms},
    till::{Gift, kind},
    world::{World, at, customer, in_tokens},
};
use crate::{
    catalog::{Frequency, Interval, UsageBasedPrice},
    credits::{CreditAttachment, GrantSource, OverageBehavior},
    id::{GrantId, ReservationId},
    ledger::{Account, LedgerUnit},
    money::{Currency, Decimal},
    storage::{LedgerStore, RebuildOutcome},
};
use proptest::prelude::*;
use std::time::Duration;
use submeter_common::{AggregationKind::Sum, Clock, Timestamp};

const START: &str = "2025-01-01";

/// What happens next.
#[derive(Clone, Debug)]
enum Act {
    Give {
        amount: i64,
        priority: u32,
        begins_in: i64,
        lives: Option<i64>,
        is_bought: bool,
    },
    Debit(i64),
    VoidAny(i64),
    VoidOne {
        which: usize,
        amount: i64,
    },
    Hold {
        amount: i64,
        minutes: i64,
    },
    Commit {
        which: usize,
        amount: i64,
    },
    Release {
        which: usize,
    },
    Use(i64),
    Fund(i64),
    Expire,
    Wait(i64),
    /// Billing runs; until then periods that are over wait.
    Bill,
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let give = (
        1..100_i64,
        prop::sample::select(vec![5_u32, 10, 20]),
        prop_oneof![Just(0), 0..2_000_i64],
        prop::option::of(1..3_000_i64),
        any::<bool>(),
    );
    let act = prop_oneof![
        4 => give.prop_map(|(amount, priority, begins_in, lives, is_bought)| Act::Give {
            amount, priority, begins_in, lives, is_bought
        }),
        3 => (1..90_i64).prop_map(Act::Debit),
        1 => (1..60_i64).prop_map(Act::VoidAny),
        1 => (0..12_usize, 1..60_i64).prop_map(|(which, amount)| Act::VoidOne { which, amount }),
        3 => (1..60_i64, 10..2_000_i64).prop_map(|(amount, minutes)| Act::Hold { amount, minutes }),
        2 => (0..5_usize, 1..90_i64).prop_map(|(which, amount)| Act::Commit { which, amount }),
        1 => (0..5_usize).prop_map(|which| Act::Release { which }),
        5 => (1..80_i64).prop_map(Act::Use),
        2 => (-80..200_i64).prop_filter("nothing moves", |amount| *amount != 0).prop_map(Act::Fund),
        2 => Just(Act::Expire),
        6 => (1..1_000_i64).prop_map(Act::Wait),
        5 => Just(Act::Bill),
        1 => Just(Act::Restart),
    ];
    prop::collection::vec(act, 1..50)
}

fn terms() -> impl Strategy<Value = Terms> {
    let rollover = (
        prop::bool::weighted(0.8),
        prop::option::of(0..=100_i64),
        prop::option::of(0..3_u32),
        any::<bool>(),
    );
    let bounds = (prop::option::of(1..30_i64), prop::option::of(30..80_i64));
    let overage = (
        prop::sample::select(vec![
            OverageBehavior::ForgiveAtReset,
            OverageBehavior::InvoiceAtBilling,
            OverageBehavior::CarryDeficit,
            OverageBehavior::CarryDeficitAutoRepay,
        ]),
        prop::option::of(0..60_i64),
    );
    (1..100_i64, rollover, bounds, overage).prop_map(|(amount, rollover, bounds, overage)| Terms {
        amount,
        rolls_over: rollover.0,
        percentage: rollover.1,
        times_max: rollover.2,
        lives_longer: rollover.3,
        least: bounds.0,
        most: bounds.1,
        behavior: overage.0,
        limit: overage.1,
    })
}

const fn days(count: u32) -> Frequency {
    Frequency {
        count,
        interval: Interval::Day,
    }
}

fn agree(attachment: &mut CreditAttachment, terms: &Terms) {
    let rollover = &mut attachment.rollover;
    rollover.enabled = terms.rolls_over;
    rollover.percentage = terms.percentage.map(|percent| percent.try_into().unwrap());
    rollover.count_max = terms.times_max;
    rollover.timeframe = terms.lives_longer.then(|| days(2));
    rollover.amount_min = terms.least.map(Decimal::from);
    rollover.amount_max = terms.most.map(Decimal::from);
    attachment.overage_behavior = terms.behavior;
    attachment.overage_limit = terms.limit.map(Decimal::from);
}

/// A customer, in the product and in the model.
struct Life {
    world: World,
    model: Model,
    holds: Vec<ReservationId>,
    now: i64,
}

impl Life {
    async fn begin(terms: &Terms) -> Self {
        let world = World::new(START).await;
        world.meter("calls", Sum).await;
        let mut attachment = world.tokens(&terms.amount.to_string(), 0).await;
        agree(&mut attachment, terms);
        let price = UsageBasedPrice {
            currency: Currency::USD,
            fixed_price: 0,
            payment_frequency: days(1),
            subscription_period: Frequency {
                count: 1,
                interval: Interval::Year,
            },
            meters: vec![in_tokens("calls", 0, "1")],
            discount: 0,
            purchasing_power_parity: false,
            tax_inclusive: false,
        };
        let product = world.product_of(price, vec![attachment]).await;
        let subscription = world.subscribe(&product, START, 1).await;
        let id = subscription.subscription_id;
        let model = Model::new(terms.clone(), id, customer().as_str(), kind().as_str());
        Self {
            world,
            model,
            holds: Vec::new(),
            now: 0,
        }
    }

    fn time(minute: i64) -> Timestamp {
        let minutes = Duration::from_secs(60 * u64::try_from(minute).unwrap());
        at(START).checked_add(minutes).unwrap()
    }

    fn wait(&mut self, minutes: i64) {
        self.now += minutes;
        self.world.clock.set(Self::time(self.now));
    }

    async fn act(&mut self, step: usize, act: &Act) {
        let key = format!("act-{step}");
        let (world, model, now) = (&mut self.world, &mut self.model, self.now);
        match act.clone() {
            Act::Give {
                amount,
                priority,
                begins_in,
                lives,
                is_bought,
            } => {
                let begins = now + begins_in;
                let ends = lives.map(|lives| begins + lives);
                let source = if is_bought {
                    GrantSource::OneTime
                } else {
                    GrantSource::Api
                };
                let gift = Gift {
                    source,
                    amount,
                    priority,
                    effective_at: Self::time(begins),
                    expires_at: ends.map(Self::time),
                    repays_overage: model.terms.behavior == OverageBehavior::CarryDeficitAutoRepay,
                };
                world.give(&key, gift).await;
                model.give(&key, amount, priority, (begins, ends), now);
            }
            Act::Debit(amount) => {
                let done = world.debit(&key, amount).await.is_ok();
                let expected = model.take(amount, now).is_some();
                model.used += if expected { amount } else { 0 };
                assert_eq!(done, expected, "{act:?}");
            }
            Act::VoidAny(amount) => {
                let done = world.void(&key, None, amount).await.is_ok();
                let expected = model.take(amount, now).is_some();
                model.voided += if expected { amount } else { 0 };
                assert_eq!(done, expected, "{act:?}");
            }
            Act::VoidOne { which, amount } => {
                let which = which % model.lots.len();
                let id = GrantId::from_text(model.lots[which].id.clone());
                let done = world.void(&key, Some(&id), amount).await.is_ok();
                assert_eq!(done, model.void(which, amount, now), "{act:?}");
            }
            Act::Hold { amount, minutes } => {
                let ends = now + minutes;
                let done = world.hold(&key, amount, Self::time(ends)).await;
                assert_eq!(done.is_ok(), model.hold(amount, ends, now), "{act:?}");
                self.holds.extend(done.map(|held| held.reservation_id));
            }
            Act::Commit { which, amount } => {
                let Some(id) = self.holds.get(which) else {
                    return;
                };
                let done = world.commit(&key, id, amount).await.is_ok();
                assert_eq!(done, model.commit(which, amount, now), "{act:?}");
            }
            Act::Release { which } => {
                let Some(id) = self.holds.get(which) else {
                    return;
                };
                let done = world.release(&key, id).await.is_ok();
                assert_eq!(done, model.release(which, now), "{act:?}");
            }
            Act::Use(amount) => {
                let instant = Self::time(now).to_string();
                let used = [("calls", &instant[..], &amount.to_string()[..])];
                world.deliver(&instant, &used).await;
                model.usage.push((now, amount));
            }
            Act::Fund(amount) => {
                let done = world.fund(&key, amount).await;
                assert_eq!(done, model.fund(amount), "{act:?}");
            }
            Act::Expire => {
                world.expire(&key).await;
                model.expire(now);
            }
            Act::Wait(minutes) => self.wait(minutes),
            Act::Bill => {
                let report = world.run_at(&Self::time(now).to_string()).await;
                assert_eq!((report.failed_count, report.waiting_count), (0, 0));
                model.bill(now);
            }
            Act::Restart => world.restart(),
        }
    }

    async fn compare(&self) {
        self.compare_grants().await;
        self.compare_credits().await;
        self.compare_money().await;
        let store = self.world.store();
        let faults = store.audit_ledger(&customer()).await.unwrap();
        assert_eq!(faults, [], "the chain and all that is derived from it");
    }

    async fn compare_grants(&self) {
        let mut stored: Vec<_> = self
            .world
            .grants()
            .await
            .into_iter()
            .map(|grant| {
                let balances = [grant.remaining, grant.held, grant.expired]
                    .map(|amount| amount.to_i64().unwrap());
                let ends = grant.expires_at.map(|end| end.to_string());
                (
                    grant.grant_id.to_string(),
                    balances,
                    ends,
                    grant.rollover_count,
                )
            })
            .collect();
        stored.sort();
        let expected = self.model.lots.iter().map(|lot| {
            let ends = lot.ends.map(|end| Self::time(end).to_string());
            let balances = [lot.left, lot.held, lot.gone];
            (lot.id.clone(), balances, ends, lot.times_carried)
        });
        let mut expected: Vec<_> = expected.collect();
        expected.sort();
        assert_eq!(stored, expected);
    }

    async fn compare_credits(&self) {
        let books = self.world.store().books(&customer()).await.unwrap();
        books.check().unwrap();
        let model = &self.model;
        let sum = |part: fn(&super::model::Lot) -> i64| model.lots.iter().map(part).sum::<i64>();
        let unit = LedgerUnit::Credits(kind());
        let expected = [
            (Account::CreditsIssued, model.issued),
            (Account::CreditsAvailable, sum(|lot| lot.left)),
            (Account::CreditsHeld, sum(|lot| lot.held)),
            (Account::CreditsExpired, sum(|lot| lot.gone)),
            (Account::CreditsConsumed, model.used),
            (Account::CreditsVoided, model.voided),
            (Account::CreditsOwed, model.owed),
            (Account::CreditsCarried, 0),
        ];
        for (account, expected) in expected {
            let balance = books.balance(&unit, account);
            assert_eq!(balance, Decimal::from(expected), "{account:?}");
            assert!(!balance.is_negative(), "{account:?} is overdrawn");
        }
        let held = self.world.held().await;
        let now = self.world.clock.now();
        let live = model.live(self.now);
        assert_eq!(
            (held.available(now), held.overage()),
            (
                Decimal::from(model.available(self.now)),
                Decimal::from(model.owed + live.uncovered)
            ),
            "as it is shown while periods are open"
        );
    }

    async fn compare_money(&self) {
        let books = self.world.store().books(&customer()).await.unwrap();
        let model = &self.model;
        let unit = LedgerUnit::Money(Currency::USD);
        let expected = [
            (Account::Wallet, model.wallet),
            (Account::Cash, model.funded),
            (Account::Revenue, model.invoiced),
            (Account::Receivable, model.invoiced - model.paid_by_wallet),
        ];
        for (account, expected) in expected {
            let balance = books.balance(&unit, account);
            assert_eq!(balance, Decimal::from(expected), "{account:?}");
        }
        assert!(!books.balance(&unit, Account::Wallet).is_negative());
    }
}

async fn live(terms: &Terms, acts: &[Act]) {
    let mut life = Life::begin(terms).await;
    life.compare().await;
    for (step, act) in acts.iter().enumerate() {
        life.act(step, act).await;
        life.compare().await;
        // No two grants are of one minute: what burns first is hardly ever left to their ids.
        life.wait(1);
    }
    let rebuilt = life.world.store().rebuild_ledger(&customer()).await;
    assert_eq!(rebuilt.unwrap(), RebuildOutcome::Unchanged);
}

fn block_on(life: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(life);
}

proptest! {
    // Each step of a life is a handful of durable writes.
    #![proptest_config(ProptestConfig { cases: 100, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_ledger_is_the_models(terms in terms(), acts in acts()) {
        block_on(live(&terms, &acts));
    }
}

/// A life that takes every turn at least once, so that no change of the dice leaves one out.
#[tokio::test]
async fn a_life_with_every_turn_is_the_models() {
    let acts = [
        Act::Fund(100),
        Act::Give {
            amount: 40,
            priority: 5,
            begins_in: 0,
            lives: Some(700),
            is_bought: false,
        },
        Act::Use(30),
        Act::Hold {
            amount: 25,
            minutes: 2_000,
        },
        Act::Debit(20),
        Act::VoidOne {
            which: 0,
            amount: 3,
        },
        Act::Wait(800),
        Act::Expire,
        Act::Use(4),
        Act::Wait(DAY),
        Act::Debit(15),
        Act::Restart,
        Act::Use(130),
        Act::Bill,
        Act::Commit {
            which: 0,
            amount: 28,
        },
        Act::Wait(DAY),
        Act::Bill,
        Act::Hold {
            amount: 10,
            minutes: 20,
        },
        Act::Give {
            amount: 30,
            priority: 20,
            begins_in: 10,
            lives: None,
            is_bought: true,
        },
        Act::Wait(30),
        Act::Release { which: 1 },
        Act::VoidAny(5),
        // Beyond the limit, together with what is owed already.
        Act::Use(350),
        Act::Wait(DAY),
        Act::Bill,
        Act::Wait(DAY),
        Act::Bill,
    ];
    for behavior in [
        OverageBehavior::ForgiveAtReset,
        OverageBehavior::InvoiceAtBilling,
        OverageBehavior::CarryDeficit,
        OverageBehavior::CarryDeficitAutoRepay,
    ] {
        let terms = Terms {
            amount: 60,
            rolls_over: true,
            percentage: Some(75),
            times_max: Some(2),
            lives_longer: true,
            least: Some(2),
            most: Some(50),
            behavior,
            limit: Some(100),
        };
        live(&terms, &acts).await;
    }
}
