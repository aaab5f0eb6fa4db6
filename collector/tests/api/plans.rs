//! Changing and ending subscriptions through the API, as the official clients do.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::running::{Agent, Api, Running, product, subscription};

/// A subscription of 30.00 a month from 1 March, half of which is over, and a plan of 60.00; both have the same meter.
async fn subscribed(api: &Api) -> (String, String) {
    let meter = api.counter("calls").await;
    let priced =
        |price: &str| json!([{"meter_id": meter, "price_per_unit": price, "free_threshold": 0}]);
    let small = api
        .create("/products", product(3100, priced("10")), "product_id")
        .await;
    let large = api
        .create("/products", product(6200, priced("5")), "product_id")
        .await;
    api.customer("ada").await;
    let path = "/subscriptions";
    let wanted = subscription("ada", &small, "2026-03-01T00:00:00Z");
    (api.create(path, wanted, "subscription_id").await, large)
}

fn change(product: &str, mode: &str) -> Value {
    json!({"product_id": product, "quantity": 1, "proration_billing_mode": mode})
}

async fn refused(
    api: &Api,
    method: Method,
    path: &str,
    body: &Value,
) -> (StatusCode, String, String) {
    let reply = api.call(method, path, body).await;
    let field = reply.body["field"].as_str().unwrap_or_default().to_owned();
    (reply.status, reply.code().to_owned(), field)
}

#[tokio::test]
async fn a_change_is_previewed_made_shown_and_taken_back() {
    let running = Running::start().await;
    let api = &running.api;
    let (id, large) = subscribed(api).await;
    let path = format!("/subscriptions/{id}/change-plan");
    // It is 12:00:30 on 10 March: cut at 12:01, after 9 days, 12 hours and a minute.
    let keep = change(&large, "prorated_immediately_keep_cycle");
    let preview = api.post(&format!("{path}/preview"), keep.clone()).await;
    let charge = &preview["immediate_charge"];
    assert_eq!(charge["effective_at"], "2026-03-10T12:01:00Z");
    let (minutes, whole) = (9 * 1440 + 721, 31 * 1440);
    let used = (2 * 3100 * minutes + whole) / (2 * whole);
    let rest = (2 * 6200 * (whole - minutes) + whole) / (2 * whole);
    assert_eq!(charge["summary"]["total_amount"], used - 3100 + rest);
    let amounts: Vec<&Value> = charge["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| &line["amount"])
        .collect();
    assert_eq!(amounts, [&json!(used - 3100), &json!(rest)]);
    let items = charge["line_items"].as_array().unwrap();
    assert!(items.iter().all(|item| item["type"] == "subscription"));
    assert!(items[0]["proration_factor"].as_f64().unwrap() < 0.0);
    assert_eq!(preview["new_plan"]["product_id"], json!(large));
    let unchanged = api.fetch(&format!("/subscriptions/{id}")).await;
    assert_eq!(
        unchanged["scheduled_change"],
        Value::Null,
        "a preview changes nothing"
    );

    let mut later = keep.clone();
    later["effective_at"] = json!("next_billing_date");
    let made = api.post(&path, later.clone()).await;
    assert_eq!(made["effective_at"], "2026-04-01T00:00:00Z");
    let shown = api.fetch(&format!("/subscriptions/{id}")).await;
    assert_eq!(shown["scheduled_change"]["product_id"], json!(large));
    assert_eq!(shown["scheduled_change"]["id"], made["plan_change_id"]);
    let pending = (
        StatusCode::CONFLICT,
        "PLAN_CHANGE_PENDING".to_owned(),
        "cancel_scheduled_change_plan".to_owned(),
    );
    assert_eq!(refused(api, Method::POST, &path, &keep).await, pending);
    assert_eq!(
        refused(api, Method::POST, &format!("{path}/preview"), &keep).await,
        pending
    );
    let scheduled = format!("{path}/scheduled");
    api.call(Method::DELETE, &scheduled, &Value::Null)
        .await
        .expect_success();
    let none = (
        StatusCode::CONFLICT,
        "NOTHING_TO_TAKE_BACK".to_owned(),
        String::new(),
    );
    assert_eq!(
        refused(api, Method::DELETE, &scheduled, &Value::Null).await,
        none
    );
    api.post(&path, keep).await;
    let shown = api.fetch(&format!("/subscriptions/{id}")).await;
    assert_eq!(
        shown["scheduled_change"]["effective_at"],
        "2026-03-10T12:01:00Z"
    );
    running
        .clock
        .set(crate::running::time("2026-03-10T12:01:00Z"));
    let shown = api.fetch(&format!("/subscriptions/{id}")).await;
    assert_eq!(
        (&shown["product_id"], &shown["scheduled_change"]),
        (&json!(large), &Value::Null)
    );
    running.stop().await;
}

#[tokio::test]
async fn a_cancellation_is_previewed_made_and_taken_back_until_it_comes() {
    let running = Running::start().await;
    let api = &running.api;
    // An agent that is behind holds the last period open.
    let mut agent = Agent::new(7);
    agent.register(api).await;
    let (id, large) = subscribed(api).await;
    let path = format!("/subscriptions/{id}");
    let preview = format!("/v1{path}/cancel/preview");
    let now = api
        .post(&preview, json!({"credit_unused_time": true}))
        .await;
    assert_eq!(now["final_charge"]["effective_at"], "2026-03-10T12:01:00Z");
    assert!(
        now["final_charge"]["summary"]["total_amount"]
            .as_i64()
            .unwrap()
            < 0
    );
    let at_end = api
        .post(&preview, json!({"cancel_at_next_billing_date": true}))
        .await;
    assert_eq!(at_end["final_charge"]["summary"]["total_amount"], 0);

    let ends = json!({"cancel_at_next_billing_date": true, "cancellation_feedback": "unused"});
    let ending = api.call(Method::PATCH, &path, &ends).await.expect_success();
    assert_eq!(
        (&ending["status"], &ending["cancel_at_next_billing_date"]),
        (&json!("active"), &json!(true))
    );
    assert_eq!(
        (&ending["expires_at"], &ending["cancellation_feedback"]),
        (&json!("2026-04-01T00:00:00Z"), &json!("unused"))
    );
    let changing = change(&large, "full_immediately");
    let (status, code, _) =
        refused(api, Method::POST, &format!("{path}/change-plan"), &changing).await;
    assert_eq!(
        (status, code.as_str()),
        (StatusCode::CONFLICT, "SUBSCRIPTION_CANCELLED")
    );
    let goes_on = api
        .call(
            Method::PATCH,
            &path,
            &json!({"cancel_at_next_billing_date": false}),
        )
        .await
        .expect_success();
    assert_eq!(
        (
            &goes_on["cancel_at_next_billing_date"],
            &goes_on["cancelled_at"]
        ),
        (&json!(false), &Value::Null)
    );

    let cancelled = api
        .call(Method::PATCH, &path, &json!({"status": "cancelled"}))
        .await
        .expect_success();
    assert_eq!(
        (&cancelled["status"], &cancelled["expires_at"]),
        (&json!("cancelled"), &json!("2026-03-10T12:01:00Z"))
    );
    let (status, code, _) =
        refused(api, Method::PATCH, &path, &json!({"status": "cancelled"})).await;
    assert_eq!(
        (status, code.as_str()),
        (StatusCode::CONFLICT, "SUBSCRIPTION_ENDED")
    );
    // The meter is free again from the next minute on.
    let again = subscription("ada", &large, "2026-03-10T12:00:00Z");
    let (_, code, field) = refused(api, Method::POST, "/subscriptions", &again).await;
    assert_eq!(
        (code.as_str(), field.as_str()),
        ("METER_ALREADY_SUBSCRIBED", "product_id")
    );
    running
        .clock
        .set(crate::running::time("2026-03-10T12:01:00Z"));
    api.post(
        "/subscriptions",
        subscription("ada", &large, "2026-03-10T12:01:00Z"),
    )
    .await;
    let topics: Vec<Value> = api.fetch("/v1/outbox").await["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["topic"].clone())
        .collect();
    for topic in ["subscription.cancelled", "subscription.updated"] {
        assert!(topics.contains(&json!(topic)), "{topics:?}");
    }
    running.stop().await;
}

#[tokio::test]
async fn bad_changes_are_refused_with_their_fields_and_nothing_is_done() {
    let running = Running::start().await;
    let api = &running.api;
    let (id, large) = subscribed(api).await;
    let path = format!("/subscriptions/{id}");
    let before = api.fetch(&path).await;
    let good = change(&large, "full_immediately");
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    for (body, status, code, field) in [
        (
            json!({"quantity": 1, "proration_billing_mode": "full_immediately"}),
            422,
            "MISSING_FIELD",
            "product_id",
        ),
        (
            with("product_id", json!("pdt_none")),
            404,
            "PRODUCT_NOT_FOUND",
            "",
        ),
        (with("quantity", json!(0)), 422, "INVALID_FIELD", "quantity"),
        (
            with("quantity", json!(1_000_001)),
            422,
            "INVALID_FIELD",
            "quantity",
        ),
        (
            with("proration_billing_mode", json!("free_of_charge")),
            422,
            "INVALID_FIELD",
            "proration_billing_mode",
        ),
        (
            with("proration", json!("minute")),
            422,
            "INVALID_FIELD",
            "proration",
        ),
        (
            with("effective_at", json!("tomorrow")),
            422,
            "INVALID_FIELD",
            "effective_at",
        ),
        (
            with("on_payment_failure", json!("prevent_change")),
            422,
            "UNSUPPORTED_FIELD",
            "on_payment_failure",
        ),
        (
            with("discount_codes", json!(["TEN"])),
            422,
            "UNSUPPORTED_FIELD",
            "discount_codes",
        ),
        (with("surprise", json!(1)), 422, "UNKNOWN_FIELD", "surprise"),
    ] {
        for suffix in ["/change-plan", "/change-plan/preview"] {
            let found = refused(api, Method::POST, &format!("{path}{suffix}"), &body).await;
            assert_eq!(
                found,
                (
                    StatusCode::from_u16(status).unwrap(),
                    code.to_owned(),
                    field.to_owned()
                ),
                "{body}"
            );
        }
    }
    for (body, code, field) in [
        (json!({"status": "paused"}), "INVALID_FIELD", "status"),
        (
            json!({"status": "cancelled", "cancel_at_next_billing_date": true}),
            "INVALID_FIELD",
            "cancel_at_next_billing_date",
        ),
        (
            json!({"cancellation_feedback": "unused"}),
            "INVALID_FIELD",
            "cancellation_feedback",
        ),
        (
            json!({"status": "cancelled", "cancel_reason": "boredom"}),
            "INVALID_FIELD",
            "cancel_reason",
        ),
        (
            json!({"status": "cancelled", "cancellation_comment": "x".repeat(1001)}),
            "INVALID_FIELD",
            "cancellation_comment",
        ),
        (
            json!({"next_billing_date": "2026-04-02T00:00:00Z"}),
            "UNSUPPORTED_FIELD",
            "next_billing_date",
        ),
        (
            json!({"billing": {"country": "Atlantis"}}),
            "INVALID_FIELD",
            "billing.country",
        ),
    ] {
        let found = refused(api, Method::PATCH, &path, &body).await;
        assert_eq!(
            found,
            (
                StatusCode::UNPROCESSABLE_ENTITY,
                code.to_owned(),
                field.to_owned()
            ),
            "{body}"
        );
    }
    let unknown = refused(
        api,
        Method::POST,
        "/subscriptions/sub_none/change-plan",
        &good,
    )
    .await;
    assert_eq!(unknown.0, StatusCode::NOT_FOUND);
    assert_eq!(api.fetch(&path).await, before);
    running.stop().await;
}
