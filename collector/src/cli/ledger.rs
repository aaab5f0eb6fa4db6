//! `ledger list|accounts|verify|rebuild`: every booking of a customer, what they come to, and whether all that is derived from
//! them still follows.

use anyhow::bail;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, ClientArgs, print_json, segment};
use super::say::{remark, say};
use super::table::{Table, cell};

/// Examples of the command.
const LIST_EXAMPLES: &str = "\
Examples:
  submeter-collector ledger list acme
  submeter-collector ledger list acme --limit 1000 --json > acme.json

Exit codes: 0 done, 1 refused or the collector was not reached.";

/// Examples of the command.
const ACCOUNTS_EXAMPLES: &str = "\
Examples:
  submeter-collector ledger accounts acme

Exit codes: 0 done, 1 refused or the collector was not reached.";

/// Examples of the command.
const VERIFY_EXAMPLES: &str = "\
Examples:
  submeter-collector ledger verify
  submeter-collector ledger verify acme --json

Exit codes: 0 everything adds up, 1 something does not, or the collector was not reached.";

/// Examples of the command.
const REBUILD_EXAMPLES: &str = "\
Examples:
  submeter-collector ledger rebuild acme

Exit codes: 0 balances and grants are those of the entries, 1 an entry is damaged or a grant is lost, or the collector was not \
reached.";

/// Ledgers that one request adds up: an answer within the client's patience, however long they are.
const LEDGERS_PER_REQUEST: usize = 20;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the entries of a customer's ledger, newest first.
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// The customer's id.
        customer_id: String,
        /// How many at most.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show what each of a customer's accounts holds, kind by kind of credits and currency by currency.
    #[command(after_help = ACCOUNTS_EXAMPLES)]
    Accounts(OfCustomer),
    /// Add ledgers up again from their first entries on, and compare chain, balances and grants.
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify {
        /// Only this customer's.
        customer_id: Option<String>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Write a customer's balances and grants anew from the entries, where they differ.
    #[command(after_help = REBUILD_EXAMPLES)]
    Rebuild(OfCustomer),
}

#[derive(Debug, Args)]
pub(super) struct OfCustomer {
    /// The customer's id.
    customer_id: String,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::List {
            customer_id,
            limit,
            client,
        } => client.run(async |collector| {
            let path = format!("/v1/customers/{}/ledger", segment(&customer_id));
            let entries = collector.list(&path, &[], limit).await?;
            if client.json {
                return print_json(&Value::Array(entries));
            }
            say(list(&entries))
        }),
        Command::Accounts(OfCustomer {
            customer_id,
            client,
        }) => client.run(async |collector| {
            let path = format!("/v1/customers/{}/ledger/accounts", segment(&customer_id));
            let units = collector.get(&path, &[]).await?;
            if client.json {
                return print_json(&units);
            }
            say(accounts(&units))
        }),
        Command::Verify {
            customer_id,
            client,
        } => client.run(async |collector| verify(collector, customer_id, client.json).await),
        Command::Rebuild(OfCustomer {
            customer_id,
            client,
        }) => client.run(async |collector| rebuild(collector, &customer_id, client.json).await),
    }
}

fn list(entries: &[Value]) -> Table {
    let heads = [
        "No.",
        "Booked",
        "Unit",
        "From",
        "To",
        "Amount",
        "Has then",
        "Owes then",
        "Why",
        "Key",
    ];
    let mut table = Table::new(&heads).right(&[0, 5, 6, 7]);
    for entry in entries {
        let (transfer, standing) = (&entry["transfer"], &entry["standing"]);
        table.row([
            cell(&entry["sequence"]),
            cell(&transfer["at"]),
            unit(&transfer["unit"]),
            cell(&transfer["credit"]),
            cell(&transfer["debit"]),
            cell(&transfer["amount"]),
            cell(&standing["has"]),
            cell(&standing["owes"]),
            cell(&transfer["cause"]["kind"]),
            cell(&transfer["idempotency_key"]),
        ]);
    }
    table
}

fn accounts(units: &Value) -> Table {
    let mut table = Table::new(&["Unit", "Account", "Balance"]).right(&[2]);
    for of_unit in units["items"].as_array().into_iter().flatten() {
        let name = unit(&of_unit["unit"]);
        for (account, balance) in of_unit["accounts"].as_object().into_iter().flatten() {
            table.row([name.clone(), account.clone(), cell(balance)]);
        }
        let sums = format!(
            "{} = {}",
            cell(&of_unit["debits"]),
            cell(&of_unit["credits"])
        );
        table.row([name, "(debits = credits)".to_owned(), sums]);
    }
    table
}

/// A currency, or a kind of credits.
fn unit(unit: &Value) -> String {
    let mut names = unit.as_object().into_iter().flatten();
    names
        .next()
        .map_or_else(String::new, |(_, name)| cell(name))
}

async fn verify(collector: &Client, customer_id: Option<String>, json: bool) -> anyhow::Result<()> {
    let ledgers = audit(collector, customer_id).await?;
    let faults: usize = ledgers.iter().map(|ledger| faults(ledger).len()).sum();
    if json {
        print_json(&json!({"ledgers": ledgers, "faults": faults}))?;
    } else {
        let entries: u64 = ledgers
            .iter()
            .filter_map(|ledger| ledger["entries"].as_u64())
            .sum();
        say(format_args!(
            "added up {} ledgers with {entries} entries",
            ledgers.len()
        ))?;
        found(&ledgers)?;
    }
    if faults > 0 {
        bail!("{faults} faults");
    }
    Ok(())
}

async fn audit(collector: &Client, customer_id: Option<String>) -> anyhow::Result<Vec<Value>> {
    let path = "/v1/ledgers/audit";
    if let Some(customer_id) = customer_id {
        let mut reply = collector.get(path, &[("customer_id", customer_id)]).await?;
        return Ok(items(&mut reply));
    }
    let mut all: Vec<Value> = Vec::new();
    loop {
        let mut query = vec![("limit", LEDGERS_PER_REQUEST.to_string())];
        let last = all.last().map(|ledger| cell(&ledger["customer_id"]));
        query.extend(last.map(|last| ("after", last)));
        let mut page = items(&mut collector.get(path, &query).await?);
        let is_last = page.len() < LEDGERS_PER_REQUEST;
        all.append(&mut page);
        if is_last {
            return Ok(all);
        }
        if all.len().is_multiple_of(10_000) {
            remark(format_args!("{} added up", all.len()));
        }
    }
}

fn items(reply: &mut Value) -> Vec<Value> {
    let items = reply["items"].as_array_mut();
    items.map(std::mem::take).unwrap_or_default()
}

fn faults(ledger: &Value) -> Vec<String> {
    let faults = ledger["faults"].as_array().into_iter().flatten();
    faults.map(cell).collect()
}

fn found(ledgers: &[Value]) -> anyhow::Result<()> {
    let mut table = Table::new(&["Customer", "Fault"]);
    let mut is_sound = true;
    for ledger in ledgers {
        for fault in faults(ledger) {
            is_sound = false;
            table.row([cell(&ledger["customer_id"]), fault]);
        }
    }
    if is_sound {
        return say(format_args!("everything adds up"));
    }
    say(table)
}

async fn rebuild(collector: &Client, customer_id: &str, json: bool) -> anyhow::Result<()> {
    let path = format!("/v1/customers/{}/ledger/rebuild", segment(customer_id));
    let outcome = collector.send(Method::POST, &path, &[], None).await?;
    let is_damaged = outcome["outcome"] == "damaged";
    let lost = outcome["lost"].as_array().map_or(0, Vec::len);
    if json {
        print_json(&outcome)?;
    } else {
        say(match outcome["outcome"].as_str() {
            Some("unchanged") => "balances and grants are those of the entries",
            Some("rebuilt") => {
                "balances and grants were not those of the entries, and were written anew"
            }
            _ => "an entry is damaged: nothing was changed; restore a backup",
        })?;
        let faults = json!({"customer_id": customer_id, "faults": outcome["faults"]});
        if !self::faults(&faults).is_empty() {
            found(&[faults])?;
        }
    }
    if is_damaged {
        bail!("what the entries say cannot be believed");
    }
    if lost > 0 {
        bail!("{lost} grants are lost: the entries tell what they held, and not until when");
    }
    Ok(())
}
