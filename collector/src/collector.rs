//! The composition root: opens the rooms in order, doors last, and closes them in the reverse order.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use submeter_common::time::Clock;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};

use crate::api::{self, ApiState, Door, Rooms, Turns};
use crate::auth::{self, BootstrapError};
use crate::config::{Config, GatewayConfig, Mode, PaymentConfig};
use crate::jobs;
use crate::payment::endpoint::Endpoint;
use crate::payment::{Collecting, Gateway};
use crate::storage::{Storage, rocksdb as embedded};
use crate::telemetry;
use crate::test_clock::BillingClock;

/// Name of the file in the data directory that tells scripts the bound address, for as long as the collector serves.
pub const ADDRESS_FILE: &str = "collector.addr";

/// How often a start that waits for a full disk looks again.
const ROOM_ASKED_EVERY: Duration = Duration::from_secs(2);

/// Why the collector did not start. Nothing runs then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store did not open.
    #[error("cannot open the data directory: {0}")]
    Store(#[from] embedded::OpenError),
    /// The first key could not be made.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The data is of a collector in test mode.
    #[error(
        "this data directory has test clocks, so its bills are of told times: start it with mode = test, or another one"
    )]
    TestClocks,
    /// The metrics recorder could not be installed.
    #[error("cannot start metrics: {0}")]
    Metrics(String),
    /// Nobody could be asked for payments.
    #[error("cannot set up the payment endpoint: {0}")]
    Gateway(reqwest::Error),
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
    /// Background work found no runtime.
    #[error("cannot start background work: {0}")]
    Runtime(io::Error),
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
    storage: Arc<dyn Storage>,
    address: SocketAddr,
    address_file: PathBuf,
    bootstrap_key: Option<PathBuf>,
    stop_door: watch::Sender<bool>,
    stop_jobs: watch::Sender<bool>,
    door: JoinHandle<usize>,
    jobs: JoinHandle<()>,
    alerts: JoinHandle<()>,
    collection: JoinHandle<()>,
}

impl Collector {
    /// Opens the store, makes the first key on an empty one, starts background work, and opens the door last.
    ///
    /// # Errors
    /// Any room that does not open; those that were opened before are closed again.
    pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        // 1. The store: everything else reads it.
        let storage = open_store(&config).await?;
        let clock = billing_clock(&*storage, clock, config.api.mode).await?;
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
            auth::ensure_bootstrap_key(&*storage, &config.data_dir, clock.machine().now()).await?;
        // 5. Background work: what fell due while the collector was away is done now. How long it was away is noted
        //    first, for nobody could deliver meanwhile.
        storage
            .begin_service(clock.machine().now())
            .await
            .map_err(BootstrapError::from)?;
        let collecting = Arc::new(collecting(&config.payment, clock.machine_shared())?);
        let (stop_jobs, jobs_stopped) = watch::channel(false);
        //    Each has a thread of its own, so that a month's end keeps no request and no alert waiting, and reads cost no
        //    hand-over.
        let alerts = jobs::alerts::run(
            Arc::clone(&storage),
            Arc::clone(&clock),
            jobs_stopped.clone(),
        );
        let work = jobs::run(
            Arc::clone(&storage),
            Arc::clone(&clock),
            config.jobs,
            Arc::clone(&collecting),
            jobs_stopped.clone(),
        );
        let (jobs, alerts) = (alone(work)?, alone(alerts)?);
        //    Collecting mostly waits for others, and has none.
        let collection = tokio::spawn(jobs::collection::run(
            Arc::clone(&storage),
            Arc::clone(&clock),
            config.jobs,
            Arc::clone(&collecting),
            jobs_stopped,
        ));
        // 6. The door.
        let api_config = Arc::new(config.api.clone());
        let routes = api::router(ApiState {
            told: None,
            storage: Arc::clone(&storage),
            clock,
            collecting,
            rooms: Rooms::new(&api_config),
            turns: Turns::default(),
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
            storage,
            address,
            address_file,
            bootstrap_key,
            stop_door,
            stop_jobs,
            door,
            jobs,
            alerts,
            collection,
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
            ended = &mut self.alerts => ("the lookout for alerts", ended),
            ended = &mut self.collection => ("the collecting of payments", ended),
            reason = self.storage.failed() => return Died { part: "the store", reason },
        };
        let reason = ended
            .err()
            .map_or_else(|| "without an error".to_owned(), |error| error.to_string());
        Died { part, reason }
    }

    /// Closes the door, lets open requests finish within the grace and background work the run in progress, and closes the
    /// store. Returns how many connections were cut.
    pub async fn stop(self) -> usize {
        if let Err(error) = fs::remove_file(&self.address_file) {
            tracing::debug!(%error, "the address file was gone already");
        }
        // Receivers may be gone: then the part has ended, which is what is wanted. Payments that are being asked for are waited
        // for while requests are, not after them.
        let _ = self.stop_door.send(true);
        let _ = self.stop_jobs.send(true);
        let cut = if self.door.is_finished() {
            0
        } else {
            self.door.await.unwrap_or(0)
        };
        for work in [self.jobs, self.alerts, self.collection] {
            if !work.is_finished() && work.await.is_err() {
                tracing::error!("background work died at the stop; the next start continues it");
            }
        }
        cut
    }
}

/// Does work on a thread of its own.
fn alone(work: impl Future<Output = ()> + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Runtime)?;
    Ok(tokio::task::spawn_blocking(move || runtime.block_on(work)))
}

/// Finds the time that billing lives in: the machine's, or that of the test clock of the whole collector.
async fn billing_clock(
    storage: &dyn Storage,
    machine: Arc<dyn Clock>,
    mode: Mode,
) -> Result<Arc<BillingClock>, StartError> {
    let clocks = storage.test_clocks().await.map_err(BootstrapError::from)?;
    if mode == Mode::Live && !clocks.is_empty() {
        return Err(StartError::TestClocks);
    }
    let ruling = jobs::clocks::of_collector(&clocks).cloned();
    Ok(Arc::new(BillingClock::new(machine, ruling)))
}

/// Finds who is asked for payments, if anybody.
fn collecting(config: &PaymentConfig, machine: Arc<dyn Clock>) -> Result<Collecting, StartError> {
    let gateway: Option<Arc<dyn Gateway>> = match &config.gateway {
        GatewayConfig::ByHand => None,
        GatewayConfig::Endpoint(endpoint) => {
            let endpoint = Endpoint::new(endpoint.clone(), machine).map_err(StartError::Gateway)?;
            Some(Arc::new(endpoint))
        }
    };
    Ok(Collecting {
        gateway,
        terms: config.terms.clone(),
        concurrency: config.concurrency,
    })
}

/// Opens the store. A full disk is waited for, not failed at: a supervisor could only try the same again.
async fn open_store(config: &Config) -> Result<Arc<dyn Storage>, StartError> {
    let reserve = u64::try_from(config.disk_free_bytes_min).unwrap_or(u64::MAX);
    let mut is_told = false;
    loop {
        let data_dir = config.data_dir.clone();
        let opened = tokio::task::spawn_blocking(move || {
            embedded::RocksStore::open_with_reserve(&data_dir, reserve)
        });
        match opened.await? {
            Err(error) if error.is_for_want_of_disk() => {
                if !is_told {
                    tracing::error!(%error, "the disk is full: waiting for room to start; nothing is lost");
                    is_told = true;
                }
                tokio::time::sleep(ROOM_ASKED_EVERY).await;
            }
            opened => return Ok(Arc::new(opened?)),
        }
    }
}

/// Writes the address in one step, so that no reader sees half of it.
fn write_address(path: &Path, address: SocketAddr) -> io::Result<()> {
    let fresh = path.with_extension("addr.new");
    fs::write(&fresh, format!("{address}\n"))?;
    fs::rename(&fresh, path)
}
