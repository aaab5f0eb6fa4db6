//! The composition root: opens the rooms in order, closes them in reverse.
//!
//! The door opens last, when there is somewhere to put events, and closes first, so that the farewell frame is the last word.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use submeter_common::time::Clock;
use thiserror::Error;
use tokio::time::Instant;

use crate::admin::Admin;
use crate::budget;
use crate::config::{ADDRESS_FILE, Config, Secret};
use crate::descriptors;
use crate::fail_point::fail_point;
use crate::flush::{CollectorClient, Flusher, KeySource};
use crate::http::body::BodyRoom;
use crate::http::guard::Guard;
use crate::http::server::{Limits, Server};
use crate::http::unix_socket;
use crate::ingest::Ingest;
use crate::pipeline::{Identity, OpenError, Pipeline, drop_ballast};
use crate::routes::Routes;
use crate::telemetry;

/// Share of the grace that requests in flight may use; the rest is for the last frames.
const REQUESTS_GRACE_SHARE: u32 = 2;

/// Grace for requests in flight when the store has failed: they only get to read their 503.
const POISONED_GRACE: Duration = Duration::from_secs(1);

/// Pauses between tries to start on a full disk.
const SPACE_PAUSE_MIN: Duration = Duration::from_secs(1);
const SPACE_PAUSE_MAX: Duration = Duration::from_secs(15);

/// A running agent.
pub struct Agent {
    pipeline: Pipeline,
    flusher: Flusher,
    admin: Arc<Admin>,
    server: Server,
    address_file: PathBuf,
    shutdown_grace: Duration,
}

/// Why an agent did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A setting is wrong; starting again changes nothing.
    #[error("{0}")]
    Config(String),
    /// The state directory cannot be used.
    #[error(transparent)]
    Open(OpenError),
    /// The listen address cannot be bound.
    #[error("{doing}: {source}")]
    Io {
        /// What was attempted.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
}

/// How an agent ended.
#[derive(Debug)]
pub enum Stopped {
    /// The collector holds everything.
    Drained,
    /// Frames are left; they are safe on disk and are sent after the next start.
    FramesLeft {
        /// How many.
        frames: u64,
        /// Their bytes.
        bytes: u64,
        /// Events in them.
        events: u64,
        /// Why they were not sent.
        reason: String,
    },
    /// The store failed. What was acknowledged is on disk; the next start recovers it.
    Poisoned(String),
}

impl Agent {
    /// Opens every room. On an error all that was opened is closed again.
    pub async fn start(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        // 0. What the process may open, secrets and the client first: what is wrong with them is known without touching the disk.
        let config = &descriptors::within(config).map_err(StartError::Config)?;
        check_secret_files(config)?;
        let token = ingest_token(config)?;
        let timeout = config.collector_timeout.0;
        let (key, tls) = (key_source(config), config.tls_files());
        let client = CollectorClient::new(&config.collector, key, timeout, tls)
            .map_err(StartError::Config)?;
        warn_of_plain_http(&config.collector);
        telemetry::metrics();
        budget::announce(config);

        // 1. The store: recovers what a previous life left. Everything else leans on it.
        let pipeline = open(config, &clock).await?;

        // 2. The flusher: what was left is sent, and the catalog arrives, before the first event comes in.
        let flusher = Flusher::start(
            pipeline.clone(),
            client,
            Arc::clone(&clock),
            config.flush_interval.0,
            config.agent_name(),
        );

        // 3. The door.
        let bodies = BodyRoom::new(
            config.request_bytes_max.as_len(),
            config.requests_bytes_max.as_len(),
            config.request_timeout.0,
        );
        let admin = Admin::new(
            pipeline.clone(),
            flusher.handle(),
            Arc::clone(&clock),
            bodies.clone(),
        );
        let admin = Arc::new(admin);
        let ingest = Ingest::new(pipeline.clone(), clock, config.horizon(), bodies);
        let guard = Guard::new(config.listen, &config.allowed_hosts, token);
        let routes = Routes::new(Arc::new(ingest), Arc::clone(&admin), guard);
        let address_file = config.data_dir.join(ADDRESS_FILE);
        let opened = open_door(config, routes, &address_file).await;
        match opened {
            Ok(server) => Ok(Self {
                pipeline,
                flusher,
                admin,
                server,
                address_file,
                shutdown_grace: config.shutdown_grace.0,
            }),
            Err(error) => {
                flusher.stop().await;
                close_store(&pipeline).await;
                Err(error)
            }
        }
    }

    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Who the agent is to the collector.
    pub fn identity(&self) -> Identity {
        self.pipeline.identity()
    }

    /// The durable core, for those who embed an agent.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Runs until `stop` resolves or the store fails, then closes the rooms. When `hurry` resolves, nothing is waited for any
    /// more: requests in flight are cut off and frames not sent yet stay on disk.
    pub async fn run(
        self,
        stop: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
    ) -> Stopped {
        let poison = tokio::select! {
            () = stop => None,
            reason = self.pipeline.poisoned() => Some(reason),
        };
        match poison {
            Some(reason) => self.abandon(reason).await,
            None => self.stop(hurry).await,
        }
    }

    async fn stop(self, hurry: impl Future<Output = ()>) -> Stopped {
        let deadline = Instant::now() + self.shutdown_grace;
        tracing::info!(
            grace_seconds = self.shutdown_grace.as_secs(),
            "stopping: no further events are taken"
        );

        // 3. The door closes first: after it, nothing new can be acknowledged.
        self.admin.begin_draining();
        remove_address_file(&self.address_file);
        let mut hurry = std::pin::pin!(hurry);
        let mut hurried = tokio::select! {
            () = self.server.stop(self.shutdown_grace / REQUESTS_GRACE_SHARE) => false,
            () = &mut hurry => true,
        };
        // A request that outlasted its grace is refused, or it would be acknowledged behind the farewell.
        self.pipeline.close_door();
        fail_point!(StopDoorClosed);

        // 2. The farewell frame is sealed and sent.
        let drained = tokio::select! {
            biased;
            () = async { if !hurried { hurry.await } } => {
                hurried = true;
                Ok(None)
            }
            drained = self.flusher.drain(deadline) => drained.map(|drained| drained.trouble),
        };

        fail_point!(StopDrained);

        // 1. The store.
        let status = self.pipeline.status();
        close_store(&self.pipeline).await;
        if let Some(reason) = self.pipeline.poison_reason() {
            return Stopped::Poisoned(reason);
        }
        let reason = match drained {
            Ok(_) if hurried => Some("a second signal asked not to wait".to_owned()),
            Ok(trouble) => trouble,
            Err(error) => Some(error.to_string()),
        };
        if status.outbox_frames == 0 && reason.is_none() {
            return Stopped::Drained;
        }
        Stopped::FramesLeft {
            frames: status.outbox_frames,
            bytes: status.outbox_bytes,
            events: status.at_risk_events,
            reason: reason.unwrap_or_else(|| "the grace was over".to_owned()),
        }
    }

    /// The store failed: nothing can be sealed any more. Leave quickly, the next start recovers.
    async fn abandon(self, reason: String) -> Stopped {
        tracing::error!(reason, "the store failed; stopping");
        self.admin.begin_draining();
        remove_address_file(&self.address_file);
        self.server.stop(POISONED_GRACE).await;
        close_store(&self.pipeline).await;
        Stopped::Poisoned(reason)
    }
}

/// Opens the store. A full disk is waited for, not failed at: a supervisor could only try the same again.
async fn open(config: &Config, clock: &Arc<dyn Clock>) -> Result<Pipeline, StartError> {
    let mut pause = SPACE_PAUSE_MIN;
    loop {
        match try_open(config, Arc::clone(clock)).await {
            Err(StartError::Open(OpenError::NoSpace(_))) if drop_ballast(&config.data_dir) => {
                tracing::warn!("the disk is full: the ballast was let go to start on its room");
            }
            Err(StartError::Open(OpenError::NoSpace(reason))) => {
                tracing::error!(
                    reason,
                    "the disk is full: waiting for room to start; nothing is lost, and nothing is taken meanwhile"
                );
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(SPACE_PAUSE_MAX);
            }
            opened => return opened,
        }
    }
}

async fn try_open(config: &Config, clock: Arc<dyn Clock>) -> Result<Pipeline, StartError> {
    let store = config.store();
    let opened = tokio::task::spawn_blocking(move || Pipeline::open(store, clock)).await;
    match opened {
        Ok(Ok(pipeline)) => Ok(pipeline),
        Ok(Err(OpenError::InvalidConfig { field, message })) => {
            Err(StartError::Config(format!("{field}: {message}")))
        }
        Ok(Err(error)) => Err(StartError::Open(error)),
        Err(error) => Err(StartError::Io {
            doing: "open the state directory".to_owned(),
            source: io::Error::other(error),
        }),
    }
}

async fn open_door(
    config: &Config,
    routes: Routes,
    address_file: &Path,
) -> Result<Server, StartError> {
    let unix = match &config.unix_socket {
        Some(path) => {
            let bound = unix_socket::bind(path, config.unix_socket_mode.0).await;
            Some(bound.map_err(|source| StartError::Io {
                doing: format!("listen on the Unix socket {}", path.display()),
                source,
            })?)
        }
        None => None,
    };
    let limits = Limits {
        connections_max: config.connections_max,
        head_timeout: config.head_timeout.0,
    };
    let server = Server::start(config.listen, unix, routes, limits)
        .await
        .map_err(|source| StartError::Io {
            doing: format!("listen on {}", config.listen),
            source,
        })?;
    match write_address_file(address_file, server.address()) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            // An agent without it serves all the same; only commands must be told where it listens.
            tracing::warn!(file = %address_file.display(), "the disk is full: the address is in no file");
        }
        // A disk that fails here fails the start as it does under the store.
        Err(error) => {
            let failed = format!("write {}: {error}", address_file.display());
            return Err(StartError::Open(OpenError::Storage(failed)));
        }
    }
    Ok(server)
}

/// Written beside and renamed, so that a reader never sees half an address.
fn write_address_file(path: &Path, address: SocketAddr) -> io::Result<()> {
    let beside = path.with_extension("addr.new");
    std::fs::write(&beside, format!("{address}\n"))?;
    std::fs::rename(&beside, path)
}

fn remove_address_file(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::debug!(%error, "the address file was gone before");
    }
}

async fn close_store(pipeline: &Pipeline) {
    if let Err(error) = pipeline.stop().await {
        tracing::warn!(%error, "the store was not closed cleanly; the next start recovers it");
    }
}

fn check_secret_files(config: &Config) -> Result<(), StartError> {
    let warnings = config
        .check_secret_files()
        .map_err(|error| StartError::Config(error.to_string()))?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(())
}

fn ingest_token(config: &Config) -> Result<Option<Secret>, StartError> {
    match (&config.ingest_token_file, &config.ingest_token) {
        (Some(path), _) => Secret::read(path)
            .map(Some)
            .map_err(|error| StartError::Config(format!("ingest_token_file: {error}"))),
        (None, token) => Ok(token.clone()),
    }
}

fn key_source(config: &Config) -> KeySource {
    match (&config.key, &config.key_file) {
        (Some(key), _) => KeySource::Fixed(key.clone()),
        (None, Some(path)) => KeySource::File(path.clone()),
        (None, None) if config.tls_key_file.is_some() => KeySource::Certificate,
        (None, None) => KeySource::Missing,
    }
}

fn warn_of_plain_http(collector: &str) {
    let Some(rest) = collector.strip_prefix("http://") else {
        return;
    };
    let local = ["127.", "localhost", "[::1]"]
        .iter()
        .any(|name| rest.starts_with(name));
    if !local {
        tracing::warn!(
            collector,
            "the key goes to the collector unencrypted; use https:// beyond this host"
        );
    }
}
