//! What the demo left running: recorded by process id, stopped by that record and nothing else.
//!
//! A process id may belong to another program by the time it is read, so a process is only signalled
//! when its command line still names the demo's directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::system::Process;

/// An agent may take its whole grace to send what is left.
const STOP_LIMIT: Duration = Duration::from_secs(40);

/// The record of one demo directory.
#[derive(Debug)]
pub(crate) struct Running {
    directory: PathBuf,
}

impl Running {
    /// The record in `directory`, which need not exist.
    pub(crate) fn in_directory(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    /// Adds a process.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub(crate) fn record(&mut self, program: &str, process: &Process) -> Result<()> {
        let mut record = self.read();
        record.push((process.id(), program.to_owned()));
        let lines: Vec<String> = record
            .iter()
            .map(|(id, name)| format!("{id} {name}\n"))
            .collect();
        fs::write(self.file(), lines.concat())?;
        Ok(())
    }

    /// Stops every recorded process that still runs, agents first, and empties the record.
    ///
    /// # Errors
    /// When one does not end.
    pub(crate) async fn stop(&self) -> Result<()> {
        let mut record = self.read();
        record.sort_by(|one, other| one.1.cmp(&other.1));
        for (id, program) in record {
            if self.is_ours(id, &program) {
                println!("stopping {program}, process {id}");
                kill_process(pid(id)?, Signal::TERM)?;
                self.wait(id, &program).await?;
            }
        }
        if self.file().exists() {
            fs::remove_file(self.file())?;
        }
        Ok(())
    }

    async fn wait(&self, id: u32, program: &str) -> Result<()> {
        let start = Instant::now();
        while self.is_ours(id, program) {
            if start.elapsed() > STOP_LIMIT {
                bail!("{program}, process {id}, is still running after {STOP_LIMIT:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    fn is_ours(&self, id: u32, program: &str) -> bool {
        let command = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).into_owned();
        let directory = self.directory.to_string_lossy().into_owned();
        command.contains(program) && command.contains(&directory)
    }

    fn read(&self) -> Vec<(u32, String)> {
        let text = fs::read_to_string(self.file()).unwrap_or_default();
        let entry = |line: &str| {
            let (id, program) = line.split_once(' ')?;
            Some((id.parse().ok()?, program.to_owned()))
        };
        text.lines().filter_map(entry).collect()
    }

    fn file(&self) -> PathBuf {
        self.directory.join("running")
    }
}

fn pid(id: u32) -> Result<Pid> {
    i32::try_from(id)
        .ok()
        .and_then(Pid::from_raw)
        .context("a process id")
}
