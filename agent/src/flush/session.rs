//! One conversation with the collector: register, then frames in order, until one of the two says otherwise.
//!
//! The collector's position decides what is sent next, and digests decide whether it is the same history. What each reply
//! means for the outbox is written here and nowhere else:
//!
//! | the collector says | the agent does |
//! |---|---|
//! | applied, duplicate | drops the frame from the outbox |
//! | gap | sends again from the frame it asks for, if still retained |
//! | fenced, unknown agent | registers again |
//! | rollback | goes on behind the collector's position |
//! | lost state | takes a new identity |
//! | fork | stops flushing until a person has looked; goes on accepting |

use std::sync::Arc;
use std::time::Instant;

use submeter_common::protocol::{
    FrameReply, FrameResult, Position, RegisterReply, RegisterRequest, RegisterStatus,
};
use submeter_common::time::{Clock, Timestamp};
use thiserror::Error;
use uuid::Uuid;

use super::client::{CallError, CollectorClient};
use crate::catalog::{self, FollowError};
use crate::fail_point::fail_point;
use crate::pipeline::{Outbox, Pipeline, PipelineError, StoredFrame};
use crate::telemetry::names;

/// Registers in a row without a frame getting through. More means that two processes fence each other, or that the
/// collector cannot make up its mind.
const REGISTERS_MAX: u32 = 3;

/// Clocks further apart than this are worth a warning: event times and watermarks come from them.
const CLOCK_SKEW_WARN_MICROS: i64 = 60_000_000;

/// Why frames do not flow, by what the flusher does next.
#[derive(Debug, Error)]
pub(super) enum Trouble {
    /// A call failed; try again.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Only a person can mend it, but trying again does no harm.
    #[error("{0}")]
    Stuck(String),
    /// Two histories under one name. Nothing is sent any more in this process.
    #[error("{0}")]
    Fork(String),
    /// The store failed or is stopping; there is nothing left to flush from.
    #[error(transparent)]
    Store(#[from] PipelineError),
}

/// A conversation with the collector, open or not.
pub(super) struct Session {
    pipeline: Pipeline,
    outbox: Outbox,
    client: CollectorClient,
    clock: Arc<dyn Clock>,
    boot_id: Uuid,
    epoch: Option<u64>,
    fork: Option<String>,
    skew_warned: bool,
    catalog_is_new: bool,
}

impl Session {
    /// A session that has yet to register.
    pub(super) fn new(pipeline: Pipeline, client: CollectorClient, clock: Arc<dyn Clock>) -> Self {
        let outbox = pipeline.outbox();
        Self {
            pipeline,
            outbox,
            client,
            clock,
            boot_id: Uuid::new_v4(),
            epoch: None,
            fork: None,
            skew_warned: false,
            catalog_is_new: false,
        }
    }

    /// Registers, unless that is done.
    pub(super) async fn open(&mut self) -> Result<(), Trouble> {
        if let Some(fork) = &self.fork {
            return Err(Trouble::Fork(fork.clone()));
        }
        for _ in 0..REGISTERS_MAX {
            if self.epoch.is_some() {
                return Ok(());
            }
            self.register().await?;
        }
        if self.epoch.is_some() {
            Ok(())
        } else {
            Err(Trouble::Stuck(
                "the collector takes none of this agent's identities".to_owned(),
            ))
        }
    }

    /// Whether everything sealed is acknowledged.
    pub(super) fn is_flushed(&self) -> bool {
        self.outbox.sealed().seq == self.outbox.acknowledged().seq
    }

    /// Sends everything sealed, oldest first, one frame at a time.
    pub(super) async fn send_all(&mut self) -> Result<(), Trouble> {
        let mut registers = 0;
        loop {
            if self.epoch.is_none() {
                registers += 1;
                if registers > REGISTERS_MAX {
                    return Err(Trouble::Stuck(
                        "the collector fenced this agent again and again: is a second process running with a copy of its data directory?".to_owned(),
                    ));
                }
            }
            self.open().await?;
            let (Some(frame), Some(epoch)) = (self.outbox.next()?, self.epoch) else {
                if self.epoch.is_some() {
                    return Ok(());
                }
                continue;
            };
            if self.send_frame(frame, epoch).await? {
                registers = 0;
            }
        }
    }

    /// Sends one frame; true when the collector has it now.
    async fn send_frame(&mut self, frame: StoredFrame, epoch: u64) -> Result<bool, Trouble> {
        let position = Position {
            seq: frame.seq,
            digest: frame.digest,
        };
        let bytes = frame.bytes.len() as u64;
        fail_point!(SendBegun);
        self.outbox.note_sent(frame.seq);
        let started = Instant::now();
        let sent = self
            .client
            .send_frame(&self.pipeline.identity().agent_id, epoch, frame.bytes)
            .await;
        metrics::histogram!(names::FLUSH_SECONDS).record(started.elapsed().as_secs_f64());
        metrics::counter!(names::FRAME_BYTES_SENT).increment(bytes);
        let reply = match sent {
            Err(CallError::UnknownAgent) => {
                self.epoch = None;
                return Ok(false);
            }
            sent => sent?,
        };
        metrics::counter!(names::FRAMES_SENT, "result" => result_name(&reply.result)).increment(1);
        fail_point!(SendAnswered);
        self.compare_clocks(reply.now);
        let (version, delivered) = (reply.catalog_version, self.settle(position, reply)?);
        if delivered {
            self.follow_catalog(version).await?;
        }
        Ok(delivered)
    }

    /// Carries out what a frame's reply means; true when the frame is delivered.
    fn settle(&mut self, sent: Position, reply: FrameReply) -> Result<bool, Trouble> {
        match reply.result {
            FrameResult::Applied | FrameResult::Duplicate => {
                if reply.applied.seq < sent.seq
                    || (reply.applied.seq == sent.seq && reply.applied.digest != sent.digest)
                {
                    return Err(self.forked(sent.seq, "acknowledged a frame it does not hold"));
                }
                self.outbox.acknowledge(sent)?;
                fail_point!(AcknowledgeDone);
                Ok(true)
            }
            FrameResult::Gap if reply.applied.seq < sent.seq => {
                self.step_back(reply.applied).map(|()| false)
            }
            FrameResult::Gap => {
                self.epoch = None;
                Ok(false)
            }
            FrameResult::Fenced => {
                tracing::warn!(
                    message = reply.message,
                    "another session of this agent took over; registering again"
                );
                self.epoch = None;
                Ok(false)
            }
            FrameResult::Fork => Err(self.forked(
                sent.seq,
                reply
                    .message
                    .as_deref()
                    .unwrap_or("holds another frame under this number"),
            )),
        }
    }

    async fn register(&mut self) -> Result<(), Trouble> {
        let identity = self.pipeline.identity();
        let request = RegisterRequest {
            agent_id: identity.agent_id,
            state_nonce: identity.state_nonce,
            boot_id: self.boot_id,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            catalog_version: self.pipeline.catalog().version,
            acknowledged: self.outbox.acknowledged(),
            sealed: self.outbox.sealed(),
            watermark: self
                .pipeline
                .status()
                .watermark
                .unwrap_or(Timestamp::from_micros(0)),
        };
        fail_point!(RegisterBegun);
        let reply = self.client.register(&request).await?;
        fail_point!(RegisterAnswered);
        self.compare_clocks(reply.now);
        if self.take_position(&reply).await? {
            fail_point!(RegisterPlaced);
            self.outbox.set_epoch(reply.epoch)?;
            fail_point!(RegisterDone);
            self.epoch = Some(reply.epoch);
            tracing::info!(agent = %identity.agent_id, epoch = reply.epoch, seq = reply.applied.seq, "registered with the collector");
        }
        self.catalog_is_new |= catalog::adopt(&self.pipeline, reply.catalog).await?;
        Ok(())
    }

    /// Brings the outbox to the collector's position; false when the agent must register again under a new identity.
    async fn take_position(&mut self, reply: &RegisterReply) -> Result<bool, Trouble> {
        let applied = reply.applied;
        match reply.status {
            RegisterStatus::New | RegisterStatus::Resumed | RegisterStatus::Retired => {
                if reply.status == RegisterStatus::Retired {
                    tracing::warn!(
                        "this agent was retired at the collector: its usage still counts, but no invoice waits for it any more"
                    );
                }
                self.compare_history(applied)?;
                Ok(true)
            }
            RegisterStatus::Rollback => {
                tracing::warn!(
                    collector = applied.seq,
                    own = self.outbox.sealed().seq,
                    "the data directory is older than what the collector holds (restored from a backup?); going on behind the collector's position, events of the time between are taken twice if they are sent again"
                );
                self.pipeline.skip_to(applied).await?;
                Ok(true)
            }
            RegisterStatus::LostState => {
                let old = self.pipeline.identity().agent_id;
                let new = self.pipeline.new_identity().await?.agent_id;
                tracing::warn!(%old, %new, "the collector knows this agent with another state; going on under a new identity");
                Ok(false)
            }
        }
    }

    /// The collector is within the history of this agent: behind it, level, or ahead by a lost acknowledgement.
    fn compare_history(&mut self, applied: Position) -> Result<(), Trouble> {
        if applied.seq > self.outbox.sealed().seq {
            return Err(self.forked(applied.seq, "is ahead in another history"));
        }
        match self.outbox.digest_of(applied.seq) {
            Some(digest) if digest != applied.digest => {
                return Err(self.forked(applied.seq, "holds another frame under this number"));
            }
            Some(_) if applied.seq > self.outbox.acknowledged().seq => {
                self.outbox.acknowledge(applied)?
            }
            _ => {}
        }
        if applied.seq < self.outbox.acknowledged().seq {
            self.step_back(applied)
        } else {
            Ok(())
        }
    }

    /// The collector lacks frames it acknowledged before: it was restored from a backup.
    fn step_back(&mut self, applied: Position) -> Result<(), Trouble> {
        if self
            .outbox
            .digest_of(applied.seq)
            .is_some_and(|digest| digest != applied.digest)
        {
            return Err(self.forked(applied.seq, "holds another frame under this number"));
        }
        if self.outbox.rewind(applied.seq + 1)? {
            tracing::warn!(
                from = applied.seq + 1,
                "the collector asks for frames again (restored from a backup?)"
            );
            return Ok(());
        }
        self.epoch = None;
        Err(Trouble::Stuck(format!(
            "the collector asks again for frame {}, which this agent no longer keeps: restore the collector from a newer backup",
            applied.seq + 1
        )))
    }

    fn forked(&mut self, seq: u64, problem: &str) -> Trouble {
        let fork = format!(
            "fork: this agent and the collector disagree about frame {seq} (the collector {problem}); two agents ran with copies of one data directory. Flushing is stopped, events are still accepted and kept"
        );
        self.epoch = None;
        self.fork = Some(fork.clone());
        Trouble::Fork(fork)
    }

    /// Reads the catalog without waiting for a frame's reply to name it.
    pub(crate) async fn read_catalog(&mut self) -> Result<(), Trouble> {
        let catalog = self.client.catalog().await?;
        self.catalog_is_new |= catalog::adopt(&self.pipeline, catalog).await?;
        Ok(())
    }

    /// Whether a new catalog came into force since the last time this was asked.
    pub(crate) fn take_new_catalog(&mut self) -> bool {
        std::mem::take(&mut self.catalog_is_new)
    }

    async fn follow_catalog(&mut self, version: u64) -> Result<(), Trouble> {
        match catalog::follow(&self.client, &self.pipeline, version).await {
            Ok(new) => {
                self.catalog_is_new |= new;
                Ok(())
            }
            Err(FollowError::Call(error)) => {
                tracing::warn!(%error, version, "cannot read the new catalog; the last good one stays in force");
                Ok(())
            }
            Err(FollowError::Pipeline(error)) => Err(error.into()),
        }
    }

    fn compare_clocks(&mut self, collector: Timestamp) {
        let skew_micros = collector
            .as_micros()
            .saturating_sub(self.clock.now().as_micros());
        metrics::gauge!(names::CLOCK_SKEW_SECONDS).set(skew_micros as f64 / 1e6);
        let far = skew_micros.saturating_abs() > CLOCK_SKEW_WARN_MICROS;
        if far && !self.skew_warned {
            tracing::warn!(
                seconds = skew_micros / 1_000_000,
                "the collector's clock and this host's are apart; event times depend on this host's clock"
            );
        }
        self.skew_warned = far;
    }
}

fn result_name(result: &FrameResult) -> &'static str {
    match result {
        FrameResult::Applied => "applied",
        FrameResult::Duplicate => "duplicate",
        FrameResult::Gap => "gap",
        FrameResult::Fenced => "fenced",
        FrameResult::Fork => "fork",
    }
}
