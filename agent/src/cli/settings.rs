//! The flags that are settings, shared by all commands.

use std::path::PathBuf;

use clap::Args;

use super::{EXIT_CONFIG, Failure};
use crate::config::{Config, ConfigError, Sources};

/// Settings on the command line. They win over `SUBMETER_AGENT_*`, which wins over the file.
#[derive(Debug, Args)]
pub(super) struct Settings {
    /// TOML file with settings [env: SUBMETER_AGENT_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// State directory [default: submeter-agent-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1:7600]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Unix socket to listen on too
    #[arg(long, value_name = "PATH")]
    unix_socket: Option<PathBuf>,
    /// Base URL of the collector, or none where there is no network [default: http://127.0.0.1:7700]
    #[arg(long, value_name = "URL")]
    collector: Option<String>,
    /// File with the collector's API key
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// File with the token that applications must send
    #[arg(long, value_name = "FILE")]
    ingest_token_file: Option<PathBuf>,
    /// How often partials are sealed and sent [default: 10s]
    #[arg(long, value_name = "DURATION")]
    flush_interval: Option<String>,
    /// How long a stopping agent may take to send what is left [default: 20s]
    #[arg(long, value_name = "DURATION")]
    shutdown_grace: Option<String>,
    /// human or json [default: human]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// What is logged, such as info or submeter_agent=debug [default: info]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

impl Settings {
    /// Merges the flags with environment and file.
    pub(super) fn load(&self) -> Result<Config, Failure> {
        Config::load(&self.sources()).map_err(problems)
    }

    /// Whether an address was given by flag.
    pub(super) fn names_address(&self) -> bool {
        self.listen.is_some()
    }

    fn sources(&self) -> Sources {
        let mut sources = Sources::from_env();
        if let Some(file) = &self.config {
            sources.file = Some(file.clone());
        }
        if self.key_file.is_some() {
            sources.env.remove("SUBMETER_AGENT_KEY");
        }
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let flags = [
            ("data_dir", path(&self.data_dir)),
            ("listen", self.listen.clone()),
            ("unix_socket", path(&self.unix_socket)),
            ("collector", self.collector.clone()),
            ("key_file", path(&self.key_file)),
            ("ingest_token_file", path(&self.ingest_token_file)),
            ("flush_interval", self.flush_interval.clone()),
            ("shutdown_grace", self.shutdown_grace.clone()),
            ("log_format", self.log_format.clone()),
            ("log", self.log.clone()),
        ];
        sources.flags = flags
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        sources
    }
}

/// All problems of the settings, one a line.
pub(super) fn problems(error: ConfigError) -> Failure {
    let count = error.problems.len();
    let lines: String = error
        .problems
        .iter()
        .map(|problem| format!("\n  - {problem}"))
        .collect();
    Failure {
        code: EXIT_CONFIG,
        error: anyhow::anyhow!("{count} problem(s) in the settings:{lines}"),
    }
}
