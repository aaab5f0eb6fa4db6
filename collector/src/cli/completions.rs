//! `completions`: what a shell needs to complete commands and flags.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Cli;
use super::say::say;

/// Examples of the command.
const EXAMPLES: &str = "\
Examples:
  submeter-collector completions bash > /etc/bash_completion.d/submeter-collector
  submeter-collector completions zsh > ~/.zfunc/_submeter-collector
  submeter-collector completions fish > ~/.config/fish/completions/submeter-collector.fish";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Completions {
    /// bash, zsh or fish, among others.
    shell: Shell,
}

pub(super) fn run(arguments: &Completions) -> anyhow::Result<()> {
    let mut script = Vec::new();
    let mut command = Cli::command();
    clap_complete::generate(
        arguments.shell,
        &mut command,
        "submeter-collector",
        &mut script,
    );
    say(String::from_utf8_lossy(&script).trim_end())
}
