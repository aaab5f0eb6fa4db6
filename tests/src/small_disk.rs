//! A small real file system for one test, in a mount namespace of its own.
//!
//! Mounting takes privileges a test should not have. So the test's program starts itself again under `unshare`: as root
//! in a new mount namespace, else in a new user namespace, where everybody is root. What is mounted there nobody else
//! sees, and it is gone when the last process in it has ended. Where neither is allowed the test fails and says so.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Set for the program that runs inside.
const INSIDE: &str = "SMALL_DISK_INSIDE";

/// Runs the body of the test called `name` where it may mount.
///
/// # Errors
/// What the body fails with, or why there is no such place.
pub fn run<F: Future<Output = Result<()>>>(name: &str, body: impl FnOnce() -> F) -> Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        return tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?
            .block_on(body());
    }
    let privileges = privileges()?;
    let status = Command::new("unshare")
        .args(privileges)
        .arg(std::env::current_exe()?)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .status()?;
    ensure!(status.success(), "{name} failed on its small disk");
    Ok(())
}

/// How `unshare` gets a place to mount in on this machine.
fn privileges() -> Result<&'static [&'static str]> {
    let ways: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
    let mut refusals = Vec::new();
    for way in ways {
        let tried = Command::new("unshare")
            .args(way)
            .args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"])
            .output()
            .context("run unshare (package util-linux)")?;
        if tried.status.success() {
            return Ok(way);
        }
        let reason = String::from_utf8_lossy(&tried.stderr).trim().to_owned();
        refusals.push(format!("unshare {}: {reason}", way.join(" ")));
    }
    bail!(
        "this machine lets nobody mount a small disk; allow user namespaces or run as root: {}",
        refusals.join("; ")
    );
}

/// A file system in memory, of a fixed size.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one of `mebibytes` at `path`, which is made.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn mount(path: &Path, mebibytes: u64) -> Result<Self> {
        fs::create_dir_all(path)?;
        let size = format!("size={mebibytes}m,mode=700");
        let arguments: [&OsStr; 6] = [
            "-t".as_ref(),
            "tmpfs".as_ref(),
            "-o".as_ref(),
            size.as_ref(),
            "tmpfs".as_ref(),
            path.as_ref(),
        ];
        mount(&arguments)?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Free bytes.
    ///
    /// # Errors
    /// When the file system does not say.
    pub fn free(&self) -> Result<u64> {
        let disk = rustix::fs::statvfs(&self.path)?;
        Ok(disk.f_bavail * disk.f_frsize)
    }

    /// Lets somebody else fill it until no more than `left` bytes are free, whoever else writes meanwhile.
    ///
    /// # Errors
    /// When that somebody cannot write.
    pub fn fill(&self, left: u64) -> Result<()> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(self.foreign())?;
        let nothing = rustix::fs::FallocateFlags::empty();
        loop {
            let more = self.free()?.saturating_sub(left);
            if more == 0 {
                return Ok(());
            }
            let there = file.metadata()?.blocks() * 512;
            match rustix::fs::fallocate(&file, nothing, there, more) {
                // Somebody else was faster.
                Ok(()) | Err(rustix::io::Errno::NOSPC) => {}
                Err(error) => return Err(error).context("fill the disk"),
            }
        }
    }

    /// Takes away again what somebody else filled it with.
    ///
    /// # Errors
    /// When there is nothing.
    pub fn clear(&self) -> Result<()> {
        Ok(fs::remove_file(self.foreign())?)
    }

    /// Makes it read-only, or writable again. Nobody may have a file open for writing.
    ///
    /// # Errors
    /// When somebody has.
    pub fn set_read_only(&self, read_only: bool) -> Result<()> {
        let mode = if read_only {
            "remount,ro"
        } else {
            "remount,rw"
        };
        let arguments: [&OsStr; 3] = ["-o".as_ref(), mode.as_ref(), self.path.as_ref()];
        mount(&arguments)
    }

    fn foreign(&self) -> PathBuf {
        self.path.join("foreign")
    }
}

fn mount(arguments: &[&OsStr]) -> Result<()> {
    let output = Command::new("mount").args(arguments).output()?;
    ensure!(
        output.status.success(),
        "mount: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
