//! Agents, and the digests of their last frames.

use async_trait::async_trait;
use serde_json::json;
use submeter_common::id::{AgentId, Digest};
use submeter_common::protocol::RegisterRequest;
use submeter_common::time::Timestamp;

use super::RocksStore;
use super::codec;
use super::database::{Database, Family, failed};
use super::key::{Index, Key, Kind};
use super::roster;
use super::transaction::Transaction;
use crate::agents::{Agent, Alarm, register};
use crate::outbox::{NewMessage, Topic};
use crate::storage::{
    AcknowledgeOutcome, AgentStore, AuditEntry, Registration, RetireOutcome, StorageError,
};

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
            let mut answer = register::register(stored.as_ref(), &request, known, now);
            if stored.is_none() {
                answer.registration.replaces = replace_namesake(&mut write, &request, now)?;
            }
            answer.agent.alarms.remove(&Alarm::Silent);
            put(&mut write, &answer.agent)?;
            if let Some(name) = &answer.agent.name {
                write.put_index(&key_of_name(name), &answer.agent.agent_id.to_string());
            }
            for entry in answer.audit {
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

    async fn frame_digest(&self, id: AgentId, seq: u64) -> Result<Option<Digest>, StorageError> {
        self.blocking(move |database| database.frame_digest(id, seq))
            .await
    }

    async fn agent(&self, id: AgentId) -> Result<Option<Agent>, StorageError> {
        self.blocking(move |database| database.agent(id)).await
    }

    async fn raise_silent(
        &self,
        heard_by: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<AgentId>, StorageError> {
        self.blocking(move |database| raise_silent(database, heard_by, now))
            .await
    }

    async fn retire_agent(
        &self,
        id: AgentId,
        actor: &str,
        now: Timestamp,
    ) -> Result<RetireOutcome, StorageError> {
        let actor = actor.to_owned();
        self.blocking(move |database| {
            let mut write = Transaction::begin(database)?;
            let Some(mut agent) = database.agent(id)? else {
                return Ok(RetireOutcome::NotFound);
            };
            if agent.retired_at.is_some() {
                return Ok(RetireOutcome::AlreadyRetired);
            }
            let detail = json!({
                "applied_seq": agent.applied.seq,
                "watermark": agent.watermark,
                "alarms": agent.alarms,
            });
            agent.retired_at = Some(now);
            agent.alarms.clear();
            // Ends the session it may still have.
            agent.epoch = agent.epoch.saturating_add(1);
            put(&mut write, &agent)?;
            write.put_audit(by(actor, "agent.retired", id, now, detail))?;
            write.commit()?;
            Ok(RetireOutcome::Retired)
        })
        .await
    }

    async fn acknowledge_agent(
        &self,
        id: AgentId,
        actor: &str,
        now: Timestamp,
    ) -> Result<AcknowledgeOutcome, StorageError> {
        let actor = actor.to_owned();
        self.blocking(move |database| {
            let mut write = Transaction::begin(database)?;
            let Some(mut agent) = database.agent(id)? else {
                return Ok(AcknowledgeOutcome::NotFound);
            };
            if agent.alarms.iter().all(|alarm| *alarm == Alarm::Silent) {
                return Ok(AcknowledgeOutcome::Quiet);
            }
            let detail = json!({ "alarms": agent.alarms });
            // Silence is over when the agent is heard of, not when a person has looked.
            agent.alarms.retain(|alarm| *alarm == Alarm::Silent);
            put(&mut write, &agent)?;
            write.put_audit(by(actor, "agent.alarms_acknowledged", id, now, detail))?;
            write.commit()?;
            Ok(AcknowledgeOutcome::Acknowledged)
        })
        .await
    }
}

fn by(
    actor: String,
    action: &str,
    agent: AgentId,
    now: Timestamp,
    detail: serde_json::Value,
) -> AuditEntry {
    AuditEntry {
        at: now,
        actor,
        action: action.to_owned(),
        subject: agent.to_string(),
        detail,
    }
}

/// A new agent under the name of one that has not left: that one's state is taken for lost.
fn replace_namesake(
    write: &mut Transaction<'_>,
    request: &RegisterRequest,
    now: Timestamp,
) -> Result<Option<AgentId>, StorageError> {
    let Some(name) = &request.name else {
        return Ok(None);
    };
    let Some(former) = write.database.agent_named(name)? else {
        return Ok(None);
    };
    let Some((agent, entry)) = register::replace(&former, request, now) else {
        return Ok(None);
    };
    put(write, &agent)?;
    write.put_audit(entry)?;
    Ok(Some(former.agent_id))
}

fn key_of_name(name: &str) -> Vec<u8> {
    Key::of_index(Index::AgentByName).last(name.as_bytes())
}

impl Database {
    pub(super) fn agent(&self, id: AgentId) -> Result<Option<Agent>, StorageError> {
        self.document_at(&Key::of_agent(id))
    }

    /// The agent that registered last under a name.
    fn agent_named(&self, name: &str) -> Result<Option<Agent>, StorageError> {
        let found = self
            .db
            .get_pinned_cf(self.family(Family::Indexes), key_of_name(name))
            .map_err(failed)?;
        let wrong = || codec::corrupt("agent by name", "it names no agent");
        let Some(id) = found else { return Ok(None) };
        let id = std::str::from_utf8(&id).ok().and_then(|id| id.parse().ok());
        self.agent(id.ok_or_else(wrong)?)
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

fn raise_silent(
    database: &Database,
    heard_by: Timestamp,
    now: Timestamp,
) -> Result<Vec<AgentId>, StorageError> {
    let is_silent = |agent: &Agent| {
        agent.is_live() && agent.last_seen_at <= heard_by && !agent.alarms.contains(&Alarm::Silent)
    };
    // Looked at without the lock first: nearly always there is nothing to do.
    let agents: Vec<Agent> = database.documents(Kind::Agent)?;
    if !agents.iter().any(is_silent) {
        return Ok(Vec::new());
    }
    let mut write = Transaction::begin(database)?;
    let mut raised = Vec::new();
    let agents: Vec<Agent> = database.documents(Kind::Agent)?;
    for mut agent in agents.into_iter().filter(is_silent) {
        let id = agent.agent_id;
        agent.alarms.insert(Alarm::Silent);
        put(&mut write, &agent)?;
        let detail = json!({
            "agent_id": id,
            "name": agent.name,
            "last_seen_at": agent.last_seen_at,
            "watermark": agent.watermark,
        });
        write.put_audit(by(
            "collector".to_owned(),
            "agent.silent",
            id,
            now,
            detail.clone(),
        ))?;
        let cause = [id.to_string(), agent.last_seen_at.to_string()];
        let cause = [cause[0].as_str(), &cause[1]];
        write.put_message(NewMessage::new(
            Topic::AgentSilent,
            &cause,
            now,
            None,
            detail,
        ))?;
        raised.push(id);
    }
    write.commit()?;
    Ok(raised)
}
