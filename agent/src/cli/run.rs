//! `run`: the agent itself, from the settings to the exit code.

use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use submeter_common::time::SystemClock;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::say::say;
use super::settings::Settings;
use super::{EXIT_CONFIG, EXIT_FAILED, EXIT_FRAMES_LEFT, EXIT_OK, EXIT_POISONED, Failure, Outcome};
use crate::agent::{Agent, StartError, Stopped};
use crate::config::Config;
use crate::telemetry::{self, LogFormat};

#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    settings: Settings,
}

impl Run {
    pub(super) fn execute(self) -> Outcome {
        let config = self.settings.load()?;
        telemetry::start_logging(config.log_format, &config.log).map_err(|problem| Failure {
            code: EXIT_CONFIG,
            error: anyhow::anyhow!(problem),
        })?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(anyhow::Error::from)?;
        runtime.block_on(run(&config))
    }
}

async fn run(config: &Config) -> Outcome {
    let mut signals = Signals::listen().context("listen for signals")?;
    let agent = Agent::start(config, Arc::new(SystemClock))
        .await
        .map_err(start_failure)?;
    announce(config, &agent);
    let mut hurried = Signals::listen().context("listen for signals")?;
    let stopped = agent.run(signals.next(), hurried.second()).await;
    Ok(conclude(stopped))
}

/// One line for people, one for machines; both name the address that was bound.
fn announce(config: &Config, agent: &Agent) {
    let (address, id) = (agent.address(), agent.identity().agent_id);
    let (data_dir, collector) = (config.data_dir.display(), &config.collector);
    if config.log_format == LogFormat::Human {
        let line = format_args!(
            "submeter-agent {} · listening on http://{address} · data in {data_dir} · collector {collector} · agent {id}",
            env!("CARGO_PKG_VERSION")
        );
        // An agent runs on whether or not its first line could be printed.
        let _ = say(line);
    }
    tracing::info!(%address, %data_dir, collector, agent_id = %id, version = env!("CARGO_PKG_VERSION"), "listening");
}

fn conclude(stopped: Stopped) -> u8 {
    match stopped {
        Stopped::Drained => {
            tracing::info!("stopped: the collector holds everything");
            EXIT_OK
        }
        Stopped::FramesLeft {
            frames,
            bytes,
            events,
            reason,
        } => {
            tracing::warn!(
                frames,
                bytes,
                events,
                reason,
                "stopped with frames left; they are safe on disk and are sent after the next start"
            );
            EXIT_FRAMES_LEFT
        }
        Stopped::Poisoned(reason) => {
            tracing::error!(
                reason,
                "stopped because the store failed; what was acknowledged is on disk and the next start recovers it"
            );
            EXIT_POISONED
        }
    }
}

fn start_failure(error: StartError) -> Failure {
    let code = if matches!(error, StartError::Config(_)) {
        EXIT_CONFIG
    } else {
        EXIT_FAILED
    };
    Failure {
        code,
        error: error.into(),
    }
}

/// SIGTERM and SIGINT, which mean the same.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// The signal after the next one: somebody does not want to wait.
    async fn second(&mut self) {
        self.next().await;
        self.next().await;
    }
}
