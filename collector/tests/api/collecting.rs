//! Collecting through the whole collector: a merchant's service is asked, answers, fails, and answers later.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use submeter_collector::config::Mode;
use submeter_collector::payment::Exhausted;
use submeter_common::time::ManualClock;

use crate::merchant::{Act, Merchant, declined};
use crate::running::{Api, NOW, Running, product, time};
use crate::test_clocks::{advance, arrived, clock};

/// What has not happened by then never will.
const PATIENCE: Duration = Duration::from_secs(60);

async fn start(merchant: &Merchant, mode: Mode) -> Running {
    let clock = ManualClock::new(time(NOW));
    let directory = tempfile::tempdir().unwrap();
    Running::start_with(directory, clock, |config| {
        config.api.mode = mode;
        merchant.asked_by(config);
    })
    .await
}

/// A customer by a test clock who owes 30 dollars a month; the subscription.
async fn owing(api: &Api, clock: &str) -> String {
    let plan = api
        .create("/products", product(3000, json!([])), "product_id")
        .await;
    let customer = json!({"customer_id": "ada", "name": "Ada", "email": "ada@example.com", "test_clock": clock});
    api.post("/customers", customer).await;
    api.subscribe("ada", &plan, "2026-01-01T00:00:00Z").await
}

/// The same in the machine's time.
async fn owing_now(api: &Api) -> String {
    let plan = api
        .create("/products", product(3000, json!([])), "product_id")
        .await;
    api.customer("ada").await;
    api.subscribe("ada", &plan, "2026-03-10T12:00:00Z").await
}

async fn only_invoice(api: &Api, subscription: &str) -> Value {
    let path = format!("/v1/invoices?subscription_id={subscription}");
    let listed = api.fetch(&path).await;
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{listed}");
    items[0].clone()
}

async fn standing(api: &Api, subscription: &str) -> Value {
    let shown = api.fetch(&format!("/subscriptions/{subscription}")).await;
    json!([shown["status"], shown["past_due_since"]])
}

/// Asks until the invoice is as wanted.
async fn until(api: &Api, subscription: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let looking = async {
        loop {
            let invoice = only_invoice(api, subscription).await;
            if wanted(&invoice) {
                return invoice;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap()
}

async fn topics(api: &Api) -> Vec<(String, String)> {
    let told = api.fetch("/v1/outbox?limit=1000").await;
    let told = told["items"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    told.map(|message| (text(&message["topic"]), text(&message["at"])))
        .collect()
}

#[tokio::test]
async fn a_month_of_refusals_is_lived_through_under_a_test_clock_in_order() {
    let merchant = Merchant::start(&[declined(), declined()]).await;
    let running = start(&merchant, Mode::Test).await;
    let api = &running.api;
    let id = clock(api, json!({"frozen_time": "2026-01-01T00:00:00Z"})).await;
    let subscription = owing(api, &id).await;
    until(api, &subscription, |invoice| invoice["attempts"] == 1).await;
    advance(api, &id, "2026-01-03T00:00:00Z").await;
    arrived(api, &id).await;
    assert_eq!(
        standing(api, &subscription).await,
        json!(["past_due", "2026-01-01T00:00:00Z"])
    );
    let invoice = only_invoice(api, &subscription).await;
    assert_eq!(invoice["next_attempt_at"], "2026-01-05T00:00:00Z");
    advance(api, &id, "2026-01-20T00:00:00Z").await;
    arrived(api, &id).await;

    assert_eq!(standing(api, &subscription).await, json!(["active", null]));
    let invoice = only_invoice(api, &subscription).await;
    assert_eq!(
        json!([
            invoice["status"],
            invoice["amount_paid"],
            invoice["closed_at"]
        ]),
        json!(["paid", 3000, "2026-01-05T00:00:00Z"])
    );
    let tries = invoice["payments"].as_array().unwrap().iter();
    let tries: Vec<Value> = tries
        .map(|payment| {
            json!([
                payment["attempt"],
                payment["status"],
                payment["failure"],
                payment["requested_at"]
            ])
        })
        .collect();
    assert_eq!(
        json!(tries),
        json!([
            [1, "failed", "card declined", "2026-01-01T00:00:00Z"],
            [2, "failed", "card declined", "2026-01-02T00:00:00Z"],
            [3, "succeeded", null, "2026-01-05T00:00:00Z"],
        ])
    );
    let told = topics(api).await;
    let told: Vec<(&str, &str)> = told
        .iter()
        .map(|(topic, at)| (topic.as_str(), &at[8..10]))
        .collect();
    assert_eq!(
        told,
        [
            ("invoice.issued", "01"),
            ("payment.processing", "01"),
            ("payment.failed", "01"),
            ("subscription.past_due", "01"),
            ("payment.processing", "02"),
            ("payment.failed", "02"),
            ("payment.processing", "05"),
            ("payment.succeeded", "05"),
            ("invoice.paid", "05"),
            ("subscription.active", "05"),
        ]
    );
    let asked = merchant.asked();
    assert!(asked.iter().all(|asked| asked.bodies.len() == 1));
    let taken: Vec<Option<i64>> = asked.iter().map(|asked| asked.taken).collect();
    assert_eq!(taken, [None, None, Some(3000)]);
    running.stop().await;
}

#[tokio::test]
async fn a_subscription_that_nobody_pays_for_ends_where_that_is_wanted() {
    let merchant = Merchant::start(&[declined(), declined(), declined()]).await;
    let machine = ManualClock::new(time(NOW));
    let running = Running::start_with(tempfile::tempdir().unwrap(), machine, |config| {
        config.api.mode = Mode::Test;
        merchant.asked_by(config);
        config.payment.terms.exhausted = Exhausted::Cancel;
    })
    .await;
    let api = &running.api;
    let id = clock(api, json!({"frozen_time": "2026-01-01T00:00:00Z"})).await;
    let subscription = owing(api, &id).await;
    advance(api, &id, "2026-03-20T00:00:00Z").await;
    arrived(api, &id).await;
    let shown = api.fetch(&format!("/subscriptions/{subscription}")).await;
    assert_eq!(
        json!([
            shown["status"],
            shown["cancelled_at"],
            shown["past_due_since"]
        ]),
        json!(["cancelled", "2026-01-05T00:00:00Z", "2026-01-01T00:00:00Z"])
    );
    // The fee of what was not served is given back by the last invoice; nothing more is billed or asked for.
    let listed = api.fetch("/v1/invoices?customer_id=ada").await;
    let totals: Vec<&Value> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|invoice| &invoice["total"])
        .collect();
    assert_eq!(totals.len(), 2);
    assert!(totals[0].as_i64().unwrap() < 0, "{totals:?}");
    assert_eq!(merchant.asked().len(), 3);
    running.stop().await;
}

#[tokio::test]
async fn time_under_a_test_clock_waits_for_a_service_that_is_away() {
    let merchant = Merchant::start(&[Act::TakeAndFail, Act::Fail]).await;
    // It stays away, until the test lets it come back.
    let away = vec![Act::Fail; 1_000_000];
    let running = start(&merchant, Mode::Test).await;
    let api = &running.api;
    let id = clock(api, json!({"frozen_time": "2026-01-01T00:00:00Z"})).await;
    let subscription = owing(api, &id).await;
    let taken = || {
        merchant
            .asked()
            .first()
            .is_some_and(|asked| asked.taken.is_some())
    };
    let looking = async {
        while !taken() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap();
    merchant.then(&away);
    advance(api, &id, "2026-06-01T00:00:00Z").await;
    let asked = merchant.asked()[0].bodies.len();
    let looking = async {
        while merchant.asked()[0].bodies.len() < asked + 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap();
    let waits = api.fetch(&format!("/v1/test-clocks/{id}")).await;
    assert_eq!(
        json!([waits["status"], waits["frozen_time"]]),
        json!(["advancing", "2026-01-01T00:00:00Z"])
    );
    assert_eq!(standing(api, &subscription).await, json!(["active", null]));
    merchant.then(&[]);
    arrived(api, &id).await;
    let asked = merchant.asked();
    // January to June, each once, whatever was asked how often.
    assert_eq!(asked.len(), 6);
    assert!(asked.iter().all(|asked| asked.taken == Some(3000)));
    let first = &asked[0].bodies;
    assert!(first.len() > 3 && first.iter().all(|body| *body == first[0]));
    running.stop().await;
}

#[tokio::test]
async fn an_answer_that_comes_later_is_taken_once_and_holds_everything_else_until_then() {
    let processing = Act::Say(202, json!({"status": "processing", "reference": "ch_7"}));
    let merchant = Merchant::start(&[processing]).await;
    let running = start(&merchant, Mode::Live).await;
    let api = &running.api;
    let subscription = owing_now(api).await;
    let is_known = |invoice: &Value| invoice["payments"][0]["reference"] == "ch_7";
    let invoice = until(api, &subscription, is_known).await;
    let payment = invoice["open_payment"].as_str().unwrap().to_owned();
    let id = invoice["invoice_id"].as_str().unwrap();
    for (act, body) in [
        ("pay", json!({})),
        ("void", json!({})),
        ("credit-notes", json!({"reason": "goodwill"})),
    ] {
        let path = format!("/v1/invoices/{id}/{act}");
        let refused = api.call(Method::POST, &path, &body).await;
        assert_eq!(
            (refused.status.as_u16(), refused.code()),
            (409, "PAYMENT_PROCESSING"),
            "{act}"
        );
        let message = refused.body["message"].as_str().unwrap();
        assert!(message.contains(&payment), "{message}");
        assert_eq!(refused.should_retry.as_deref(), Some("false"));
    }
    let answer = format!("/v1/payments/{payment}/answer");
    for (body, code, field) in [
        (json!({}), "MISSING_FIELD", "status"),
        (json!({"status": "paid"}), "INVALID_FIELD", "status"),
        (json!({"status": "failed"}), "MISSING_FIELD", "reason"),
        (
            json!({"status": "failed", "reason": ""}),
            "INVALID_FIELD",
            "reason",
        ),
        (
            json!({"status": "succeeded", "reason": "why not"}),
            "INVALID_FIELD",
            "reason",
        ),
        (
            json!({"status": "succeeded", "reference": "\u{7}"}),
            "INVALID_FIELD",
            "reference",
        ),
        (
            json!({"status": "succeeded", "amount": 1}),
            "UNKNOWN_FIELD",
            "amount",
        ),
    ] {
        let refused = api.call(Method::POST, &answer, &body).await;
        assert_eq!(
            (refused.status.as_u16(), refused.code()),
            (422, code),
            "{body}"
        );
        assert_eq!(refused.body["field"], field, "{body}");
    }
    let unknown = "/v1/payments/pay_none/answer";
    let refused = api
        .call(Method::POST, unknown, &json!({"status": "succeeded"}))
        .await;
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (404, "PAYMENT_NOT_FOUND")
    );

    for _ in 0..2 {
        let answered = api.post(&answer, json!({"status": "succeeded"})).await;
        assert_eq!(
            json!([answered["status"], answered["reference"]]),
            json!(["succeeded", "ch_7"])
        );
    }
    let contrary = json!({"status": "failed", "reason": "changed our mind"});
    let refused = api.call(Method::POST, &answer, &contrary).await;
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (409, "PAYMENT_ANSWERED")
    );
    let invoice = only_invoice(api, &subscription).await;
    assert_eq!(
        json!([
            invoice["status"],
            invoice["amount_paid"],
            invoice["open_payment"]
        ]),
        json!(["paid", 3000, null])
    );
    let audit = api.fetch("/v1/audit?page_size=100").await;
    let answers = audit["items"].as_array().unwrap().iter();
    let answers = answers.filter(|entry| entry["action"] == "payment.answered");
    assert_eq!(answers.count(), 1);
    running.stop().await;
}

#[tokio::test]
async fn whoever_has_another_card_is_asked_at_once_when_a_person_says_so() {
    let merchant = Merchant::start(&[declined()]).await;
    let running = start(&merchant, Mode::Live).await;
    let api = &running.api;
    let subscription = owing_now(api).await;
    let is_declined = |invoice: &Value| invoice["payments"][0]["status"] == "failed";
    let invoice = until(api, &subscription, is_declined).await;
    assert_eq!(standing(api, &subscription).await[0], "past_due");
    let id = invoice["invoice_id"].as_str().unwrap();
    let path = format!("/v1/invoices/{id}/collect");
    let asked = api.call(Method::POST, &path, &json!({})).await;
    assert_eq!(asked.status.as_u16(), 202);
    until(api, &subscription, |invoice| invoice["status"] == "paid").await;
    assert_eq!(standing(api, &subscription).await, json!(["active", null]));
    let refused = api.call(Method::POST, &path, &json!({})).await;
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (409, "INVOICE_STATUS")
    );
    running.stop().await;
}

#[tokio::test]
async fn by_hand_an_invoice_is_past_due_two_weeks_after_its_issue_until_it_is_paid() {
    let running = Running::start().await;
    let api = &running.api;
    let subscription = owing_now(api).await;
    let invoice = only_invoice(api, &subscription).await;
    assert_eq!(invoice["due_at"], "2026-03-24T12:00:30Z");
    let id = invoice["invoice_id"].as_str().unwrap();
    let collect = format!("/v1/invoices/{id}/collect");
    let refused = api.call(Method::POST, &collect, &json!({})).await;
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (409, "NO_PAYMENT_GATEWAY")
    );
    running.clock.set(time("2026-03-24T12:00:30Z"));
    until(api, &subscription, |invoice| {
        !invoice["past_due_since"].is_null()
    })
    .await;
    assert_eq!(standing(api, &subscription).await[0], "past_due");
    api.post(&format!("/v1/invoices/{id}/pay"), json!({})).await;
    assert_eq!(standing(api, &subscription).await, json!(["active", null]));
    running.stop().await;
}
