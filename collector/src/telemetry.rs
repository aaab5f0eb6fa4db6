//! Logs and metrics: the one place that names them.
//!
//! Logs go to standard error, for people by default and as JSON on request; they never carry payloads or secrets.
//! Metrics are kept in process and rendered for Prometheus by `GET /metrics`.

use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};

use metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// Names of all metrics of the collector.
pub mod metric {
    /// Requests answered, by route, method and status.
    pub const REQUESTS: &str = "submeter_collector_http_requests_total";
    /// Seconds from a request's head to its answer's head, by route.
    pub const REQUEST_SECONDS: &str = "submeter_collector_http_request_seconds";
    /// Connections open now.
    pub const CONNECTIONS: &str = "submeter_collector_http_connections";
    /// The limits in force, by `budget`: the setting's name. Bytes or pieces.
    pub const BUDGET_LIMIT: &str = "submeter_collector_budget_limit";
    /// What is used of a limit now, by `budget`.
    pub const BUDGET_USED: &str = "submeter_collector_budget_used";
    /// How often a limit was reached, by `budget`.
    pub const BUDGET_HITS: &str = "submeter_collector_budget_hits_total";
    /// Free bytes on the data directory's disk.
    pub const DISK_FREE_BYTES: &str = "submeter_collector_disk_free_bytes";
    /// Frames received, by result.
    pub const FRAMES: &str = "submeter_collector_frames_total";
    /// Bytes of frames that were applied.
    pub const FRAME_BYTES: &str = "submeter_collector_frame_bytes_total";
    /// Rows of frames that were applied.
    pub const FRAME_ROWS: &str = "submeter_collector_frame_rows_total";
    /// Rows set aside because they could not be merged.
    pub const ROWS_QUARANTINED: &str = "submeter_collector_rows_quarantined_total";
    /// Frames whose receipts contradict themselves or those before.
    pub const FRAMES_UNCONSERVED: &str = "submeter_collector_frames_unconserved_total";
    /// Agents registered, by what the collector made of them.
    pub const REGISTERS: &str = "submeter_collector_registers_total";
    /// What agents told of their identity and state, by kind.
    pub const INCIDENTS: &str = "submeter_collector_incidents_total";
    /// Runs of the billing job, by outcome.
    pub const BILLING_RUNS: &str = "submeter_collector_billing_runs_total";
    /// Billing periods closed.
    pub const PERIODS_CLOSED: &str = "submeter_collector_billing_periods_closed_total";
    /// Billing periods that cannot be closed, as of the last run.
    pub const PERIODS_FAILED: &str = "submeter_collector_billing_periods_failed";
    /// Customers looked at because usage or credits changed that somebody watches.
    pub const LOOKS: &str = "submeter_collector_alert_looks_total";
    /// Customers of whom it cannot be seen whether a threshold is reached.
    pub const LOOKS_FAILED: &str = "submeter_collector_alert_looks_failed";
    /// Payments that a gateway was asked for or about, by what it answered.
    pub const PAYMENTS_ASKED: &str = "submeter_collector_payments_asked_total";
    /// Invoices that became past due because nobody can be asked for their payment.
    pub const INVOICES_OVERDUE: &str = "submeter_collector_invoices_overdue_total";
}

/// The reserve of disk, among the budgets.
pub const DISK_BUDGET: &str = "disk_free_bytes_min";

/// Seconds at which request times are counted: from a read in memory to the request time-out.
const SECONDS_BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];

/// How log lines look.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One readable line per entry, coloured on a terminal.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// The format's name in settings.
    pub const fn name(self) -> &'static str {
        match self {
            LogFormat::Human => "human",
            LogFormat::Json => "json",
        }
    }

    /// The format with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [LogFormat::Human, LogFormat::Json]
            .into_iter()
            .find(|format| format.name() == name)
    }
}

/// Starts logging to standard error. `RUST_LOG` may say which modules log how much; `info` otherwise.
///
/// A second call in one process changes nothing, so that tests may start several collectors.
pub fn start_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Human => lines
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}

static RECORDER: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// Starts the metrics recorder of this process, or returns the one that runs.
///
/// # Errors
/// When another recorder was installed in this process.
pub fn start_metrics() -> Result<PrometheusHandle, BuildError> {
    // Held while the recorder is installed: whoever comes meanwhile gets this one, and not the error that there is one. A
    // panic leaves either none or a whole one.
    let mut recorder = RECORDER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*recorder {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(
            Matcher::Full(metric::REQUEST_SECONDS.to_owned()),
            &SECONDS_BUCKETS,
        )?
        .install_recorder()?;
    describe();
    Ok(recorder.insert(handle).clone())
}

fn describe() {
    describe_counter!(
        metric::REQUESTS,
        "Requests answered, by route, method and status."
    );
    describe_histogram!(
        metric::REQUEST_SECONDS,
        "Seconds from a request's head to its answer's head, by route."
    );
    describe_gauge!(metric::CONNECTIONS, "Connections open now.");
    describe_gauge!(metric::BUDGET_LIMIT, "The limits in force, by setting.");
    describe_gauge!(
        metric::BUDGET_USED,
        "What is used of a limit now, by setting."
    );
    describe_counter!(
        metric::BUDGET_HITS,
        "How often a limit was reached, by setting."
    );
    describe_gauge!(
        metric::DISK_FREE_BYTES,
        "Free bytes on the data directory's disk."
    );
    describe_counter!(metric::FRAMES, "Frames received, by result.");
    describe_counter!(metric::FRAME_BYTES, "Bytes of frames that were applied.");
    describe_counter!(metric::FRAME_ROWS, "Rows of frames that were applied.");
    describe_counter!(
        metric::ROWS_QUARANTINED,
        "Rows set aside because they could not be merged."
    );
    describe_counter!(
        metric::FRAMES_UNCONSERVED,
        "Frames whose receipts contradict themselves or those before."
    );
    describe_counter!(metric::REGISTERS, "Registers of agents, by status.");
    describe_counter!(
        metric::INCIDENTS,
        "What agents told of their identity and state, by kind; told again, it counts again."
    );
    describe_counter!(metric::BILLING_RUNS, "Runs of the billing job, by outcome.");
    describe_counter!(metric::PERIODS_CLOSED, "Billing periods closed.");
    describe_gauge!(
        metric::PERIODS_FAILED,
        "Billing periods that cannot be closed, as of the last run."
    );
    describe_counter!(
        metric::LOOKS,
        "Customers looked at because usage or credits changed that somebody watches."
    );
    describe_gauge!(
        metric::LOOKS_FAILED,
        "Customers of whom it cannot be seen whether a threshold is reached."
    );
    describe_counter!(
        metric::PAYMENTS_ASKED,
        "Payments that a gateway was asked for or about, by its answer."
    );
    describe_counter!(
        metric::INVOICES_OVERDUE,
        "Invoices past due for which nobody can be asked."
    );
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::start_metrics;
    use std::sync::Barrier;

    #[test]
    fn collectors_that_start_at_once_share_one_recorder() {
        let start = Barrier::new(16);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    start.wait();
                    start_metrics().unwrap();
                });
            }
        });
    }
}
