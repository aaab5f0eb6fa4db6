//! `payments list|succeeded|failed`: what was asked for or received, and how it ended.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{ClientArgs, print_json};
use super::say::say;
use super::table::{Table, cell, money};

/// Examples of the command.
const LIST_EXAMPLES: &str = "\
Examples:
  submeter-collector payments list inv_123

Exit codes: 0 done, 1 refused or the collector was not reached.";

/// Examples of the command.
const SUCCEEDED_EXAMPLES: &str = "\
Examples:
  submeter-collector payments succeeded pay_123 --reference ch_1

Exit codes: 0 done, 1 refused or the collector was not reached.";

/// Examples of the command.
const FAILED_EXAMPLES: &str = "\
Examples:
  submeter-collector payments failed pay_123 --reason 'card declined'

Exit codes: 0 done, 1 refused or the collector was not reached.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List what was asked for or received for an invoice, oldest first.
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// The invoice's id, as `invoices list` shows it.
        invoice_id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Say that a payment that is processing succeeded.
    #[command(after_help = SUCCEEDED_EXAMPLES)]
    Succeeded {
        /// The payment's id, as `payments list` shows it.
        payment_id: String,
        /// What whoever took the money calls it.
        #[arg(long)]
        reference: Option<String>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Say that a payment that is processing was refused, and will never take money.
    #[command(after_help = FAILED_EXAMPLES)]
    Failed {
        /// The payment's id, as `payments list` shows it.
        payment_id: String,
        /// Why.
        #[arg(long)]
        reason: String,
        /// What whoever was asked calls it.
        #[arg(long)]
        reference: Option<String>,
        #[command(flatten)]
        client: ClientArgs,
    },
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::List { invoice_id, client } => list(&client, &invoice_id),
        Command::Succeeded {
            payment_id,
            reference,
            client,
        } => {
            let body = json!({"status": "succeeded", "reference": reference});
            answer(&client, &payment_id, &body)
        }
        Command::Failed {
            payment_id,
            reason,
            reference,
            client,
        } => {
            let body = json!({"status": "failed", "reason": reason, "reference": reference});
            answer(&client, &payment_id, &body)
        }
    }
}

fn list(client: &ClientArgs, invoice: &str) -> anyhow::Result<()> {
    let query = [("invoice_id", invoice.to_owned())];
    client.run(async |collector| {
        let payments = collector.list("/v1/payments", &query, usize::MAX).await?;
        let payments = Value::Array(payments);
        if client.json {
            return print_json(&payments);
        }
        table(&payments)
    })
}

fn answer(client: &ClientArgs, payment: &str, body: &Value) -> anyhow::Result<()> {
    let path = format!("/v1/payments/{payment}/answer");
    client.run(async |collector| {
        let payment = collector.send(Method::POST, &path, &[], Some(body)).await?;
        if client.json {
            return print_json(&payment);
        }
        say(format_args!(
            "{}  {}, {}",
            cell(&payment["payment_id"]),
            cell(&payment["status"]),
            money(&payment["amount"], &payment["currency"])
        ))
    })
}

/// Prints payments; nothing where there are none.
pub(super) fn table(payments: &Value) -> anyhow::Result<()> {
    let payments = payments.as_array().map(Vec::as_slice).unwrap_or_default();
    if payments.is_empty() {
        return Ok(());
    }
    let heads = [
        "Payment",
        "Try",
        "Amount",
        "Asked for",
        "By",
        "Status",
        "Reference",
        "Refused because",
    ];
    let mut table = Table::new(&heads).right(&[1, 2]);
    for payment in payments {
        table.row([
            cell(&payment["payment_id"]),
            cell(&payment["attempt"]),
            money(&payment["amount"], &payment["currency"]),
            cell(&payment["requested_at"]),
            cell(&payment["gateway"]),
            cell(&payment["status"]),
            cell(&payment["reference"]),
            cell(&payment["failure"]),
        ]);
    }
    say(&table)
}
