//! The collector as a child process.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};

use anyhow::{Context, Result};

use super::process::Process;
use super::{Api, PATIENCE, address, eventually, program};

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    process: Process,
    directory: PathBuf,
    environment: Vec<(String, String)>,
    api: Api,
}

impl Collector {
    /// Starts one over `directory` (made if absent) and waits until it is ready.
    ///
    /// # Errors
    /// When the binary is not built or the collector does not get ready.
    pub async fn start(directory: &Path, settings: &str) -> Result<Self> {
        Self::start_with(directory, settings, &[]).await
    }

    /// Starts one with further variables in its environment, in every life.
    ///
    /// # Errors
    /// As [`Collector::start`].
    pub async fn start_with(
        directory: &Path,
        settings: &str,
        environment: &[(String, String)],
    ) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        std::fs::write(config(directory), settings)?;
        let process = spawn(directory, &address::free_address()?, environment)?;
        let api = Api::new("http://unknown", None)?;
        let mut collector = Self {
            process,
            directory: directory.to_owned(),
            environment: environment.to_vec(),
            api,
        };
        collector.ready().await?;
        Ok(collector)
    }

    /// Kills it (SIGKILL) without starting it again.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts it again over the same directory, on the same port, so that agents find it.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start_again(&mut self) -> Result<()> {
        self.spawn_again()?;
        self.ready().await
    }

    /// The same without waiting for it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn_again(&mut self) -> Result<()> {
        let listen = self.api.base().trim_start_matches("http://").to_owned();
        self.process = spawn(&self.directory, &listen, &self.environment)?;
        Ok(())
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        self.process.terminate(PATIENCE).await
    }

    /// A client that may do everything.
    #[must_use]
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> &str {
        self.api.base()
    }

    /// The file with the key that may do everything.
    #[must_use]
    pub fn bootstrap_key_file(&self) -> PathBuf {
        self.directory.join("bootstrap.key")
    }

    /// Runs a command of the collector's against it.
    ///
    /// # Errors
    /// When the binary is not built.
    pub fn command(&self, arguments: &[&str]) -> Result<Output> {
        Ok(Command::new(program("submeter-collector")?)
            .args(arguments)
            .args(["--collector", self.url(), "--key-file"])
            .arg(self.bootstrap_key_file())
            .output()?)
    }

    /// The child process.
    #[must_use]
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// When it ends, or is not ready in time.
    pub async fn ready(&mut self) -> Result<()> {
        let file = self.directory.join("collector.addr");
        let address = address::told(&file, &mut self.process).await?;
        let key = std::fs::read_to_string(self.bootstrap_key_file()).context("bootstrap.key")?;
        self.api = Api::new(&address, Some(key.trim()))?;
        let api = &self.api;
        eventually("the collector to be ready", PATIENCE, || async move {
            api.get("/readyz").await?.success()
        })
        .await
    }
}

fn config(directory: &Path) -> PathBuf {
    directory.with_extension("toml")
}

fn spawn(directory: &Path, listen: &str, environment: &[(String, String)]) -> Result<Process> {
    // A file left by a killed process would name a port that nobody listens on.
    let _ = std::fs::remove_file(directory.join("collector.addr"));
    let arguments = [
        "serve".as_ref(),
        "--config".as_ref(),
        config(directory).into_os_string().as_os_str(),
        "--data-dir".as_ref(),
        directory.as_os_str(),
        "--listen".as_ref(),
        listen.as_ref(),
    ]
    .map(std::ffi::OsStr::to_owned);
    let environment: Vec<(&str, &str)> = environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    Process::spawn_with(
        &program("submeter-collector")?,
        &arguments,
        &directory.with_extension("log"),
        &environment,
    )
}
