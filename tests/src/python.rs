//! A Python with pinned packages, for tests that send with the clients people use.
//!
//! It is made once, in a cache outside the checkout, and made again when what is pinned changes. A machine on which that
//! is impossible fails the test and says why: a client that was not tried is not known to work.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

use crate::system::FOREIGN_VARIABLES;

/// A virtual environment.
#[derive(Debug)]
pub struct Python {
    program: PathBuf,
    scripts: PathBuf,
}

impl Python {
    /// The environment of `tests/sdk/python/NAME.txt`, made if it is not there.
    ///
    /// # Errors
    /// When there is no Python 3 with `venv`, or the packages cannot be installed.
    pub fn with(name: &str) -> Result<Self> {
        let scripts = scripts()?;
        let requirements = scripts.join(name).with_extension("txt");
        let directory = cache()?.join(format!("{name}-{:016x}", key(&requirements)?));
        let program = directory.join("bin/python");
        fs::create_dir_all(directory.parent().context("a cache")?)?;
        // Tests run side by side: the first one makes it, the others wait.
        let lock = File::create(directory.with_extension("lock"))?;
        lock.lock()?;
        let finished = directory.join("finished");
        if !finished.exists() {
            make(&directory, &program, &requirements)?;
            fs::write(finished, "")?;
        }
        Ok(Self { program, scripts })
    }

    /// Runs a script of `tests/sdk/python`.
    ///
    /// # Errors
    /// When it fails; with all it printed.
    pub fn run(&self, script: &str, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.arg(self.scripts.join(script)).args(arguments);
        for name in FOREIGN_VARIABLES
            .iter()
            .chain(&["PYTHONPATH", "PYTHONHOME"])
        {
            command.env_remove(name);
        }
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        succeeded(&mut command)
    }
}

fn make(directory: &Path, program: &Path, requirements: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    succeeded(Command::new("python3").args(["-m", "venv"]).arg(directory))
        .context("make a virtual environment; on Debian, `make setup` installs what it needs")?;
    let options = "-m pip install --quiet --disable-pip-version-check --no-input --no-deps --only-binary :all:";
    succeeded(
        Command::new(program)
            .args(options.split(' '))
            .arg("--requirement")
            .arg(requirements),
    )
    .with_context(|| format!("install {} from PyPI", requirements.display()))
}

fn succeeded(command: &mut Command) -> Result<()> {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .with_context(|| format!("start {command:?}"))?;
    ensure!(
        status.success(),
        "{command:?} ended with {status}:\n{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    Ok(())
}

/// Another list of packages, or another Python, is another environment.
fn key(requirements: &Path) -> Result<u64> {
    let version = Command::new("python3")
        .arg("--version")
        .output()
        .context("start python3; on Debian, `make setup` installs it")?;
    let mut hasher = DefaultHasher::new();
    version.stdout.hash(&mut hasher);
    fs::read(requirements)
        .with_context(|| requirements.display().to_string())?
        .hash(&mut hasher);
    Ok(hasher.finish())
}

fn cache() -> Result<PathBuf> {
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    Ok(Path::new(&home).join(".cache/submeter/python"))
}

/// The scripts of the checkout whose test this is, which is known at run time only.
fn scripts() -> Result<PathBuf> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").context("cargo names the package")?;
    Ok(Path::new(&package).join("sdk/python"))
}
