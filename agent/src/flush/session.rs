//! One conversation with the collector: register, then frames in order, until one of the two says otherwise.
//!
//! The collector's position decides what is sent next, and digests decide whether it is the same history. What each reply
//! means for the outbox is written here and nowhere else:
//!
//! | the collector says | the agent does |
//! |---|---|
//! | applied, duplicate | drops the frame from the outbox |
//! | gap | sends again from the frame it asks for; what is no longer kept is made anew, and what cannot be is told |
//! | fenced, unknown agent | registers again |
//! | rollback | goes on behind the collector's position, with what was not delivered |
//! | forked, lost state | takes a new identity for what is its own |
//! | fork | takes a new identity |
//!
//! None of it stops the flow of new usage. What is odd is an *incident*: kept by the pipeline, shown by the status, told to
//! the collector with the next register.

use std::sync::Arc;
use std::time::Instant;

use submeter_common::id::AgentId;
use submeter_common::protocol::{
    FrameReply, FrameResult, Incident, IncidentKind, Position, RegisterReply, RegisterRequest,
    RegisterStatus,
};
use submeter_common::time::{Clock, Timestamp};
use thiserror::Error;
use uuid::Uuid;

use super::catalog::{self, FollowError};
use super::client::{CallError, CollectorClient};
use crate::fail_point::fail_point;
use crate::pipeline::{
    Delivered, Outbox, Pipeline, PipelineError, Rebase, SealReason, StoredFrame,
};
use crate::telemetry::names;

/// Registers in a row without a frame getting through. An older copy that has to disown a frame, go elsewhere and tell of it
/// takes four. More means that two processes fence each other, or that the collector cannot make up its mind.
const REGISTERS_MAX: u32 = 5;

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
    /// The agent's name, for people and for telling a wiped directory from a new one.
    name: Option<String>,
    /// A position of the collector that is not in this agent's history.
    disowned: Option<Position>,
    skew_warned: bool,
    catalog_is_new: bool,
}

impl Session {
    /// A session that has yet to register.
    pub(super) fn new(
        pipeline: Pipeline,
        client: CollectorClient,
        clock: Arc<dyn Clock>,
        name: Option<String>,
    ) -> Self {
        let outbox = pipeline.outbox();
        Self {
            pipeline,
            outbox,
            client,
            clock,
            boot_id: Uuid::new_v4(),
            epoch: None,
            name,
            disowned: None,
            skew_warned: false,
            catalog_is_new: false,
        }
    }

    /// Registers, unless that is done.
    pub(super) async fn open(&mut self) -> Result<(), Trouble> {
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
            let next = match self.outbox.next() {
                Err(PipelineError::FrameLost(seq)) if self.epoch.is_some() => {
                    tracing::warn!(
                        seq,
                        "a frame that the collector does not hold was lost to damage"
                    );
                    self.pipeline.recount_lost().await?;
                    // It is sealed anew from what the journal still holds.
                    self.pipeline.seal(SealReason::Requested).await?;
                    continue;
                }
                next => next?,
            };
            let (Some(frame), Some(epoch)) = (next, self.epoch) else {
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
        let (version, delivered) = (reply.catalog_version, self.settle(position, reply).await?);
        if delivered {
            self.follow_catalog(version).await?;
        }
        Ok(delivered)
    }

    /// Carries out what a frame's reply means; true when the frame is delivered.
    async fn settle(&mut self, sent: Position, reply: FrameReply) -> Result<bool, Trouble> {
        match reply.result {
            FrameResult::Applied | FrameResult::Duplicate => {
                if reply.applied.seq < sent.seq
                    || (reply.applied.seq == sent.seq && reply.applied.digest != sent.digest)
                {
                    self.epoch = None;
                    return Err(Trouble::Stuck(format!(
                        "the collector says that it has frame {}, but stands at another frame {}",
                        sent.seq, reply.applied.seq
                    )));
                }
                self.outbox.acknowledge(sent)?;
                fail_point!(AcknowledgeDone);
                return Ok(true);
            }
            // The collector was set back under this session. A register lets it note that, and tells how much it has.
            FrameResult::Gap => self.epoch = None,
            FrameResult::Fenced => {
                tracing::warn!(
                    message = reply.message,
                    "this session is over; registering again"
                );
                self.epoch = None;
            }
            FrameResult::Fork => self.part_ways().await?,
        }
        Ok(false)
    }

    /// Another process sends other frames in this very session: it is this one's twin to the last bit, memory included (a
    /// copied virtual machine). Nothing tells how much they share beyond what was acknowledged.
    async fn part_ways(&mut self) -> Result<(), Trouble> {
        self.rebase(Rebase {
            kind: IncidentKind::Forked,
            position: None,
            delivered: Delivered::AcknowledgedAtLeast,
            backfilled: true,
        })
        .await
    }

    async fn register(&mut self) -> Result<(), Trouble> {
        let request = self.register_request();
        fail_point!(RegisterBegun);
        let reply = self.client.register(&request).await?;
        fail_point!(RegisterAnswered);
        self.pipeline.note_told(&request.incidents)?;
        self.compare_clocks(reply.now);
        if self.take_position(&reply).await? {
            fail_point!(RegisterPlaced);
            self.outbox.set_epoch(reply.epoch)?;
            fail_point!(RegisterDone);
            self.epoch = Some(reply.epoch);
            self.disowned = None;
            tracing::info!(agent = %request.agent_id, epoch = reply.epoch, seq = reply.applied.seq, "registered with the collector");
        }
        self.catalog_is_new |= catalog::adopt(&self.pipeline, reply.catalog).await?;
        Ok(())
    }

    fn register_request(&self) -> RegisterRequest {
        let identity = self.pipeline.identity();
        let watermark = self.pipeline.status().watermark;
        RegisterRequest {
            agent_id: identity.agent_id,
            state_nonce: identity.state_nonce,
            boot_id: self.boot_id,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            catalog_version: self.pipeline.catalog().version,
            acknowledged: self.outbox.acknowledged(),
            sealed: self.outbox.sealed(),
            watermark: watermark.unwrap_or(Timestamp::from_micros(0)),
            lineage: self.pipeline.lineage(),
            name: self.name.clone(),
            disowned: self.disowned,
            incidents: self.pipeline.untold_incidents(),
        }
    }

    /// Puts the outbox where the collector is; true when the session may begin there. Else this agent has changed, and
    /// registers as what it is now.
    async fn take_position(&mut self, reply: &RegisterReply) -> Result<bool, Trouble> {
        match reply.status {
            RegisterStatus::New | RegisterStatus::Resumed | RegisterStatus::Retired => {
                if reply.status == RegisterStatus::Retired {
                    tracing::warn!(
                        "this agent was retired at the collector: its usage still counts, but no invoice waits for it any more"
                    );
                }
                self.note_replaced(reply)?;
                self.compare_history(reply).await
            }
            RegisterStatus::Rollback => {
                self.go_on_behind(reply, IncidentKind::RolledBack).await?;
                Ok(false)
            }
            RegisterStatus::Forked => {
                let rebase = Rebase {
                    kind: IncidentKind::Forked,
                    position: None,
                    delivered: delivered(reply),
                    // The other process counts the past for both.
                    backfilled: true,
                };
                self.rebase(rebase).await?;
                Ok(false)
            }
            RegisterStatus::LostState => {
                self.pipeline.new_identity(IncidentKind::LostState).await?;
                Ok(false)
            }
        }
    }

    /// The collector stands within the history of this agent (behind it, level, or ahead by a lost acknowledgement), or the
    /// agent disowns its position.
    async fn compare_history(&mut self, reply: &RegisterReply) -> Result<bool, Trouble> {
        let applied = reply.applied;
        let own = self.outbox.digest_of(applied.seq);
        if applied.seq > self.outbox.sealed().seq
            || own.is_some_and(|digest| digest != applied.digest)
        {
            if self.disowned == Some(applied) {
                return Err(Trouble::Stuck(format!(
                    "the collector insists on a frame {} that this agent never sealed",
                    applied.seq
                )));
            }
            self.disowned = Some(applied);
            return Ok(false);
        }
        if applied.seq >= self.outbox.acknowledged().seq {
            self.outbox.acknowledge(applied)?;
            return Ok(true);
        }
        if self.rewind(applied)? {
            return Ok(true);
        }
        self.go_on_behind(reply, IncidentKind::CollectorBehind)
            .await?;
        Ok(false)
    }

    /// The collector lacks frames it acknowledged before: it was restored from a backup. False when they are not kept any
    /// more, or are not those that follow its position.
    fn rewind(&mut self, applied: Position) -> Result<bool, Trouble> {
        let follows = self.outbox.digest_of(applied.seq) == Some(applied.digest);
        if !follows || !self.outbox.rewind(applied.seq + 1)? {
            return Ok(false);
        }
        let message = format!(
            "the collector lacks frames from {} on that it had acknowledged (it was restored from a backup, or is a new one); they are kept here and are sent again as they were",
            applied.seq + 1
        );
        tracing::error!("{message}");
        let agent_id = self.pipeline.identity().agent_id;
        self.record(IncidentKind::CollectorBehind, agent_id, message)?;
        Ok(true)
    }

    async fn go_on_behind(
        &mut self,
        reply: &RegisterReply,
        kind: IncidentKind,
    ) -> Result<(), Trouble> {
        self.rebase(Rebase {
            kind,
            position: Some(reply.applied),
            delivered: delivered(reply),
            backfilled: reply.backfilled || reply.applied.seq == 0,
        })
        .await
    }

    async fn rebase(&mut self, rebase: Rebase) -> Result<(), Trouble> {
        self.epoch = None;
        self.disowned = None;
        self.pipeline.rebase(rebase).await?;
        Ok(())
    }

    /// Another agent of this name has not left: this directory was wiped, or two agents are called the same.
    fn note_replaced(&self, reply: &RegisterReply) -> Result<(), Trouble> {
        let Some(former) = reply.replaces else {
            return Ok(());
        };
        let name = self.name.as_deref().unwrap_or_default();
        let message = format!(
            "the collector knows agent {former} under this agent's name ({name}), and it has not left: if its data directory is lost, what it accepted and had not delivered is lost with it; retire it then, for no period closes without it"
        );
        tracing::error!("{message}");
        self.record(IncidentKind::LostState, former, message)
    }

    /// Remembers what the collector has found by itself, and has recorded.
    fn record(
        &self,
        kind: IncidentKind,
        former_agent_id: AgentId,
        message: String,
    ) -> Result<(), Trouble> {
        let incident = Incident {
            id: Uuid::new_v4(),
            at: self.clock.now(),
            kind,
            former_agent_id,
            agent_id: self.pipeline.identity().agent_id,
            missing: None,
            repeated: None,
            message,
        };
        self.pipeline.record_incident(incident, true)?;
        Ok(())
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

fn delivered(reply: &RegisterReply) -> Delivered {
    Delivered::Record {
        last: reply.delivered,
        torn_after: reply.torn_after,
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
