//! `submeter-agent-fail-points`: the agent with places at which a test makes it die. Never shipped.

use std::process::ExitCode;

fn main() -> ExitCode {
    submeter_agent::tls::install_provider();
    submeter_agent::cli::main()
}
