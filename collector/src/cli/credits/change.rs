//! `credits give|take|void`: changing by hand what a customer holds.

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::super::client::{ClientArgs, print_json, segment};
use super::super::say::say;
use super::super::table::cell;

/// Examples of the command.
pub(super) const GIVE_EXAMPLES: &str = "\
Examples:
  submeter-collector credits give acme cde_123 500 --reason 'outage of 3 February' --idempotency-key outage-3-acme
  submeter-collector credits give acme cde_123 2.50 --priority 5 --expires-at 2027-01-01T00:00:00Z

Exit codes: 0 done, or done before under the same key, 1 refused or the collector was not reached.";

/// Examples of the command.
pub(super) const TAKE_EXAMPLES: &str = "\
Examples:
  submeter-collector credits take acme cde_123 20 --reason 'training of 5 May' --idempotency-key training-5

Exit codes: 0 done, 1 refused (a key that was used before, too) or the collector was not reached.";

/// Examples of the command.
pub(super) const VOID_EXAMPLES: &str = "\
Examples:
  submeter-collector credits void cgr_123 --reason 'given by mistake'
  submeter-collector credits void cgr_123 --amount 100

Exit codes: 0 done, 1 refused or the collector was not reached.";

#[derive(Debug, Args)]
pub(in super::super) struct GiveArgs {
    /// The customer's id.
    customer_id: String,
    /// The kind of credits, as `credits list` shows it.
    credits: String,
    /// How many.
    amount: String,
    /// Lower burns first; those of subscriptions have 10.
    #[arg(long)]
    priority: Option<u32>,
    /// From when on they are good (RFC 3339); now, without it.
    #[arg(long)]
    effective_at: Option<String>,
    /// Until when they are good (RFC 3339); until they are used, without it.
    #[arg(long)]
    expires_at: Option<String>,
    #[command(flatten)]
    remark: RemarkArgs,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
pub(in super::super) struct TakeArgs {
    /// The customer's id.
    customer_id: String,
    /// The kind of credits, as `credits list` shows it.
    credits: String,
    /// How many.
    amount: String,
    #[command(flatten)]
    remark: RemarkArgs,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
pub(in super::super) struct VoidArgs {
    /// The grant's id, as `credits grants` shows it.
    grant_id: String,
    /// How many credits; without it, all that is left.
    #[arg(long)]
    amount: Option<String>,
    #[command(flatten)]
    remark: RemarkArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// What is remembered with a change.
#[derive(Debug, Args)]
struct RemarkArgs {
    /// Why; it stands in the ledger.
    #[arg(long)]
    reason: Option<String>,
    /// The same key is the same change, and is made once.
    #[arg(long)]
    idempotency_key: Option<String>,
}

impl GiveArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let path = format!("/v1/customers/{}/grants", segment(&self.customer_id));
        let body = json!({
            "credit_entitlement_id": self.credits,
            "amount": self.amount,
            "priority": self.priority,
            "effective_at": self.effective_at,
            "expires_at": self.expires_at,
        });
        let grant = send(&self.client, &path, self.remark.add_to(body))?;
        self.client.tell(&grant, || {
            format!(
                "gave {} credits as {}; {} are left of it",
                cell(&grant["initial_amount"]),
                cell(&grant["id"]),
                cell(&grant["remaining_amount"])
            )
        })
    }
}

impl TakeArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let path = format!(
            "/credit-entitlements/{}/balances/{}/ledger-entries",
            segment(&self.credits),
            segment(&self.customer_id)
        );
        let body = json!({"entry_type": "debit", "amount": self.amount});
        let entry = send(&self.client, &path, self.remark.add_to(body))?;
        self.client.tell(&entry, || {
            format!(
                "took {} credits; {} are left",
                cell(&entry["amount"]),
                cell(&entry["balance_after"])
            )
        })
    }
}

impl VoidArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let path = format!("/v1/grants/{}/void", segment(&self.grant_id));
        let body = json!({"amount": self.amount});
        let grant = send(&self.client, &path, self.remark.add_to(body))?;
        self.client.tell(&grant, || {
            format!("{} are left of the grant", cell(&grant["remaining_amount"]))
        })
    }
}

impl RemarkArgs {
    fn add_to(self, mut body: Value) -> Value {
        body["reason"] = json!(self.reason);
        body["idempotency_key"] = json!(self.idempotency_key);
        body
    }
}

impl ClientArgs {
    /// Says what was done, as JSON where that is wanted.
    fn tell(&self, done: &Value, text: impl Fn() -> String) -> anyhow::Result<()> {
        if self.json {
            return print_json(done);
        }
        say(text())
    }
}

fn send(client: &ClientArgs, path: &str, body: Value) -> anyhow::Result<Value> {
    client.run(async |collector| collector.send(Method::POST, path, &[], Some(&body)).await)
}
