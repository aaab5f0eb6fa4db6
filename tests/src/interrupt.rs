//! A long run that a signal may end, and that leaves nothing behind then.

use std::future::Future;

use anyhow::{Result, bail};
use tokio::signal::unix::{SignalKind, signal};

/// Runs `work` until it is done, or until SIGTERM or Ctrl-C: then it is dropped, which ends the processes it has started
/// and takes its temporary directories away.
///
/// # Errors
/// Those of `work`; or when it was stopped.
pub async fn unless_stopped(work: impl Future<Output = Result<()>>) -> Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    tokio::select! {
        done = work => done,
        _ = terminated.recv() => bail!("stopped by SIGTERM; what it had started is gone"),
        _ = interrupted.recv() => bail!("stopped by Ctrl-C; what it had started is gone"),
    }
}
