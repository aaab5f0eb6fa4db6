//! `import`: past events from a file into the running agent, block by block.
//!
//! The import is named by the file's digest, and the agent remembers the line it came to: the same command goes on where it
//! stopped, whatever stopped it. While the import is open, the agent's watermark stays before its events.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;

use super::client::{AgentClient, ClientError, Target};
use super::say::{remark, say};
use super::{EXIT_DATA, EXIT_OK, Failure, Outcome};
use crate::config::Span;
use crate::ingest::imports::BeginImport;
use crate::ingest::lines::Lines;
use crate::pipeline::{ImportState, ImportStatus};

/// Lines of one request.
const BLOCK_LINES_MAX: usize = 1000;

/// Bytes of one request, well below the agent's limit.
const BLOCK_BYTES_MAX: usize = 1 << 20;

/// How long a restarting agent is waited for.
const AWAY_MAX: Duration = Duration::from_secs(60);

/// Refused lines that are printed.
const REFUSED_PRINTED_MAX: usize = 20;

/// Examples of the command.
const EXAMPLES: &str = "\
Examples:
  submeter-agent import past.ndjson
  submeter-agent import past.ndjson --max-age 90d

The same command goes on where it stopped. Exit codes: 0 imported (or was before), 1 failed, 64 a setting is wrong, 65
some lines were refused.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Import {
    /// File with one JSON event per line
    file: PathBuf,
    /// How old events may be
    #[arg(long, value_name = "DURATION", default_value = "400d")]
    max_age: Span,
    #[command(flatten)]
    target: Target,
}

/// The agent's answer to one block.
#[derive(Debug, Deserialize)]
struct BlockReply {
    lines_done: u64,
    accepted: u64,
    duplicates: u64,
    conflicts: u64,
    rejected_count: u64,
    rejected: Vec<Refused>,
}

#[derive(Debug, Deserialize)]
struct Refused {
    index: u64,
    code: String,
    message: String,
}

#[derive(Debug, Default)]
struct Totals {
    lines: u64,
    accepted: u64,
    duplicates: u64,
    conflicts: u64,
    rejected: u64,
    refused: Vec<Refused>,
}

impl Import {
    pub(super) async fn execute(self) -> Outcome {
        let client = self.target.client()?;
        let (id, bytes) = self.digest()?;
        let name = self.file.file_name().map_or_else(
            || "import".to_owned(),
            |name| name.to_string_lossy().chars().take(60).collect(),
        );
        let begin = BeginImport {
            id,
            name,
            max_age_seconds: self.max_age.0.as_secs(),
        };
        let state: ImportState = client.post_json("/v1/imports", &begin).await?;
        if state.status == ImportStatus::Complete {
            say(format_args!(
                "{} was imported before: {} lines",
                self.file.display(),
                state.lines_done
            ))?;
            return Ok(EXIT_OK);
        }
        if state.lines_done > 0 {
            say(format_args!("going on after line {}", state.lines_done))?;
        }
        let progress = progress_bar(bytes);
        let totals = self.send_all(client, &state, &progress).await?;
        progress.finish_and_clear();
        say(totals.table())?;
        totals.print_refused();
        say("next: submeter-agent flush --wait")?;
        Ok(if totals.rejected == 0 {
            EXIT_OK
        } else {
            EXIT_DATA
        })
    }

    fn open(&self) -> anyhow::Result<File> {
        File::open(&self.file).with_context(|| format!("open {}", self.file.display()))
    }

    fn digest(&self) -> anyhow::Result<(String, u64)> {
        let mut hasher = blake3::Hasher::new();
        let mut file = self.open()?;
        hasher
            .update_reader(&mut file)
            .with_context(|| format!("read {}", self.file.display()))?;
        Ok((hasher.finalize().to_hex().to_string(), hasher.count()))
    }

    async fn send_all(
        &self,
        mut client: AgentClient,
        state: &ImportState,
        progress: &ProgressBar,
    ) -> Result<Totals, Failure> {
        let mut file = self.open()?;
        let mut buffer = vec![0; 256 * 1024];
        let mut lines = Lines::default();
        let mut totals = Totals::default();
        loop {
            let count = file.read(&mut buffer).context("read the file")?;
            if count == 0 {
                lines.finish();
                self.send_block(&mut client, state, &mut lines, &mut totals)
                    .await?;
                break;
            }
            let mut rest = &buffer[..count];
            while !rest.is_empty() {
                let taken = lines.push(rest, BLOCK_LINES_MAX);
                rest = &rest[taken..];
                if lines.count() >= BLOCK_LINES_MAX || lines.bytes() >= BLOCK_BYTES_MAX {
                    self.send_block(&mut client, state, &mut lines, &mut totals)
                        .await?;
                }
            }
            progress.inc(count as u64);
            progress.set_message(format!("{} lines", totals.lines));
        }
        let _: ImportState = client
            .post(
                &format!("/v1/imports/{}/complete", state.id),
                Duration::ZERO,
            )
            .await?;
        Ok(totals)
    }

    /// Sends the whole lines held, unless they are done from an earlier run.
    async fn send_block(
        &self,
        client: &mut AgentClient,
        state: &ImportState,
        lines: &mut Lines,
        totals: &mut Totals,
    ) -> Result<(), Failure> {
        let block = lines.take();
        let first_line = totals.lines;
        totals.lines += block.count() as u64;
        if block.count() == 0 || totals.lines <= state.lines_done {
            return Ok(());
        }
        let path = format!("/v1/imports/{}/events?first_line={first_line}", state.id);
        let bytes = block.into_bytes();
        let mut away_since: Option<Instant> = None;
        loop {
            match client.post_lines::<BlockReply>(&path, bytes.clone()).await {
                Ok(reply) => {
                    totals.add(reply);
                    return Ok(());
                }
                // Full queues and disks, and an agent that stops: all pass.
                Err(ClientError::Refused {
                    status: 503 | 429,
                    retry_after,
                    ..
                }) => {
                    tokio::time::sleep(retry_after.unwrap_or(Duration::from_secs(1))).await;
                }
                Err(error @ ClientError::Unreachable { .. }) => {
                    if away_since.get_or_insert_with(Instant::now).elapsed() > AWAY_MAX {
                        let error = anyhow::Error::from(error).context(
                            "the import is not finished; the same command goes on where it stopped",
                        );
                        return Err(error.into());
                    }
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    // It may come back on another port.
                    self.target.find_again(client)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn progress_bar(bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{bar:40} {percent:>3}%  {bytes}/{total_bytes}  {msg}  {eta} left",
    );
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

impl Totals {
    fn add(&mut self, reply: BlockReply) {
        debug_assert!(reply.lines_done >= self.lines || reply.accepted == 0);
        self.accepted += reply.accepted;
        self.duplicates += reply.duplicates;
        self.conflicts += reply.conflicts;
        self.rejected += reply.rejected_count;
        let room = REFUSED_PRINTED_MAX.saturating_sub(self.refused.len());
        self.refused.extend(reply.rejected.into_iter().take(room));
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED).set_header([
            "lines",
            "accepted",
            "duplicates",
            "conflicts",
            "rejected",
        ]);
        table.add_row(
            [
                self.lines,
                self.accepted,
                self.duplicates,
                self.conflicts,
                self.rejected,
            ]
            .map(|count| count.to_string()),
        );
        table
    }

    fn print_refused(&self) {
        for refused in &self.refused {
            // Files are counted from 1 by people and their editors.
            remark(format_args!(
                "line {}: {}: {}",
                refused.index + 1,
                refused.code,
                refused.message
            ));
        }
        let more = self.rejected.saturating_sub(self.refused.len() as u64);
        if more > 0 {
            remark(format_args!("… and {more} more refused lines"));
        }
    }
}
