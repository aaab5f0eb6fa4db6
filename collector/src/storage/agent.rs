//! Agents: who sends, how far each one is.

use async_trait::async_trait;
use submeter_common::id::{AgentId, Digest};
use submeter_common::protocol::{Position, RegisterRequest, RegisterStatus};
use submeter_common::time::Timestamp;

use super::StorageError;
use crate::agents::Agent;
use crate::agents::history::Delivered;

/// The answer to a register.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The epoch of the session that begins.
    pub epoch: u64,
    /// How far the collector has applied this agent's frames.
    pub applied: Position,
    /// How the agent's account of itself compares with what is stored.
    pub status: RegisterStatus,
    /// How much of the agent's own journal is not its to deliver any more.
    pub delivered: Delivered,
    /// The catalog version by which the agent's last frame was counted.
    pub counted_by: u64,
    /// Whether a meter of that catalog lacked some of its past then.
    pub backfilling: bool,
    /// The agent whose name a new one has taken, when that one has not left.
    pub replaces: Option<AgentId>,
}

/// Whether an agent's alarms were acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum AcknowledgeOutcome {
    /// It has none any more.
    Acknowledged,
    /// It had none.
    Quiet,
    /// No such agent.
    NotFound,
}

/// Whether an agent was retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum RetireOutcome {
    /// It no longer holds a period back.
    Retired,
    /// It was before.
    AlreadyRetired,
    /// No such agent.
    NotFound,
}

/// Keeps agents.
#[async_trait]
pub trait AgentStore: Send + Sync + 'static {
    /// Begins a session of an agent, new or known, and writes an audit record where the agent's state
    /// was rolled back or lost.
    async fn register(
        &self,
        request: &RegisterRequest,
        now: Timestamp,
    ) -> Result<Registration, StorageError>;

    /// Returns all agents, by id.
    async fn agents(&self) -> Result<Vec<Agent>, StorageError>;

    /// Returns an agent.
    async fn agent(&self, id: AgentId) -> Result<Option<Agent>, StorageError>;

    /// Returns the digest of an applied frame, while it is kept.
    async fn frame_digest(&self, id: AgentId, seq: u64) -> Result<Option<Digest>, StorageError>;

    /// Raises the alarm for every live agent that was not heard of since `heard_by`, and tells of it, once until it is heard
    /// of again. Returns whom it concerns.
    async fn raise_silent(
        &self,
        heard_by: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<AgentId>, StorageError>;

    /// Takes an agent out of the number of those that a period waits for, for good. Frames it still
    /// sends are fenced until it registers again, and then applied: usage is never refused. The audit log
    /// says that `actor` did it.
    async fn retire_agent(
        &self,
        id: AgentId,
        actor: &str,
        now: Timestamp,
    ) -> Result<RetireOutcome, StorageError>;

    /// Clears an agent's alarms: a person has looked. The audit log says that `actor` did it.
    async fn acknowledge_agent(
        &self,
        id: AgentId,
        actor: &str,
        now: Timestamp,
    ) -> Result<AcknowledgeOutcome, StorageError>;
}
