//! `verify`: derives every issued invoice again, and adds up ledgers and receipts.

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};

use super::client::{Client, ClientArgs, print_json};
use super::say::{remark, say};
use super::table::{Table, cell};

/// Examples of the command.
pub(super) const EXAMPLES: &str = "\
Examples:
  submeter-collector verify
  submeter-collector verify --json

Exit codes: 0 everything follows, 1 something does not, or the collector was not reached.";

/// What is checked, in this order.
const PARTS: [&str; 3] = ["agents", "ledgers", "invoices"];

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) fn run(arguments: VerifyArgs) -> anyhow::Result<()> {
    let json = arguments.client.json;
    arguments
        .client
        .run(async |collector| verify(collector, json).await)
}

async fn verify(collector: &Client, json: bool) -> anyhow::Result<()> {
    let mut findings = Vec::new();
    let mut checked = serde_json::Map::new();
    for part in PARTS {
        let count = check(collector, part, &mut findings).await?;
        checked.insert(part.to_owned(), json!(count));
    }
    if json {
        print_json(&json!({"checked": checked, "findings": findings}))?;
    } else {
        let count = |part| cell(&checked[part]);
        say(format_args!(
            "checked {} agents, {} ledgers, {} invoices",
            count("agents"),
            count("ledgers"),
            count("invoices")
        ))?;
        table(&findings)?;
    }
    if findings.is_empty() {
        return Ok(());
    }
    bail!("{} findings", findings.len())
}

async fn check(collector: &Client, part: &str, findings: &mut Vec<Value>) -> anyhow::Result<u64> {
    let (mut checked, mut after) = (0, None::<String>);
    loop {
        let mut query = vec![("part", part.to_owned())];
        query.extend(after.take().map(|after| ("after", after)));
        let reply = collector.get("/v1/verify", &query).await?;
        checked += reply["checked"].as_u64().unwrap_or(0);
        findings.extend(reply["findings"].as_array().into_iter().flatten().cloned());
        match reply["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => return Ok(checked),
        }
        if checked % 10_000 < 50 {
            remark(format_args!("{part}: {checked} checked"));
        }
    }
}

fn table(findings: &[Value]) -> anyhow::Result<()> {
    if findings.is_empty() {
        return say(format_args!("everything follows"));
    }
    let mut table = Table::new(&["What", "Line", "Problem"]).right(&[1]);
    for finding in findings {
        table.row([
            cell(&finding["subject"]),
            cell(&finding["line"]),
            cell(&finding["problem"]),
        ]);
    }
    say(&table)
}
