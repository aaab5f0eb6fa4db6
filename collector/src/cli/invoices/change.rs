//! `invoices pay|collect|void|credit`: what may happen to an issued invoice.

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::super::client::{ClientArgs, print_json};
use super::super::say::say;
use super::super::table::{cell, money};

/// Examples of the command.
pub(super) const PAY_EXAMPLES: &str = "\
Examples:
  submeter-collector invoices pay inv_123 --reference 'wire 17'
  submeter-collector invoices pay inv_123 --amount 5000 --idempotency-key wire-17

Exit codes: 0 done, 1 refused or the collector was not reached.";

/// Examples of the command.
pub(super) const COLLECT_EXAMPLES: &str = "\
Examples:
  submeter-collector invoices collect inv_123

Exit codes: 0 done, 1 refused or the collector was not reached.";

/// Examples of the command.
pub(super) const VOID_EXAMPLES: &str = "\
Examples:
  submeter-collector invoices void inv_123 --reason 'wrong customer'

Exit codes: 0 done, 1 refused or the collector was not reached.";

/// Examples of the command.
pub(super) const CREDIT_EXAMPLES: &str = "\
Examples:
  submeter-collector invoices credit inv_123 --reason 'outage of 3 February' --line 1=2500
  submeter-collector invoices credit inv_123 --reason 'all of it'

Exit codes: 0 done, 1 refused or the collector was not reached.";

#[derive(Debug, Args)]
pub(in super::super) struct PayArgs {
    /// The invoice's id, as `invoices list` shows it.
    invoice_id: String,
    /// Minor units that were received; without it, all that is due.
    #[arg(long)]
    amount: Option<i64>,
    /// What the receipt is called elsewhere.
    #[arg(long)]
    reference: Option<String>,
    /// The same key is the same receipt, and is booked once.
    #[arg(long)]
    idempotency_key: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
pub(in super::super) struct CollectArgs {
    /// The invoice's id, as `invoices list` shows it.
    invoice_id: String,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
pub(in super::super) struct VoidArgs {
    /// The invoice's id, as `invoices list` shows it.
    invoice_id: String,
    /// Why, for the audit log.
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
pub(in super::super) struct CreditArgs {
    /// The invoice's id, as `invoices list` shows it.
    invoice_id: String,
    /// Why; it stands on the credit note.
    #[arg(long)]
    reason: String,
    /// Minor units to take back of a line, as LINE=AMOUNT, lines from 1; without it, all that is left.
    #[arg(long = "line", value_name = "LINE=AMOUNT", value_parser = credited_line)]
    lines: Vec<(u32, i64)>,
    /// The same key is the same credit note.
    #[arg(long)]
    idempotency_key: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

impl PayArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let body = json!({
            "amount": self.amount,
            "reference": self.reference,
            "idempotency_key": self.idempotency_key,
        });
        act(&self.client, &self.invoice_id, "pay", &body)
    }
}

impl CollectArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        act(&self.client, &self.invoice_id, "collect", &json!({}))
    }
}

impl VoidArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let body = json!({"reason": self.reason});
        act(&self.client, &self.invoice_id, "void", &body)
    }
}

impl CreditArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let line = |(line, amount): &(u32, i64)| json!({"line": line, "amount": amount});
        let lines: Vec<Value> = self.lines.iter().map(line).collect();
        let body = json!({
            "reason": self.reason,
            "lines": Some(lines).filter(|lines| !lines.is_empty()),
            "idempotency_key": self.idempotency_key,
        });
        let path = format!("/v1/invoices/{}/credit-notes", self.invoice_id);
        self.client.run(async |collector| {
            let note = collector
                .send(Method::POST, &path, &[], Some(&body))
                .await?;
            if self.client.json {
                return print_json(&note);
            }
            say(format_args!(
                "{}  {} of {} taken back",
                cell(&note["number"]),
                cell(&note["total_text"]),
                cell(&note["invoice_number"])
            ))
        })
    }
}

fn act(client: &ClientArgs, invoice: &str, verb: &str, body: &Value) -> anyhow::Result<()> {
    let path = format!("/v1/invoices/{invoice}/{verb}");
    client.run(async |collector| {
        let invoice = collector.send(Method::POST, &path, &[], Some(body)).await?;
        if client.json {
            return print_json(&invoice);
        }
        say(format_args!(
            "{}  {}, {} due",
            cell(&invoice["number"]),
            cell(&invoice["status"]),
            money(&invoice["amount_due"], &invoice["currency"])
        ))
    })
}

fn credited_line(text: &str) -> Result<(u32, i64), String> {
    let parts = text.split_once('=');
    let parsed = parts.and_then(|(line, amount)| Some((line.parse().ok()?, amount.parse().ok()?)));
    parsed.ok_or_else(|| format!("expected LINE=AMOUNT such as 1=2500, found `{text}`"))
}
