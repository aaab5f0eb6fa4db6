//! Children go when whoever started them goes, even by `kill -9`.

use std::io::{BufRead as _, BufReader};

use super::*;
use crate::system::PATIENCE;

/// Set for the program that is killed: where its child logs.
const LOG: &str = "ORPHAN_LOG";

#[test]
fn a_child_does_not_outlive_who_started_it() -> Result<()> {
    if let Some(log) = std::env::var_os(LOG) {
        let child = Process::spawn(Path::new("/bin/sleep"), &["600"], Path::new(&log))?;
        println!("\nchild {}", child.id());
        loop {
            thread::park();
        }
    }
    let name = "system::process::tests::a_child_does_not_outlive_who_started_it";
    let place = tempfile::tempdir()?;
    let mut parent = Command::new(std::env::current_exe()?)
        .args(["--exact", name, "--nocapture"])
        .env(LOG, place.path().join("log"))
        .stdout(Stdio::piped())
        .spawn()?;
    let told = BufReader::new(parent.stdout.take().context("its output")?);
    let child = told
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("child ").map(str::to_owned));
    let child = child.context("it started no child")?;
    // It is bound from when it is the program that was asked for.
    becomes(&child, sleeps);
    parent.kill()?;
    parent.wait()?;
    becomes(&child, |stat| !sleeps(stat));
    Ok(())
}

/// Waits until what `/proc` says of a process is so.
fn becomes(process: &str, so: impl Fn(&str) -> bool) {
    let start = Instant::now();
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        if so(&stat) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "process {process}: {stat}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Whether it runs; a process that nobody has waited for yet does not.
fn sleeps(stat: &str) -> bool {
    stat.contains("(sleep) ") && !stat.contains(") Z")
}
