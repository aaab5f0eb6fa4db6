//! `usage`: what a customer used.

use clap::Args;
use serde_json::Value;

use super::client::{Client, ClientArgs, print_json};
use super::say::say;
use super::table::{Table, cell};

/// Examples of the command.
const EXAMPLES: &str = "\
Examples:
  submeter-collector usage --customer acme
  submeter-collector usage --customer acme --meter mtr_123 --start 2026-01-01T00:00:00Z --end 2026-02-01T00:00:00Z --granularity day

Exit codes: 0 done, 1 refused or the collector was not reached.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct UsageArgs {
    /// The customer's id.
    #[arg(long)]
    customer: String,
    /// Only this meter; all of them otherwise.
    #[arg(long)]
    meter: Option<String>,
    /// Start of the period (RFC 3339, a whole minute); a day before the end otherwise.
    #[arg(long)]
    start: Option<String>,
    /// End of the period, not in it; the end of this minute otherwise.
    #[arg(long)]
    end: Option<String>,
    /// minute, hour, day or total.
    #[arg(long, default_value = "total")]
    granularity: String,
    /// Keys of the meter to keep apart, with commas.
    #[arg(long)]
    group_by: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) fn run(arguments: UsageArgs) -> anyhow::Result<()> {
    arguments
        .client
        .run(async |collector| show(collector, &arguments).await)
}

async fn show(collector: &Client, arguments: &UsageArgs) -> anyhow::Result<()> {
    let mut query = vec![
        ("customer_id", arguments.customer.clone()),
        ("granularity", arguments.granularity.clone()),
    ];
    let optional = [
        ("meter_id", &arguments.meter),
        ("start", &arguments.start),
        ("end", &arguments.end),
        ("group_by", &arguments.group_by),
    ];
    query.extend(
        optional
            .into_iter()
            .filter_map(|(name, value)| value.clone().map(|value| (name, value))),
    );
    let usage = collector.get("/v1/usage", &query).await?;
    if arguments.client.json {
        return print_json(&usage);
    }
    say(format_args!(
        "{} from {} to {}",
        cell(&usage["customer_id"]),
        cell(&usage["start"]),
        cell(&usage["end"])
    ))?;
    say(format_args!("{}", table(&usage)))?;
    Ok(())
}

fn table(usage: &Value) -> Table {
    let mut table = Table::new(&[
        "Meter",
        "From",
        "To",
        "Group",
        "Aggregation",
        "Quantity",
        "Unit",
        "Events",
        "Agents",
    ])
    .right(&[5, 7, 8]);
    for item in usage["items"].as_array().into_iter().flatten() {
        table.row([
            cell(&item["meter_name"]),
            cell(&item["start"]),
            cell(&item["end"]),
            group(item),
            cell(&item["aggregation"]),
            cell(&item["quantity"]),
            cell(&item["measurement_unit"]),
            cell(&item["events"]),
            item["sources"].as_array().map_or(0, Vec::len).to_string(),
        ]);
    }
    table
}

fn group(item: &Value) -> String {
    if item["other"] == Value::Bool(true) {
        return "(the rest)".to_owned();
    }
    let values = item["group"].as_object().into_iter().flatten();
    values
        .map(|(key, value)| format!("{key}={}", cell(value)))
        .collect::<Vec<_>>()
        .join(" ")
}
