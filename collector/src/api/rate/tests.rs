#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

fn rate(request: &Value) -> Value {
    let reply = rate_json(request.to_string().as_bytes()).unwrap();
    serde_json::to_value(reply).unwrap()
}

#[track_caller]
fn refused(request: &Value, field: &str) {
    let error = rate_json(request.to_string().as_bytes()).err().unwrap();
    assert!(
        error.message().starts_with(&format!("{field}: ")),
        "{}",
        error.message()
    );
}

fn tiers() -> Value {
    json!([{"up_to": 5, "price_per_unit": "1", "flat_price": 100}, {"price_per_unit": "0.5"}])
}

#[test]
fn every_tier_and_the_rounding_are_shown() {
    let price = json!({"currency": "USD", "free_threshold": 1, "pricing": {"model": "graduated", "tiers": tiers()}});
    let reply = rate(&json!({"price": price, "usage": [{"quantity": "9", "already_billed": 100}]}));
    let item = &reply["items"][0];
    let tiers = &item["derivation"]["parts"][0]["tiers"];
    assert_eq!(tiers[0]["amount_exact"], "105");
    assert_eq!(
        json!([tiers[1]["quantity"], tiers[1]["amount_exact"]]),
        json!(["3", "1.5"])
    );
    assert_eq!(
        json!([item["amount_exact"], item["rounding"]]),
        json!(["106.5", "0.5"])
    );
    assert_eq!(
        json!([item["amount"], item["amount_text"]]),
        json!([107, "1.07 USD"])
    );
    assert_eq!(
        json!([item["due"], item["due_text"]]),
        json!([7, "0.07 USD"])
    );
}

#[test]
fn currencies_have_0_2_and_3_digits() {
    for (currency, text) in [
        ("JPY", "1235 JPY"),
        ("USD", "12.35 USD"),
        ("KWD", "1.235 KWD"),
    ] {
        let price = json!({"currency": currency, "price_per_unit": "1234.5"});
        let reply = rate(&json!({"price": price, "usage": [{"quantity": 1}]}));
        assert_eq!(reply["items"][0]["amount_text"], text);
    }
}

#[test]
fn groups_are_priced_by_their_values() {
    let groups = json!({"by": ["region"], "prices": [{"values": ["eu"], "model": "per_unit", "price_per_unit": "3"}]});
    let pricing = json!({"model": "per_unit", "price_per_unit": "2", "groups": groups});
    let price = json!({"currency": "USD", "pricing": pricing});
    let used = json!([{"values": ["eu"], "quantity": "10"}, {"values": ["us"], "quantity": "1"}]);
    let reply = rate(&json!({"price": price, "usage": [{"groups": used}, {"quantity": 5}]}));
    assert_eq!(
        json!([reply["items"][0]["amount"], reply["items"][1]["amount"]]),
        json!([32, 10])
    );
    refused(
        &json!({"price": price, "usage": [{"groups": [{"values": [], "quantity": 1}]}]}),
        "usage[0].groups[0].values",
    );
    let plain = json!({"currency": "USD", "price_per_unit": "1"});
    refused(
        &json!({"price": plain, "usage": [{"groups": []}]}),
        "usage[0].groups",
    );
}

#[test]
fn what_cannot_be_rated_is_refused_with_its_field() {
    let price = json!({"currency": "USD", "price_per_unit": "1"});
    let with = |name: &str, value: Value| {
        let mut changed = price.clone();
        changed[name] = value;
        json!({"price": changed, "usage": [{"quantity": 1}]})
    };
    refused(&with("currency", json!("usd")), "price.currency");
    refused(&with("price_per_unit", json!("0")), "price.price_per_unit");
    refused(
        &with("price_per_unit", json!("0.0000000000001")),
        "price.price_per_unit",
    );
    refused(&with("free_threshold", json!(-1)), "price.free_threshold");
    refused(
        &with("pricing", json!({"model": "flat", "fixed_price": 1})),
        "price.pricing",
    );
    refused(
        &json!({"price": {"currency": "USD"}, "usage": [{"quantity": 1}]}),
        "price.price_per_unit",
    );
    refused(&json!({"price": price, "usage": []}), "usage");
    refused(&json!({"price": price, "usage": [{}]}), "usage[0].quantity");
    refused(
        &json!({"price": price, "usage": [{"quantity": "1e25"}]}),
        "usage[0]",
    );
    refused(
        &json!({"price": price, "usage": [{"quantity": "x"}]}),
        "usage[0].quantity",
    );
}

#[test]
fn every_field_of_a_price_belongs_somewhere() {
    let pricing = |pricing: Value| json!({"price": {"currency": "USD", "pricing": pricing}, "usage": [{"quantity": 1}]});
    let per_unit = |name: &str, value: Value| {
        let mut form = json!({"model": "per_unit", "price_per_unit": "1"});
        form[name] = value;
        pricing(form)
    };
    refused(&pricing(json!({"model": "tiered"})), "price.pricing.model");
    refused(&pricing(json!({})), "price.pricing.model");
    refused(
        &pricing(json!({"model": "flat"})),
        "price.pricing.fixed_price",
    );
    refused(
        &pricing(json!({"model": "package", "price_per_package": 1})),
        "price.pricing.package_size",
    );
    refused(
        &pricing(json!({"model": "volume", "tiers": [{"up_to": 1}]})),
        "price.pricing.tiers[0].price_per_unit",
    );
    refused(&per_unit("percent", json!(1)), "price.pricing.percent");
    refused(&per_unit("tiers", tiers()), "price.pricing.tiers");
    refused(&per_unit("values", json!(["eu"])), "price.pricing.values");
    refused(
        &per_unit("free_events", json!(1)),
        "price.pricing.free_events",
    );
    refused(
        &per_unit("convert", json!({})),
        "price.pricing.convert.divide_by",
    );
    refused(
        &per_unit("convert", json!({"divide_by": 2, "multiply_by": 2})),
        "price.pricing.convert.multiply_by",
    );
    refused(
        &per_unit("convert", json!({"divide_by": 2, "digits": 2})),
        "price.pricing.convert.digits",
    );
    refused(
        &per_unit("zero_usage", json!("maybe")),
        "price.pricing.zero_usage",
    );
    let row = json!({"values": ["eu"], "model": "flat", "fixed_price": 1, "minimum": 1});
    refused(
        &per_unit("groups", json!({"by": ["region"], "prices": [row]})),
        "price.pricing.groups.prices[0].minimum",
    );
}

/// The prices of the page on pricing are what people copy: each must be one that can be rated.
#[test]
fn the_prices_of_the_page_on_pricing_can_be_rated() {
    let page = include_str!("../../../../docs/pricing.md");
    let blocks: Vec<&str> = page
        .split("```json\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(blocks.len() >= 8, "{} prices", blocks.len());
    for block in blocks {
        let price: Value = serde_json::from_str(block).unwrap();
        let reply = rate(&json!({"price": price, "usage": [{"quantity": "2500000000"}]}));
        assert!(reply["items"][0]["amount"].as_i64().unwrap() > 0, "{block}");
    }
}
