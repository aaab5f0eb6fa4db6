//! `rate`: what quantities would cost, every tier and rounding step shown. Works on its own, without a collector.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use serde_json::{Map, Value, json, value::RawValue};

use super::client::print_json;
use super::say::say;
use super::steps::steps;
use super::table::cell;
use crate::api::rate_json;

/// Examples of the command.
const EXAMPLES: &str = "\
Examples:
  submeter-collector rate price.json 2500
  submeter-collector rate price.json 0 5 22 --already-billed 16000     what is due by the one rule: rate(now) - billed
  submeter-collector rate price.json eu=100,us=50                      a price with groups; with several keys eu/large=100
  submeter-collector rate price.json 800 --events 4

price.json is an entry of a product's price.meters with its currency:
  {\"currency\": \"USD\", \"pricing\": {\"model\": \"graduated\", \"tiers\": [
    {\"up_to\": 1000, \"price_per_unit\": \"1\"}, {\"up_to\": null, \"price_per_unit\": \"0.8\"}]}}

Nothing is stored, and no collector is asked. Exit codes: 0 done, 1 the price or a quantity is not right.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RateArgs {
    /// File with the price.
    #[arg(value_name = "PRICE.json")]
    price: PathBuf,
    /// What was used in a period: a number, or numbers by group value.
    #[arg(
        required = true,
        value_name = "QUANTITY",
        allow_negative_numbers = true
    )]
    quantities: Vec<String>,
    /// How many events it was, for prices with a part per event.
    #[arg(long)]
    events: Option<u64>,
    /// Minor units that were billed for it before.
    #[arg(long, allow_negative_numbers = true)]
    already_billed: Option<i64>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &RateArgs) -> anyhow::Result<()> {
    let path = &arguments.price;
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    // Kept as it is written: a number that became a float would lose digits.
    let price: Box<RawValue> =
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    let usage: Vec<Value> = arguments
        .quantities
        .iter()
        .map(|quantity| usage(quantity, arguments))
        .collect::<anyhow::Result<_>>()?;
    let body = format!("{{\"price\":{price},\"usage\":{}}}", Value::Array(usage));
    let reply = rate_json(body.as_bytes()).map_err(|error| anyhow!("{}", error.message()))?;
    let reply = serde_json::to_value(reply)?;
    if arguments.json {
        return print_json(&reply);
    }
    for (item, quantity) in reply["items"]
        .as_array()
        .into_iter()
        .flatten()
        .zip(&arguments.quantities)
    {
        say(format_args!("{quantity}"))?;
        say(steps(&item["derivation"]))?;
        result(item)?;
    }
    Ok(())
}

fn usage(quantity: &str, arguments: &RateArgs) -> anyhow::Result<Value> {
    let mut usage = Map::new();
    if quantity.contains('=') {
        usage.insert("groups".to_owned(), groups(quantity)?);
    } else {
        usage.insert("quantity".to_owned(), json!(quantity));
    }
    usage.insert("events".to_owned(), json!(arguments.events));
    usage.insert("already_billed".to_owned(), json!(arguments.already_billed));
    Ok(Value::Object(usage))
}

/// Reads `eu=100,us=50`, or `eu/large=100` where there are several keys.
fn groups(text: &str) -> anyhow::Result<Value> {
    let group = |part: &str| match part.rsplit_once('=') {
        Some((values, quantity)) => {
            Ok(json!({"values": values.split('/').collect::<Vec<_>>(), "quantity": quantity}))
        }
        None => bail!("`{part}`: expected VALUE=QUANTITY"),
    };
    text.split(',').map(group).collect()
}

fn result(item: &Value) -> anyhow::Result<()> {
    say(format_args!(
        "  exact     {} minor units",
        cell(&item["amount_exact"])
    ))?;
    say(format_args!("  rounding  {}", cell(&item["rounding"])))?;
    say(format_args!("  amount    {}", cell(&item["amount_text"])))?;
    if item["already_billed"] != 0 {
        say(format_args!(
            "  due       {} ({} minor units were billed already)",
            cell(&item["due_text"]),
            cell(&item["already_billed"])
        ))?;
    }
    Ok(())
}
