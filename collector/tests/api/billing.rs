//! From frames to usage and invoices, through the API alone.

use std::time::Duration;

use serde_json::{Value, json};
use submeter_common::aggregate::Group;

use crate::running::{Agent, Running, counted, product, subscription, summed, time};

/// The one invoice that closes a period of a subscription, once it is there.
pub(crate) async fn closing(running: &Running, subscription: &str) -> Value {
    for _ in 0..500 {
        let path = format!("/v1/invoices?subscription_id={subscription}");
        let invoices = running.api.fetch(&path).await;
        let closing = invoices["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|invoice| !invoice["closes_period"].is_null());
        if let Some(invoice) = closing {
            return invoice.clone();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no period of {subscription} was closed");
}

fn usage_line<'a>(invoice: &'a Value, meter: &str) -> &'a Value {
    invoice["lines"]
        .as_array()
        .unwrap()
        .iter()
        .find(|line| line["meter_id"] == json!(meter))
        .unwrap()
}

/// 2 500 calls, 1 000 free, 2 cents each: 30 dollars.
#[tokio::test]
async fn a_complete_backdated_period_is_invoiced_at_once_with_its_whole_derivation() {
    let running = Running::start().await;
    let api = &running.api;
    let meter = api.counter("calls").await;
    let plan = api.product(&[(&meter, "2", 1000)]).await;
    let mut agent = Agent::new(7);
    agent.register(api).await;
    // The events came before anybody knew the customer.
    let rows = vec![
        counted("ada", &meter, "2026-02-01T00:00:00Z", Group::none(), 1500),
        counted("ada", &meter, "2026-02-28T23:59:00Z", Group::none(), 1000),
        counted("ada", &meter, "2026-01-31T23:59:00Z", Group::none(), 77),
        counted("ada", &meter, "2026-03-01T00:00:00Z", Group::none(), 99),
    ];
    let frame = agent.seal(rows, "2026-03-10T12:00:00Z");
    agent.send(api, frame).await.expect_success();
    api.customer("ada").await;
    let subscribed = api.subscribe("ada", &plan, "2026-02-01T00:00:00Z").await;

    let invoice = closing(&running, &subscribed).await;
    assert_eq!(invoice["number"], "INV-2026-000001");
    assert_eq!(
        (invoice["total"].as_i64(), invoice["total_text"].as_str()),
        (Some(3000), Some("30.00 USD"))
    );
    assert_eq!(invoice["complete"], true);
    let line = usage_line(&invoice, &meter);
    assert_eq!(
        json!([
            line["quantity"],
            line["free_quantity"],
            line["billed_quantity"],
            line["unit_price"]
        ]),
        json!(["2500", "1000", "1500", "2"])
    );
    assert_eq!(
        json!([line["amount_exact"], line["amount"]]),
        json!(["3000", 3000])
    );
    assert_eq!(
        line["sources"],
        json!([{"agent_id": agent.id, "first_seq": 1, "last_seq": 1, "events": 2500}])
    );
    let same = api
        .fetch(&format!(
            "/v1/invoices/{}",
            invoice["invoice_id"].as_str().unwrap()
        ))
        .await;
    assert_eq!(same, invoice);

    let history = api
        .fetch(&format!("/subscriptions/{subscribed}/usage-history"))
        .await;
    let (open, closed) = (&history["items"][0], &history["items"][1]);
    assert_eq!(
        (open["open"].as_bool(), closed["open"].as_bool()),
        (Some(true), Some(false))
    );
    assert_eq!(open["meters"][0]["consumed_units"], "99");
    assert_eq!(closed["meters"][0]["consumed_units"], "2500");
    assert_eq!(closed["meters"][0]["chargeable_units"], "1500");
    assert_eq!(closed["meters"][0]["total_price"], 3000);
    let until = "?end_date=2026-03-01T00:00:00Z&page_size=1";
    let filtered = api
        .fetch(&format!("/subscriptions/{subscribed}/usage-history{until}"))
        .await;
    assert_eq!(filtered["items"], json!([closed]));
}

#[tokio::test]
async fn a_period_waits_for_a_late_agent_and_is_closed_when_it_has_delivered() {
    let running = Running::start().await;
    let api = &running.api;
    let meter = api.counter("calls").await;
    let plan = api.product(&[(&meter, "100", 0)]).await;
    api.customer("ada").await;
    let (mut early, mut late) = (Agent::new(1), Agent::new(2));
    early.register(api).await;
    late.register(api).await;
    let rows = |events| {
        vec![counted(
            "ada",
            &meter,
            "2026-03-01T10:00:00Z",
            Group::none(),
            events,
        )]
    };
    let frame = early.seal(rows(3), "2026-03-10T12:00:00Z");
    early.send(api, frame).await.expect_success();
    let frame = late.seal(rows(1), "2026-03-08T00:00:00Z");
    late.send(api, frame).await.expect_success();
    let subscribed = api.subscribe("ada", &plan, "2026-02-09T00:00:00Z").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(
        api.fetch("/v1/invoices").await["items"],
        json!([]),
        "one agent may still deliver"
    );

    let frame = late.seal(rows(5), "2026-03-09T00:00:00Z");
    late.send(api, frame).await.expect_success();
    let invoice = closing(&running, &subscribed).await;
    assert_eq!(
        (invoice["total"].as_i64(), invoice["complete"].as_bool()),
        (Some(900), Some(true))
    );
    assert_eq!(
        usage_line(&invoice, &meter)["sources"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn the_clock_closes_periods_and_the_next_base_fee_is_on_the_same_invoice() {
    let running = Running::start().await;
    let api = &running.api;
    let meter = api.counter("calls").await;
    let priced = json!([{"meter_id": meter, "price_per_unit": "0.5", "free_threshold": 10_000}]);
    let plan = api
        .create("/products", product(4900, priced), "product_id")
        .await;
    let order = json!({
        "billing": {"country": "DE"}, "customer": {"email": "new@example.com"}, "product_id": plan, "quantity": 1,
    });
    let created = api.post("/subscriptions", order).await;
    assert_eq!(created["recurring_pre_tax_amount"], 4900);
    let opening = api
        .fetch(&format!(
            "/v1/invoices/{}",
            created["invoice_id"].as_str().unwrap()
        ))
        .await;
    assert_eq!(
        (opening["total"].as_i64(), opening["period"].is_null()),
        (Some(4900), true)
    );
    let customer = created["customer"]["customer_id"].as_str().unwrap();
    let subscribed = created["subscription_id"].as_str().unwrap();

    // $49 base + (25 000 − 10 000) × $0.005 = $124.00
    let mut agent = Agent::new(1);
    agent.register(api).await;
    let frame = agent.seal(
        vec![counted(
            customer,
            &meter,
            "2026-03-20T00:00:00Z",
            Group::none(),
            25_000,
        )],
        "2026-05-01T00:00:00Z",
    );
    // A promise reaches no further than the clock when it comes in.
    running.clock.set(time("2026-04-10T12:00:00Z"));
    agent.send(api, frame).await.expect_success();
    let invoice = closing(&running, subscribed).await;
    assert_eq!(invoice["total_text"], "124.00 USD");
    assert_eq!(invoice["lines"].as_array().unwrap().len(), 2);
    let (directory, clock) = running.stop().await;
    let again = Running::start_over(directory, clock).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(
        again.api.fetch("/v1/invoices").await["items"]
            .as_array()
            .unwrap()
            .len(),
        2,
        "nothing is issued twice"
    );
}

#[tokio::test]
async fn credits_show_at_once_what_the_open_period_burns() {
    let running = Running::start().await;
    let api = &running.api;
    let meter = api.counter("calls").await;
    let credits = json!({"name": "t", "unit": "tokens", "precision": 2, "overage_enabled": false, "rollover_enabled": false});
    let tokens = api.create("/credit-entitlements", credits, "id").await;
    let mut plan = product(
        0,
        json!([{"meter_id": meter, "credit_entitlement_id": tokens, "meter_units_per_credit": 4, "free_threshold": 2}]),
    );
    plan["credit_entitlements"] =
        json!([{"credit_entitlement_id": tokens, "credits_amount": 10.5}]);
    let plan = api.create("/products", plan, "product_id").await;
    api.customer("ada").await;
    let subscribed = api.subscribe("ada", &plan, "2026-03-01T00:00:00Z").await;
    let mut agent = Agent::new(1);
    agent.register(api).await;
    let frame = agent.seal(
        vec![counted(
            "ada",
            &meter,
            "2026-03-05T00:00:00Z",
            Group::none(),
            12,
        )],
        "2026-03-10T00:00:00Z",
    );
    agent.send(api, frame).await.expect_success();
    let shown = api.fetch(&format!("/subscriptions/{subscribed}")).await;
    let cart = &shown["credit_entitlement_cart"][0];
    // (12 − 2 free) / 4 = 2.5 of 10.5 credits.
    assert_eq!(
        json!([cart["credits_amount"], cart["remaining_balance"]]),
        json!(["10.5", "8"])
    );
    let left = api.fetch("/customers/ada/credit-entitlements").await;
    assert_eq!(left["items"][0]["balance"], "8");
}

#[tokio::test]
async fn usage_is_answered_by_step_and_group() {
    let running = Running::start().await;
    let api = &running.api;
    let grouped = json!({
        "name": "images", "event_name": "image", "measurement_unit": "images", "aggregation": {"type": "count"},
        "group_by": ["quality", "size"],
    });
    let images = api.create("/meters", grouped, "id").await;
    let sum = json!({"name": "gb", "event_name": "data", "measurement_unit": "GB", "aggregation": {"type": "sum", "key": "gb"}});
    let data = api.create("/meters", sum, "id").await;
    let mut agent = Agent::new(1);
    agent.register(api).await;
    let group = |quality: &str, size: Option<&str>| {
        Group::of([Some(quality.to_owned()), size.map(str::to_owned)])
    };
    let rows = vec![
        counted(
            "ada",
            &images,
            "2026-03-09T10:00:00Z",
            group("hd", Some("l")),
            1,
        ),
        counted(
            "ada",
            &images,
            "2026-03-09T10:01:00Z",
            group("hd", Some("s")),
            2,
        ),
        counted("ada", &images, "2026-03-10T10:00:00Z", group("sd", None), 4),
        counted("ada", &images, "2026-03-10T11:59:00Z", Group::other(), 8),
        summed(
            "ada",
            &data,
            "2026-03-10T10:00:00Z",
            3,
            "1.000000000000000000000000000000000001",
        ),
    ];
    let frame = agent.seal(rows, "2026-03-10T12:00:00Z");
    agent.send(api, frame).await.expect_success();

    let ask = async |query: &str| {
        api.fetch(&format!(
            "/v1/usage?customer_id=ada&start=2026-03-09T00:00:00Z{query}"
        ))
        .await
    };
    let whole = ask(&format!("&meter_id={images}")).await;
    assert_eq!(
        json!([whole["quantity"], whole["end"], whole["items"][0]["events"]]),
        json!(["15", "2026-03-10T12:01:00Z", 15])
    );
    let by_day = ask(&format!("&meter_id={images}&granularity=day")).await;
    let days: Vec<_> = by_day["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| json!([item["start"], item["quantity"]]))
        .collect();
    assert_eq!(
        json!(days),
        json!([
            ["2026-03-09T00:00:00Z", "3"],
            ["2026-03-10T00:00:00Z", "12"]
        ])
    );
    let by_quality = ask(&format!("&meter_id={images}&group_by=quality")).await;
    let groups: Vec<_> = by_quality["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| json!([item["group"]["quality"], item["other"], item["quantity"]]))
        .collect();
    assert_eq!(
        json!(groups),
        json!([["hd", false, "3"], ["sd", false, "4"], [null, true, "8"]])
    );
    assert_eq!(by_quality["quantity"], "15");
    let all = ask("").await;
    assert_eq!(
        (
            all["items"].as_array().unwrap().len(),
            all["quantity"].is_null()
        ),
        (2, true)
    );
    assert_eq!(
        ask(&format!("&meter_id={data}")).await["quantity"],
        "1.000000000000000000000000000000000001"
    );
    let wrong = api
        .get(&format!(
            "/v1/usage?customer_id=ada&meter_id={images}&group_by=colour"
        ))
        .await;
    assert_eq!(wrong.body["field"], "group_by");
    assert_eq!(
        ask("&end=2026-03-09T10:01:00Z").await["items"][0]["quantity"],
        "1"
    );
}

#[tokio::test]
async fn numbers_keep_every_digit_on_their_way_through_the_api() {
    let running = Running::start().await;
    let api = &running.api;
    let meter = api.counter("calls").await;
    api.customer("ada").await;
    // More digits than binary floating point has, as a number and as a string; and a threshold above 2^31.
    for (told, kept) in [
        ("12345.000000000001", "12345.000000000001"),
        ("\"0.1\"", "0.1"),
        ("1e-5", "0.00001"),
    ] {
        let body = format!(
            r#"{{"name":"P","tax_category":"saas","price":{{"type":"usage_based_price","currency":"JPY","fixed_price":0,
            "payment_frequency_count":1,"payment_frequency_interval":"Month","subscription_period_count":1,
            "subscription_period_interval":"Year","meters":[{{"meter_id":"{meter}","price_per_unit":{told},
            "free_threshold":9007199254740993}}]}}}}"#
        );
        let reply = api
            .send(
                reqwest::Method::POST,
                "/products",
                Some("application/json"),
                body,
            )
            .await
            .expect_success();
        let priced = &reply["price"]["meters"][0];
        assert_eq!(
            json!([priced["price_per_unit"], priced["free_threshold"]]),
            json!([kept, 9_007_199_254_740_993_i64])
        );
    }
    let order = subscription("ada", "pdt_none", "2026-03-01T01:00:00+01:00");
    assert_eq!(
        api.call(reqwest::Method::POST, "/subscriptions", &order)
            .await
            .code(),
        "PRODUCT_NOT_FOUND"
    );
}
