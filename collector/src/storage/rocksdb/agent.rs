//! Agents, and the digests of their last frames.

use async_trait::async_trait;
use serde_json::json;
use submeter_common::id::{AgentId, Digest};
use submeter_common::protocol::RegisterRequest;
use submeter_common::time::Timestamp;

use super::RocksStore;
use super::codec;
use super::database::{Database, Family, failed};
use super::key::{Key, Kind};
use super::roster;
use super::transaction::Transaction;
use crate::agents::{Agent, register};
use crate::storage::{AgentStore, AuditEntry, Registration, RetireOutcome, StorageError};

#[async_trait]
impl AgentStore for RocksStore {
    async fn register(
        &self,
        request: &RegisterRequest,
        now: Timestamp,
    ) -> Result<Registration, StorageError> {
        let request = request.clone();
        self.blocking(move |database| {
            let mut write = Transaction::begin(database)?;
            let stored = database.agent(request.agent_id)?;
            let known = database.frame_digest(request.agent_id, request.acknowledged.seq)?;
            let answer = register::register(stored.as_ref(), &request, known, now);
            put(&mut write, &answer.agent)?;
            if let Some(entry) = answer.audit {
                write.put_audit(entry)?;
            }
            match stored {
                Some(_) => write.commit()?,
                None => roster::commit_new(write, request.agent_id)?,
            }
            Ok(answer.registration)
        })
        .await
    }

    async fn agents(&self) -> Result<Vec<Agent>, StorageError> {
        self.blocking(|database| database.documents(Kind::Agent))
            .await
    }

    async fn agent(&self, id: AgentId) -> Result<Option<Agent>, StorageError> {
        self.blocking(move |database| database.agent(id)).await
    }

    async fn retire_agent(
        &self,
        id: AgentId,
        now: Timestamp,
    ) -> Result<RetireOutcome, StorageError> {
        self.blocking(move |database| {
            let mut write = Transaction::begin(database)?;
            let Some(mut agent) = database.agent(id)? else {
                return Ok(RetireOutcome::NotFound);
            };
            if agent.retired_at.is_some() {
                return Ok(RetireOutcome::AlreadyRetired);
            }
            agent.retired_at = Some(now);
            agent.alarm = None;
            // Ends the session it may still have.
            agent.epoch = agent.epoch.saturating_add(1);
            put(&mut write, &agent)?;
            write.put_audit(AuditEntry {
                at: now,
                actor: "collector".to_owned(),
                action: "agent.retired".to_owned(),
                subject: id.to_string(),
                detail: json!({ "applied_seq": agent.applied.seq, "watermark": agent.watermark }),
            })?;
            write.commit()?;
            Ok(RetireOutcome::Retired)
        })
        .await
    }
}

impl Database {
    pub(super) fn agent(&self, id: AgentId) -> Result<Option<Agent>, StorageError> {
        self.document_at(&Key::of_agent(id))
    }

    /// Reads the digest that was applied under a number, where it is still kept.
    pub(super) fn frame_digest(
        &self,
        agent: AgentId,
        seq: u64,
    ) -> Result<Option<Digest>, StorageError> {
        let key = Key::of_frame(agent, seq);
        let found = self
            .db
            .get_pinned_cf(self.family(Family::Frames), key)
            .map_err(failed)?;
        let wrong = |_| codec::corrupt("frame digest", "it is not 32 bytes long");
        found
            .map(|bytes| {
                <[u8; 32]>::try_from(&*bytes)
                    .map(Digest::new)
                    .map_err(wrong)
            })
            .transpose()
    }
}

pub(super) fn put(write: &mut Transaction<'_>, agent: &Agent) -> Result<(), StorageError> {
    write.put_document_at(&Key::of_agent(agent.agent_id), agent)
}
