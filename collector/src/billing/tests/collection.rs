//! Collecting: who is asked, when, and how often; nobody pays twice, and nothing is forgotten.

use super::world::{World, at, by_hand, customer, per_unit};
use crate::{
    billing::{
        ChangeError, Invoice, InvoiceStatus, change,
        collect::{self, AnswerError, CollectionReport, CollectionRun, Outcome},
        verify,
    },
    bookkeeping::wallet,
    ledger::Note,
    money::Currency,
    outbox::Topic,
    payment::{Answer, Charge, Collecting, Exhausted, Gateway, Payment, PaymentStatus},
    storage::{
        ChangeOutcome, InvoiceStore, LedgerStore, OutboxStore, PaymentStore, PostOutcome,
        rocksdb::Death,
    },
    subscription::SubscriptionStatus,
    test_clock::Present,
};
use async_trait::async_trait;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use submeter_common::{AggregationKind::Sum, Clock as _};

/// A gateway that says what the test wants, and remembers each payment that it was asked for, by its key. What it said of one
/// in the end it says again.
#[derive(Debug, Default)]
struct Scripted {
    answers: Mutex<VecDeque<Answer>>,
    ended: Mutex<BTreeMap<String, Answer>>,
    asked: Mutex<BTreeMap<String, Vec<Charge>>>,
    at_once: AtomicUsize,
    at_once_most: AtomicUsize,
}

#[async_trait]
impl Gateway for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(15)
    }

    async fn ask(&self, charge: &Charge) -> Answer {
        let at_once = self.at_once.fetch_add(1, Ordering::Relaxed) + 1;
        self.at_once_most.fetch_max(at_once, Ordering::Relaxed);
        tokio::task::yield_now().await;
        self.at_once.fetch_sub(1, Ordering::Relaxed);
        let mut asked = self.asked.lock().unwrap();
        let of_key = asked.entry(charge.payment_id.to_string()).or_default();
        of_key.push(charge.clone());
        let mut ended = self.ended.lock().unwrap();
        if let Some(answer) = ended.get(charge.payment_id.as_str()) {
            return answer.clone();
        }
        let next = self.answers.lock().unwrap().pop_front();
        let answer = next.unwrap_or(Answer::Succeeded { reference: None });
        if matches!(answer, Answer::Succeeded { .. } | Answer::Failed { .. }) {
            ended.insert(charge.payment_id.to_string(), answer.clone());
        }
        answer
    }
}

impl Scripted {
    fn saying(answers: &[Answer]) -> Arc<Self> {
        Arc::new(Self {
            answers: Mutex::new(answers.iter().cloned().collect()),
            ..Self::default()
        })
    }

    /// How often each payment was asked for, in the order of their tries.
    fn asked(&self) -> Vec<(u32, usize)> {
        let asked = self.asked.lock().unwrap();
        let mut asked: Vec<_> = asked
            .values()
            .map(|charges| (charges[0].attempt, charges.len()))
            .collect();
        asked.sort_unstable();
        asked
    }
}

fn declined() -> Answer {
    Answer::Failed {
        reason: "card declined".to_owned(),
        reference: None,
    }
}

fn unanswered() -> Answer {
    Answer::Unanswered {
        detail: "cut off".to_owned(),
    }
}

fn asking(gateway: &Arc<Scripted>) -> Collecting {
    Collecting {
        gateway: Some(Arc::clone(gateway) as Arc<dyn Gateway>),
        ..by_hand()
    }
}

/// A world with one invoice of 300 minor units, to be paid at once.
async fn owing() -> World {
    let mut world = World::new("2025-01-01").await;
    world.meter("calls", Sum).await;
    let product = world
        .product(0, vec![per_unit("calls", 0, "10")], Vec::new())
        .await;
    world.subscribe(&product, "2025-01-01", 1).await;
    world
        .deliver("2025-02-01", &[("calls", "2025-01-05", "30")])
        .await;
    world.run_at("2025-02-01").await;
    world
}

impl World {
    async fn collect_at(&self, now: &str, collecting: &Collecting) -> CollectionReport {
        self.clock.set(at(now));
        let present = Present::of_machine(self.clock.now());
        self.collect_in(&present, collecting).await
    }

    async fn collect_in(&self, present: &Present, collecting: &Collecting) -> CollectionReport {
        let run = CollectionRun {
            storage: self.store(),
            present,
            machine: &self.clock,
            collecting,
            holder: "test",
            is_stopped: &|| false,
        };
        run.run().await.unwrap()
    }

    async fn only_invoice(&self) -> Invoice {
        self.invoices().await.remove(0)
    }

    async fn payments(&self) -> Vec<Payment> {
        let invoice = self.only_invoice().await;
        self.store().payments(&invoice.invoice_id).await.unwrap()
    }

    async fn told(&self) -> Vec<Topic> {
        let messages = self.store().messages(0, 1000).await.unwrap();
        let topics = messages.iter().map(|message| message.message.topic);
        topics
            .filter(|topic| *topic != Topic::InvoiceIssued)
            .collect()
    }

    async fn top_up(&self, amount: i64) {
        let books = self.store().books(&customer()).await.unwrap();
        let adjustment = wallet::Adjustment {
            customer_id: customer(),
            currency: Currency::USD,
            amount,
            key: &format!("{amount} on {}", books.entries),
            note: Note::default(),
            at: self.clock.now(),
        };
        let posting = wallet::adjust(&books, adjustment).unwrap();
        let posted = self.store().post(posting).await.unwrap();
        assert_eq!(posted, PostOutcome::Posted);
    }

    async fn past_due(&self) -> bool {
        let invoice = self.only_invoice().await;
        let id = &invoice.subscription_id;
        self.store().past_due_since(id).await.unwrap().is_some()
    }
}

#[tokio::test]
async fn a_refused_payment_is_tried_again_by_the_schedule_until_the_money_comes() {
    let world = owing().await;
    let gateway = Scripted::saying(&[declined(), declined()]);
    let collecting = asking(&gateway);
    world.collect_at("2025-02-01", &collecting).await;
    assert!(world.past_due().await);
    let invoice = world.only_invoice().await;
    assert_eq!(invoice.collection.next_attempt_at, Some(at("2025-02-02")));
    // Nobody is asked before it is time.
    world.collect_at("2025-02-01T23:59:59Z", &collecting).await;
    assert_eq!(gateway.asked(), [(1, 1)]);
    world.collect_at("2025-02-02", &collecting).await;
    let invoice = world.only_invoice().await;
    assert_eq!(invoice.collection.next_attempt_at, Some(at("2025-02-05")));
    world.collect_at("2025-02-05", &collecting).await;
    let invoice = world.only_invoice().await;
    assert_eq!(
        (invoice.status, invoice.collection.paid),
        (InvoiceStatus::Paid, 300)
    );
    assert!(!world.past_due().await);
    assert_eq!(gateway.asked(), [(1, 1), (2, 1), (3, 1)]);
    use Topic::*;
    let expected = [
        PaymentProcessing,
        PaymentFailed,
        SubscriptionPastDue,
        PaymentProcessing,
        PaymentFailed,
        PaymentProcessing,
        PaymentSucceeded,
        InvoicePaid,
        SubscriptionActive,
    ];
    assert_eq!(world.told().await, expected);
}

#[tokio::test]
async fn after_the_last_refusal_nobody_is_asked_and_the_subscription_stays_or_ends() {
    for exhausted in [Exhausted::PastDue, Exhausted::Cancel] {
        let world = owing().await;
        let gateway = Scripted::saying(&[declined(), declined(), declined()]);
        let mut collecting = asking(&gateway);
        collecting.terms.exhausted = exhausted;
        for day in ["2025-02-01", "2025-02-02", "2025-02-05", "2025-03-30"] {
            world.collect_at(day, &collecting).await;
        }
        let invoice = world.only_invoice().await;
        assert_eq!(
            (
                invoice.collection.attempts,
                invoice.collection.next_attempt_at
            ),
            (3, None)
        );
        assert!(world.past_due().await);
        let subscription = world.subscription(&invoice.subscription_id).await;
        let told = world.told().await;
        match exhausted {
            Exhausted::PastDue => {
                assert_eq!(subscription.cancellation, None);
                assert_eq!(subscription.status, SubscriptionStatus::Active);
            }
            Exhausted::Cancel => {
                let end = subscription.cancellation.unwrap();
                assert_eq!(end.effective_at, at("2025-02-05T00:01:00Z"));
                assert!(told.contains(&Topic::SubscriptionCancelled));
            }
        }
        // The customer pays all the same.
        let paid = change::receive(&invoice, None, None, "wire", at("2025-04-01")).unwrap();
        let outcome = world.store().change_invoice(paid).await.unwrap();
        assert!(matches!(outcome, ChangeOutcome::Changed(_)));
        assert!(!world.past_due().await);
    }
}

#[tokio::test]
async fn a_payment_without_an_answer_is_asked_about_and_never_asked_for_anew() {
    let world = owing().await;
    let gateway = Scripted::saying(&[unanswered(), unanswered(), unanswered()]);
    let collecting = asking(&gateway);
    let report = world.collect_at("2025-02-01", &collecting).await;
    assert_eq!(report.unanswered.as_deref(), Some("cut off"));
    assert!(!world.past_due().await);
    // The time-out and a minute.
    for (now, asked) in [
        ("2025-02-01T00:01:14Z", 1),
        ("2025-02-01T00:01:15Z", 2),
        ("2025-02-04T00:00:00Z", 3),
    ] {
        world.collect_at(now, &collecting).await;
        assert_eq!(gateway.asked(), [(1, asked)], "{now}");
    }
    // Three days without a word: past due, though nobody refused.
    assert!(world.past_due().await);
    world.collect_at("2025-02-05", &collecting).await;
    assert_eq!(gateway.asked(), [(1, 4)]);
    let payments = world.payments().await;
    assert_eq!(payments.len(), 1);
    assert_eq!(
        (payments[0].status, payments[0].asked),
        (PaymentStatus::Succeeded, 4)
    );
    assert!(!world.past_due().await);
}

#[tokio::test]
async fn while_a_payment_is_under_way_what_is_owed_does_not_change() {
    let world = owing().await;
    let processing = Answer::Processing {
        reference: Some("ch_1".to_owned()),
    };
    let gateway = Scripted::saying(&[processing]);
    let collecting = asking(&gateway);
    world.collect_at("2025-02-01", &collecting).await;
    let invoice = world.only_invoice().await;
    let payment = world.payments().await.remove(0);
    assert_eq!(payment.reference.as_deref(), Some("ch_1"));
    let now = at("2025-02-01T00:00:30Z");
    let under_way = ChangeError::Processing(payment.payment_id.clone());
    let refused = [
        change::receive(&invoice, Some(1), None, "a", now).map(|_| ()),
        change::void(&invoice, now).map(|_| ()),
        change::ask(&invoice, "other", now, now).map(|_| ()),
    ];
    for refused in refused {
        assert_eq!(refused, Err(under_way.clone()));
    }
    world.top_up(100).await;
    let books = world.store().books(&customer()).await.unwrap();
    assert!(change::pay_from_wallet(&invoice, &books, now).is_none());

    // The answer comes later, and comes again.
    let outcome = Outcome::Succeeded { reference: None };
    for _ in 0..2 {
        let id = &payment.payment_id;
        let answered = collect::answer(world.store(), &collecting.terms, id, &outcome, None, now);
        let answered = answered.await.unwrap();
        assert_eq!(answered.status, PaymentStatus::Succeeded);
        assert_eq!(answered.reference.as_deref(), Some("ch_1"));
    }
    let otherwise = Outcome::Failed {
        reason: "no".to_owned(),
        reference: None,
    };
    let id = &payment.payment_id;
    let refused = collect::answer(world.store(), &collecting.terms, id, &otherwise, None, now);
    assert!(matches!(
        refused.await,
        Err(AnswerError::Refused(ChangeError::Answered("succeeded")))
    ));
    assert_eq!(world.only_invoice().await.collection.paid, 300);
}

#[tokio::test]
async fn the_wallet_pays_first_and_only_the_rest_is_asked_for() {
    let world = owing().await;
    world.top_up(120).await;
    let gateway = Scripted::saying(&[declined()]);
    let collecting = asking(&gateway);
    world.collect_at("2025-02-01", &collecting).await;
    assert_eq!(world.payments().await[0].amount, 180);
    world.top_up(50).await;
    world.collect_at("2025-02-02", &collecting).await;
    let payments = world.payments().await;
    assert_eq!(
        (payments[1].amount, payments[1].status),
        (130, PaymentStatus::Succeeded)
    );
    let invoice = world.only_invoice().await;
    assert_eq!(
        (invoice.status, invoice.from_wallet()),
        (InvoiceStatus::Paid, 170)
    );
    let books = world.store().books(&customer()).await.unwrap();
    assert_eq!(wallet::balance(&books, Currency::USD), 0);

    // The ledger says the same, and an invoice that says otherwise is found.
    let subscription = world.subscription(&invoice.subscription_id).await;
    let found = verify::verify(world.store(), &subscription).await.unwrap();
    assert_eq!(found.findings, []);
    let mut damaged = invoice.clone();
    damaged.collection.from_wallet -= 50;
    world.store().damage_invoice(&damaged);
    let found = verify::verify(world.store(), &subscription).await.unwrap();
    let problems: Vec<&str> = found
        .findings
        .iter()
        .map(|found| found.problem.as_str())
        .collect();
    assert_eq!(problems, ["the wallet paid 170, the invoice shows 120"]);
}

#[tokio::test]
async fn a_wallet_that_pays_all_ends_it_and_gets_it_back_when_the_invoice_is_withdrawn() {
    let world = owing().await;
    world.top_up(100).await;
    world.collect_at("2025-02-01", &by_hand()).await;
    let invoice = world.only_invoice().await;
    assert_eq!((invoice.amount_due(), invoice.from_wallet()), (200, 100));
    let withdrawn = change::void(&invoice, at("2025-02-02")).unwrap();
    let outcome = world.store().change_invoice(withdrawn).await.unwrap();
    assert!(matches!(outcome, ChangeOutcome::Changed(_)));
    let books = world.store().books(&customer()).await.unwrap();
    assert_eq!(wallet::balance(&books, Currency::USD), 100);

    let world = owing().await;
    world.top_up(500).await;
    let gateway = Scripted::saying(&[]);
    world.collect_at("2025-02-01", &asking(&gateway)).await;
    assert_eq!(world.only_invoice().await.status, InvoiceStatus::Paid);
    assert!(gateway.asked().is_empty());
}

#[tokio::test]
async fn without_anybody_to_ask_an_invoice_is_past_due_when_its_time_is_over() {
    let world = owing().await;
    let report = world.collect_at("2025-02-01", &by_hand()).await;
    assert_eq!(report.overdue, 1);
    assert!(world.past_due().await);
    let report = world.collect_at("2025-03-01", &by_hand()).await;
    assert_eq!(report.overdue, 0);
    // Somebody can be asked from now on, and is, when a person says so.
    let gateway = Scripted::saying(&[]);
    let collecting = asking(&gateway);
    world.collect_at("2025-03-01", &collecting).await;
    assert!(gateway.asked().is_empty());
    let now = at("2025-03-02");
    let again = change::collect_at(&world.only_invoice().await, now).unwrap();
    let outcome = world.store().change_invoice(again).await.unwrap();
    assert!(matches!(outcome, ChangeOutcome::Changed(_)));
    world.collect_at("2025-03-02", &collecting).await;
    assert_eq!(world.only_invoice().await.status, InvoiceStatus::Paid);
}

#[tokio::test]
async fn a_run_that_dies_before_or_after_any_of_its_writes_takes_the_money_once() {
    for death in [Death::Before, Death::After] {
        for writes in 0.. {
            let mut world = owing().await;
            world.top_up(40).await;
            let gateway = Scripted::saying(&[]);
            let collecting = asking(&gateway);
            world.clock.set(at("2025-02-01"));
            let present = Present::of_machine(world.clock.now());
            world.store().die(death(writes));
            let run = CollectionRun {
                storage: world.store(),
                present: &present,
                machine: &world.clock,
                collecting: &collecting,
                holder: "first",
                is_stopped: &|| false,
            };
            let died = run.run().await;
            if !world.store().is_dead() {
                // The wallet's, the asking's and the answer's.
                assert_eq!(writes, 3);
                break;
            }
            assert!(died.is_err(), "at write {writes}");
            world.restart();
            world.collect_at("2025-02-02", &collecting).await;
            let invoice = world.only_invoice().await;
            assert_eq!(
                (
                    invoice.status,
                    invoice.collection.paid,
                    invoice.from_wallet()
                ),
                (InvoiceStatus::Paid, 260, 40)
            );
            let asked = gateway.asked();
            assert_eq!(asked.len(), 1, "one payment, however often: {asked:?}");
        }
    }
}

#[tokio::test]
async fn a_death_around_the_last_refusal_ends_the_subscription_once() {
    for death in [Death::Before, Death::After] {
        for writes in 0.. {
            let mut world = owing().await;
            let gateway = Scripted::saying(&[declined()]);
            let mut collecting = asking(&gateway);
            collecting.terms.retries.clear();
            collecting.terms.exhausted = Exhausted::Cancel;
            world.clock.set(at("2025-02-01"));
            let present = Present::of_machine(world.clock.now());
            world.store().die(death(writes));
            let run = CollectionRun {
                storage: world.store(),
                present: &present,
                machine: &world.clock,
                collecting: &collecting,
                holder: "first",
                is_stopped: &|| false,
            };
            let died = run.run().await;
            if !world.store().is_dead() {
                assert_eq!(writes, 2, "the asking's and the refusal's");
                break;
            }
            assert!(died.is_err(), "at write {writes}");
            world.restart();
            world.collect_at("2025-02-02", &collecting).await;
            world.collect_at("2025-02-03", &collecting).await;
            assert!(world.past_due().await);
            let invoice = world.only_invoice().await;
            let subscription = world.subscription(&invoice.subscription_id).await;
            assert!(subscription.cancellation.is_some(), "at write {writes}");
            use Topic::*;
            let expected = [
                PaymentProcessing,
                PaymentFailed,
                SubscriptionCancelled,
                SubscriptionPastDue,
            ];
            assert_eq!(world.told().await, expected, "at write {writes}");
            assert_eq!(world.payments().await.len(), 1);
        }
    }
}

#[tokio::test]
async fn a_gateway_that_is_away_is_not_asked_for_each_invoice() {
    let mut world = World::new("2025-01-01").await;
    let product = world.product(100, Vec::new(), Vec::new()).await;
    for _ in 0..40 {
        world.subscribe(&product, "2025-01-01", 1).await;
    }
    world.deliver("2025-01-01", &[]).await;
    let gateway = Scripted::saying(&vec![unanswered(); 40]);
    let collecting = asking(&gateway);
    world.collect_at("2025-01-01", &collecting).await;
    let asked = gateway.asked().len();
    assert!(
        (16..=16 + collecting.concurrency).contains(&asked),
        "{asked}"
    );
    let most = gateway.at_once_most.load(Ordering::Relaxed);
    assert_eq!(most, collecting.concurrency);
    // It is back: the others come first, and all are paid in the end.
    gateway.answers.lock().unwrap().clear();
    world.collect_at("2025-01-01T00:00:01Z", &collecting).await;
    world.collect_at("2025-01-01T01:00:00Z", &collecting).await;
    let invoices = world.invoices().await;
    assert!(
        invoices
            .iter()
            .all(|invoice| invoice.collection.paid == 100)
    );
    assert!(gateway.asked().iter().all(|(attempt, _)| *attempt == 1));
}

#[tokio::test]
async fn under_a_test_clock_a_payment_without_an_answer_stays_due() {
    let world = owing().await;
    let gateway = Scripted::saying(&[unanswered()]);
    let collecting = asking(&gateway);
    let told = Present {
        delivered_up_to: Some(at("2026-01-01")),
        ..Present::of_machine(at("2025-02-01"))
    };
    let report = world.collect_in(&told, &collecting).await;
    assert!(report.unanswered.is_some());
    let due = world.store().collectable(None, at("2025-02-01"), None, 10);
    assert_eq!(due.await.unwrap().len(), 1);
    let report = world.collect_in(&told, &collecting).await;
    assert!(report.unanswered.is_none());
    assert_eq!(gateway.asked(), [(1, 2)]);
}
