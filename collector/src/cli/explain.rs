//! `explain`: an invoice line by line, down to tiers, grants, usage by day and hour, and frames.

use clap::Args;
use serde_json::Value;

use super::client::{Client, ClientArgs, print_json};
use super::say::say;
use super::steps::steps;
use super::table::{Table, cell, money};

/// Examples of the command.
pub(super) const EXAMPLES: &str = "\
Examples:
  submeter-collector explain inv_123
  submeter-collector explain inv_123 --line 2 --hours

Exit codes: 0 done, 1 refused or the collector was not reached.";

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The invoice's id, as `invoices list` shows it.
    invoice_id: String,
    /// Only this line, from 1.
    #[arg(long)]
    line: Option<u32>,
    /// Show usage by hour, too.
    #[arg(long)]
    hours: bool,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) fn run(arguments: ExplainArgs) -> anyhow::Result<()> {
    arguments
        .client
        .run(async |collector| explain(collector, &arguments).await)
}

async fn explain(collector: &Client, arguments: &ExplainArgs) -> anyhow::Result<()> {
    let path = format!("/v1/invoices/{}/explain", arguments.invoice_id);
    let line = arguments.line.map(|line| ("line", line.to_string()));
    let query: Vec<_> = line.into_iter().collect();
    let explained = collector.get(&path, &query).await?;
    if arguments.client.json {
        return print_json(&explained);
    }
    let invoice = &explained["invoice"];
    say(format_args!(
        "{}  {}  {}",
        cell(&invoice["number"]),
        cell(&invoice["customer_id"]),
        cell(&invoice["total_text"])
    ))?;
    for line in explained["lines"].as_array().into_iter().flatten() {
        head(line, &invoice["currency"])?;
        if !line["derivation"].is_null() {
            say(steps(&line["derivation"]))?;
        }
        credits(line)?;
        usage(line, arguments.hours)?;
        frames(line)?;
    }
    Ok(())
}

fn head(line: &Value, currency: &Value) -> anyhow::Result<()> {
    say(format_args!(
        "\n{}. {}: {}",
        cell(&line["number"]),
        cell(&line["description"]),
        money(&line["amount"], currency)
    ))?;
    say(format_args!(
        "   {} to {}",
        cell(&line["service_period"]["start"]),
        cell(&line["service_period"]["end"])
    ))?;
    say(format_args!(
        "   quantity {}, free {}, billed {}, unit price {}, exact {}",
        cell(&line["quantity"]),
        cell(&line["free_quantity"]),
        cell(&line["billed_quantity"]),
        cell(&line["unit_price"]),
        cell(&line["amount_exact"])
    ))?;
    let (billed, known) = (line["events"].as_u64(), line["events_known"].as_u64());
    if known > billed {
        say(format_args!(
            "   {} events came later: they are on a later invoice, or will be",
            known.unwrap_or(0) - billed.unwrap_or(0)
        ))?;
    }
    Ok(())
}

fn credits(line: &Value) -> anyhow::Result<()> {
    let used = line["credits"]["grants"].as_array();
    let Some(used) = used.filter(|used| !used.is_empty()) else {
        return Ok(());
    };
    let heads = ["Grant", "From", "Credits", "Remaining now", "Expires"];
    let mut table = Table::new(&heads).right(&[2, 3]);
    let paid_by = line["paid_by"].as_array().map(Vec::as_slice);
    for used in used {
        let grant = paid_by
            .unwrap_or_default()
            .iter()
            .find(|grant| grant["grant_id"] == used["grant_id"])
            .unwrap_or(&Value::Null);
        table.row([
            cell(&used["grant_id"]),
            cell(&grant["source"]),
            cell(&used["amount"]),
            cell(&grant["remaining"]),
            cell(&grant["expires_at"]),
        ]);
    }
    say(&table)
}

fn usage(line: &Value, with_hours: bool) -> anyhow::Result<()> {
    let days = line["days"].as_array();
    let Some(days) = days.filter(|days| !days.is_empty()) else {
        return Ok(());
    };
    let mut table = Table::new(&["Usage from", "Group", "Quantity", "Events"]).right(&[2, 3]);
    for day in days {
        let group = cell(&day["group"]);
        table.row([
            cell(&day["start"]),
            group.clone(),
            cell(&day["quantity"]),
            cell(&day["events"]),
        ]);
        for hour in day["hours"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|_| with_hours)
        {
            table.row([
                format!("  {}", cell(&hour["start"])),
                group.clone(),
                cell(&hour["quantity"]),
                cell(&hour["events"]),
            ]);
        }
    }
    say(&table)
}

fn frames(line: &Value) -> anyhow::Result<()> {
    let frames = line["frames"].as_array();
    let Some(frames) = frames.filter(|frames| !frames.is_empty()) else {
        return Ok(());
    };
    let heads = [
        "Agent",
        "First frame",
        "Last frame",
        "Events",
        "First digest",
        "Last digest",
    ];
    let mut table = Table::new(&heads).right(&[1, 2, 3]);
    for range in frames {
        table.row([
            cell(&range["agent_id"]),
            cell(&range["first_seq"]),
            cell(&range["last_seq"]),
            cell(&range["events"]),
            short(&range["first_digest"]),
            short(&range["last_digest"]),
        ]);
    }
    say(&table)
}

/// The beginning of a digest, enough to find it.
fn short(digest: &Value) -> String {
    cell(digest).chars().take(16).collect()
}
