//! `flush`: seals what is open and, with `--wait`, stays until the collector holds it.

use std::time::{Duration, Instant};

use clap::Args;

use super::client::Target;
use super::say::{remark, say};
use super::{EXIT_FRAMES_LEFT, EXIT_OK, Outcome};
use crate::admin::FlushReply;
use crate::config::Span;
use crate::flush::FlushState;

/// One call waits this long; longer waits are several calls.
const CALL_WAIT_SECONDS_MAX: u64 = 30;

/// Examples of the command.
const EXAMPLES: &str = "\
Examples:
  submeter-agent flush
  submeter-agent flush --wait --timeout 1m

Exit codes: 0 sealed, or with --wait held by the collector; 1 nobody answers; 3 gave up waiting, or there is no collector
to wait for; 64 a setting is wrong.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Flush {
    /// Wait until the collector holds everything
    #[arg(long)]
    wait: bool,
    /// Give up waiting after this time (exit code 3) [default: never]
    #[arg(long, value_name = "DURATION", requires = "wait")]
    timeout: Option<Span>,
    #[command(flatten)]
    target: Target,
}

impl Flush {
    pub(super) async fn execute(self) -> Outcome {
        let started = Instant::now();
        let client = self.target.client()?;
        loop {
            let left = self
                .timeout
                .map(|timeout| timeout.0.saturating_sub(started.elapsed()));
            let seconds = left.map_or(CALL_WAIT_SECONDS_MAX, |left| {
                left.as_secs().min(CALL_WAIT_SECONDS_MAX)
            });
            let path = if self.wait {
                format!("/v1/flush?wait=true&timeout_seconds={seconds}")
            } else {
                "/v1/flush".to_owned()
            };
            let reply: FlushReply = client.post(&path, Duration::from_secs(seconds)).await?;
            if reply.complete {
                say(format_args!(
                    "flushed: the collector holds everything up to frame {}",
                    reply.sealed.seq
                ))?;
                return Ok(EXIT_OK);
            }
            if !self.wait {
                say(format_args!(
                    "sealed up to frame {}, the collector holds up to {}; the rest is on its way",
                    reply.sealed.seq, reply.acknowledged.seq
                ))?;
                return Ok(EXIT_OK);
            }
            if reply.flush.state == FlushState::NoCollector {
                remark(
                    "there is no collector to wait for: carry the frames with `submeter-agent export`",
                );
                return Ok(EXIT_FRAMES_LEFT);
            }
            let why = reply
                .flush
                .message
                .unwrap_or_else(|| "frames are on their way".to_owned());
            remark(format_args!(
                "waiting: the collector holds frame {} of {}: {why}",
                reply.acknowledged.seq, reply.sealed.seq
            ));
            if left.is_some_and(|left| left < Duration::from_secs(1)) {
                return Ok(EXIT_FRAMES_LEFT);
            }
        }
    }
}
