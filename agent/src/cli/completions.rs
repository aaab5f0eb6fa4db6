//! `completions`: what a shell needs to complete commands and flags.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::say::say;
use super::{Arguments, EXIT_OK, Outcome};

/// Examples of the command.
const EXAMPLES: &str = "\
Examples:
  submeter-agent completions bash > /etc/bash_completion.d/submeter-agent
  submeter-agent completions zsh > ~/.zfunc/_submeter-agent
  submeter-agent completions fish > ~/.config/fish/completions/submeter-agent.fish";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Completions {
    /// bash, zsh or fish, among others
    shell: Shell,
}

impl Completions {
    pub(super) fn execute(self) -> Outcome {
        let mut script = Vec::new();
        let mut command = Arguments::command();
        clap_complete::generate(self.shell, &mut command, "submeter-agent", &mut script);
        say(String::from_utf8_lossy(&script).trim_end())?;
        Ok(EXIT_OK)
    }
}
