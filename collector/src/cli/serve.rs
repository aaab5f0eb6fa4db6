//! `serve`: runs the collector until it is told to stop.

use std::sync::Arc;

use anyhow::Context as _;
use submeter_common::time::SystemClock;
use tokio::signal::unix::{SignalKind, signal};

use super::say::{remark, say};
use super::{EXIT_CONFIG, EXIT_DIED, EXIT_FAILED, EXIT_OK, SettingsArgs};
use crate::collector::Collector;
use crate::config::Config;
use crate::descriptors;
use crate::telemetry::{self, LogFormat};

/// Threads that wait for the disk or decode frames. Writers queue at one lock anyway; without this bound a thousand agents that
/// come back at once make hundreds of threads, whose heaps stay.
const BLOCKING_THREADS_MAX: usize = 32;

pub(super) fn run(arguments: &SettingsArgs) -> u8 {
    let config = match Config::load(arguments.config.as_deref(), &arguments.flags()) {
        Ok((config, _)) => config,
        Err(problems) => {
            remark(format_args!("the settings are wrong:\n{problems}"));
            return EXIT_CONFIG;
        }
    };
    telemetry::start_logging(config.log_format);
    let config = match descriptors::within(config) {
        Ok(config) => config,
        Err(problem) => {
            remark(format_args!("the settings are wrong:\n{problem}"));
            return EXIT_CONFIG;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            remark(format_args!("error: cannot start the runtime: {error}"));
            return EXIT_FAILED;
        }
    };
    match runtime.block_on(serve(config)) {
        Ok(code) => code,
        Err(error) => {
            remark(format_args!("error: {error:#}"));
            EXIT_FAILED
        }
    }
}

async fn serve(config: Config) -> anyhow::Result<u8> {
    // Signals are caught before the start, so that one during it stops the collector properly as well.
    let mut terminate = signal(SignalKind::terminate()).context("cannot catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot catch SIGINT")?;
    let mut collector = tokio::select! {
        started = Collector::start(config.clone(), Arc::new(SystemClock)) => started?,
        _ = terminate.recv() => return Ok(stopped_early()),
        _ = interrupt.recv() => return Ok(stopped_early()),
    };
    // A collector serves on whether or not its first lines could be printed.
    let _ = greet(&config, &collector);
    tokio::select! {
        died = collector.died() => {
            tracing::error!(%died, "stopping, because a part of the collector died");
            collector.stop().await;
            return Ok(EXIT_DIED);
        }
        _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
        _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
    }
    match collector.stop().await {
        0 => tracing::info!("stopped: every open request was answered"),
        cut => tracing::warn!(
            cut,
            "stopped: connections were cut at the end of the grace; their senders retry"
        ),
    }
    Ok(EXIT_OK)
}

/// A start may wait for long, for room on the disk; nothing was taken meanwhile.
fn stopped_early() -> u8 {
    tracing::warn!("stopped before the start was over");
    EXIT_OK
}

fn greet(config: &Config, collector: &Collector) -> anyhow::Result<()> {
    let address = collector.address();
    let data_dir =
        std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
    let bootstrap = collector.bootstrap_key();
    if config.log_format == LogFormat::Json {
        let data_dir = data_dir.display();
        let bootstrap = bootstrap.map(|path| path.display().to_string());
        tracing::info!(%address, %data_dir, bootstrap_key = bootstrap, "serving");
        return Ok(());
    }
    say(format_args!(
        "submeter-collector {} serves http://{address}",
        env!("CARGO_PKG_VERSION")
    ))?;
    say(format_args!("  data dir   {}", data_dir.display()))?;
    if let Some(path) = bootstrap {
        say(format_args!(
            "  first key  {} (made now, holds every scope: keep it private)",
            path.display()
        ))?;
    }
    say(format_args!(
        "  to stop    Ctrl-C or SIGTERM; open requests are finished first"
    ))
}
