//! The command line: `serve` runs the collector; the other commands talk to a running one.

mod agents;
mod check_config;
mod client;
mod completions;
mod credits;
mod explain;
mod import;
mod invoices;
mod keys;
mod ledger;
mod payments;
mod rate;
mod say;
mod serve;
mod steps;
mod table;
mod usage;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::Flags;
use crate::telemetry::LogFormat;

/// Done as asked.
const EXIT_OK: u8 = 0;
/// Failed: a start that did not succeed, or a command that was refused.
const EXIT_FAILED: u8 = 1;
/// A part of the running collector died.
const EXIT_DIED: u8 = 4;
/// The settings are wrong (`EX_USAGE`).
const EXIT_CONFIG: u8 = 64;
/// A file was refused for what is in it, or for where it stands among others (`EX_DATAERR`).
const EXIT_DATA: u8 = 65;

/// Submeter's collector: merges agents' usage exactly once and bills it.
#[derive(Debug, Parser)]
#[command(name = "submeter-collector", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the collector until SIGTERM or SIGINT.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(SettingsArgs),
    /// Read the settings as `serve` would, and print them with their sources or every problem.
    #[command(after_help = CHECK_CONFIG_EXAMPLES)]
    CheckConfig(SettingsArgs),
    /// Create, list and revoke API keys.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Show invoices, and how each line came about.
    #[command(subcommand)]
    Invoices(invoices::Command),
    /// Show payments, and say how those ended that are processing.
    #[command(subcommand)]
    Payments(payments::Command),
    /// Explain an invoice line by line, down to tiers, grants, usage by day and hour, and frames.
    #[command(after_help = explain::EXAMPLES)]
    Explain(explain::ExplainArgs),
    /// Derive every issued invoice again from stored usage and prices, and add up ledgers and receipts.
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::VerifyArgs),
    /// Show what customers hold of credits, give some, and take some.
    #[command(subcommand)]
    Credits(credits::Command),
    /// Show customers' ledgers, add them up again, and rebuild what is derived from them.
    #[command(subcommand)]
    Ledger(ledger::Command),
    /// Show what a customer used.
    Usage(usage::UsageArgs),
    /// Show agents, and retire those that will not come back.
    #[command(subcommand)]
    Agents(agents::Command),
    /// Apply frames that came in files from sites without a network, and write receipts for them.
    Import(import::ImportArgs),
    /// Say what quantities would cost at a price, step by step. Nothing is stored.
    Rate(rate::RateArgs),
    /// Print what a shell needs to complete commands and flags.
    Completions(completions::Completions),
}

/// Examples of `serve`.
const SERVE_EXAMPLES: &str = "\
Examples:
  submeter-collector serve --data-dir /var/lib/submeter
  submeter-collector serve --config /etc/submeter/collector.toml --log-format json

Exit codes: 0 stopped as told, 1 it could not start, 4 a part of it died, 64 the settings are wrong.";

/// Examples of `check-config`.
const CHECK_CONFIG_EXAMPLES: &str = "\
Examples:
  submeter-collector check-config --config /etc/submeter/collector.toml

Exit codes: 0 all is well, 64 the settings are wrong.";

/// Where settings come from. Each can also be set in the file or as SUBMETER_COLLECTOR_<KEY>; flags win.
#[derive(Debug, Args)]
struct SettingsArgs {
    /// TOML file with settings.
    #[arg(long, value_name = "FILE", env = "SUBMETER_COLLECTOR_CONFIG")]
    config: Option<PathBuf>,
    /// Directory that holds everything the collector keeps.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address to serve on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    listen: Option<std::net::SocketAddr>,
    /// How log lines look.
    #[arg(long, value_name = "FORMAT", value_enum)]
    log_format: Option<LogFormat>,
}

impl SettingsArgs {
    fn flags(&self) -> Flags {
        Flags {
            data_dir: self.data_dir.clone(),
            listen: self.listen,
            log_format: self.log_format,
        }
    }
}

/// Runs the command and tells how it ended.
pub fn run(cli: Cli) -> ExitCode {
    ExitCode::from(match cli.command {
        Command::Serve(settings) => serve::run(&settings),
        Command::CheckConfig(settings) => check_config::run(&settings),
        Command::Keys(command) => told(keys::run(command)),
        Command::Invoices(command) => told(invoices::run(command)),
        Command::Payments(command) => told(payments::run(command)),
        Command::Explain(arguments) => told(explain::run(arguments)),
        Command::Verify(arguments) => told(verify::run(arguments)),
        Command::Credits(command) => told(credits::run(command)),
        Command::Ledger(command) => told(ledger::run(command)),
        Command::Usage(arguments) => told(usage::run(arguments)),
        Command::Agents(command) => told(agents::run(command)),
        Command::Import(arguments) => import::run(arguments),
        Command::Rate(arguments) => told(rate::run(&arguments)),
        Command::Completions(arguments) => told(completions::run(&arguments)),
    })
}

fn told(outcome: anyhow::Result<()>) -> u8 {
    match outcome {
        Ok(()) => EXIT_OK,
        Err(error) => {
            say::remark(format_args!("error: {error:#}"));
            EXIT_FAILED
        }
    }
}
