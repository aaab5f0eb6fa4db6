//! An agent as a child process.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;

use super::process::Process;
use super::{Api, PATIENCE, address, eventually, program};

/// The agent as it is shipped.
const PLAIN: &str = "submeter-agent";
/// The same with named places at which it can be made to die.
const WITH_FAIL_POINTS: &str = "submeter-agent-fail-points";
/// The base URL of an agent that has not said yet where it listens.
const UNKNOWN: &str = "http://unknown";

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    process: Process,
    directory: PathBuf,
    /// The address it listens on, in every life.
    listen: String,
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
        std::fs::write(config(directory), configuration(collector, key, settings))?;
        let listen = address::free_address()?;
        Ok(Self {
            process: spawn(PLAIN, directory, &listen, environment)?,
            directory: directory.to_owned(),
            listen,
            environment: environment.to_vec(),
            api: Api::new(UNKNOWN, None)?,
        })
    }

    /// Starts one over `directory`, which does not exist, to die at a fail point of its first start.
    ///
    /// # Errors
    /// When the binary is not built or does not die there.
    pub async fn stillborn(
        directory: &Path,
        collector: &str,
        key: &Path,
        settings: &str,
        fail_point: &str,
    ) -> Result<Self> {
        std::fs::write(config(directory), configuration(collector, key, settings))?;
        let listen = address::free_address()?;
        let mut agent = Self {
            process: spawn_doomed(directory, &listen, fail_point)?,
            directory: directory.to_owned(),
            listen,
            environment: Vec::new(),
            api: Api::new(UNKNOWN, None)?,
        };
        agent.dead_at(fail_point).await?;
        Ok(agent)
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
        self.process = spawn(PLAIN, &self.directory, &self.listen, &self.environment)?;
        Ok(())
    }

    /// Starts the agent with fail points over the same directory and on the same port, to die at one of them (`NAME` or
    /// `NAME:HIT`), perhaps before it is ready.
    ///
    /// # Errors
    /// When the binary is not built.
    pub fn spawn_doomed(&mut self, fail_point: &str) -> Result<()> {
        self.process = spawn_doomed(&self.directory, &self.listen, fail_point)?;
        Ok(())
    }

    /// Waits until it has died at the fail point it was started for.
    ///
    /// # Errors
    /// When it lives on, or died of something else.
    pub async fn dead_at(&mut self, fail_point: &str) -> Result<()> {
        let status = self
            .process
            .ended(PATIENCE)
            .await
            .with_context(|| format!("{fail_point} was not reached"))?;
        let name = fail_point.split(':').next().unwrap_or_default();
        let said = format!("died at fail point {name}\n");
        ensure!(
            status.signal() == Some(Signal::KILL.as_raw()) && self.process.log().contains(&said),
            "{fail_point}: ended with {status}; its log ends with:\n{}",
            self.process.log_tail()
        );
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
        Ok(self.command_line(arguments)?.output()?)
    }

    /// A command of the agent's binary against its directory, not run yet.
    ///
    /// # Errors
    /// When the binary is not built.
    pub fn command_line(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(program(PLAIN)?);
        command
            .args(arguments)
            .arg("--config")
            .arg(config(&self.directory))
            .arg("--data-dir")
            .arg(&self.directory);
        Ok(command)
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
        let address = address::told(&file, &mut self.process).await?;
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

fn spawn_doomed(directory: &Path, listen: &str, fail_point: &str) -> Result<Process> {
    let environment = [("FAIL_POINT".to_owned(), fail_point.to_owned())];
    spawn(WITH_FAIL_POINTS, directory, listen, &environment)
}

fn spawn(
    binary: &str,
    directory: &Path,
    listen: &str,
    environment: &[(String, String)],
) -> Result<Process> {
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
        &program(binary)?,
        &arguments,
        &directory.with_extension("log"),
        &environment,
    )
}
