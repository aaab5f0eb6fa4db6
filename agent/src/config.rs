//! The agent's settings: one flat table, so that a setting has the same name everywhere.
//!
//! `flush_interval` is `flush_interval` in the TOML file, `SUBMETER_AGENT_FLUSH_INTERVAL` in the environment and, for
//! those one changes by hand, `--flush-interval` on the command line. Flags win over the environment, the environment over
//! the file, the file over the defaults below. An unknown key is refused (a typing error must not silently mean the
//! default), and all problems are reported at once. Secrets are not settings: they come from a file or from
//! `SUBMETER_AGENT_KEY` and `SUBMETER_AGENT_INGEST_TOKEN`, never from the file or from argv.

mod check;
mod mode;
mod private_file;
mod secret;
mod source;
mod units;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use submeter_common::event::Horizon;
use submeter_common::limits;
use submeter_common::secrecy::Secrecy;

pub use mode::Mode;
pub(crate) use private_file::PrivateFile;
pub use secret::Secret;
pub use source::{ConfigError, Sources};
pub use units::{Bytes, Span};

use crate::pipeline::StoreConfig;
use crate::telemetry::LogFormat;
use crate::tls::TlsFiles;

/// Every setting of the agent with its default.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The state directory: journal, deduplication and outbox live here. One process at a time.
    pub data_dir: PathBuf,
    /// Where the agent listens. Port 0 takes a free one; the bound address is logged and written to `DATA_DIR/agent.addr`.
    pub listen: SocketAddr,
    /// A Unix socket to listen on beside `listen`. None: none. It is removed at a stop.
    pub unix_socket: Option<PathBuf>,
    /// Who may connect to the Unix socket, as mode bits: writing is connecting.
    pub unix_socket_mode: Mode,
    /// Base URL of the collector; a path prefix is kept. `none`: there is no network, frames leave by `export`.
    pub collector: String,
    /// Longest time for one call of the collector, its reply included.
    pub collector_timeout: Span,
    /// What the collector calls this agent; it takes a new state directory under a known name for a lost one. Empty: the host's
    /// name and the data directory.
    pub name: String,
    /// File holding the collector's API key (scope `agent`). Read again whenever the collector refuses the key.
    pub key_file: Option<PathBuf>,
    /// Certificates (PEM) of the authorities that the collector's certificate may come from, instead of the system's.
    pub tls_ca_file: Option<PathBuf>,
    /// Certificate (PEM, with its chain) that is shown to a collector that asks for one. Read again when it changes.
    pub tls_cert_file: Option<PathBuf>,
    /// Private key (PEM) of `tls_cert_file`.
    pub tls_key_file: Option<PathBuf>,
    /// File holding the token that applications and commands must send as `Authorization: Bearer`. None: no token.
    pub ingest_token_file: Option<PathBuf>,
    /// Further names clients may use in `Host` and `Origin`, beside loopback names and the listen address.
    pub allowed_hosts: Vec<String>,
    /// How logs are written: `human` or `json`.
    pub log_format: LogFormat,
    /// Log filter, in the syntax of `tracing` (`info`, `submeter_agent=debug`).
    pub log: String,

    /// How often the open partials are sealed and flushed.
    pub flush_interval: Span,
    /// How often an idle agent sends an empty frame, so that its watermark advances.
    pub heartbeat_interval: Span,
    /// How long a stopping agent may take to send what is left.
    pub shutdown_grace: Span,

    /// How old an event may be when it arrives.
    pub horizon_past: Span,
    /// How far ahead of the agent's clock an event may be.
    pub horizon_future: Span,
    /// How long an event id is remembered. At least `horizon_past` and `horizon_future` together, or an old retry would
    /// count twice.
    pub dedup_retention: Span,
    /// Memory for event ids, some 1.5 bytes each beside a few MiB; beyond it, events are answered with 503.
    pub dedup_bytes_max: Bytes,

    /// Time a client has to send a request's head, and longest silence between two requests on a connection.
    pub head_timeout: Span,
    /// Time a client has to send a request's body, or the next lines of a body of lines; later, it is answered with 408.
    pub request_timeout: Span,
    /// Largest request body; a longer one is answered with 413.
    pub request_bytes_max: Bytes,
    /// All request bodies in memory at one time; beyond it, requests are answered with 503.
    pub requests_bytes_max: Bytes,
    /// Connections served at one time; further ones wait in the listen queue.
    pub connections_max: usize,

    /// Requests that may wait to be written; beyond it, events are answered with 503.
    pub queue_requests_max: usize,
    /// Bytes of events that may wait to be written; beyond it, events are answered with 503.
    pub queue_bytes_max: Bytes,
    /// Imports that may be open at one time; beyond it, a further one is answered with 409.
    pub imports_max: usize,

    /// Bytes of accepted events kept for look-ups and backfill after they are sealed.
    pub journal_bytes_max: Bytes,
    /// How long accepted events are kept for look-ups and backfill after they are sealed.
    pub journal_age_max: Span,
    /// Bytes of frames waiting for the collector; beyond it, events are answered with 503.
    pub outbox_bytes_max: Bytes,
    /// Bytes of acknowledged frames kept, for a collector restored from a backup.
    pub acknowledged_bytes_max: Bytes,
    /// How long acknowledged frames are kept, for a collector restored from a backup.
    pub acknowledged_age_max: Span,
    /// How often in-memory partials are merged into the stored ones.
    pub checkpoint_interval: Span,
    /// Rows of one frame at most.
    pub frame_rows_max: usize,
    /// Bytes of open partials, in memory and on disk; beyond it they are sealed although the collector is away.
    pub open_bytes_max: Bytes,
    /// Open group combinations of one meter; beyond it, new ones are counted under `__other__`.
    pub groups_per_meter_max: usize,
    /// Free disk space below which events are answered with 503.
    pub disk_free_bytes_min: Bytes,

    /// The collector's API key, when the environment holds one.
    #[serde(skip)]
    pub key: Option<Secret>,
    /// The ingest token, when the environment holds one.
    #[serde(skip)]
    pub ingest_token: Option<Secret>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("submeter-agent-data"),
            listen: SocketAddr::from(([127, 0, 0, 1], 7600)),
            unix_socket: None,
            unix_socket_mode: Mode(0o660),
            collector: "http://127.0.0.1:7700".to_owned(),
            // The largest frame is 16 MiB: it fits into a minute on a line of 3 Mbit/s.
            collector_timeout: Span::seconds(60),
            name: String::new(),
            key_file: None,
            tls_ca_file: None,
            tls_cert_file: None,
            tls_key_file: None,
            ingest_token_file: None,
            allowed_hosts: Vec::new(),
            log_format: LogFormat::Human,
            log: "info".to_owned(),
            flush_interval: Span::seconds(10),
            heartbeat_interval: Span::seconds(60),
            shutdown_grace: Span::seconds(20),
            horizon_past: Span(limits::HORIZON_PAST_DEFAULT),
            horizon_future: Span(limits::HORIZON_FUTURE_DEFAULT),
            dedup_retention: Span::hours(24),
            dedup_bytes_max: Bytes::mebibytes(256),
            head_timeout: Span::seconds(30),
            request_timeout: Span::seconds(30),
            request_bytes_max: Bytes(limits::REQUEST_BYTES_MAX_DEFAULT as u64),
            requests_bytes_max: Bytes::mebibytes(64),
            connections_max: 1024,
            queue_requests_max: 4096,
            queue_bytes_max: Bytes::mebibytes(16),
            imports_max: 1000,
            journal_bytes_max: Bytes::mebibytes(1024),
            journal_age_max: Span::hours(24),
            outbox_bytes_max: Bytes::mebibytes(4096),
            acknowledged_bytes_max: Bytes::mebibytes(256),
            acknowledged_age_max: Span::hours(24),
            checkpoint_interval: Span::seconds(5),
            frame_rows_max: 20_000,
            open_bytes_max: Bytes::mebibytes(256),
            groups_per_meter_max: 100_000,
            disk_free_bytes_min: Bytes::mebibytes(512),
            key: None,
            ingest_token: None,
        }
    }
}

/// What stands for a collector's URL where there is no network: frames leave by `export`.
pub const NO_COLLECTOR: &str = "none";

/// The file, inside the data directory, that holds the address of the running agent.
pub const ADDRESS_FILE: &str = "agent.addr";

impl Config {
    /// Reads, merges and checks all sources. The error lists every problem found, not only the first.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let config = source::merge(sources)?;
        let problems = check::problems(&config);
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError { problems })
        }
    }

    /// The effective settings as TOML, in the form the file takes. Secrets are not in it.
    pub fn to_toml(&self) -> String {
        source::to_toml(self)
    }

    /// What this agent is called: the setting, else the host and the directory. None where the host has no name.
    pub fn agent_name(&self) -> Option<String> {
        if !self.name.is_empty() {
            return Some(self.name.clone());
        }
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
        let directory = self.data_dir.canonicalize();
        let directory = directory.as_ref().unwrap_or(&self.data_dir);
        let name = format!("{}:{}", host.trim(), directory.display());
        check::is_name(&name).then_some(name)
    }

    /// How old and how new an event may be at admission.
    pub fn horizon(&self) -> Horizon {
        Horizon {
            past: self.horizon_past.0,
            future: self.horizon_future.0,
        }
    }

    /// The part of the settings that the store needs.
    pub fn store(&self) -> StoreConfig {
        let mut store = StoreConfig::new(self.data_dir.clone());
        store.dedup_retention = self.dedup_retention.0;
        store.dedup_bytes_max = self.dedup_bytes_max.0;
        store.queue_requests_max = self.queue_requests_max;
        store.queue_bytes_max = self.queue_bytes_max.as_len();
        store.imports_max = self.imports_max;
        store.journal_bytes_max = self.journal_bytes_max.0;
        store.journal_age_max = self.journal_age_max.0;
        store.outbox_bytes_max = self.outbox_bytes_max.0;
        store.acknowledged_bytes_max = self.acknowledged_bytes_max.0;
        store.acknowledged_age_max = self.acknowledged_age_max.0;
        store.checkpoint_interval = self.checkpoint_interval.0;
        store.frame_rows_max = self.frame_rows_max;
        store.open_bytes_max = self.open_bytes_max.0;
        store.groups_per_meter_max = self.groups_per_meter_max;
        store.disk_free_bytes_min = self.disk_free_bytes_min.0;
        store.heartbeat_interval = self.heartbeat_interval.0;
        store.horizon_past = self.horizon_past.0;
        store.horizon_future = self.horizon_future.0;
        store
    }

    /// What is trusted and shown on the way to the collector.
    pub fn tls_files(&self) -> TlsFiles {
        TlsFiles {
            ca: self.tls_ca_file.clone(),
            certificate: self.tls_cert_file.clone(),
            key: self.tls_key_file.clone(),
        }
    }

    /// The files that hold secrets, by setting.
    pub(crate) fn secret_files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        [
            ("key_file", &self.key_file),
            ("ingest_token_file", &self.ingest_token_file),
            ("tls_key_file", &self.tls_key_file),
        ]
        .into_iter()
        .filter_map(|(setting, path)| Some((setting, path.as_deref()?)))
    }

    /// Checks that every secret's file is kept from others, and tells which are shared with a group. A key that is not
    /// there yet may still come.
    pub(crate) fn check_secret_files(&self) -> Result<Vec<String>, ConfigError> {
        let (mut warnings, mut problems) = (Vec::new(), Vec::new());
        for (setting, path) in self.secret_files() {
            match PrivateFile::read(path) {
                Ok(file) if file.secrecy == Secrecy::Private => {}
                Ok(file) => {
                    warnings.push(format!("{setting}: {} {}", path.display(), file.secrecy))
                }
                Err(error) if setting == "key_file" && error.is_missing() => {
                    warnings.push(format!("{setting}: {error}; waiting for it"));
                }
                Err(error) => problems.push(format!("{setting}: {error}")),
            }
        }
        if problems.is_empty() {
            Ok(warnings)
        } else {
            Err(ConfigError { problems })
        }
    }
}
