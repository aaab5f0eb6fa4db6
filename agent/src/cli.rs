//! The command line: `run` is the agent, the other commands talk to the running one over its HTTP interface.

mod check_config;
mod client;
mod completions;
mod export;
mod flush;
mod import;
mod inspect;
mod run;
mod say;
mod settings;
mod source;
mod status;
mod table;
mod tail;
mod verify;

use std::future::Future;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Everything was done; for `run`: the collector holds everything.
const EXIT_OK: u8 = 0;
/// Failed; the message says why.
const EXIT_FAILED: u8 = 1;
/// Stopped, or gave up waiting, with frames left. They are safe on disk.
const EXIT_FRAMES_LEFT: u8 = 3;
/// The store failed. What was acknowledged is on disk.
const EXIT_POISONED: u8 = 4;
/// The state directory is damaged.
const EXIT_DAMAGED: u8 = 5;
/// A setting is wrong.
const EXIT_CONFIG: u8 = 64;
/// Some lines of an import, or a file, were refused.
const EXIT_DATA: u8 = 65;
/// What was asked for is not there.
const EXIT_NOT_FOUND: u8 = 66;

#[derive(Debug, Parser)]
#[command(
    name = "submeter-agent",
    version,
    about = "Takes usage events on localhost, keeps them safe, and reports them to a Submeter collector"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent until it is told to stop (SIGTERM, SIGINT)
    Run(run::Run),
    /// Seal what is open and send it to the collector now
    Flush(flush::Flush),
    /// Show what the agent holds and how far the collector is, running or stopped
    Status(status::Status),
    /// Look at events, open partials, frames, remembered ids, meters and quarantine, running or stopped
    #[command(subcommand)]
    Inspect(inspect::Inspect),
    /// Check the state directory of a stopped agent: checksums, cursors, chain of frames, conservation
    Verify(verify::Verify),
    /// Bring in past events from a file, one JSON event per line
    Import(import::Import),
    /// Follow accepted events as they come
    Tail(tail::Tail),
    /// Carry frames by file where there is no network, and apply the receipts that come back
    Export(export::Export),
    /// Print what a shell needs to complete commands and flags
    Completions(completions::Completions),
    /// Check the settings from file, environment and flags, and print the effective ones
    CheckConfig(check_config::CheckConfig),
    /// List the places at which the environment variable FAIL_POINT can make this program die
    #[cfg(feature = "fail-points")]
    FailPoints,
}

/// Reads the command line and carries the command out.
pub fn main() -> ExitCode {
    #[cfg(feature = "fail-points")]
    crate::fail_point::check();
    let code = match Arguments::parse().command {
        Command::Run(command) => command.execute(),
        Command::Flush(command) => block_on(command.execute()),
        Command::Status(command) => block_on(command.execute()),
        Command::Inspect(command) => block_on(command.execute()),
        Command::Verify(command) => command.execute(),
        Command::Import(command) => block_on(command.execute()),
        Command::Tail(command) => block_on(command.execute()),
        Command::Export(command) => block_on(command.execute()),
        Command::Completions(command) => command.execute(),
        Command::CheckConfig(command) => command.execute(),
        #[cfg(feature = "fail-points")]
        Command::FailPoints => fail_points(),
    };
    match code {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            say::remark(format_args!("submeter-agent: {:#}", failure.error));
            ExitCode::from(failure.code)
        }
    }
}

/// A command that was not carried out.
struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self {
            code: EXIT_FAILED,
            error,
        }
    }
}

#[cfg(feature = "fail-points")]
fn fail_points() -> Outcome {
    for point in crate::fail_point::FailPoint::ALL {
        say::say(point.name())?;
    }
    Ok(EXIT_OK)
}

type Outcome = Result<u8, Failure>;

/// Short commands need one thread.
fn block_on(command: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)?;
    runtime.block_on(command)
}
