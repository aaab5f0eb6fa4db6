//! Prices of every model: in through the API, out again as they came, on an invoice with every step, and in the calculator.

use serde_json::{Value, json};
use submeter_common::aggregate::Group;

use crate::billing::closing;
use crate::running::{Agent, Running, counted, product};

fn tiers() -> Value {
    json!([
        {"up_to": "10", "price_per_unit": "100", "flat_price": 500},
        {"up_to": null, "price_per_unit": "0.5", "flat_price": 0, "package_size": "4", "package_rounding": "up"},
    ])
}

/// Every model, with all the fields that replies carry.
fn models() -> Vec<Value> {
    vec![
        json!({"model": "flat", "fixed_price": 700}),
        json!({"model": "per_unit", "price_per_unit": "0.000000000001", "fixed_price": 1}),
        json!({"model": "package", "package_size": "1000", "package_rounding": "down", "price_per_package": "1234567", "fixed_price": 0}),
        json!({"model": "percentage", "percent": "1.3", "fixed_price": 0}),
        json!({"model": "graduated", "tiers": tiers()}),
        json!({"model": "volume", "tiers": tiers()}),
    ]
}

fn merged(mut base: Value, more: Value) -> Value {
    let more = more.as_object().unwrap().clone();
    base.as_object_mut().unwrap().extend(more);
    base
}

#[tokio::test]
async fn prices_of_every_model_are_read_back_as_they_were_sent() {
    let running = Running::start().await;
    let api = &running.api;
    let meter = json!({
        "name": "calls", "event_name": "calls", "measurement_unit": "calls", "aggregation": {"type": "count"}, "group_by": ["region"],
    });
    let meter = api.create("/meters", meter, "id").await;
    let row = merged(models()[4].clone(), json!({"values": ["eu"]}));
    let around = json!({
        "convert": {"divide_by": "3600", "rounding": "half_away", "digits": 6},
        "groups": {"by": ["region"], "prices": [row]},
        "price_per_event": "0.25", "free_events": 3, "minimum": 1, "maximum": 5_000_000_000_i64, "zero_usage": "free",
    });
    for model in models() {
        for more in [json!({"zero_usage": "charge"}), around.clone()] {
            let pricing = merged(model.clone(), more);
            let meters = json!([{"meter_id": meter, "free_threshold": 7, "pricing": pricing}]);
            let id = api
                .create("/products", product(0, meters), "product_id")
                .await;
            let read = api.fetch(&format!("/products/{id}")).await;
            let entry = &read["price"]["meters"][0];
            assert_eq!(entry["pricing"], pricing);
            assert_eq!(
                json!([entry["free_threshold"], entry["price_per_unit"]]),
                json!([7, null])
            );
        }
    }
    // One price for every unit is the compatible form, whichever way it came in.
    let plain = json!([{"meter_id": meter, "pricing": {"model": "per_unit", "price_per_unit": 2}}]);
    let id = api
        .create("/products", product(0, plain), "product_id")
        .await;
    let read = api.fetch(&format!("/products/{id}")).await;
    let entry = &read["price"]["meters"][0];
    assert_eq!(
        json!([entry["price_per_unit"], entry.get("pricing")]),
        json!(["2", null])
    );
}

#[tokio::test]
async fn a_price_is_tried_on_past_usage_for_one_or_all_customers() {
    let running = Running::start().await;
    let api = &running.api;
    let meter = api.counter("calls").await;
    let plan = api.product(&[(&meter, "2", 1000)]).await;
    let mut agent = Agent::new(7);
    agent.register(api).await;
    let at = "2026-02-03T00:00:00Z";
    let rows = vec![
        counted("ada", &meter, at, Group::none(), 2500),
        counted("bob", &meter, at, Group::none(), 1100),
    ];
    let frame = agent.seal(rows, "2026-03-10T12:00:00Z");
    agent.send(api, frame).await.expect_success();
    for customer in ["ada", "bob"] {
        api.customer(customer).await;
        let subscribed = api.subscribe(customer, &plan, "2026-02-01T00:00:00Z").await;
        closing(&running, &subscribed).await;
    }
    let path = format!("/v1/products/{plan}/simulate");
    let other = product(
        0,
        json!([{"meter_id": meter, "pricing": {"model": "package", "package_size": 1000, "price_per_package": 900}}]),
    );
    let price = &other["price"];
    let all = api.post(&path, json!({"price": price})).await;
    // Ada: 3000 → 3 × 900, Bob: 200 → 2 × 900.
    assert_eq!(
        json!([
            all["total"]["current"],
            all["total"]["simulated"],
            all["total"]["difference_text"]
        ]),
        json!([3200, 4500, "13.00 USD"])
    );
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
    assert_eq!(
        json!([all["items"][0]["customer_id"], all["more"]]),
        json!(["bob", false])
    );
    assert_eq!(all["items"][0]["periods"][0].get("simulated"), None);
    let first = api
        .post(&format!("{path}?page_size=1"), json!({"price": price}))
        .await;
    assert_eq!(
        json!([first["total"]["current"], first["more"]]),
        json!([200, true])
    );

    let one = api
        .post(
            &path,
            json!({"price": price, "customer_id": "ada", "periods": 3}),
        )
        .await;
    let period = &one["items"][0]["periods"][0];
    let tried = &period["simulated"]["meters"][0];
    assert_eq!(
        json!([
            tried["amount"],
            tried["derivation"]["parts"][0]["tiers"][0]["packages"]
        ]),
        json!([2700, "3"])
    );
    assert_eq!(period["current"]["meters"][0]["amount"], 3000);
    assert_eq!(
        api.fetch(&format!("/products/{plan}")).await["price"]["meters"][0]["price_per_unit"],
        "2"
    );
}

#[tokio::test]
async fn an_amount_that_no_invoice_can_hold_is_told_with_its_meter() {
    let running = Running::start().await;
    let api = &running.api;
    let meter = api.counter("calls").await;
    let pricing = json!({"model": "per_unit", "price_per_unit": "1", "fixed_price": i64::MAX});
    let meters = json!([{"meter_id": meter, "pricing": pricing}]);
    let plan = api
        .create("/products", product(0, meters), "product_id")
        .await;
    let mut agent = Agent::new(7);
    agent.register(api).await;
    let rows = vec![counted(
        "ada",
        &meter,
        "2026-03-03T00:00:00Z",
        Group::none(),
        1,
    )];
    let frame = agent.seal(rows, "2026-03-10T12:00:00Z");
    agent.send(api, frame).await.expect_success();
    api.customer("ada").await;
    let subscribed = api.subscribe("ada", &plan, "2026-03-01T00:00:00Z").await;
    let reply = api
        .get(&format!("/subscriptions/{subscribed}/usage-history"))
        .await;
    assert_eq!(
        (reply.status.as_u16(), reply.code()),
        (409, "CANNOT_BE_BILLED")
    );
    let message = reply.body["message"].as_str().unwrap();
    assert!(
        message.contains(&meter) && message.contains("9223372036854775807"),
        "{message}"
    );
}

#[tokio::test]
async fn an_invoice_shows_the_steps_that_the_calculator_shows() {
    let running = Running::start().await;
    let api = &running.api;
    let meter = api.counter("calls").await;
    let pricing = json!({"model": "graduated", "tiers": tiers(), "maximum": 1501});
    let meters = json!([{"meter_id": meter, "free_threshold": 5, "pricing": pricing}]);
    let plan = api
        .create("/products", product(0, meters), "product_id")
        .await;
    let mut agent = Agent::new(7);
    agent.register(api).await;
    let rows = vec![counted(
        "ada",
        &meter,
        "2026-02-03T00:00:00Z",
        Group::none(),
        20,
    )];
    let frame = agent.seal(rows, "2026-03-10T12:00:00Z");
    agent.send(api, frame).await.expect_success();
    api.customer("ada").await;
    let subscribed = api.subscribe("ada", &plan, "2026-02-01T00:00:00Z").await;

    let invoice = closing(&running, &subscribed).await;
    let line = &invoice["lines"][0];
    // Fifteen are charged: ten in the first tier with its flat part, five in two packages of four.
    assert_eq!(
        json!([line["amount_exact"], line["amount"]]),
        json!(["1501", 1501])
    );
    let price = json!({"currency": "USD", "free_threshold": 5, "pricing": pricing});
    let rated = api
        .post(
            "/v1/rate",
            json!({"price": price, "usage": [{"quantity": 20, "events": 20}]}),
        )
        .await;
    let item = &rated["items"][0];
    assert_eq!(item["derivation"], line["derivation"]);
    for field in [
        "quantity",
        "free_quantity",
        "billed_quantity",
        "unit_price",
        "amount_exact",
        "amount",
    ] {
        assert_eq!(item[field], line[field], "{field}");
    }
    let history = api
        .fetch(&format!("/subscriptions/{subscribed}/usage-history"))
        .await;
    let closed = &history["items"][1]["meters"][0];
    assert_eq!(
        json!([
            closed["consumed_units"],
            closed["chargeable_units"],
            closed["total_price"]
        ]),
        json!(["20", "15", 1501])
    );
}
