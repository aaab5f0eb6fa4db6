//! The composition root: opens the rooms in order, doors last, and closes them in the reverse order.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use submeter_common::time::Clock;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};

use crate::api::{self, ApiState, Door, Rooms};
use crate::auth::{self, BootstrapError};
use crate::config::Config;
use crate::jobs;
use crate::storage::{Storage, rocksdb as embedded};
use crate::telemetry;

/// Name of the file in the data directory that tells scripts the bound address, for as long as the collector serves.
pub const ADDRESS_FILE: &str = "collector.addr";

/// Why the collector did not start. Nothing runs then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store did not open.
    #[error("cannot open the data directory: {0}")]
    Store(#[from] embedded::OpenError),
    /// The first key could not be made.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The metrics recorder could not be installed.
    #[error("cannot start metrics: {0}")]
    Metrics(String),
    /// The address could not be bound.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The address file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    AddressFile {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A blocking task died.
    #[error("a task of the start died: {0}")]
    Task(#[from] JoinError),
}

/// A part of the running collector ended although nobody stopped it: the process has to end too.
#[derive(Debug, thiserror::Error)]
#[error("{part} ended by itself: {reason}")]
pub struct Died {
    /// Which part.
    pub part: &'static str,
    /// What is known of it.
    pub reason: String,
}

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    address_file: PathBuf,
    bootstrap_key: Option<PathBuf>,
    stop_door: watch::Sender<bool>,
    stop_jobs: watch::Sender<bool>,
    door: JoinHandle<usize>,
    jobs: JoinHandle<()>,
}

impl Collector {
    /// Opens the store, makes the first key on an empty one, starts background work, and opens the door last.
    ///
    /// # Errors
    /// Any room that does not open; those that were opened before are closed again.
    pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        // 1. The store: everything else reads it.
        let storage = open_store(&config.data_dir).await?;
        // 2. Metrics, before anything counts.
        let metrics =
            telemetry::start_metrics().map_err(|error| StartError::Metrics(error.to_string()))?;
        // 3. The address, before anything works: a port in use is the most common failure of a start.
        let door = Door::bind(config.listen)
            .await
            .map_err(|source| StartError::Bind {
                address: config.listen,
                source,
            })?;
        let address = door.address();
        // 4. The first key, while nobody can ask yet.
        let bootstrap_key =
            auth::ensure_bootstrap_key(&*storage, &config.data_dir, clock.now()).await?;
        // 5. Background work: what fell due while the collector was away is done now. How long it was away is noted
        //    first, for nobody could deliver meanwhile.
        storage
            .begin_service(clock.now())
            .await
            .map_err(BootstrapError::from)?;
        let (stop_jobs, jobs_stopped) = watch::channel(false);
        let jobs = tokio::spawn(jobs::run(
            Arc::clone(&storage),
            Arc::clone(&clock),
            config.jobs,
            jobs_stopped,
        ));
        // 6. The door.
        let api_config = Arc::new(config.api.clone());
        let routes = api::router(ApiState {
            storage,
            clock,
            rooms: Rooms::new(&api_config),
            config: Arc::clone(&api_config),
            metrics,
        });
        let (stop_door, door_stopped) = watch::channel(false);
        let door = tokio::spawn(api::serve(
            door,
            routes,
            api_config,
            door_stopped,
            config.drain_grace,
        ));
        // 7. Tell where it is, now that it answers.
        let address_file = config.data_dir.join(ADDRESS_FILE);
        let collector = Self {
            address,
            address_file,
            bootstrap_key,
            stop_door,
            stop_jobs,
            door,
            jobs,
        };
        if let Err(source) = write_address(&collector.address_file, address) {
            let path = collector.address_file.clone();
            collector.stop().await;
            return Err(StartError::AddressFile { path, source });
        }
        Ok(collector)
    }

    /// The address the collector serves on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file of the first key, when this start made it.
    pub fn bootstrap_key(&self) -> Option<&Path> {
        self.bootstrap_key.as_deref()
    }

    /// Waits for a part to end by itself, which only a fault makes it do.
    pub async fn died(&mut self) -> Died {
        let (part, ended) = tokio::select! {
            ended = &mut self.door => ("the HTTP surface", ended.map(|_| ())),
            ended = &mut self.jobs => ("background work", ended),
        };
        let reason = ended
            .err()
            .map_or_else(|| "without an error".to_owned(), |error| error.to_string());
        Died { part, reason }
    }

    /// Closes the door, lets open requests finish within the grace, ends background work after the run in progress, and
    /// closes the store. Returns how many connections were cut.
    pub async fn stop(self) -> usize {
        if let Err(error) = fs::remove_file(&self.address_file) {
            tracing::debug!(%error, "the address file was gone already");
        }
        // Receivers may be gone: then the part has ended, which is what is wanted.
        let _ = self.stop_door.send(true);
        let cut = if self.door.is_finished() {
            0
        } else {
            self.door.await.unwrap_or(0)
        };
        let _ = self.stop_jobs.send(true);
        if !self.jobs.is_finished() && self.jobs.await.is_err() {
            tracing::error!("background work died at the stop; the next start continues it");
        }
        cut
    }
}

async fn open_store(data_dir: &Path) -> Result<Arc<dyn Storage>, StartError> {
    let data_dir = data_dir.to_owned();
    let opened = tokio::task::spawn_blocking(move || embedded::RocksStore::open(&data_dir)).await?;
    Ok(Arc::new(opened?))
}

/// Writes the address in one step, so that no reader sees half of it.
fn write_address(path: &Path, address: SocketAddr) -> io::Result<()> {
    let fresh = path.with_extension("addr.new");
    fs::write(&fresh, format!("{address}\n"))?;
    fs::rename(&fresh, path)
}
