//! `run`: the agent itself, from the settings to the exit code.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use submeter_common::time::SystemClock;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::say::say;
use super::settings::Settings;
use super::{EXIT_CONFIG, EXIT_FAILED, EXIT_FRAMES_LEFT, EXIT_OK, EXIT_POISONED, Failure, Outcome};
use crate::agent::{Agent, StartError, Stopped};
use crate::config::Config;
use crate::footprint::forget_startup_code;
use crate::pipeline::OpenError;
use crate::telemetry::{self, LogFormat};

/// Examples of the command.
const EXAMPLES: &str = "\
Examples:
  submeter-agent run --collector https://collector.example.com --key-file agent.key
  submeter-agent run --config /etc/submeter/agent.toml
  submeter-agent run --collector none                       a site without a network; see `export`

Exit codes: 0 the collector holds everything, 1 it could not start, 3 frames are left (safe on disk), 4 the store failed,
64 a setting is wrong.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
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
    let signals = Signals::listen().context("listen for signals")?;
    let agent = tokio::select! {
        agent = Agent::start(config, Arc::new(SystemClock)) => agent.map_err(start_failure)?,
        () = signals.nth(1) => {
            tracing::warn!("stopped before the start was over; what is on disk is safe");
            return Ok(EXIT_FRAMES_LEFT);
        }
    };
    announce(config, &agent);
    tokio::spawn(forget_startup_code());
    let stopped = agent.run(signals.nth(1), signals.nth(2)).await;
    Ok(conclude(stopped))
}

/// One line for people, one for machines; both name the address that was bound.
fn announce(config: &Config, agent: &Agent) {
    let (address, id) = (agent.address(), agent.identity().agent_id);
    let (data_dir, collector) = (config.data_dir.display(), &config.collector);
    let socket = config.unix_socket.as_deref().map(Path::display);
    if config.log_format == LogFormat::Human {
        let and_socket = socket.as_ref().map(|path| format!(" and unix:{path}"));
        let and_socket = and_socket.unwrap_or_default();
        let line = format_args!(
            "submeter-agent {} · listening on http://{address}{and_socket} · data in {data_dir} · collector {collector} · agent {id}",
            env!("CARGO_PKG_VERSION")
        );
        // An agent runs on whether or not its first line could be printed.
        let _ = say(line);
    }
    let unix_socket = socket.as_ref().map(tracing::field::display);
    tracing::info!(%address, unix_socket, %data_dir, collector, agent_id = %id, version = env!("CARGO_PKG_VERSION"), "listening");
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
    let code = match error {
        StartError::Config(_) => EXIT_CONFIG,
        // What a failed write would end the running agent with.
        StartError::Open(OpenError::Storage(_)) => EXIT_POISONED,
        _ => EXIT_FAILED,
    };
    Failure {
        code,
        error: error.into(),
    }
}

/// SIGTERM and SIGINT, which mean the same: the first asks to stop, the second not to wait.
struct Signals(watch::Receiver<u32>);

impl Signals {
    /// Counts signals from now on. They are taken as they come: two that wait to be taken would be one.
    fn listen() -> std::io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (count, counted) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                count.send_modify(|count| *count += 1);
            }
        });
        Ok(Self(counted))
    }

    /// Resolves when `count` signals have come.
    fn nth(&self, count: u32) -> impl Future<Output = ()> + use<> {
        let mut counted = self.0.clone();
        async move {
            // The counting ends with the runtime only.
            let _ = counted.wait_for(|counted| *counted >= count).await;
        }
    }
}
