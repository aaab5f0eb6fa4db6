//! `credits list|balance|grants|give|take|void`: what customers hold of each kind of credits, and changing it by hand.

mod change;

use clap::Subcommand;
use serde_json::Value;

use super::client::{Client, ClientArgs, print_json, segment};
use super::say::say;
use super::table::{Table, cell};

/// Examples of the command.
const LIST_EXAMPLES: &str = "\
Examples:
  submeter-collector credits list

Exit codes: 0 done, 1 refused or the collector was not reached.";

/// Examples of the command.
const BALANCE_EXAMPLES: &str = "\
Examples:
  submeter-collector credits balance acme
  submeter-collector credits balance acme --json

Exit codes: 0 done, 1 refused or the collector was not reached.";

/// Examples of the command.
const GRANTS_EXAMPLES: &str = "\
Examples:
  submeter-collector credits grants acme cde_123
  submeter-collector credits grants acme cde_123 --status active

Exit codes: 0 done, 1 refused or the collector was not reached.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the kinds of credits.
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// How many at most.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show what a customer can use of each kind, with what open periods have used deducted.
    #[command(after_help = BALANCE_EXAMPLES)]
    Balance {
        /// The customer's id.
        customer_id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List a customer's grants of one kind, newest first.
    #[command(after_help = GRANTS_EXAMPLES)]
    Grants {
        /// The customer's id.
        customer_id: String,
        /// The kind of credits, as `credits list` shows it.
        credits: String,
        /// Only those that are active, expired or depleted.
        #[arg(long)]
        status: Option<String>,
        /// How many at most.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Give a customer credits.
    #[command(after_help = change::GIVE_EXAMPLES)]
    Give(change::GiveArgs),
    /// Take credits from a customer, as usage would, in the order of burning.
    #[command(after_help = change::TAKE_EXAMPLES)]
    Take(change::TakeArgs),
    /// Take back what is left of a grant, or a part of it.
    #[command(after_help = change::VOID_EXAMPLES)]
    Void(change::VoidArgs),
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::List { limit, client } => client.run(async |collector| {
            let kinds = collector.list("/credit-entitlements", &[], limit).await?;
            if client.json {
                return print_json(&Value::Array(kinds));
            }
            say(list(&kinds))
        }),
        Command::Balance {
            customer_id,
            client,
        } => client.run(async |collector| {
            let path = format!("/customers/{}/credit-entitlements", segment(&customer_id));
            let kinds = collector.get(&path, &[]).await?;
            if client.json {
                return print_json(&kinds);
            }
            say(balance(&kinds))
        }),
        Command::Grants {
            customer_id,
            credits,
            status,
            limit,
            client,
        } => client.run(async |collector| {
            let query: Vec<_> = status.into_iter().map(|text| ("status", text)).collect();
            let grants = grants(collector, (&credits, &customer_id), &query, limit).await?;
            if client.json {
                return print_json(&Value::Array(grants));
            }
            say(table(&grants))
        }),
        Command::Give(arguments) => arguments.run(),
        Command::Take(arguments) => arguments.run(),
        Command::Void(arguments) => arguments.run(),
    }
}

fn list(kinds: &[Value]) -> Table {
    let heads = ["Credits", "Name", "Unit", "Digits", "Rollover", "Overage"];
    let mut table = Table::new(&heads).right(&[3]);
    for kind in kinds {
        let overage = if kind["overage_enabled"] == true {
            cell(&kind["overage_behavior"])
        } else {
            "refused".to_owned()
        };
        table.row([
            cell(&kind["id"]),
            cell(&kind["name"]),
            cell(&kind["unit"]),
            cell(&kind["precision"]),
            cell(&kind["rollover_enabled"]),
            overage,
        ]);
    }
    table
}

fn balance(kinds: &Value) -> Table {
    let heads = ["Credits", "Name", "Unit", "Balance", "Overage"];
    let mut table = Table::new(&heads).right(&[3, 4]);
    for kind in kinds["items"].as_array().into_iter().flatten() {
        table.row([
            cell(&kind["credit_entitlement_id"]),
            cell(&kind["name"]),
            cell(&kind["unit"]),
            cell(&kind["balance"]),
            cell(&kind["overage"]),
        ]);
    }
    table
}

async fn grants(
    collector: &Client,
    (credits, customer_id): (&str, &str),
    query: &[(&str, String)],
    limit: usize,
) -> anyhow::Result<Vec<Value>> {
    let path = format!(
        "/credit-entitlements/{}/balances/{}/grants",
        segment(credits),
        segment(customer_id)
    );
    collector.list(&path, query, limit).await
}

fn table(grants: &[Value]) -> Table {
    let heads = [
        "Grant",
        "From",
        "Given",
        "Left",
        "Held",
        "Expired",
        "Priority",
        "Good from",
        "Until",
    ];
    let mut table = Table::new(&heads).right(&[2, 3, 4, 5, 6]);
    for grant in grants {
        table.row([
            cell(&grant["id"]),
            cell(&grant["source_type"]),
            cell(&grant["initial_amount"]),
            cell(&grant["remaining_amount"]),
            cell(&grant["held_amount"]),
            cell(&grant["expired_amount"]),
            cell(&grant["priority"]),
            cell(&grant["effective_at"]),
            cell(&grant["expires_at"]),
        ]);
    }
    table
}
