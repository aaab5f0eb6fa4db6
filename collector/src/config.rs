//! The collector's settings: flags over environment over file over defaults.
//!
//! One flat TOML file; every key is also `SUBMETER_COLLECTOR_<KEY>` in the environment. An unknown key is an error, and
//! all problems are reported at once, so that a file is repaired in one go.

mod payment;
mod read;
mod size;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use submeter_common::limits;

pub use payment::{GatewayConfig, PaymentConfig};
use read::Reader;
pub use read::{ConfigProblems, Setting};

use crate::jobs::JobsConfig;
use crate::telemetry::LogFormat;

/// Beginning of the environment variables that set keys.
pub const ENV_PREFIX: &str = "SUBMETER_COLLECTOR_";

/// Room for the largest body there is. With less, whoever sends one is told for ever to come again later.
const REQUESTS_BYTES_LEAST: usize = limits::BUNDLE_BYTES_MAX;

const _: () = assert!(limits::FRAME_BYTES_MAX <= REQUESTS_BYTES_LEAST);

/// What flags of `serve` may say; flags win over everything else.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--listen`.
    pub listen: Option<SocketAddr>,
    /// `--log-format`.
    pub log_format: Option<LogFormat>,
}

/// Settings of the collector process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Directory that holds everything the collector keeps. One process at a time.
    pub data_dir: PathBuf,
    /// Address to serve on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Free disk below which frames are refused, and below a quarter of which nothing is written; 0 turns it off.
    pub disk_free_bytes_min: usize,
    /// Settings of the HTTP surface.
    pub api: ApiConfig,
    /// Settings of background work: billing.
    pub jobs: JobsConfig,
    /// How invoices are collected.
    pub payment: PaymentConfig,
    /// Longest wait for open requests and jobs at a stop.
    pub drain_grace: Duration,
}

/// Whether bills are meant.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They are.
    #[default]
    Live,
    /// They are not: test clocks are allowed.
    Test,
}

impl Mode {
    /// The name in settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }

    /// Reads the name in settings.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Live, Self::Test]
            .into_iter()
            .find(|mode| mode.name() == name)
    }
}

/// Bounds of the HTTP surface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiConfig {
    /// Whether bills are meant, or time may be told.
    pub mode: Mode,
    /// Connections served at once; further ones wait in the listen queue.
    pub connections_max: usize,
    /// Longest wait for a request's head, also between requests on a kept connection.
    pub head_timeout: Duration,
    /// Longest time for a request, its body included.
    pub request_timeout: Duration,
    /// Largest JSON body. Frames have their own bound, the protocol's.
    pub request_bytes_max: usize,
    /// All request bodies in memory at one time, frames included; beyond it, requests are answered with 503.
    pub requests_bytes_max: usize,
    /// Rows of frames in memory at one time, unpacked; beyond it, frames wait, and a frame larger than all of it comes alone.
    pub frames_bytes_max: usize,
    /// Path under which the API is served, such as `/billing`; empty for none. Health and metrics stay at the root.
    pub path_prefix: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("submeter-collector"),
            listen: SocketAddr::from(([127, 0, 0, 1], 7700)),
            log_format: LogFormat::Human,
            // Write buffers and the usual compaction.
            disk_free_bytes_min: 512 << 20,
            api: ApiConfig::default(),
            jobs: JobsConfig::default(),
            payment: PaymentConfig::default(),
            drain_grace: Duration::from_secs(20),
        }
    }
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            // An agent holds one connection: room for a few thousand agents within common file-descriptor limits.
            connections_max: 4096,
            head_timeout: Duration::from_secs(75),
            request_timeout: Duration::from_secs(30),
            request_bytes_max: limits::REQUEST_BYTES_MAX_DEFAULT,
            requests_bytes_max: 128 << 20,
            frames_bytes_max: 256 << 20,
            path_prefix: String::new(),
        }
    }
}

impl Config {
    /// Reads the settings of this process: defaults, then `file`, then the environment, then `flags`.
    ///
    /// Returns them together with each key's effective value and where it came from, for `check-config`.
    ///
    /// # Errors
    /// Every problem found, not only the first: unreadable file, unknown keys, values of a wrong form or out of bounds.
    pub fn load(
        file: Option<&Path>,
        flags: &Flags,
    ) -> Result<(Config, Vec<Setting>), ConfigProblems> {
        let defaults = Config::default();
        let mut reader = Reader::open(file, flags)?;
        let config = Config {
            data_dir: reader.path("data_dir", defaults.data_dir),
            listen: reader.text(
                "listen",
                defaults.listen,
                "an address and port such as 127.0.0.1:7700",
            ),
            log_format: reader.log_format("log_format", defaults.log_format),
            disk_free_bytes_min: reader.size(
                "disk_free_bytes_min",
                defaults.disk_free_bytes_min,
                0..=1 << 40,
            ),
            api: ApiConfig {
                mode: reader.mode("mode", defaults.api.mode),
                connections_max: reader.count(
                    "connections_max",
                    defaults.api.connections_max,
                    1..=1_000_000,
                ),
                head_timeout: reader.duration("head_timeout", defaults.api.head_timeout),
                request_timeout: reader.duration("request_timeout", defaults.api.request_timeout),
                request_bytes_max: reader.size(
                    "request_bytes_max",
                    defaults.api.request_bytes_max,
                    1024..=limits::FRAME_BYTES_MAX,
                ),
                requests_bytes_max: reader.size(
                    "requests_bytes_max",
                    defaults.api.requests_bytes_max,
                    REQUESTS_BYTES_LEAST..=1 << 40,
                ),
                frames_bytes_max: reader.size(
                    "frames_bytes_max",
                    defaults.api.frames_bytes_max,
                    limits::FRAME_BYTES_MAX..=1 << 40,
                ),
                path_prefix: reader.path_prefix("path_prefix", defaults.api.path_prefix),
            },
            jobs: JobsConfig {
                billing_interval: reader
                    .duration("billing_interval", defaults.jobs.billing_interval),
                completeness_wait: reader
                    .duration("completeness_wait", defaults.jobs.completeness_wait),
                agent_silent_after: reader
                    .duration("agent_silent_after", defaults.jobs.agent_silent_after),
                outbox_retention: reader
                    .duration("outbox_retention", defaults.jobs.outbox_retention),
            },
            payment: PaymentConfig::read(&mut reader),
            drain_grace: reader.duration("drain_grace", defaults.drain_grace),
        };
        let settings = reader.finish()?;
        Ok((config, settings))
    }
}

#[cfg(test)]
mod tests;
