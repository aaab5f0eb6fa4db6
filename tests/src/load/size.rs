//! How small the agent is: its binary, its memory at rest, and what it sends to the collector.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::agent::{self, Sender};
use super::drive::Client as _;
use super::table::{Sheet, mebibytes, ratio};
use crate::system::{System, program};

/// An agent gives back what only starting needed within this time.
const SETTLING: Duration = Duration::from_secs(4);
/// Customers whose events each come a thousand times within one window and one frame.
const CUSTOMERS: u64 = 100;
const REQUESTS: u64 = 100;
const BATCH: usize = 1_000;

/// Measures and prints each.
pub(super) async fn run() -> Result<()> {
    println!("» size: binary, memory at rest, bytes to the collector");
    let mut sheet = Sheet::new(&["what", "size"]);
    let stripped = stripped_bytes()?;
    sheet.row(vec!["binary, stripped".to_owned(), mebibytes(stripped)]);

    let system = System::start("").await?;
    agent::create_meters(system.collector.api(), 0).await?;
    // Nothing is sent before everything is there.
    let mut agent = system.agent("agent", "flush_interval = \"1h\"").await?;
    tokio::time::sleep(SETTLING).await;
    let idle = agent.process().resident_bytes()?;
    sheet.row(vec!["resident, idle".to_owned(), mebibytes(idle)]);

    let before = agent::frame_bytes(&agent).await?;
    let mut sender = Sender::open(&agent, 0, BATCH, CUSTOMERS)?;
    for _ in 0..REQUESTS {
        sender.send()?;
    }
    agent.flush().await?;
    let sent = agent::frame_bytes(&agent).await? - before;
    let accepted = agent::accepted(&agent).await?;
    sheet.row(vec![
        format!("bytes/event, {} events a key", accepted / CUSTOMERS),
        ratio(sent, accepted),
    ]);
    println!("{sheet}");
    Ok(())
}

/// Bytes of the agent's binary without symbols and debug information.
fn stripped_bytes() -> Result<u64> {
    let directory = tempfile::tempdir()?;
    let stripped = directory.path().join("submeter-agent");
    let status = Command::new("strip")
        .arg("-o")
        .arg(&stripped)
        .arg(program("submeter-agent")?)
        .status()?;
    ensure!(status.success(), "strip ended with {status}");
    Ok(stripped.metadata()?.len())
}
