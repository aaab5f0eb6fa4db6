//! One child process: started with a log file, signalled, waited for, killed when dropped or orphaned.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// Variables that would change what a child does and that a test machine may have set.
pub const FOREIGN_VARIABLES: [&str; 6] = [
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
];

/// Becomes the program that follows, which the kernel then kills when this one ends, by whatever end.
const BOUND: [&str; 4] = ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--"];

/// Whether children stay when this program has ended.
static OUTLIVED: AtomicBool = AtomicBool::new(false);

/// Lets children that are started from now on outlive this program, where their handles are detached.
pub fn outlived() {
    OUTLIVED.store(true, Ordering::Relaxed);
}

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
        let mut command = if OUTLIVED.load(Ordering::Relaxed) {
            Command::new(program)
        } else {
            let mut bound = Command::new(BOUND[0]);
            bound.args(&BOUND[1..]).arg(program);
            bound
        };
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
        let child = start(command).with_context(|| format!("start {}", program.display()))?;
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

/// Starts a command from a thread that ends with this program: for the kernel a child is orphaned when the thread ends that
/// started it.
fn start(command: Command) -> Result<Child> {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static STARTER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (orders, ordered) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in ordered {
                // Whoever ordered it waits for it.
                let _ = reply.send(command.spawn());
            }
        });
        orders
    });
    let (reply, started) = mpsc::channel();
    starter.send((command, reply))?;
    Ok(started.recv()??)
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.detached && !self.is_over() {
            // Nobody is left to tell; the process is only gone earlier than we thought.
            let _ = self.kill();
        }
    }
}

#[cfg(test)]
mod tests;
