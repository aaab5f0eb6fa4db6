//! `invoices list|show|pay|collect|void|credit`: what was issued, how each line came about, and what became of it.

mod change;

use clap::Subcommand;
use serde_json::Value;

use super::client::{Client, ClientArgs, print_json};
use super::payments;
use super::say::say;
use super::steps::steps;
use super::table::{Table, cell, money};

/// Examples of the command.
const LIST_EXAMPLES: &str = "\
Examples:
  submeter-collector invoices list --customer acme
  submeter-collector invoices list --status draft

Exit codes: 0 done, 1 refused or the collector was not reached.";

/// Examples of the command.
const SHOW_EXAMPLES: &str = "\
Examples:
  submeter-collector invoices show inv_123

Exit codes: 0 done, 1 refused or the collector was not reached.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List invoices, newest first.
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// Only this customer's.
        #[arg(long)]
        customer: Option<String>,
        /// Only this subscription's.
        #[arg(long)]
        subscription: Option<String>,
        /// Only those that stand so: issued, paid or void; or draft, the periods that cannot be billed.
        #[arg(long)]
        status: Option<String>,
        /// How many at most.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show one invoice with every line's derivation.
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// The invoice's id, as `invoices list` shows it.
        invoice_id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Book money that was received for an invoice.
    #[command(after_help = change::PAY_EXAMPLES)]
    Pay(change::PayArgs),
    /// Ask for what is due now, whatever was planned: the customer has another card.
    #[command(after_help = change::COLLECT_EXAMPLES)]
    Collect(change::CollectArgs),
    /// Withdraw an invoice on which nothing was paid; its number stays taken.
    #[command(after_help = change::VOID_EXAMPLES)]
    Void(change::VoidArgs),
    /// Take back some of an invoice, or all that is left, by a credit note.
    #[command(after_help = change::CREDIT_EXAMPLES)]
    Credit(change::CreditArgs),
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::List {
            customer,
            subscription,
            status,
            limit,
            client,
        } => {
            let filters = [
                ("customer_id", customer),
                ("subscription_id", subscription),
                ("status", status),
            ];
            let query: Vec<_> = filters
                .into_iter()
                .filter_map(|(name, value)| value.map(|value| (name, value)))
                .collect();
            client.run(async |collector| list(collector, &query, limit, client.json).await)
        }
        Command::Show { invoice_id, client } => {
            client.run(async |collector| show(collector, &invoice_id, client.json).await)
        }
        Command::Pay(arguments) => arguments.run(),
        Command::Collect(arguments) => arguments.run(),
        Command::Void(arguments) => arguments.run(),
        Command::Credit(arguments) => arguments.run(),
    }
}

async fn list(
    collector: &Client,
    query: &[(&str, String)],
    limit: usize,
    json: bool,
) -> anyhow::Result<()> {
    let invoices = collector.list("/v1/invoices", query, limit).await?;
    if json {
        return print_json(&Value::Array(invoices));
    }
    let heads = [
        "Number",
        "Invoice",
        "Customer",
        "Period from",
        "Period to",
        "Lines",
        "Total",
        "Due",
        "Status",
        "Complete",
        "Reason",
    ];
    let mut table = Table::new(&heads).right(&[5, 6, 7]);
    for invoice in &invoices {
        table.row([
            cell(&invoice["number"]),
            cell(&invoice["invoice_id"]),
            cell(&invoice["customer_id"]),
            cell(&invoice["period"]["start"]),
            cell(&invoice["period"]["end"]),
            invoice["lines"].as_array().map_or(0, Vec::len).to_string(),
            cell(&invoice["total_text"]),
            money(&invoice["amount_due"], &invoice["currency"]),
            cell(&invoice["status"]),
            cell(&invoice["complete"]),
            cell(&invoice["reason"]),
        ]);
    }
    say(&table)?;
    Ok(())
}

async fn show(collector: &Client, invoice_id: &str, json: bool) -> anyhow::Result<()> {
    let invoice = collector
        .get(&format!("/v1/invoices/{invoice_id}"), &[])
        .await?;
    if json {
        return print_json(&invoice);
    }
    head(&invoice)?;
    payments::table(&invoice["payments"])?;
    let lines = invoice["lines"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    say(lines_table(lines, &invoice))?;
    for (position, line) in lines.iter().enumerate() {
        derivation(position + 1, line)?;
    }
    Ok(())
}

fn head(invoice: &Value) -> anyhow::Result<()> {
    say(format_args!(
        "{}  {}  {}",
        cell(&invoice["number"]),
        cell(&invoice["invoice_id"]),
        cell(&invoice["status"])
    ))?;
    say(format_args!(
        "  customer      {}",
        cell(&invoice["customer_id"])
    ))?;
    say(format_args!(
        "  subscription  {}",
        cell(&invoice["subscription_id"])
    ))?;
    if !invoice["period"].is_null() {
        say(format_args!(
            "  usage of      {} to {}",
            cell(&invoice["period"]["start"]),
            cell(&invoice["period"]["end"])
        ))?;
    }
    say(format_args!(
        "  issued        {}",
        cell(&invoice["issued_at"])
    ))?;
    if invoice["complete"] == Value::Bool(false) {
        say(format_args!(
            "  INCOMPLETE    without the agents {}",
            cell(&invoice["missing_agents"])
        ))?;
    }
    say(format_args!(
        "  total         {}",
        cell(&invoice["total_text"])
    ))?;
    say(format_args!(
        "  due           {} on {}",
        money(&invoice["amount_due"], &invoice["currency"]),
        cell(&invoice["due_at"])
    ))?;
    for (what, field) in [
        ("past due since", "past_due_since"),
        ("asked for next", "next_attempt_at"),
    ] {
        if !invoice[field].is_null() {
            say(format_args!("  {what}  {}", cell(&invoice[field])))?;
        }
    }
    Ok(())
}

fn lines_table(lines: &[Value], invoice: &Value) -> Table {
    let heads = [
        "#",
        "Line",
        "Quantity",
        "Free",
        "By credits",
        "Billed",
        "Unit price",
        "Exact",
        "Amount",
        "Events",
    ];
    let mut table = Table::new(&heads).right(&[0, 2, 3, 4, 5, 6, 7, 8, 9]);
    for (position, line) in lines.iter().enumerate() {
        table.row([
            (position + 1).to_string(),
            cell(&line["description"]),
            cell(&line["quantity"]),
            cell(&line["free_quantity"]),
            cell(&line["credits"]["credits_used"]),
            cell(&line["billed_quantity"]),
            cell(&line["unit_price"]),
            cell(&line["amount_exact"]),
            money(&line["amount"], &invoice["currency"]),
            cell(&line["events"]),
        ]);
    }
    table
}

/// Says in words where a line's numbers come from.
fn derivation(number: usize, line: &Value) -> anyhow::Result<()> {
    say(format_args!(
        "{number}. {}: {} to {}",
        cell(&line["description"]),
        period(line, "start"),
        period(line, "end")
    ))?;
    if !line["meter_id"].is_null() {
        say(format_args!(
            "     meter {} ({}, {} of {})",
            cell(&line["meter_id"]),
            cell(&line["meter_name"]),
            cell(&line["aggregation"]),
            cell(&line["measurement_unit"])
        ))?;
    }
    if !line["derivation"].is_null() {
        say(steps(&line["derivation"]))?;
    }
    for grant in line["credits"]["grants"].as_array().into_iter().flatten() {
        say(format_args!(
            "     credits {} from grant {}",
            cell(&grant["amount"]),
            cell(&grant["grant_id"])
        ))?;
    }
    for source in line["sources"].as_array().into_iter().flatten() {
        say(format_args!(
            "     agent {} frames {} to {}: {} events",
            cell(&source["agent_id"]),
            cell(&source["first_seq"]),
            cell(&source["last_seq"]),
            cell(&source["events"])
        ))?;
    }
    Ok(())
}

fn period(line: &Value, edge: &str) -> String {
    cell(&line["service_period"][edge])
}
