//! Bad input: each piece gets its status, its code, and the field it is about; nothing is stored.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::running::{Running, product};

/// A minute in which a subscription may begin.
const NOW_MINUTE: &str = "2026-03-10T12:00:00Z";

/// One bad request and what it must be answered with.
struct Case {
    path: &'static str,
    body: Value,
    status: u16,
    code: &'static str,
    field: &'static str,
}

fn case(
    path: &'static str,
    body: Value,
    status: u16,
    code: &'static str,
    field: &'static str,
) -> Case {
    Case {
        path,
        body,
        status,
        code,
        field,
    }
}

/// `base` with the value at `pointer` replaced.
fn with(base: &Value, pointer: &str, value: Value) -> Value {
    let mut changed = base.clone();
    match changed.pointer_mut(pointer) {
        Some(place) => *place = value,
        None => {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            changed.pointer_mut(parent).unwrap()[name] = value;
        }
    }
    changed
}

fn without(base: &Value, pointer: &str) -> Value {
    let mut changed = base.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    changed
        .pointer_mut(parent)
        .unwrap()
        .as_object_mut()
        .unwrap()
        .remove(name);
    changed
}

async fn check(running: &Running, cases: Vec<Case>) {
    for case in cases {
        let reply = running.api.call(Method::POST, case.path, &case.body).await;
        let found = (
            reply.status.as_u16(),
            reply.code(),
            reply.body["field"].as_str().unwrap_or(""),
        );
        assert_eq!(
            found,
            (case.status, case.code, case.field),
            "{} {}\n{}",
            case.path,
            case.body,
            reply.body
        );
        let message = reply.body["message"].as_str().unwrap();
        assert!(
            message.contains(case.field),
            "the message names the field: {message}"
        );
    }
}

fn meter() -> Value {
    json!({
        "name": "m", "event_name": "e", "measurement_unit": "u", "aggregation": {"type": "sum", "key": "k"},
        "filter": {"conjunction": "and", "clauses": [{"key": "a", "operator": "equals", "value": 1}]},
    })
}

#[tokio::test]
async fn a_simulation_names_what_cannot_be_compared() {
    let running = Running::start().await;
    let api = &running.api;
    let calls = api.counter("calls").await;
    let plan = api.product(&[(&calls, "2", 0)]).await;
    let path: &'static str = format!("/v1/products/{plan}/simulate").leak();
    let good = product(0, json!([{"meter_id": calls, "price_per_unit": "3"}]));
    let good = json!({"price": good["price"], "periods": 2});
    check(
        &running,
        vec![
            case(
                path,
                without(&good, "/price"),
                422,
                "MISSING_FIELD",
                "price",
            ),
            case(
                path,
                with(&good, "/periods", json!(0)),
                422,
                "INVALID_FIELD",
                "periods",
            ),
            case(
                path,
                with(&good, "/periods", json!(25)),
                422,
                "INVALID_FIELD",
                "periods",
            ),
            case(
                path,
                with(&good, "/price/currency", json!("EUR")),
                422,
                "INVALID_FIELD",
                "price.currency",
            ),
            case(
                path,
                with(&good, "/price/payment_frequency_count", json!(2)),
                422,
                "INVALID_FIELD",
                "price.payment_frequency_count",
            ),
            case(
                path,
                with(&good, "/price/meters/0/price_per_unit", json!("0")),
                422,
                "INVALID_FIELD",
                "price.meters[0].price_per_unit",
            ),
            case(
                path,
                with(&good, "/price/meters/0/meter_id", json!("mtr_none")),
                400,
                "MISSING_METER_IDS",
                "price.meters[0].meter_id",
            ),
            case(
                path,
                with(&good, "/name", json!("x")),
                422,
                "UNKNOWN_FIELD",
                "name",
            ),
        ],
    )
    .await;
    let absent = api
        .call(Method::POST, "/v1/products/pdt_none/simulate", &good)
        .await;
    assert_eq!(
        (absent.status, absent.code()),
        (StatusCode::NOT_FOUND, "PRODUCT_NOT_FOUND")
    );
}

#[tokio::test]
async fn bad_meters_are_refused() {
    let running = Running::start().await;
    let good = meter();
    let deep = json!({"conjunction": "and", "clauses": [{"conjunction": "or", "clauses": [{"conjunction": "or",
        "clauses": [{"conjunction": "or", "clauses": [{"key": "a", "operator": "equals", "value": 1}]}]}]}]});
    let deep_path = "filter.clauses[0].clauses[0].clauses[0]";
    let condition = &good["filter"]["clauses"][0];
    let eleven = json!({"conjunction": "and", "clauses": vec![condition; 11]});
    check(
        &running,
        vec![
            case("/meters", json!([]), 422, "INVALID_FIELD", "body"),
            case(
                "/meters",
                without(&good, "/name"),
                422,
                "MISSING_FIELD",
                "name",
            ),
            case(
                "/meters",
                with(&good, "/name", json!("")),
                422,
                "INVALID_FIELD",
                "name",
            ),
            case(
                "/meters",
                with(&good, "/name", json!(7)),
                422,
                "INVALID_FIELD",
                "name",
            ),
            case(
                "/meters",
                with(&good, "/name", json!("n".repeat(257))),
                422,
                "INVALID_FIELD",
                "name",
            ),
            case(
                "/meters",
                with(&good, "/event_name", json!("a\u{0}b")),
                422,
                "INVALID_FIELD",
                "event_name",
            ),
            case(
                "/meters",
                with(&good, "/colour", json!("red")),
                422,
                "UNKNOWN_FIELD",
                "colour",
            ),
            case(
                "/meters",
                with(&good, "/aggregation/type", json!("average")),
                422,
                "INVALID_FIELD",
                "aggregation.type",
            ),
            case(
                "/meters",
                without(&good, "/aggregation/key"),
                422,
                "INVALID_FIELD",
                "aggregation.key",
            ),
            case(
                "/meters",
                with(&good, "/aggregation/keys", json!(1)),
                422,
                "UNKNOWN_FIELD",
                "aggregation.keys",
            ),
            case(
                "/meters",
                with(&good, "/group_by", json!(["a", "a"])),
                422,
                "INVALID_FIELD",
                "group_by[1]",
            ),
            case(
                "/meters",
                with(&good, "/group_by", json!(["a", "b", "c", "d", "e", "f"])),
                422,
                "INVALID_FIELD",
                "group_by",
            ),
            case(
                "/meters",
                with(&good, "/filter/clauses/0/operator", json!("is")),
                422,
                "INVALID_FIELD",
                "filter.clauses[0].operator",
            ),
            case(
                "/meters",
                with(&good, "/filter", deep),
                422,
                "INVALID_FIELD",
                deep_path,
            ),
            case(
                "/meters",
                with(&good, "/filter", eleven),
                422,
                "INVALID_FIELD",
                "filter.clauses",
            ),
            case(
                "/meters",
                with(&good, "/description", json!("d".repeat(1001))),
                422,
                "INVALID_FIELD",
                "description",
            ),
        ],
    )
    .await;
    assert_eq!(
        running.api.fetch("/meters").await["items"],
        json!([]),
        "nothing was stored"
    );
}

#[tokio::test]
async fn bad_products_are_refused() {
    let running = Running::start().await;
    let api = &running.api;
    let calls = api.counter("calls").await;
    let images = api.counter("images").await;
    let entitlement = json!({"name": "t", "unit": "t", "precision": 2, "overage_enabled": false, "rollover_enabled": false});
    let tokens = api.create("/credit-entitlements", entitlement, "id").await;
    let priced = |price: Value| json!([{"meter_id": calls, "price_per_unit": price}]);
    let good = product(100, priced(json!("0.5")));
    let meters = |meters: Value| with(&good, "/price/meters", meters);
    let pricing = |pricing: Value| json!([{"meter_id": calls, "pricing": pricing}]);
    let first = "price.meters[0].price_per_unit";
    let attached = |amount: &str| {
        with(
            &good,
            "/credit_entitlements",
            json!([{"credit_entitlement_id": tokens, "credits_amount": amount}]),
        )
    };
    let agreed = |terms: Value| {
        let mut attached = json!({"credit_entitlement_id": tokens, "credits_amount": "1"});
        let fields = attached.as_object_mut().unwrap();
        fields.extend(terms.as_object().unwrap().clone());
        with(&good, "/credit_entitlements", json!([attached]))
    };
    let p = "/products";
    check(
        &running,
        vec![
            case(p, without(&good, "/price"), 422, "MISSING_FIELD", "price"),
            case(p, with(&good, "/tax_category", json!("food")), 422, "INVALID_FIELD", "tax_category"),
            case(p, with(&good, "/price/type", json!("recurring_price")), 422, "UNSUPPORTED_FIELD", "price.type"),
            case(p, with(&good, "/price/type", json!("barter")), 422, "INVALID_FIELD", "price.type"),
            case(p, with(&good, "/price/currency", json!("usd")), 422, "INVALID_FIELD", "price.currency"),
            case(p, with(&good, "/price/currency", json!("XXQ")), 422, "INVALID_FIELD", "price.currency"),
            case(p, with(&good, "/price/currency", json!("XAU")), 422, "INVALID_FIELD", "price.currency"),
            case(p, with(&good, "/price/fixed_price", json!(-1)), 422, "INVALID_FIELD", "price.fixed_price"),
            case(p, with(&good, "/price/fixed_price", json!(9_223_372_036_854_775_808_u64)), 422, "INVALID_FIELD", "price.fixed_price"),
            case(p, with(&good, "/price/fixed_price", json!(0.5)), 422, "INVALID_FIELD", "price.fixed_price"),
            case(p, without(&good, "/price/fixed_price"), 422, "MISSING_FIELD", "price.fixed_price"),
            case(p, with(&good, "/price/payment_frequency_interval", json!("Hour")), 422, "INVALID_FIELD", "price.payment_frequency_interval"),
            case(p, with(&good, "/price/payment_frequency_count", json!(0)), 422, "INVALID_FIELD", "price.payment_frequency_count"),
            // What would change the bill and cannot be billed.
            case(p, with(&good, "/price/discount", json!(10)), 422, "UNSUPPORTED_FIELD", "price.discount"),
            case(p, with(&good, "/price/discount_bps", json!(10)), 422, "UNSUPPORTED_FIELD", "price.discount_bps"),
            case(p, with(&good, "/price/tax_inclusive", json!(true)), 422, "UNSUPPORTED_FIELD", "price.tax_inclusive"),
            case(p, with(&good, "/price/purchasing_power_parity", json!(true)), 422, "UNSUPPORTED_FIELD", "price.purchasing_power_parity"),
            case(p, with(&good, "/price/trial_period_days", json!(7)), 422, "UNSUPPORTED_FIELD", "price.trial_period_days"),
            case(p, with(&good, "/addons", json!(["adn_1"])), 422, "UNSUPPORTED_FIELD", "addons"),
            case(p, with(&good, "/pricing_mode", json!("by_currency")), 422, "UNSUPPORTED_FIELD", "pricing_mode"),
            case(p, with(&good, "/colour", json!(1)), 422, "UNKNOWN_FIELD", "colour"),
            case(p, meters(json!([{"meter_id": calls, "price_per_unit": "1", "tiers": []}])), 422, "UNKNOWN_FIELD", "price.meters[0].tiers"),
            // Prices: above 0, at most 5 digits before and 12 after the point.
            case(p, meters(priced(json!("0"))), 422, "INVALID_FIELD", first),
            case(p, meters(priced(json!(-1))), 422, "INVALID_FIELD", first),
            case(p, meters(priced(json!("123456"))), 422, "INVALID_FIELD", first),
            case(p, meters(priced(json!("0.1234567890123"))), 422, "INVALID_FIELD", first),
            case(p, meters(priced(json!("NaN"))), 422, "INVALID_FIELD", first),
            case(p, meters(priced(json!("1e400"))), 422, "INVALID_FIELD", first),
            case(p, meters(json!([{"meter_id": calls}])), 422, "MISSING_FIELD", first),
            case(p, meters(json!([{"meter_id": calls, "price_per_unit": "1", "free_threshold": -1}])), 422, "INVALID_FIELD", "price.meters[0].free_threshold"),
            // Prices of other models; each of their fields is tried where it is read.
            case(p, meters(pricing(json!({"model": "graduated", "tiers": []}))), 422, "INVALID_FIELD", "price.meters[0].pricing.tiers"),
            case(p, meters(pricing(json!({"model": "volume", "tiers": [{"up_to": 5, "price_per_unit": 1}, {"up_to": 5, "price_per_unit": 1}, {"price_per_unit": 1}]}))), 422, "INVALID_FIELD", "price.meters[0].pricing.tiers[1].up_to"),
            case(p, meters(pricing(json!({"model": "volume", "tiers": [{"up_to": 5, "price_per_unit": 1}]}))), 422, "INVALID_FIELD", "price.meters[0].pricing.tiers[0].up_to"),
            case(p, meters(pricing(json!({"model": "volume", "tiers": [{"price_per_unit": "-1"}]}))), 422, "INVALID_FIELD", "price.meters[0].pricing.tiers[0].price_per_unit"),
            case(p, meters(pricing(json!({"model": "volume", "tiers": [{"price": "1"}]}))), 422, "UNKNOWN_FIELD", "price.meters[0].pricing.tiers[0].price"),
            case(p, meters(pricing(json!({"model": "package", "package_size": 0, "price_per_package": 1}))), 422, "INVALID_FIELD", "price.meters[0].pricing.package_size"),
            case(p, meters(pricing(json!({"model": "percentage", "percent": "0.12345678901"}))), 422, "INVALID_FIELD", "price.meters[0].pricing.percent"),
            case(p, meters(pricing(json!({"model": "flat", "fixed_price": 1, "minimum": 2, "maximum": 1}))), 422, "INVALID_FIELD", "price.meters[0].pricing.maximum"),
            case(p, meters(pricing(json!({"model": "flat", "fixed_price": 1, "groups": {"by": ["region"], "prices": []}}))), 422, "INVALID_FIELD", "price.meters[0].pricing.groups.by[0]"),
            case(p, meters(pricing(json!({"model": "flat", "fixed_price": 9_223_372_036_854_775_808_u64}))), 422, "INVALID_FIELD", "price.meters[0].pricing.fixed_price"),
            case(p, meters(json!([{"meter_id": calls, "price_per_unit": "1", "pricing": {"model": "flat", "fixed_price": 1}}])), 422, "INVALID_FIELD", "price.meters[0].pricing"),
            // Tiers follow each other, each above the one before it: there is no way to say a gap, and an overlap is refused.
            case(p, meters(pricing(json!({"model": "graduated", "tiers": [{"up_to": 5, "price_per_unit": 1}, {"up_to": 3, "price_per_unit": 1}, {"price_per_unit": 1}]}))), 422, "INVALID_FIELD", "price.meters[0].pricing.tiers[1].up_to"),
            case(p, meters(pricing(json!({"model": "graduated", "tiers": [{"price_per_unit": 1}, {"up_to": 3, "price_per_unit": 1}]}))), 422, "INVALID_FIELD", "price.meters[0].pricing.tiers[0].up_to"),
            case(p, meters(pricing(json!({"model": "graduated", "tiers": [{"from": 2, "up_to": 3, "price_per_unit": 1}, {"price_per_unit": 1}]}))), 422, "UNKNOWN_FIELD", "price.meters[0].pricing.tiers[0].from"),
            case(p, meters(pricing(json!({"model": "volume", "tiers": [{"up_to": -3, "price_per_unit": 1}, {"price_per_unit": 1}]}))), 422, "INVALID_FIELD", "price.meters[0].pricing.tiers[0].up_to"),
            // A price is refused where it was sent, also where the two forms mean the same.
            case(p, meters(pricing(json!({"model": "per_unit", "price_per_unit": "0"}))), 422, "INVALID_FIELD", "price.meters[0].pricing.price_per_unit"),
            case(p, meters(pricing(json!({"model": "per_unit", "price_per_unit": "100000"}))), 422, "INVALID_FIELD", "price.meters[0].pricing.price_per_unit"),
            case(p, meters(pricing(json!({"model": "per_unit", "price_per_unit": "0.1234567890123", "minimum": 1}))), 422, "INVALID_FIELD", "price.meters[0].pricing.price_per_unit"),
            case(p, meters(pricing(json!({"model": "package", "package_size": 10, "price_per_package": "-1"}))), 422, "INVALID_FIELD", "price.meters[0].pricing.price_per_package"),
            case(p, meters(pricing(json!({"model": "percentage", "percent": "-1"}))), 422, "INVALID_FIELD", "price.meters[0].pricing.percent"),
            case(p, meters(pricing(json!({"model": "flat", "fixed_price": 0}))), 422, "INVALID_FIELD", "price.meters[0].pricing"),
            // Meters and credits that are not there, or twice.
            case(p, meters(json!([{"meter_id": "mtr_none", "price_per_unit": "1"}])), 400, "MISSING_METER_IDS", "price.meters[0].meter_id"),
            case(p, meters(json!([{"meter_id": images, "price_per_unit": "1"}, {"meter_id": images, "price_per_unit": "2"}])), 400, "DUPLICATE_METER_IDS_IN_REQUEST", "price.meters[1].meter_id"),
            case(p, meters(json!([{"meter_id": calls, "credit_entitlement_id": tokens, "meter_units_per_credit": "1"}])), 400, "MISSING_CREDIT_ENTITLEMENT_IDS", "price.meters[0].credit_entitlement_id"),
            case(p, meters(json!([{"meter_id": calls, "credit_entitlement_id": tokens}])), 422, "MISSING_FIELD", "price.meters[0].meter_units_per_credit"),
            case(p, with(&good, "/credit_entitlements", json!([{"credit_entitlement_id": "cde_none", "credits_amount": "1"}])), 400, "MISSING_CREDIT_ENTITLEMENT_IDS", "credit_entitlements[0].credit_entitlement_id"),
            case(p, attached("1.001"), 422, "INVALID_FIELD", "credit_entitlements[0].credits_amount"),
            case(p, attached("0"), 422, "INVALID_FIELD", "credit_entitlements[0].credits_amount"),
            case(p, agreed(json!({"trial_credits": "-1"})), 422, "INVALID_FIELD", "credit_entitlements[0].trial_credits"),
            case(p, agreed(json!({"trial_credits": "0.001"})), 422, "INVALID_FIELD", "credit_entitlements[0].trial_credits"),
            case(p, agreed(json!({"trial_credits_expire_after_trial": "yes"})), 422, "INVALID_FIELD", "credit_entitlements[0].trial_credits_expire_after_trial"),
            case(p, agreed(json!({"low_balance_threshold_percent": 101})), 422, "INVALID_FIELD", "credit_entitlements[0].low_balance_threshold_percent"),
            case(p, agreed(json!({"low_balance_threshold_amount": "-1"})), 422, "INVALID_FIELD", "credit_entitlements[0].low_balance_threshold_amount"),
            case(p, agreed(json!({"low_balance_threshold_amount": "0.001"})), 422, "INVALID_FIELD", "credit_entitlements[0].low_balance_threshold_amount"),
            case(p, agreed(json!({"low_balance_threshold_amount": "1", "low_balance_threshold_percent": 5})), 422, "INVALID_FIELD", "credit_entitlements[0].low_balance_threshold_amount"),
            case(p, agreed(json!({"proration_behavior": "sometimes"})), 422, "INVALID_FIELD", "credit_entitlements[0].proration_behavior"),
            case(p, with(&attached("1"), "/credit_entitlements/0/rollover_percentage", json!(101)), 422, "INVALID_FIELD", "credit_entitlements[0].rollover_percentage"),
            case(p, with(&attached("1"), "/credit_entitlements/0/rollover_amount_max", json!("0.001")), 422, "INVALID_FIELD", "credit_entitlements[0].rollover_amount_max"),
        ],
    )
    .await;
    assert_eq!(
        api.fetch("/products").await["items"],
        json!([]),
        "nothing was stored"
    );
}

#[tokio::test]
async fn bad_customers_and_credit_entitlements_are_refused() {
    let running = Running::start().await;
    let customer = json!({"name": "Ada", "email": "ada@example.com", "customer_id": "ada"});
    let credits = json!({"name": "t", "unit": "t", "precision": 2, "overage_enabled": false, "rollover_enabled": false});
    let (c, e) = ("/customers", "/credit-entitlements");
    check(
        &running,
        vec![
            case(
                c,
                without(&customer, "/email"),
                422,
                "MISSING_FIELD",
                "email",
            ),
            case(
                c,
                with(&customer, "/email", json!("ada")),
                422,
                "INVALID_FIELD",
                "email",
            ),
            case(
                c,
                with(&customer, "/customer_id", json!("")),
                422,
                "INVALID_FIELD",
                "customer_id",
            ),
            case(
                c,
                with(&customer, "/customer_id", json!("x".repeat(257))),
                422,
                "INVALID_FIELD",
                "customer_id",
            ),
            case(
                c,
                with(&customer, "/customer_id", json!("a\nb")),
                422,
                "INVALID_FIELD",
                "customer_id",
            ),
            case(
                c,
                with(&customer, "/metadata", json!({"a": {"b": 1}})),
                422,
                "INVALID_FIELD",
                "metadata.a",
            ),
            case(
                c,
                with(&customer, "/metadata", json!({"a": "x".repeat(501)})),
                422,
                "INVALID_FIELD",
                "metadata.a",
            ),
            case(
                c,
                with(&customer, "/vip", json!(true)),
                422,
                "UNKNOWN_FIELD",
                "vip",
            ),
            case(
                e,
                with(&credits, "/precision", json!(11)),
                422,
                "INVALID_FIELD",
                "precision",
            ),
            case(
                e,
                with(&credits, "/precision", json!(-1)),
                422,
                "INVALID_FIELD",
                "precision",
            ),
            case(
                e,
                with(&credits, "/rollover_percentage", json!(101)),
                422,
                "INVALID_FIELD",
                "rollover_percentage",
            ),
            case(
                e,
                with(&credits, "/overage_behavior", json!("carry_on")),
                422,
                "INVALID_FIELD",
                "overage_behavior",
            ),
            case(
                e,
                with(&credits, "/price_per_unit", json!("1")),
                422,
                "INVALID_FIELD",
                "currency",
            ),
            case(
                e,
                with(&credits, "/expires_after_days", json!(0)),
                422,
                "INVALID_FIELD",
                "expires_after_days",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_customer_id_that_is_taken_is_a_conflict_no_retry_cures() {
    let running = Running::start().await;
    running.api.customer("ada").await;
    let again = json!({"customer_id": "ada", "name": "Another", "email": "b@example.com"});
    let reply = running.api.call(Method::POST, "/customers", &again).await;
    assert_eq!(
        (reply.status, reply.code()),
        (StatusCode::CONFLICT, "CUSTOMER_ALREADY_EXISTS")
    );
    assert_eq!(reply.should_retry.as_deref(), Some("false"));
    assert_eq!(running.api.fetch("/customers/ada").await["name"], "ada");
}

#[tokio::test]
async fn bad_registers_are_refused() {
    let running = Running::start().await;
    let nothing = json!({"seq": 0, "digest": "0".repeat(64)});
    let good = json!({
        "agent_id": "018f0000-0000-7000-8000-000000000001",
        "state_nonce": "018f0000-0000-7000-8000-000000000002",
        "boot_id": "018f0000-0000-7000-8000-000000000003",
        "agent_version": "1", "catalog_version": 0,
        "acknowledged": nothing, "sealed": nothing, "watermark": "2026-03-01T00:00:00Z",
    });
    let p = "/v1/agents/register";
    let nil = json!("00000000-0000-0000-0000-000000000000");
    let version = |text: &str| with(&good, "/agent_version", json!(text));
    #[rustfmt::skip]
    check(
        &running,
        vec![
            case(p, with(&good, "/agent_id", nil), 422, "INVALID_FIELD", "agent_id"),
            case(p, with(&good, "/agent_id", json!("me")), 422, "INVALID_FIELD", "agent_id"),
            case(p, version(""), 422, "INVALID_FIELD", "agent_version"),
            case(p, version("1\n"), 422, "INVALID_FIELD", "agent_version"),
            case(p, version(&"1".repeat(257)), 422, "INVALID_FIELD", "agent_version"),
            case(p, with(&good, "/sealed/seq", json!(-1)), 422, "INVALID_FIELD", "sealed.seq"),
            case(p, without(&good, "/watermark"), 422, "MISSING_FIELD", "watermark"),
        ],
    )
    .await;
    assert_eq!(running.api.fetch("/v1/agents").await["items"], json!([]));
    running.api.post(p, good).await;
}

#[tokio::test]
async fn bad_subscriptions_are_refused() {
    let running = Running::start().await;
    let api = &running.api;
    let meter = api.counter("calls").await;
    let plan = api.product(&[(&meter, "1", 0)]).await;
    api.customer("ada").await;
    let good = json!({
        "billing": {"country": "US"}, "customer": {"customer_id": "ada"}, "product_id": plan, "quantity": 1,
    });
    let s = "/subscriptions";
    check(
        &running,
        vec![
            case(
                s,
                without(&good, "/billing"),
                422,
                "MISSING_FIELD",
                "billing",
            ),
            case(
                s,
                without(&good, "/billing/country"),
                422,
                "MISSING_FIELD",
                "billing.country",
            ),
            case(
                s,
                with(&good, "/billing/country", json!("ZZ")),
                422,
                "INVALID_FIELD",
                "billing.country",
            ),
            case(
                s,
                with(&good, "/customer", json!({})),
                422,
                "MISSING_FIELD",
                "customer.customer_id",
            ),
            case(
                s,
                with(&good, "/customer", json!({"customer_id": "nobody"})),
                404,
                "CUSTOMER_NOT_FOUND",
                "",
            ),
            case(
                s,
                with(&good, "/customer", json!({"email": "nobody"})),
                422,
                "INVALID_FIELD",
                "customer.email",
            ),
            case(
                s,
                with(&good, "/product_id", json!("pdt_none")),
                404,
                "PRODUCT_NOT_FOUND",
                "",
            ),
            case(
                s,
                with(&good, "/quantity", json!(0)),
                422,
                "INVALID_FIELD",
                "quantity",
            ),
            case(
                s,
                with(&good, "/quantity", json!(-1)),
                422,
                "INVALID_FIELD",
                "quantity",
            ),
            case(
                s,
                with(&good, "/start_date", json!("2026-03-01")),
                422,
                "INVALID_FIELD",
                "start_date",
            ),
            case(
                s,
                with(&good, "/start_date", json!("2026-03-11T00:00:00Z")),
                422,
                "INVALID_FIELD",
                "start_date",
            ),
            case(
                s,
                with(&good, "/start_date", json!("1969-12-31T00:00:00Z")),
                422,
                "INVALID_FIELD",
                "start_date",
            ),
            case(
                s,
                with(&good, "/billing_currency", json!("EUR")),
                422,
                "INVALID_FIELD",
                "billing_currency",
            ),
            case(
                s,
                with(&good, "/discount_code", json!("TEN")),
                422,
                "UNSUPPORTED_FIELD",
                "discount_code",
            ),
            case(
                s,
                with(&good, "/addons", json!([{"addon_id": "x", "quantity": 1}])),
                422,
                "UNSUPPORTED_FIELD",
                "addons",
            ),
            case(
                s,
                with(&good, "/trial_period_days", json!(10_001)),
                422,
                "INVALID_FIELD",
                "trial_period_days",
            ),
            case(
                s,
                with(&good, "/time_zone", json!("Europe/Atlantis")),
                422,
                "INVALID_FIELD",
                "time_zone",
            ),
            case(
                s,
                with(&good, "/billing_alignment", json!("lunar")),
                422,
                "INVALID_FIELD",
                "billing_alignment",
            ),
            case(
                s,
                with(&good, "/proration", json!("minute")),
                422,
                "INVALID_FIELD",
                "proration",
            ),
            case(
                s,
                with(&good, "/on_demand", json!({"mandate_only": true})),
                422,
                "UNSUPPORTED_FIELD",
                "on_demand",
            ),
        ],
    )
    .await;
    assert_eq!(api.fetch(s).await["items"], json!([]), "nothing was stored");
    // What has no effect on money is taken.
    let harmless = with(
        &with(&good, "/payment_link", json!(true)),
        "/return_url",
        json!("https://example.com"),
    );
    api.post(s, with(&harmless, "/discount_code", Value::Null))
        .await;
    let clash = || {
        case(
            s,
            good.clone(),
            409,
            "METER_ALREADY_SUBSCRIBED",
            "product_id",
        )
    };
    check(&running, vec![clash()]).await;
    let reply = api.call(Method::POST, s, &good).await;
    assert_eq!(reply.should_retry.as_deref(), Some("false"));
    assert_eq!(api.fetch(s).await["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_change_of_plan_to_a_meter_that_another_subscription_bills_is_refused() {
    let running = Running::start().await;
    let api = &running.api;
    let calls = api.counter("calls").await;
    let images = api.counter("images").await;
    let of_calls = api.product(&[(&calls, "1", 0)]).await;
    let of_images = api.product(&[(&images, "1", 0)]).await;
    api.customer("ada").await;
    let changing = api.subscribe("ada", &of_calls, NOW_MINUTE).await;
    api.subscribe("ada", &of_images, NOW_MINUTE).await;
    let path = format!("/subscriptions/{changing}");
    let change = json!({"product_id": of_images, "quantity": 1, "proration_billing_mode": "full_immediately"});
    let later = with(&change, "/effective_at", json!("next_billing_date"));
    for body in [change, later] {
        let refused = api
            .call(Method::POST, &format!("{path}/change-plan"), &body)
            .await;
        assert_eq!(
            (
                refused.status,
                refused.code(),
                refused.body["field"].as_str()
            ),
            (
                StatusCode::CONFLICT,
                "METER_ALREADY_SUBSCRIBED",
                Some("product_id")
            )
        );
    }
    let shown = api.fetch(&path).await;
    assert_eq!(
        (&shown["product_id"], &shown["scheduled_change"]),
        (&json!(of_calls), &Value::Null)
    );
}

#[tokio::test]
async fn what_an_amount_cannot_hold_is_refused_before_anything_is_stored() {
    let running = Running::start().await;
    let api = &running.api;
    let plan = api
        .create("/products", product(i64::MAX, json!([])), "product_id")
        .await;
    api.customer("ada").await;
    let wallet = "/customers/ada/wallets/ledger-entries";
    let fund = |amount: u64, currency: &str| json!({"amount": amount, "currency": currency, "entry_type": "credit"});
    let all = i64::MAX.unsigned_abs();
    api.post(wallet, fund(all, "USD")).await;
    let order = json!({
        "billing": {"country": "US"}, "customer": {"customer_id": "ada"}, "product_id": plan, "quantity": 2,
    });
    check(
        &running,
        vec![
            case(
                "/subscriptions",
                order.clone(),
                422,
                "INVALID_FIELD",
                "quantity",
            ),
            case(wallet, fund(1, "USD"), 400, "AMOUNT_TOO_LARGE", "amount"),
            case(wallet, fund(all + 1, "EUR"), 422, "INVALID_FIELD", "amount"),
            case(wallet, fund(1, "XXQ"), 422, "INVALID_FIELD", "currency"),
        ],
    )
    .await;
    assert_eq!(
        api.fetch("/subscriptions").await["items"],
        json!([]),
        "nothing was stored"
    );
    let wallets = api.fetch("/customers/ada/wallets").await;
    let held: Vec<&Value> = wallets["items"].as_array().unwrap().iter().collect();
    assert_eq!(held.len(), 1, "{wallets}");
    assert_eq!(held[0]["balance"], i64::MAX);
}

#[tokio::test]
async fn an_archived_product_takes_no_subscription_and_an_archived_meter_no_price() {
    let running = Running::start().await;
    let api = &running.api;
    let meter = api.counter("calls").await;
    let plan = api.product(&[(&meter, "1", 0)]).await;
    api.customer("ada").await;
    assert!(
        api.call(Method::DELETE, &format!("/products/{plan}"), &json!({}))
            .await
            .status
            .is_success()
    );
    assert!(
        api.call(Method::DELETE, &format!("/meters/{meter}"), &json!({}))
            .await
            .status
            .is_success()
    );
    let order = json!({
        "billing": {"country": "US"}, "customer": {"customer_id": "ada"}, "product_id": plan, "quantity": 1,
    });
    let priced = product(0, json!([{"meter_id": meter, "price_per_unit": "1"}]));
    check(
        &running,
        vec![
            case(
                "/subscriptions",
                order,
                400,
                "PRODUCT_ARCHIVED",
                "product_id",
            ),
            case(
                "/products",
                priced,
                400,
                "MISSING_METER_IDS",
                "price.meters[0].meter_id",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn bad_queries_are_refused() {
    let running = Running::start().await;
    running.api.counter("calls").await;
    for (path, status, code, field) in [
        ("/meters?page_size=101", 422, "INVALID_FIELD", "page_size"),
        ("/meters?page_size=0", 422, "INVALID_FIELD", "page_size"),
        (
            "/meters?page_number=-1",
            422,
            "INVALID_FIELD",
            "page_number",
        ),
        ("/meters?archived=maybe", 422, "INVALID_FIELD", "archived"),
        ("/meters?surprise=1", 422, "UNKNOWN_FIELD", "surprise"),
        ("/meters/mtr_none", 404, "METER_NOT_FOUND", "-"),
        ("/products/pdt_none", 404, "PRODUCT_NOT_FOUND", "-"),
        ("/customers/none", 404, "CUSTOMER_NOT_FOUND", "-"),
        (
            "/subscriptions/sub_none",
            404,
            "SUBSCRIPTION_NOT_FOUND",
            "-",
        ),
        (
            "/credit-entitlements/cde_none",
            404,
            "CREDIT_ENTITLEMENT_NOT_FOUND",
            "-",
        ),
        ("/v1/invoices/inv_none", 404, "INVOICE_NOT_FOUND", "-"),
        ("/v1/agents/none", 404, "AGENT_NOT_FOUND", "-"),
        ("/nothing", 404, "NO_SUCH_ROUTE", "-"),
        ("/v1/usage", 422, "MISSING_FIELD", "customer_id"),
        (
            "/v1/usage?customer_id=a&meter_id=mtr_none",
            404,
            "METER_NOT_FOUND",
            "-",
        ),
        (
            "/v1/usage?customer_id=a&granularity=week",
            422,
            "INVALID_FIELD",
            "granularity",
        ),
        (
            "/v1/usage?customer_id=a&start=yesterday",
            422,
            "INVALID_FIELD",
            "start",
        ),
        (
            "/v1/usage?customer_id=a&start=2026-03-01T00:00:30Z",
            422,
            "INVALID_FIELD",
            "start",
        ),
        (
            "/v1/usage?customer_id=a&start=2026-03-02T00:00:00Z&end=2026-03-01T00:00:00Z",
            422,
            "INVALID_FIELD",
            "start",
        ),
    ] {
        let reply = running.api.get(path).await;
        let found = (
            reply.status.as_u16(),
            reply.code(),
            reply.body["field"].as_str().unwrap_or("-"),
        );
        assert_eq!(found, (status, code, field), "{path}\n{}", reply.body);
    }
    let reply = running.api.call(Method::PUT, "/meters", &json!({})).await;
    assert_eq!(
        (reply.status.as_u16(), reply.code()),
        (405, "METHOD_NOT_ALLOWED")
    );
}

#[tokio::test]
async fn bodies_that_are_no_json_too_large_or_of_another_type_are_refused() {
    let running = Running::start().await;
    let api = &running.api;
    let json_type = Some("application/json");
    let huge = format!("{{\"name\":\"{}\"}}", "x".repeat(5 * 1024 * 1024));
    let nested = "[".repeat(100_000);
    for (content_type, body, status, code) in [
        (json_type, "{\"name\":", 422, "MALFORMED_JSON"),
        (json_type, "", 422, "MALFORMED_JSON"),
        (json_type, "{} {}", 422, "MISSING_FIELD"),
        (json_type, "\u{feff}{}", 422, "MALFORMED_JSON"),
        (json_type, nested.as_str(), 422, "INVALID_FIELD"),
        (json_type, huge.as_str(), 413, "BODY_TOO_LARGE"),
        (Some("text/plain"), "{}", 415, "UNSUPPORTED_CONTENT_TYPE"),
        (None, "{}", 415, "UNSUPPORTED_CONTENT_TYPE"),
    ] {
        let reply = api
            .send(Method::POST, "/customers", content_type, body.to_owned())
            .await;
        assert_eq!(
            (reply.status.as_u16(), reply.code()),
            (status, code),
            "{:.60} {}",
            body,
            reply.body
        );
    }
    assert_eq!(
        api.get("/healthz").await.status,
        StatusCode::OK,
        "the process stays up"
    );
}
