//! Logs and metrics: how they are written, not what is worth telling.
//!
//! One line is logged where a thing is handled. WARN means nothing is lost; ERROR means a person is needed. Neither event
//! payloads nor secrets are ever logged. Every metric's name stands in [`names`]; the gauge to watch is
//! [`names::AT_RISK_EVENTS`]: acknowledged to an application and not yet acknowledged by the collector.

pub mod names;

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use submeter_common::time::Timestamp;
use tracing_subscriber::EnvFilter;

use crate::budget;
use crate::pipeline::Status;

/// How log lines are written.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One readable line per message, in colour on a terminal.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

/// Starts logging to standard error. The error names what is wrong with the filter.
pub fn start_logging(format: LogFormat, filter: &str) -> Result<(), String> {
    let filter =
        EnvFilter::try_new(filter).map_err(|error| format!("log is {filter:?}: {error}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = if format == LogFormat::Json {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init()
    } else {
        builder
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .try_init()
    };
    started.map_err(|error| error.to_string())
}

/// Upper bounds in seconds of request, flush and fsync durations: an fsync is a millisecond, a retry a minute.
const SECONDS: [f64; 12] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0, 60.0,
];

/// The process's metrics, installed on first use: a recorder is global to the process.
pub fn metrics() -> &'static PrometheusHandle {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    METRICS.get_or_init(|| {
        let buckets = |builder: PrometheusBuilder, name: &str| {
            builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), &SECONDS)
        };
        let builder = [
            names::REQUEST_SECONDS,
            names::FLUSH_SECONDS,
            names::FSYNC_SECONDS,
        ]
            .into_iter()
            .try_fold(PrometheusBuilder::new(), buckets)
            .unwrap_or_default();
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed in this process; /metrics shows only the agent's gauges");
        }
        names::describe();
        handle
    })
}

/// All metrics in the text format of Prometheus, the store's gauges as of now.
pub fn render(status: &Status, now: Timestamp) -> String {
    let handle = metrics();
    handle.run_upkeep();
    names::observe(status);
    budget::observe(status, now);
    handle.render()
}
