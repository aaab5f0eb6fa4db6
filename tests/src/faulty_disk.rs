//! A disk that can be watched and made to fail under one process, without privileges.
//!
//! `tests/shim/disk.c` is compiled with the system's C compiler and put between a program and libc (`LD_PRELOAD`). It
//! notes what the program does to the files of one directory and on the connections it accepts, and lets calls fail as
//! told. Both sides share one file: its first page holds the rules and counters, the rest the notes. [`Note`] is what it
//! tells, [`proof`] what follows from that.

mod log;
mod note;
pub mod proof;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

pub use note::{Note, NoteKind};

/// The shared file, as `struct control` of the shim has it.
const MAGIC: u64 = 0x6b73_6964_746d_6273;
const HEAD: u64 = 16;
const RECORDING: u64 = 24;
const CALLS: u64 = 32;
const RULES: u64 = 96;
const RULE_BYTES: u64 = 48;
const RULES_MAX: u64 = 8;
const NOTES: u64 = 4096;
/// Room for notes; the file is sparse.
const CONTROL_BYTES: u64 = 256 * 1024 * 1024;

/// `errno` of an fsync or write whose medium failed.
pub const EIO: i32 = 5;
/// `errno` of a full disk.
pub const ENOSPC: i32 = 28;
/// `errno` of a user whose share of the disk is full.
pub const EDQUOT: i32 = 122;
/// `errno` of a read-only file system.
pub const EROFS: i32 = 30;

/// What a program asks of the disk.
#[derive(Clone, Copy, Debug)]
pub enum Call {
    /// `write`, `pwrite`.
    Write = 1,
    /// `fsync`, `fdatasync`.
    Sync = 2,
    /// Opening for writing.
    Open = 4,
}

/// Which files a fault concerns.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// The write-ahead log: `*.log`.
    Log = 1,
    /// Every file and directory.
    All = 7,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// It fails with this `errno`; nothing was done.
    Fail(i32),
    /// Half of the bytes are written, and the program is told so.
    Short,
    /// Half of the bytes are written, then it fails with this `errno`.
    Torn(i32),
    /// An fsync of the log fails with this `errno`, and what it should have kept is gone.
    Lose(i32),
    /// It takes this much longer.
    Delay(Duration),
    /// An fsync says it did its work, and did nothing.
    Swallow,
}

/// One way in which the disk fails.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Which call.
    pub call: Call,
    /// On what.
    pub target: Target,
    /// How it fails.
    pub fault: Fault,
    /// Calls that go well before; counted from when the rule is set.
    pub after: u64,
    /// Calls that fail then; none means all.
    pub times: Option<u64>,
}

/// A watched disk, for one process at a time.
#[derive(Debug)]
pub struct FaultyDisk {
    control: File,
    environment: Vec<(String, String)>,
    _place: tempfile::TempDir,
}

impl FaultyDisk {
    /// A disk around `directory`; a program sees it when started with [`Self::environment`].
    ///
    /// # Errors
    /// When the shim cannot be compiled or the shared file cannot be made.
    pub fn around(directory: &Path) -> Result<Self> {
        let library = library()?;
        let place = tempfile::Builder::new()
            .prefix("submeter-disk-")
            .tempdir()?;
        let path = place.path().join("control");
        let control = OpenOptions::new()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&path)?;
        control.set_len(CONTROL_BYTES)?;
        control.write_all_at(&MAGIC.to_ne_bytes(), 0)?;
        control.write_all_at(&CONTROL_BYTES.to_ne_bytes(), 8)?;
        control.write_all_at(&NOTES.to_ne_bytes(), HEAD)?;
        let text = |path: &Path| path.to_str().map(str::to_owned).context("a path in UTF-8");
        let environment = vec![
            ("LD_PRELOAD".to_owned(), text(library)?),
            ("FAULTY_DISK_CONTROL".to_owned(), text(&path)?),
            ("FAULTY_DISK_DIRECTORY".to_owned(), text(directory)?),
        ];
        Ok(Self {
            control,
            environment,
            _place: place,
        })
    }

    /// The variables that put the disk under a program.
    #[must_use]
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// Begins or ends the taking of notes.
    ///
    /// # Errors
    /// When the shared file cannot be written.
    pub fn record(&self, recording: bool) -> Result<()> {
        let recording = u32::from(recording);
        Ok(self
            .control
            .write_all_at(&recording.to_ne_bytes(), RECORDING)?)
    }

    /// Sets rules in place of all earlier ones. Of two that concern the same call, the first decides.
    ///
    /// # Errors
    /// When there are too many, or the shared file cannot be written.
    pub fn set(&self, rules: &[Rule]) -> Result<()> {
        ensure!(
            rules.len() as u64 <= RULES_MAX,
            "at most {RULES_MAX} rules fit"
        );
        for slot in 0..RULES_MAX {
            self.control
                .write_all_at(&0u32.to_ne_bytes(), RULES + slot * RULE_BYTES)?;
        }
        for (slot, rule) in (0..).zip(rules) {
            let at = RULES + slot * RULE_BYTES;
            // All but `active`, and only then that: the program may be running.
            self.control.write_all_at(&rule.encode()?, at + 4)?;
            self.control.write_all_at(&1u32.to_ne_bytes(), at)?;
        }
        Ok(())
    }

    /// How often the rules set last have struck.
    ///
    /// # Errors
    /// When the shared file cannot be read.
    pub fn struck(&self) -> Result<u64> {
        let mut struck = 0;
        for slot in 0..RULES_MAX {
            let at = RULES + slot * RULE_BYTES;
            if self.word(at)? & u64::from(u32::MAX) == 1 {
                struck += self.word(at + 40)?;
            }
        }
        Ok(struck)
    }

    /// How often the program has made a call on the directory's files since the disk was made.
    ///
    /// # Errors
    /// When the shared file cannot be read.
    pub fn calls(&self, call: Call) -> Result<u64> {
        self.word(CALLS + 8 * call as u64)
    }

    /// Everything noted so far, in order.
    ///
    /// # Errors
    /// When notes did not fit, or the program ended in the middle of one.
    pub fn notes(&self) -> Result<Vec<Note>> {
        let head = self.word(HEAD)?;
        ensure!(
            head <= CONTROL_BYTES,
            "the notes need {head} bytes, there is room for {CONTROL_BYTES}"
        );
        let length = usize::try_from(head - NOTES)?;
        let mut bytes = vec![0; length];
        self.control.read_exact_at(&mut bytes, NOTES)?;
        note::decode_all(&bytes)
    }

    fn word(&self, at: u64) -> Result<u64> {
        let mut word = [0; 8];
        self.control.read_exact_at(&mut word, at)?;
        Ok(u64::from_ne_bytes(word))
    }
}

impl Rule {
    /// One call of this kind fails, after `after` that go well.
    #[must_use]
    pub fn once(call: Call, target: Target, fault: Fault, after: u64) -> Self {
        Self {
            call,
            target,
            fault,
            after,
            times: Some(1),
        }
    }

    /// Every call of this kind fails.
    #[must_use]
    pub fn always(call: Call, target: Target, fault: Fault) -> Self {
        Self {
            call,
            target,
            fault,
            after: 0,
            times: None,
        }
    }

    /// `struct rule` of the shim without its first field.
    fn encode(&self) -> Result<[u8; 44]> {
        let (action, error, delay) = match self.fault {
            Fault::Fail(error) => (1, error, 0),
            Fault::Short => (2, 0, 0),
            Fault::Torn(error) => (3, error, 0),
            Fault::Lose(error) => (4, error, 0),
            Fault::Delay(delay) => (5, 0, u32::try_from(delay.as_micros())?),
            Fault::Swallow => (6, 0, 0),
        };
        let times = self.times.map_or(Ok(-1), i64::try_from)?;
        let mut bytes = [0; 44];
        bytes[0..4].copy_from_slice(&(self.call as u32).to_ne_bytes());
        bytes[4..8].copy_from_slice(&(self.target as u32).to_ne_bytes());
        bytes[8..12].copy_from_slice(&u32::to_ne_bytes(action));
        bytes[12..16].copy_from_slice(&i32::to_ne_bytes(error));
        bytes[16..20].copy_from_slice(&delay.to_ne_bytes());
        bytes[20..28].copy_from_slice(&i64::try_from(self.after)?.to_ne_bytes());
        bytes[28..36].copy_from_slice(&times.to_ne_bytes());
        Ok(bytes)
    }
}

/// The compiled shim; compiled once per test program.
fn library() -> Result<&'static Path> {
    static LIBRARY: OnceLock<Result<(tempfile::TempDir, PathBuf), String>> = OnceLock::new();
    match LIBRARY.get_or_init(|| compile().map_err(|error| format!("{error:#}"))) {
        Ok((_, path)) => Ok(path),
        Err(reason) => bail!("the faulty disk cannot be built: {reason}"),
    }
}

/// Part of the program, which may be run from elsewhere than where it was built.
const SHIM: &str = include_str!("../shim/disk.c");

fn compile() -> Result<(tempfile::TempDir, PathBuf)> {
    let place = tempfile::Builder::new()
        .prefix("submeter-shim-")
        .tempdir()?;
    let source = place.path().join("disk.c");
    std::fs::write(&source, SHIM)?;
    let library = place.path().join("faulty_disk.so");
    let output = Command::new("cc")
        .args(["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared"])
        .args(["-fPIC", "-o"])
        .arg(&library)
        .arg(source)
        .arg("-ldl")
        .output()
        .context("run cc (`make setup` installs it)")?;
    ensure!(
        output.status.success(),
        "cc: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok((place, library))
}
