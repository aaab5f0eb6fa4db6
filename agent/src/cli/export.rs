//! `export`: frames in signed files for a collector that the network does not reach, and the receipts that come back.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{ArgGroup, Args};
use submeter_common::bundle::decode_bundle;
use submeter_common::signature::PublicKey;
use submeter_common::time::{Clock as _, SystemClock};

use super::client::{AgentClient, Target};
use super::say::{remark, say};
use super::source::Source;
use super::table::size;
use super::{EXIT_DATA, EXIT_FAILED, EXIT_NOT_FOUND, EXIT_OK, Failure, Outcome};
use crate::admin::{FlushReply, PublicKeyReply};
use crate::bundle::{Accepted, Export as Bundle, ExportError, ReceiptError, accept};
use crate::pipeline::Pipeline;

/// Examples of the command.
const EXAMPLES: &str = "\
A site without a network, step by step:
  submeter-agent run --collector none                         accept events, wait for nobody
  submeter-agent export --public-key                          once: give this to `submeter-collector agents trust`
  submeter-agent export --output site-7.smtb                  carry this file to the collector
  submeter-collector import site-7.smtb                       there; writes site-7.smtb.receipt
  submeter-agent export --acknowledge site-7.smtb.receipt     back here: the outbox is freed, new meters are counted

Exporting twice is safe, and so is importing twice: each frame counts once. More frames than fit into one file go on in
FILE.2, FILE.3 and so on; import them in that order. Of a stopped agent, the frames that are sealed are exported; what is
still open is sealed by its next start. Exit codes: 0 done (also when there is nothing to export), 1 failed, 64 a setting
is wrong, 65 the receipt is refused, 66 the frames asked for are not there.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group = ArgGroup::new("what").required(true).args(["output", "public_key", "acknowledge"]))]
pub(super) struct Export {
    /// Write the frames that the collector does not hold to this file
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Begin with this frame, acknowledged or not, while it is retained
    #[arg(long, value_name = "SEQ", requires = "output")]
    from: Option<u64>,
    /// Print the key that the files are signed with
    #[arg(long)]
    public_key: bool,
    /// Apply this receipt of the collector's
    #[arg(long, value_name = "RECEIPT")]
    acknowledge: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

impl Export {
    pub(super) async fn execute(self) -> Outcome {
        if let Some(receipt) = &self.acknowledge {
            return self.acknowledge(receipt).await;
        }
        let source = self.target.source()?;
        match &self.output {
            Some(output) => self.write(&source, output).await,
            None => {
                say(public_key(&source).await?)?;
                Ok(EXIT_OK)
            }
        }
    }

    async fn write(&self, source: &Source, output: &Path) -> Outcome {
        let range = Range::of(source).await?;
        let mut next = self.from.unwrap_or(range.acknowledged.saturating_add(1));
        if self.from.is_none() && next > range.sealed {
            say("nothing to export: the collector holds every sealed frame")?;
            return Ok(EXIT_OK);
        }
        for number in 1u32.. {
            let bytes = fetch(source, next).await?;
            let bundle = decode_bundle(&bytes).map_err(anyhow::Error::from)?;
            let frames = &bundle.head.frames;
            let last = frames.last().map_or(next, |frame| frame.seq);
            let path = numbered(output, number);
            write_file(&path, &bytes)?;
            say(format_args!(
                "{}: frames {next} to {last}, {}",
                path.display(),
                size(bytes.len() as u64)
            ))?;
            next = last.saturating_add(1);
            if next > range.sealed {
                break;
            }
        }
        if range.open > 0 {
            remark(format_args!(
                "{} partials are open and not exported: start the agent and export again",
                range.open
            ));
        }
        Ok(EXIT_OK)
    }

    async fn acknowledge(&self, path: &Path) -> Outcome {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let accepted = match self.target.source()? {
            Source::Running(client, _) => {
                client
                    .post_text::<Accepted>("/v1/bundle/receipt", text)
                    .await?
            }
            Source::Stopped(stopped) => {
                // It is about to be written: whoever starts meanwhile finds it locked.
                drop(stopped);
                self.accept_stopped(&text).await?
            }
        };
        say(format_args!(
            "the collector holds frames up to {}; {} are left to carry; catalog version {}",
            accepted.acknowledged.seq, accepted.outbox_frames, accepted.catalog_version
        ))?;
        Ok(EXIT_OK)
    }

    /// Opens the directory as a start would, for as long as the receipt takes.
    async fn accept_stopped(&self, text: &str) -> Result<Accepted, Failure> {
        let config = self.target.config()?.store();
        let opened =
            tokio::task::spawn_blocking(move || Pipeline::open(config, Arc::new(SystemClock)));
        let pipeline = opened
            .await
            .map_err(anyhow::Error::from)?
            .map_err(anyhow::Error::from)?;
        let accepted = accept(&pipeline, text).await;
        pipeline.stop().await.map_err(anyhow::Error::from)?;
        accepted.map_err(|error| Failure {
            code: match error {
                ReceiptError::Refused(_) => EXIT_DATA,
                ReceiptError::Pipeline(_) => EXIT_FAILED,
            },
            error: error.into(),
        })
    }
}

/// What there is to export.
struct Range {
    acknowledged: u64,
    sealed: u64,
    /// Partials that only a running agent can seal.
    open: u64,
}

impl Range {
    async fn of(source: &Source) -> Result<Self, Failure> {
        match source {
            Source::Running(..) => {
                // Seals what is open.
                let reply: FlushReply = source.post("/v1/flush", Duration::ZERO).await?;
                Ok(Self {
                    acknowledged: reply.acknowledged.seq,
                    sealed: reply.sealed.seq,
                    open: 0,
                })
            }
            Source::Stopped(stopped) => {
                let status = stopped
                    .status()?
                    .ok_or_else(|| Failure::from(ExportError::Unborn))?;
                Ok(Self {
                    acknowledged: status.acknowledged.seq,
                    sealed: status.sealed.seq,
                    open: status.open_partials,
                })
            }
        }
    }
}

async fn public_key(source: &Source) -> Result<PublicKey, Failure> {
    match source {
        Source::Running(..) => {
            let reply: PublicKeyReply = source.get("/v1/bundle/public-key").await?;
            Ok(reply.public_key)
        }
        Source::Stopped(stopped) => Ok(Bundle::public_key(stopped.store())?),
    }
}

/// One bundle, whole.
async fn fetch(source: &Source, from: u64) -> Result<Vec<u8>, Failure> {
    match source {
        Source::Running(client, _) => fetch_running(client, from).await,
        Source::Stopped(stopped) => {
            let store = stopped.store();
            let export = Bundle::prepare(store, Some(from), SystemClock.now())?;
            let mut bytes = Vec::new();
            export.write(store, |piece| {
                bytes.extend(piece);
                ControlFlow::Continue(())
            })?;
            Ok(bytes)
        }
    }
}

async fn fetch_running(client: &AgentClient, from: u64) -> Result<Vec<u8>, Failure> {
    let mut stream = client.stream(&format!("/v1/bundle?from={from}")).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = client.piece(&mut stream).await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// The first file has the name that was asked for, the next ones a number behind it.
fn numbered(output: &Path, number: u32) -> PathBuf {
    if number == 1 {
        return output.to_owned();
    }
    let mut name = output.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// Writes a file that is not there yet, whole or not at all.
fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let write = || {
        let mut file: File = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| {
        if error.kind() != ErrorKind::AlreadyExists {
            // What is there of it is of no use, and in the way of the next try.
            let _ = std::fs::remove_file(path);
        }
        anyhow::Error::from(error)
            .context(format!("write {}", path.display()))
            .into()
    })
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        let code = match error {
            ExportError::Nothing | ExportError::NotRetained(_) | ExportError::Unborn => {
                EXIT_NOT_FOUND
            }
            ExportError::Store(_) | ExportError::Bundle(_) => EXIT_FAILED,
        };
        Self {
            code,
            error: error.into(),
        }
    }
}
