//! `status`: the running agent at one glance, for people or as JSON.

use clap::Args;
use comfy_table::{Table, presets};

use super::client::Target;
use super::say::say;
use super::{EXIT_OK, Outcome};
use crate::admin::AgentStatus;
use crate::flush::{FlushState, FlushStatus};
use crate::pipeline::{Health, ImportState};

#[derive(Debug, Args)]
pub(super) struct Status {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

impl Status {
    pub(super) async fn execute(self) -> Outcome {
        let client = self.target.client()?;
        if self.json {
            // Passed on as it came, so that a newer agent's fields are shown too.
            let status: serde_json::Value = client.get("/v1/status").await?;
            say(serde_json::to_string_pretty(&status).map_err(anyhow::Error::from)?)?;
        } else {
            let status: AgentStatus = client.get("/v1/status").await?;
            say(table(&status))?;
        }
        Ok(EXIT_OK)
    }
}

fn table(status: &AgentStatus) -> Table {
    let pipeline = &status.pipeline;
    let receipts = &pipeline.receipts;
    let rejected: u64 = receipts.rejected.values().sum();
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_header(["submeter-agent", status.version.as_str()]);
    let mut row = |name: &str, value: String| {
        table.add_row([name.to_owned(), value]);
    };
    row("agent", pipeline.agent_id.to_string());
    row("health", health(status));
    row("flush", flush(&status.flush));
    row("epoch", pipeline.epoch.to_string());
    row(
        "sealed / acknowledged",
        format!(
            "frame {} / frame {}",
            pipeline.sealed.seq, pipeline.acknowledged.seq
        ),
    );
    row(
        "watermark",
        pipeline
            .watermark
            .map_or_else(|| "none yet".to_owned(), |watermark| watermark.to_string()),
    );
    row("catalog", format!("version {}", pipeline.catalog_version));
    row("received", receipts.received.to_string());
    row(
        "accepted",
        format!(
            "{} ({} matched by a meter, {} unmatched)",
            receipts.accepted, receipts.matched, receipts.unmatched
        ),
    );
    row(
        "duplicate / conflict",
        format!("{} / {}", receipts.duplicate, receipts.conflict),
    );
    row("rejected", with_reasons(rejected, receipts.rejected.iter()));
    row("open partials", pipeline.open_partials.to_string());
    row(
        "outbox",
        format!(
            "{} frames, {}",
            pipeline.outbox_frames,
            size(pipeline.outbox_bytes)
        ),
    );
    row("at risk", format!("{} events", pipeline.at_risk_events));
    row(
        "oldest unacknowledged",
        pipeline
            .oldest_unacknowledged_at
            .map_or_else(|| "none".to_owned(), |at| at.to_string()),
    );
    row(
        "journal",
        format!(
            "{} in {} records",
            size(pipeline.journal_bytes),
            pipeline.journal_seq
        ),
    );
    row("event ids remembered", pipeline.dedup_ids.to_string());
    row("disk free", size(pipeline.disk_free_bytes));
    if pipeline.quarantined > 0 {
        row("quarantined", format!("{} events", pipeline.quarantined));
    }
    for state in &pipeline.imports {
        row("import", import(state));
    }
    table
}

fn health(status: &AgentStatus) -> String {
    match &status.pipeline.health {
        _ if status.draining => "stopping".to_owned(),
        Health::Ok => "ok".to_owned(),
        Health::Degraded { reasons } => format!("degraded: {}", reasons.join("; ")),
    }
}

fn flush(flush: &FlushStatus) -> String {
    let state = match flush.state {
        FlushState::Starting => "starting",
        FlushState::Flowing => "flowing",
        FlushState::NoKey => "no key",
        FlushState::Retrying => "retrying",
        FlushState::Halted => "HALTED",
    };
    match &flush.message {
        Some(message) => format!("{state} since {}: {message}", flush.since),
        None => format!("{state} since {}", flush.since),
    }
}

fn import(state: &ImportState) -> String {
    let word = if state.complete {
        "complete"
    } else {
        "open, holds the watermark"
    };
    format!("{}: {} lines, {word}", state.name, state.lines_done)
}

fn with_reasons<'a>(total: u64, reasons: impl Iterator<Item = (&'a String, &'a u64)>) -> String {
    let reasons: Vec<String> = reasons
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    if reasons.is_empty() {
        total.to_string()
    } else {
        format!("{total} ({})", reasons.join(", "))
    }
}

/// A size rounded to a tenth of its unit, for people.
fn size(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, shift)| bytes >> shift > 0) {
        None => format!("{bytes} B"),
        Some((unit, shift)) => {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
    }
}
