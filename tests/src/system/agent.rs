//! An agent as a child process.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::process::{self, Process};
use super::{Api, PATIENCE, eventually, program};

/// The kernel chooses.
const ANY_PORT: &str = "127.0.0.1:0";
/// The base URL of an agent that has not said yet where it listens.
const UNKNOWN: &str = "http://unknown";

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    process: Process,
    directory: PathBuf,
    environment: Vec<(String, String)>,
    api: Api,
}

/// How an agent ended: what its exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything it accepted is acknowledged by the collector.
    Drained,
    /// Frames are left, safe on disk.
    FramesLeft,
    /// Any other exit code, or a signal.
    Failed(Option<i32>),
}

impl Agent {
    /// Starts one over `directory` (made if absent) and waits until it takes events.
    ///
    /// # Errors
    /// When the binary is not built or the agent does not get ready.
    pub async fn start(
        directory: &Path,
        collector: &str,
        key: &Path,
        settings: &str,
    ) -> Result<Self> {
        let mut agent = Self::spawn(directory, collector, key, settings, &[])?;
        agent.ready().await?;
        Ok(agent)
    }

    /// Starts one with further variables in its environment and does not wait for it.
    ///
    /// # Errors
    /// When the binary is not built.
    pub fn spawn(
        directory: &Path,
        collector: &str,
        key: &Path,
        settings: &str,
        environment: &[(String, String)],
    ) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let file = config(directory);
        std::fs::write(&file, configuration(collector, key, settings))?;
        Ok(Self {
            process: spawn(directory, ANY_PORT, environment)?,
            directory: directory.to_owned(),
            environment: environment.to_vec(),
            api: Api::new(UNKNOWN, None)?,
        })
    }

    /// Kills it (SIGKILL) and starts it again over the same directory.
    ///
    /// # Errors
    /// When it does not get ready again.
    pub async fn crash_and_start(&mut self) -> Result<()> {
        self.process.kill()?;
        self.start_again().await
    }

    /// Kills it (SIGKILL) without starting it again.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts it again over the same directory, on the same port, so that applications find it.
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
        let listen = match self.api.base() {
            UNKNOWN => ANY_PORT,
            base => base.trim_start_matches("http://"),
        };
        self.process = spawn(&self.directory, listen, &self.environment)?;
        Ok(())
    }

    /// Sends SIGTERM and waits: the drain.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn drain(&mut self) -> Result<Outcome> {
        let status = self.process.terminate(PATIENCE).await?;
        Ok(Outcome::from(status))
    }

    /// A client of its event and admin endpoints.
    #[must_use]
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// The child process.
    #[must_use]
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its state directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// `GET /v1/status`.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn status(&self) -> Result<Value> {
        self.api.fetch("/v1/status").await
    }

    /// Seals what is open and waits until the collector has everything.
    ///
    /// # Errors
    /// When it is not acknowledged in time.
    pub async fn flush(&self) -> Result<()> {
        let reply = self.api.create("/v1/flush?wait=true", &Value::Null).await?;
        ensure!(reply["complete"] == true, "{reply}");
        Ok(())
    }

    /// Runs a command of the agent's binary against its directory.
    ///
    /// # Errors
    /// When the command cannot be started.
    pub fn command(&self, arguments: &[&str]) -> Result<Output> {
        let output = Command::new(program("submeter-agent")?)
            .args(arguments)
            .arg("--config")
            .arg(config(&self.directory))
            .arg("--data-dir")
            .arg(&self.directory)
            .output()?;
        Ok(output)
    }

    /// Waits until it takes events.
    ///
    /// # Errors
    /// When it ends, or is not ready in time; shows the end of its log.
    pub async fn ready(&mut self) -> Result<()> {
        self.listening().await?;
        let api = &self.api;
        eventually("the agent to be ready", PATIENCE, || async move {
            api.get("/readyz").await?.success()
        })
        .await
        .with_context(|| self.process.log_tail())
    }

    /// Waits until it answers at all.
    ///
    /// # Errors
    /// When it ends, or does not listen in time; shows the end of its log.
    pub async fn listening(&mut self) -> Result<()> {
        let file = self.directory.join("agent.addr");
        let address = process::address(&file, &mut self.process).await?;
        self.api = Api::new(&address, None)?;
        Ok(())
    }
}

impl From<ExitStatus> for Outcome {
    fn from(status: ExitStatus) -> Self {
        match status.code() {
            Some(0) => Self::Drained,
            Some(3) => Self::FramesLeft,
            other => Self::Failed(other),
        }
    }
}

/// The agent's TOML file: what every agent of a test needs, then the test's own lines.
fn configuration(collector: &str, key: &Path, settings: &str) -> String {
    format!(
        "collector = \"{collector}\"\nkey_file = \"{}\"\n{settings}\n",
        key.display()
    )
}

fn config(directory: &Path) -> PathBuf {
    directory.with_extension("toml")
}

fn spawn(directory: &Path, listen: &str, environment: &[(String, String)]) -> Result<Process> {
    // A file left by a killed process would name a port that nobody listens on.
    let _ = std::fs::remove_file(directory.join("agent.addr"));
    let arguments = [
        "run".as_ref(),
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
        &program("submeter-agent")?,
        &arguments,
        &directory.with_extension("log"),
        &environment,
    )
}
