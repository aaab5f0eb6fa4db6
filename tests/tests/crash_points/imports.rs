//! Imports as the command line and as a program of one's own would do them.

use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use submeter_tests::system::{Agent, PATIENCE};

/// Runs the import command, again and again, until it succeeds.
pub(crate) fn import_until_done(
    agent: &Agent,
    file: &Path,
) -> Result<impl Future<Output = Result<()>> + use<>> {
    let path = file.to_str().context("a path in UTF-8")?;
    let mut command = agent.command_line(&["import", path])?;
    let running = tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        loop {
            let output = command.output()?;
            if output.status.success() {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                bail!("{}", String::from_utf8_lossy(&output.stderr));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    Ok(async { running.await? })
}

/// Begins an import or takes it up again; its state.
pub(crate) async fn begin(agent: &Agent, id: &str) -> Result<Value> {
    let body = json!({"id": id, "name": id, "max_age_seconds": 86_400});
    agent.api().create("/v1/imports", &body).await
}

/// Sends lines, the first of which has the number `first_line`.
pub(crate) async fn send_lines(
    agent: &Agent,
    id: &str,
    first_line: u64,
    lines: &str,
) -> Result<()> {
    let path = format!("/v1/imports/{id}/events?first_line={first_line}");
    let media_type = Some("application/x-ndjson");
    let reply = agent
        .api()
        .send(Method::POST, &path, media_type, lines.to_owned())
        .await?
        .document()?;
    ensure!(reply["rejected_count"] == 0, "{reply}");
    Ok(())
}

/// Gives an import up.
pub(crate) async fn abandon(agent: &Agent, id: &str) -> Result<()> {
    let path = format!("/v1/imports/{id}");
    agent
        .api()
        .send(Method::DELETE, &path, None, "")
        .await?
        .success()
}

/// Marks an import complete.
pub(crate) async fn complete(agent: &Agent, id: &str) -> Result<()> {
    let path = format!("/v1/imports/{id}/complete");
    agent.api().create(&path, &json!({})).await?;
    Ok(())
}
