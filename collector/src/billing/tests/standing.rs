//! What becomes of an invoice after it was issued: paid, taken back, withdrawn. Its paper stays as it is.

use super::world::{World, at, per_unit};
use crate::{
    billing::{
        ChangeError, Invoice, InvoiceChange, InvoiceStatus,
        change::{self, CreditRequest, CreditedAmount},
    },
    ledger::{Account, Transfer},
    money::Decimal,
    outbox::Topic,
    storage::{
        ChangeOutcome, CreditNoteFilter, InvoiceFilter, InvoiceStore, OutboxStore, Page,
        PaymentStore, StorageError,
    },
};
use submeter_common::AggregationKind::Sum;

/// A world with one issued invoice of 30 calls at 10 cents.
async fn issued() -> (World, Invoice) {
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
    let invoice = world.invoices().await.remove(0);
    assert_eq!(
        (invoice.amount_due(), invoice.status),
        (300, InvoiceStatus::Issued)
    );
    (world, invoice)
}

impl World {
    async fn change(&self, change: InvoiceChange) -> Invoice {
        let id = change.before.invoice_id.clone();
        let outcome = self.store().change_invoice(change).await.unwrap();
        assert!(matches!(outcome, ChangeOutcome::Changed(_)), "{outcome:?}");
        self.store().invoice(&id).await.unwrap().unwrap()
    }

    async fn topics(&self) -> Vec<Topic> {
        let messages = self.store().messages(0, 1000).await.unwrap();
        messages
            .iter()
            .map(|message| message.message.topic)
            .collect()
    }

    async fn credit_note_numbers(&self) -> Vec<String> {
        let filter = CreditNoteFilter::default();
        let notes = self.store().credit_notes(&filter, Page::new(0, 100));
        let numbers = notes.await.unwrap().into_iter().map(|note| note.number);
        numbers.rev().collect()
    }
}

fn balance(transfers: &[Transfer], account: Account) -> Decimal {
    let mut balance = Decimal::zero();
    for transfer in transfers {
        if transfer.debit == account {
            balance += &transfer.amount;
        }
        if transfer.credit == account {
            balance += &-&transfer.amount;
        }
    }
    balance
}

fn taking_back(lines: &[(u32, i64)]) -> CreditRequest {
    let amount = |&(line, amount): &(u32, i64)| CreditedAmount { line, amount };
    CreditRequest {
        reason: "goodwill".to_owned(),
        lines: Some(lines.iter().map(amount).collect()),
        key: format!("{lines:?}"),
    }
}

#[tokio::test]
async fn money_received_by_hand_in_parts_pays_an_invoice_and_is_booked() {
    let (world, invoice) = issued().await;
    let now = at("2025-02-03");
    let receipt = Some("wire 17".to_owned());
    let part = change::receive(&invoice, Some(100), receipt, "a", now).unwrap();
    let invoice = world.change(part).await;
    assert_eq!(
        (invoice.status, invoice.amount_due()),
        (InvoiceStatus::Issued, 200)
    );

    let too_much = change::receive(&invoice, Some(201), None, "b", now);
    assert!(matches!(too_much, Err(ChangeError::Invalid { field, .. }) if field == "amount"));
    let rest = change::receive(&invoice, None, None, "b", now).unwrap();
    let paid = world.change(rest).await;
    assert_eq!((paid.status, paid.amount_due()), (InvoiceStatus::Paid, 0));
    assert_eq!(paid.collection.closed_at, Some(now));
    assert!(paid.is_same_paper(&invoice));
    assert!(change::receive(&paid, None, None, "c", now).is_err());

    let transfers = world.transfers().await;
    assert_eq!(balance(&transfers, Account::Receivable), Decimal::zero());
    assert_eq!(balance(&transfers, Account::Cash), Decimal::from(300_i64));
    let payments = world.store().payments(&paid.invoice_id).await.unwrap();
    let amounts: Vec<i64> = payments.iter().map(|payment| payment.amount).collect();
    assert_eq!(amounts, [100, 200]);
    assert_eq!(
        world.topics().await,
        [
            Topic::InvoiceIssued,
            Topic::PaymentSucceeded,
            Topic::PaymentSucceeded,
            Topic::InvoicePaid
        ]
    );
    let collectable = world.store().collectable(None, at("2030-01-01"), None, 10);
    let collectable = collectable.await;
    assert!(collectable.unwrap().is_empty());
}

#[tokio::test]
async fn a_change_of_what_was_read_meanwhile_is_stale_and_changes_nothing() {
    let (world, invoice) = issued().await;
    let now = at("2025-02-03");
    let pay = |key| change::receive(&invoice, Some(100), None, key, now).unwrap();
    world.change(pay("a")).await;
    let outcome = world.store().change_invoice(pay("b")).await.unwrap();
    assert!(matches!(outcome, ChangeOutcome::Stale));
    let payments = world.store().payments(&invoice.invoice_id).await.unwrap();
    assert_eq!(payments.len(), 1);
}

#[tokio::test]
async fn the_paper_of_an_issued_invoice_cannot_be_changed() {
    let (world, invoice) = issued().await;
    let now = at("2025-02-03");
    let forgeries: [fn(&mut Invoice); 4] = [
        |invoice| invoice.total = 299,
        |invoice| invoice.number = "INV-2025-000009".to_owned(),
        |invoice| invoice.lines[0].quantity = Decimal::from(29_i64),
        |invoice| invoice.complete = false,
    ];
    for forge in forgeries {
        let mut forged = change::receive(&invoice, None, None, "a", now).unwrap();
        forge(&mut forged.after);
        let refused = world.store().change_invoice(forged).await;
        assert!(
            matches!(refused, Err(StorageError::Refused(_))),
            "{refused:?}"
        );
    }
    // Nor can its standing say other than the books.
    let mut unbooked = change::receive(&invoice, None, None, "a", now).unwrap();
    unbooked.transfers.clear();
    let refused = world.store().change_invoice(unbooked).await;
    assert!(
        matches!(refused, Err(StorageError::Refused(_))),
        "{refused:?}"
    );
    assert_eq!(world.invoices().await, [invoice]);
}

#[tokio::test]
async fn credit_notes_take_back_what_is_left_of_each_line_under_numbers_of_their_own() {
    let (world, invoice) = issued().await;
    let now = at("2025-02-03");
    let credit =
        |invoice: &Invoice, lines: &[(u32, i64)]| change::credit(invoice, taking_back(lines), now);
    for (lines, field) in [
        (vec![(0, 1)], "lines[0].line"),
        (vec![(2, 1)], "lines[0].line"),
        (vec![(1, 0)], "lines[0].amount"),
        (vec![(1, 301)], "lines[0].amount"),
        (vec![(1, 1), (1, 1)], "lines[1].line"),
        (vec![], "lines"),
    ] {
        let refused = credit(&invoice, &lines);
        assert!(
            matches!(&refused, Err(ChangeError::Invalid { field: found, .. }) if found == field),
            "{lines:?}: {refused:?}"
        );
    }
    let invoice = world.change(credit(&invoice, &[(1, 50)]).unwrap()).await;
    assert_eq!((invoice.amount_due(), invoice.credited()), (250, 50));
    assert!(credit(&invoice, &[(1, 251)]).is_err());
    let all = CreditRequest {
        lines: None,
        key: "all".to_owned(),
        ..taking_back(&[])
    };
    let settled = world
        .change(change::credit(&invoice, all, now).unwrap())
        .await;
    assert_eq!(
        (settled.status, settled.credited()),
        (InvoiceStatus::Paid, 300)
    );
    assert!(settled.is_same_paper(&invoice));
    assert_eq!(
        world.credit_note_numbers().await,
        ["CN-2025-000001", "CN-2025-000002"]
    );
    let transfers = world.transfers().await;
    assert_eq!(balance(&transfers, Account::Receivable), Decimal::zero());
    assert_eq!(balance(&transfers, Account::Revenue), Decimal::zero());
}

#[tokio::test]
async fn a_credit_note_on_a_paid_invoice_is_in_the_customers_favour() {
    let (world, invoice) = issued().await;
    let now = at("2025-02-03");
    let paid = world
        .change(change::receive(&invoice, None, None, "a", now).unwrap())
        .await;
    let credited = change::credit(&paid, taking_back(&[(1, 120)]), now).unwrap();
    let credited = world.change(credited).await;
    assert_eq!(
        (credited.status, credited.receivable()),
        (InvoiceStatus::Paid, -120)
    );
    let receivable = balance(&world.transfers().await, Account::Receivable);
    assert_eq!(receivable, Decimal::from(-120_i64));
}

#[tokio::test]
async fn a_withdrawn_invoice_keeps_its_number_and_counts_as_billed() {
    let (mut world, invoice) = issued().await;
    let now = at("2025-02-03");
    let withdrawn = world.change(change::void(&invoice, now).unwrap()).await;
    assert_eq!(
        (withdrawn.status, withdrawn.amount_due()),
        (InvoiceStatus::Void, 0)
    );
    assert!(change::void(&withdrawn, now).is_err());
    assert!(change::receive(&withdrawn, None, None, "a", now).is_err());
    assert!(change::credit(&withdrawn, taking_back(&[(1, 1)]), now).is_err());
    let receivable = balance(&world.transfers().await, Account::Receivable);
    assert_eq!(receivable, Decimal::zero());

    // One late call of the withdrawn period is adjusted alone: the thirty are not billed again.
    world.clock.set(at("2025-02-04"));
    world
        .deliver("2025-02-04", &[("calls", "2025-01-06", "1")])
        .await;
    world.run_at("2025-03-01").await;
    let invoices = world.invoices().await;
    assert_eq!(
        (invoices[1].number.as_str(), invoices[1].total),
        ("INV-2025-000002", 10)
    );
}

#[tokio::test]
async fn a_subscription_is_past_due_while_one_of_its_invoices_is() {
    let (mut world, first) = issued().await;
    world
        .deliver("2025-02-02", &[("calls", "2025-02-01T12:00:00Z", "1")])
        .await;
    world.run_at("2025-03-01").await;
    let second = world.invoices().await.remove(1);
    let subscription = first.subscription_id.clone();
    let (early, late) = (at("2025-03-02"), at("2025-03-03"));
    assert_eq!(
        world.store().past_due_since(&subscription).await.unwrap(),
        None
    );
    let first = world.change(change::overdue(&first, early)).await;
    let second = world.change(change::overdue(&second, late)).await;
    let since = world.store().past_due_since(&subscription).await.unwrap();
    assert_eq!(since, Some(early));

    world
        .change(change::receive(&first, None, None, "a", late).unwrap())
        .await;
    let since = world.store().past_due_since(&subscription).await.unwrap();
    assert_eq!(since, Some(late));
    world.change(change::void(&second, late).unwrap()).await;
    assert_eq!(
        world.store().past_due_since(&subscription).await.unwrap(),
        None
    );
    let told: Vec<Topic> = world
        .topics()
        .await
        .into_iter()
        .filter(|topic| {
            matches!(
                topic,
                Topic::SubscriptionPastDue | Topic::SubscriptionActive
            )
        })
        .collect();
    assert_eq!(
        told,
        [Topic::SubscriptionPastDue, Topic::SubscriptionActive]
    );
}

#[tokio::test]
async fn a_period_that_cannot_be_billed_is_a_draft_with_the_reason_until_it_can() {
    let mut world = World::new("2025-01-01").await;
    world.meter("calls", Sum).await;
    let product = world
        .product(0, vec![per_unit("calls", 0, "1")], Vec::new())
        .await;
    let subscription = world.subscribe(&product, "2025-01-01", 1).await;
    let huge = "999999999999999999999999";
    world
        .deliver("2025-02-01", &[("calls", "2025-01-05", huge)])
        .await;
    for now in ["2025-02-01", "2025-02-02"] {
        assert_eq!(world.run_at(now).await.failed_count, 1);
    }
    let all = Page::new(0, 10);
    let drafts = world
        .store()
        .blocked_drafts(&InvoiceFilter::default(), all)
        .await
        .unwrap();
    assert_eq!(drafts.len(), 1);
    assert_eq!(drafts[0].subscription_id, subscription.subscription_id);
    assert_eq!(
        (drafts[0].since, drafts[0].period.end),
        (at("2025-02-01"), at("2025-02-01"))
    );
    assert!(
        drafts[0].reason.contains("9223372036854775807"),
        "{}",
        drafts[0].reason
    );
    // Told once, not with every run.
    assert_eq!(world.topics().await, [Topic::InvoiceDraftBlocked]);

    let correction = [
        ("calls", "2025-01-05", &*format!("-{huge}")),
        ("calls", "2025-01-06", "7"),
    ];
    world.deliver("2025-02-02", &correction).await;
    assert_eq!(world.run_at("2025-02-03").await.failed_count, 0);
    let invoices = world.invoices().await;
    assert_eq!(
        (invoices[0].total, &invoices[0].invoice_id),
        (7, &drafts[0].invoice_id)
    );
    let left = world
        .store()
        .blocked_drafts(&InvoiceFilter::default(), all)
        .await;
    assert!(left.unwrap().is_empty());
}
