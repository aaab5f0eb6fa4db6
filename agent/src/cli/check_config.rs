//! `check-config`: what the agent would run with.

use clap::Args;

use super::say::say;
use super::settings::{Settings, problems};
use super::{EXIT_OK, Outcome};
use crate::config::Config;

/// Examples of the command.
const EXAMPLES: &str = "\
Examples:
  submeter-agent check-config
  submeter-agent check-config --config /etc/submeter/agent.toml

Exit codes: 0 all is well, 64 a setting is wrong.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CheckConfig {
    #[command(flatten)]
    settings: Settings,
}

impl CheckConfig {
    pub(super) fn execute(self) -> Outcome {
        let config = self.settings.load()?;
        let warnings = config.check_secret_files().map_err(problems)?;
        say(config.to_toml().trim_end())?;
        say(format_args!("# the collector's key: {}", key(&config)))?;
        say(format_args!("# the ingest token: {}", token(&config)))?;
        for warning in warnings {
            say(format_args!("# warning: {warning}"))?;
        }
        Ok(EXIT_OK)
    }
}

fn key(config: &Config) -> String {
    match (&config.key, &config.key_file) {
        (Some(_), _) => "from SUBMETER_AGENT_KEY".to_owned(),
        (None, Some(path)) => format!("from {}", path.display()),
        (None, None) if config.tls_key_file.is_some() => {
            "none; the client certificate says who this is".to_owned()
        }
        (None, None) => "none; events are accepted and kept, but not sent".to_owned(),
    }
}

fn token(config: &Config) -> String {
    match (&config.ingest_token_file, &config.ingest_token) {
        (Some(path), _) => format!("from {}", path.display()),
        (None, Some(_)) => "from SUBMETER_AGENT_INGEST_TOKEN".to_owned(),
        (None, None) => "none; everything on this host may send events".to_owned(),
    }
}
