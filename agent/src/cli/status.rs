//! `status`: the agent at one glance, running or stopped, for people or as JSON.

use clap::Args;
use comfy_table::{Table, presets};
use submeter_common::time::{Clock as _, SystemClock};

use super::client::Target;
use super::say::say;
use super::source::Source;
use super::table::size;
use super::{EXIT_NOT_FOUND, EXIT_OK, Failure, Outcome};
use crate::admin::AgentStatus;
use crate::flush::{FlushState, FlushStatus};
use crate::inspection::Stopped;
use crate::pipeline::{DamageReport, Health, ImportState, ImportStatus};

/// Examples of the command.
const EXAMPLES: &str = "\
Examples:
  submeter-agent status
  submeter-agent status --json --data-dir /var/lib/submeter-agent

Exit codes: 0 shown, 1 nobody answers or the directory cannot be read, 64 a setting is wrong, 66 no agent has ever got
ready in the state directory.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Status {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

impl Status {
    pub(super) async fn execute(self) -> Outcome {
        let source = self.target.source()?;
        if self.json {
            // Passed on as it came, so that a newer agent's fields are shown too.
            let status: serde_json::Value = match &source {
                Source::Running(..) => source.get("/v1/status").await?,
                Source::Stopped(stopped) => {
                    serde_json::to_value(of_stopped(stopped)?).map_err(anyhow::Error::from)?
                }
            };
            say(serde_json::to_string_pretty(&status).map_err(anyhow::Error::from)?)?;
        } else {
            let status = match &source {
                Source::Running(..) => source.get("/v1/status").await?,
                Source::Stopped(stopped) => of_stopped(stopped)?,
            };
            say(table(&status))?;
        }
        Ok(EXIT_OK)
    }
}

/// What the agent would say if it ran.
fn of_stopped(stopped: &Stopped) -> Result<AgentStatus, Failure> {
    let pipeline = stopped.status()?.ok_or_else(|| Failure {
        code: EXIT_NOT_FOUND,
        error: anyhow::anyhow!("no agent has ever got ready in this state directory"),
    })?;
    Ok(AgentStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        draining: false,
        flush: FlushStatus {
            state: FlushState::Stopped,
            since: SystemClock.now(),
            message: None,
            last_success_at: None,
        },
        pipeline,
    })
}

fn damage(report: &DamageReport) -> String {
    let mut lines = vec![format!(
        "{}: {} · {} acknowledged events lost · kept in {}",
        report.at, report.noticed, report.events_lost, report.kept_in
    )];
    let findings = report.findings.iter();
    lines.extend(findings.map(|finding| format!("{}: {}", finding.area.as_str(), finding.message)));
    lines.join("\n")
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
    for report in &pipeline.damage {
        row("damage", damage(report));
    }
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
    for incident in &pipeline.incidents {
        row(
            "INCIDENT",
            format!(
                "{} at {}: {}",
                incident.kind.as_str(),
                incident.at,
                incident.message
            ),
        );
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
        FlushState::NoCollector => "no collector",
        FlushState::NoKey => "no key",
        FlushState::Retrying => "retrying",
        FlushState::Halted => "HALTED",
        FlushState::Stopped => return "the agent does not run".to_owned(),
    };
    match &flush.message {
        Some(message) => format!("{state} since {}: {message}", flush.since),
        None => format!("{state} since {}", flush.since),
    }
}

fn import(state: &ImportState) -> String {
    let word = match state.status {
        ImportStatus::Open => "open, holds the watermark",
        ImportStatus::Complete => "complete",
        ImportStatus::Abandoned => "abandoned; begun again, it goes on behind these",
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
