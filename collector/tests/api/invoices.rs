//! What may be done with an issued invoice, through the API alone.

use reqwest::Method;
use serde_json::{Value, json};
use submeter_common::aggregate::Group;

use crate::running::{Agent, Reply, Running, counted};

/// An invoice over 1500 cents: 15 calls at a dollar.
async fn issued(running: &Running) -> Value {
    let api = &running.api;
    let meter = api.counter("calls").await;
    let plan = api.product(&[(&meter, "100", 0)]).await;
    let mut agent = Agent::new(7);
    agent.register(api).await;
    let rows = vec![counted(
        "ada",
        &meter,
        "2026-02-03T00:00:00Z",
        Group::none(),
        15,
    )];
    let frame = agent.seal(rows, "2026-03-10T12:00:00Z");
    agent.send(api, frame).await.expect_success();
    api.customer("ada").await;
    let subscribed = api.subscribe("ada", &plan, "2026-02-01T00:00:00Z").await;
    crate::billing::closing(running, &subscribed).await
}

fn path(invoice: &Value, act: &str) -> String {
    format!(
        "/v1/invoices/{}/{act}",
        invoice["invoice_id"].as_str().unwrap()
    )
}

async fn act(running: &Running, path: &str, body: &Value) -> Reply {
    running.api.call(Method::POST, path, body).await
}

async fn topics(running: &Running) -> Vec<Value> {
    let messages = running.api.fetch("/v1/outbox").await;
    let messages = messages["items"].as_array().unwrap().iter();
    messages.map(|message| message["topic"].clone()).collect()
}

#[tokio::test]
async fn an_invoice_is_paid_once_however_often_the_receipt_is_sent() {
    let running = Running::start().await;
    let invoice = issued(&running).await;
    assert_eq!(
        json!([invoice["status"], invoice["amount_due"]]),
        json!(["issued", 1500])
    );
    let receipt = json!({"amount": 500, "reference": "wire 17", "idempotency_key": "17"});
    for _ in 0..2 {
        let reply = act(&running, &path(&invoice, "pay"), &receipt).await;
        let paid = reply.expect_success();
        assert_eq!(
            json!([paid["status"], paid["amount_due"]]),
            json!(["issued", 1000])
        );
    }
    let paid = act(&running, &path(&invoice, "pay"), &json!({})).await;
    let paid = paid.expect_success();
    assert_eq!(
        json!([paid["status"], paid["amount_paid"]]),
        json!(["paid", 1500])
    );
    assert_eq!(paid["lines"], invoice["lines"]);
    let again = act(&running, &path(&invoice, "pay"), &json!({})).await;
    assert_eq!(
        (again.status.as_u16(), again.code()),
        (409, "INVOICE_STATUS")
    );
    assert_eq!(again.should_retry.as_deref(), Some("false"));

    let id = invoice["invoice_id"].as_str().unwrap();
    let payments = running
        .api
        .fetch(&format!("/v1/payments?invoice_id={id}"))
        .await;
    assert_eq!(payments["items"].as_array().unwrap().len(), 2);
    assert_eq!(payments["items"][0]["reference"], "wire 17");
    assert_eq!(
        topics(&running).await,
        [
            "invoice.issued",
            "payment.succeeded",
            "payment.succeeded",
            "invoice.paid"
        ]
    );
    let paid = running.api.fetch("/v1/invoices?status=paid").await;
    assert_eq!(paid["items"].as_array().unwrap().len(), 1);
    let owed = running.api.fetch("/v1/invoices?status=issued").await;
    assert_eq!(owed["items"], json!([]));
}

#[tokio::test]
async fn credit_notes_and_withdrawals_leave_the_paper_as_it_is() {
    let running = Running::start().await;
    let invoice = issued(&running).await;
    let wanted = json!({
        "reason": "outage of 3 February",
        "lines": [{"line": 1, "amount": 200}],
        "idempotency_key": "ticket 9",
    });
    let first = act(&running, &path(&invoice, "credit-notes"), &wanted).await;
    let first = first.expect_success();
    assert_eq!(
        json!([first["number"], first["total_text"]]),
        json!(["CN-2026-000001", "2.00 USD"])
    );
    let same = act(&running, &path(&invoice, "credit-notes"), &wanted).await;
    assert_eq!(same.expect_success(), first);
    let wrong = json!({"reason": "wrong customer"});
    let withdrawn = act(&running, &path(&invoice, "void"), &wrong).await;
    let withdrawn = withdrawn.expect_success();
    assert_eq!(
        json!([
            withdrawn["status"],
            withdrawn["amount_due"],
            withdrawn["number"]
        ]),
        json!(["void", 0, invoice["number"]])
    );
    assert_eq!(withdrawn["lines"], invoice["lines"]);
    let notes = running.api.fetch("/v1/credit-notes?customer_id=ada").await;
    assert_eq!(notes["items"], json!([first]));
}

#[tokio::test]
async fn what_cannot_be_done_with_an_invoice_is_refused_by_field() {
    let running = Running::start().await;
    let invoice = issued(&running).await;
    for (verb, body, status, code, field) in [
        ("pay", json!({"amount": 0}), 422, "INVALID_FIELD", "amount"),
        (
            "pay",
            json!({"amount": 1501}),
            422,
            "INVALID_FIELD",
            "amount",
        ),
        (
            "pay",
            json!({"amount": "5"}),
            422,
            "INVALID_FIELD",
            "amount",
        ),
        ("pay", json!({"amuont": 5}), 422, "UNKNOWN_FIELD", "amuont"),
        ("credit-notes", json!({}), 422, "MISSING_FIELD", "reason"),
        (
            "credit-notes",
            json!({"reason": ""}),
            422,
            "INVALID_FIELD",
            "reason",
        ),
        (
            "credit-notes",
            json!({"reason": "x", "lines": []}),
            422,
            "INVALID_FIELD",
            "lines",
        ),
        (
            "credit-notes",
            json!({"reason": "x", "lines": [{"line": 1, "amount": 1501}]}),
            422,
            "INVALID_FIELD",
            "lines[0].amount",
        ),
        (
            "credit-notes",
            json!({"reason": "x", "lines": [{"line": 7, "amount": 1}]}),
            422,
            "INVALID_FIELD",
            "lines[0].line",
        ),
    ] {
        let refused = act(&running, &path(&invoice, verb), &body).await;
        let found = (refused.status.as_u16(), refused.code());
        assert_eq!(found, (status, code), "{body}");
        assert_eq!(refused.body["field"], field, "{body}");
    }
    let unknown = act(&running, "/v1/invoices/inv_none/pay", &json!({})).await;
    assert_eq!(
        (unknown.status.as_u16(), unknown.code()),
        (404, "INVOICE_NOT_FOUND")
    );
    let path = format!("/v1/invoices/{}", invoice["invoice_id"].as_str().unwrap());
    assert_eq!(running.api.fetch(&path).await, invoice);
}

#[tokio::test]
async fn an_invoice_is_explained_and_verified() {
    let running = Running::start().await;
    let invoice = issued(&running).await;
    let explained = running.api.fetch(&path(&invoice, "explain")).await;
    assert_eq!(explained["invoice"], invoice);
    let line = &explained["lines"][0];
    assert_eq!(
        json!([line["number"], line["quantity"], line["events_known"]]),
        json!([1, "15", 15])
    );
    assert_eq!(line["days"][0]["start"], "2026-02-03T00:00:00Z");
    assert_eq!(line["days"][0]["hours"][0]["quantity"], "15");
    assert_eq!(line["frames"][0]["first_seq"], 1);
    assert!(line["frames"][0]["first_digest"].is_string());
    let beyond = running.api.get(&path(&invoice, "explain?line=2")).await;
    assert_eq!(
        (beyond.status.as_u16(), beyond.body["field"].as_str()),
        (422, Some("line"))
    );
    for (part, checked) in [("invoices", 1), ("ledgers", 1), ("agents", 1)] {
        let verified = running.api.fetch(&format!("/v1/verify?part={part}")).await;
        assert_eq!(
            verified,
            json!({"checked": checked, "findings": [], "next": null}),
            "{part}"
        );
    }
    let unknown = running.api.get("/v1/verify?part=weather").await;
    assert_eq!(unknown.body["field"], "part");
}
