//! A running Submeter: one collector and any number of agents, each a child process.
//!
//! Every process listens on a free port and says which in a file of its data
//! directory, so that any number of systems run beside each other. What is not stopped is killed
//! when its handle is dropped, or when this program is gone; [`outlived`] and [`Process::detach`] are how the demo leaves
//! things running.

mod address;
mod agent;
mod api;
mod collector;
mod process;
mod wire;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

pub use address::free_address;
pub use agent::{Agent, Outcome};
pub use api::{Api, Reply};
pub use collector::Collector;
pub use process::{FOREIGN_VARIABLES, Process, outlived};
pub use wire::Wire;

/// Time a process gets to do what a test waits for; generous, because builders are small and busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A collector with its directory; agents are started beside it.
#[derive(Debug)]
pub struct System {
    /// The central service, with an API client that may do everything.
    pub collector: Collector,
    root: PathBuf,
    /// Removes the directory at the end; absent where the directory is to stay.
    _temporary: Option<tempfile::TempDir>,
}

impl System {
    /// Starts a collector in a new temporary directory; `settings` are lines of its TOML file.
    ///
    /// # Errors
    /// When the binary is not built or the collector does not get ready.
    pub async fn start(settings: &str) -> Result<Self> {
        let temporary = tempfile::Builder::new().prefix("submeter-").tempdir()?;
        let root = temporary.path().to_owned();
        let collector = Collector::start(&root.join("collector"), settings).await?;
        Ok(Self {
            collector,
            root,
            _temporary: Some(temporary),
        })
    }

    /// Starts a collector in a directory that stays.
    ///
    /// # Errors
    /// When the binary is not built or the collector does not get ready.
    pub async fn start_in(root: &Path, settings: &str) -> Result<Self> {
        Self::start_with(root, settings, &[]).await
    }

    /// The same with further variables in the collector's environment.
    ///
    /// # Errors
    /// As [`System::start_in`].
    pub async fn start_with(
        root: &Path,
        settings: &str,
        environment: &[(String, String)],
    ) -> Result<Self> {
        let directory = root.join("collector");
        let collector = Collector::start_with(&directory, settings, environment).await?;
        Ok(Self {
            collector,
            root: root.to_owned(),
            _temporary: None,
        })
    }

    /// Starts an agent that reports to this collector; `settings` are lines of its TOML file.
    ///
    /// # Errors
    /// When the agent does not get ready.
    pub async fn agent(&self, name: &str, settings: &str) -> Result<Agent> {
        let directory = self.root.join(name);
        let key = self.collector.bootstrap_key_file();
        Agent::start(&directory, self.collector.url(), &key, settings).await
    }

    /// Starts an agent with further variables in its environment and does not wait for it.
    ///
    /// # Errors
    /// When the binary is not built.
    pub fn spawn_agent(
        &self,
        name: &str,
        settings: &str,
        environment: &[(String, String)],
    ) -> Result<Agent> {
        let directory = self.root.join(name);
        let key = self.collector.bootstrap_key_file();
        Agent::spawn(
            &directory,
            self.collector.url(),
            &key,
            settings,
            environment,
        )
    }

    /// Starts an agent in a new directory, to die at a fail point of its first start.
    ///
    /// # Errors
    /// When it does not die there.
    pub async fn stillborn_agent(
        &self,
        name: &str,
        settings: &str,
        fail_point: &str,
    ) -> Result<Agent> {
        let directory = self.root.join(name);
        let key = self.collector.bootstrap_key_file();
        Agent::stillborn(&directory, self.collector.url(), &key, settings, fail_point).await
    }

    /// The directory that holds every process's own directory and log.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// Where cargo put a binary: beside the running test or tool.
///
/// # Errors
/// When it is not there.
pub fn program(name: &str) -> Result<PathBuf> {
    let mut directory = std::env::current_exe()?;
    directory.pop();
    if directory.ends_with("deps") {
        directory.pop();
    }
    let path = directory.join(name);
    if !path.exists() {
        bail!("{} is not built: run `make build`", path.display());
    }
    Ok(path)
}

/// Asks `question` until it answers, for at most `limit`.
///
/// # Errors
/// When there is no answer in time; says what was waited for and why the last try failed.
pub async fn eventually<T, F>(
    what: &str,
    limit: Duration,
    mut question: impl FnMut() -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let start = Instant::now();
    loop {
        match question().await {
            Ok(answer) => return Ok(answer),
            Err(reason) if start.elapsed() > limit => {
                return Err(reason).with_context(|| format!("waited {limit:?} for {what}"));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
