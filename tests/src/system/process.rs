//! One child process: started with a log file, signalled, waited for, killed when dropped.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::PATIENCE;

/// Variables that would change what a child does and that a test machine may have set.
pub const FOREIGN_VARIABLES: [&str; 6] = [
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
];

/// The unit of processor time in `/proc`, the same on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// A running child.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    detached: bool,
}

impl Process {
    /// Starts `program` in its own process group, its output appended to `log`.
    ///
    /// # Errors
    /// When the program or the log file cannot be opened.
    pub fn spawn<A: AsRef<OsStr>>(program: &Path, arguments: &[A], log: &Path) -> Result<Self> {
        Self::spawn_with(program, arguments, log, &[])
    }

    /// Starts it with variables of the environment set.
    ///
    /// # Errors
    /// When the program or the log file cannot be opened.
    pub fn spawn_with<A: AsRef<OsStr>>(
        program: &Path,
        arguments: &[A],
        log: &Path,
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let out = OpenOptions::new().create(true).append(true).open(log)?;
        let err: File = out.try_clone()?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0);
        for name in FOREIGN_VARIABLES {
            command.env_remove(name);
        }
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SUBMETER_") {
                command.env_remove(name);
            }
        }
        command.envs(environment.iter().copied());
        let child = command
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        Ok(Self {
            child,
            log: log.to_owned(),
            detached: false,
        })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process as a power cut would (SIGKILL) and waits for its end.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends SIGTERM and waits for the end, at most `limit`.
    ///
    /// # Errors
    /// When it is still there after `limit`.
    pub async fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.ended(limit).await
    }

    /// Sends any signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a process id")?, signal)?;
        Ok(())
    }

    /// Waits for the end, at most `limit`.
    ///
    /// # Errors
    /// When it is still there after `limit`.
    pub async fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if start.elapsed() > limit {
                bail!(
                    "still running after {limit:?}; its log ends with:\n{}",
                    self.log_tail()
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether the process has ended by itself.
    #[must_use]
    pub fn is_over(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Bytes of physical memory in use, from `/proc`.
    ///
    /// # Errors
    /// When the process is gone or the system has no `/proc`.
    pub fn resident_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .context("VmRSS")?;
        let kib: u64 = line
            .split_whitespace()
            .nth(1)
            .context("a number")?
            .parse()?;
        Ok(kib * 1024)
    }

    /// Processor time its threads have used, from `/proc`.
    ///
    /// # Errors
    /// When the process is gone or the system has no `/proc`.
    pub fn cpu_time(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id()))?;
        // After the name in brackets: the state, then user and system time as the 12th and 13th field, in ticks.
        let (_, fields) = stat.rsplit_once(')').context("a name in brackets")?;
        let mut ticks = 0;
        for field in fields.split_whitespace().skip(11).take(2) {
            ticks += field.parse::<u32>()?;
        }
        Ok(TICK * ticks)
    }

    /// Everything it and its predecessors wrote.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The last lines it wrote.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = self.log();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Lets the process outlive its handle.
    pub fn detach(&mut self) {
        self.detached = true;
    }
}

/// A free address whose port the kernel gives to nobody by itself.
///
/// A process that is killed and started again must find its port as it left it. The kernel's own choice would be among
/// the ports that it also gives to connections: one that is made in between could take it, even a client's that tries to
/// reach this very port, and thereby itself.
///
/// # Errors
/// When a hundred tries find none.
pub fn free_address() -> Result<String> {
    for _ in 0..100 {
        let address = format!("127.0.0.1:{}", fastrand::u16(10_000..32_000));
        if TcpListener::bind(&address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free port from 10000 to 31999 in 100 tries");
}

/// Waits until a process has written where it listens; its base URL.
pub(super) async fn address(file: &Path, process: &mut Process) -> Result<String> {
    let start = Instant::now();
    loop {
        if let Ok(text) = std::fs::read_to_string(file)
            && text.ends_with('\n')
        {
            return Ok(format!("http://{}", text.trim()));
        }
        if process.is_over() || start.elapsed() > PATIENCE {
            bail!(
                "no {}; the log ends with:\n{}",
                file.display(),
                process.log_tail()
            );
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.detached && !self.is_over() {
            // Nobody is left to tell; the process is only gone earlier than we thought.
            let _ = self.kill();
        }
    }
}
