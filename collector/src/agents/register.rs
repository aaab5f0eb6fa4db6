//! What a register means: a new agent, one that goes on, or one whose state is not what it was.
//!
//! Pure: the engine looks up the agent, calls [`register`] and writes what it returns in one write.
//!
//! The epoch grows with each session, so that of two processes under one identity only the one that
//! registered last is listened to. An agent whose chain of frames is not the applied one comes from an
//! older copy of its state. Whether the process that went on is gone (a restored backup) or runs beside it
//! (a clone) shows by who speaks: a process that had been superseded and speaks again proves that two are
//! alive, and takes a new identity; any other goes on behind the applied frames. Either way it is told
//! which of its records are not its to deliver any more, so nothing counts twice and nothing is lost.

use std::collections::BTreeSet;

use serde_json::json;
use submeter_common::id::{AgentId, Digest};
use submeter_common::protocol::{
    Incident, IncidentKind, Position, Receipts, RegisterRequest, RegisterStatus,
};
use submeter_common::time::Timestamp;

use super::history::{Delivered, History};
use super::{Agent, Alarm};
use crate::storage::{AuditEntry, Registration};

/// Before the first frame: nothing is applied.
const NOTHING: Position = Position {
    seq: 0,
    digest: Digest::ZERO,
};

/// No promise at all: every period waits for such an agent's first frame.
const NO_WATERMARK: Timestamp = Timestamp::from_micros(0);

/// Superseded processes that are remembered. Of more clones than this the oldest are taken for restored backups, which
/// is as exact, but they stay under one identity and interrupt each other.
const FORMER_BOOTS_MAX: usize = 16;

/// Incidents that are remembered as told.
const INCIDENTS_KEPT: usize = 64;

/// What a register writes and answers.
#[derive(Debug, Clone)]
pub struct Registered {
    /// The agent as it is afterwards.
    pub agent: Agent,
    /// The answer.
    pub registration: Registration,
    /// What a person should know.
    pub audit: Vec<AuditEntry>,
}

/// Judges a register. `known` is the digest applied under the number that the agent says was
/// acknowledged last, where it is still kept.
pub fn register(
    stored: Option<&Agent>,
    request: &RegisterRequest,
    known: Option<Digest>,
    now: Timestamp,
) -> Registered {
    let mut registered = match stored {
        None => new_agent(request, now),
        Some(stored) if stored.state_nonce != request.state_nonce => {
            lost_state(stored, request, now)
        }
        Some(stored) => known_agent(stored, request, known, now),
    };
    note_incidents(&mut registered, request, now);
    registered
}

/// Judges an agent that a new one has taken the name of: unless it left, or became the new one, its state is taken for
/// lost. Answers it as it is afterwards, with what a person should know.
pub fn replace(
    former: &Agent,
    request: &RegisterRequest,
    now: Timestamp,
) -> Option<(Agent, AuditEntry)> {
    let became_it = |incident: &Incident| incident.former_agent_id == former.agent_id;
    if former.agent_id == request.agent_id
        || !former.is_live()
        || request.incidents.iter().any(became_it)
    {
        return None;
    }
    let detail = json!({
        "name": former.name,
        "replaced_by": request.agent_id,
        "applied_seq": former.applied.seq,
        "note": "an agent of the same name came with a fresh state: what this one accepted after its last frame is gone, unless it is still running; no period closes without it until it is retired",
    });
    let mut agent = former.clone();
    agent.alarms.insert(Alarm::LostState);
    Some((
        agent,
        entry("agent.lost_state", former.agent_id, now, detail),
    ))
}

fn new_agent(request: &RegisterRequest, now: Timestamp) -> Registered {
    let agent = Agent {
        agent_id: request.agent_id,
        state_nonce: request.state_nonce,
        boot_id: request.boot_id,
        former_boots: Vec::new(),
        agent_version: request.agent_version.clone(),
        name: request.name.clone(),
        epoch: 1,
        applied: NOTHING,
        // Frames that are sealed but not here may hold events from before the agent's own watermark.
        watermark: if request.sealed.seq == 0 {
            request.watermark.min(now)
        } else {
            NO_WATERMARK
        },
        // Knowing a catalog is not having counted by it: only frames tell that.
        catalog_version: 0,
        backfilling: false,
        history: History::of(&request.lineage),
        receipts: Receipts::default(),
        farewell: false,
        retired_at: None,
        registered_at: now,
        last_seen_at: now,
        sealed_at: None,
        rows_applied: 0,
        rows_quarantined: 0,
        alarms: BTreeSet::new(),
        incidents: Vec::new(),
        rolled_back: None,
        ahead_at: 0,
    };
    let mut registered = answer(agent, RegisterStatus::New, Delivered::default());
    note_ahead(&mut registered, request, now);
    registered
}

fn lost_state(stored: &Agent, request: &RegisterRequest, now: Timestamp) -> Registered {
    let mut agent = Agent {
        last_seen_at: now,
        ..stored.clone()
    };
    let is_new = agent.alarms.insert(Alarm::LostState);
    let mut registered = answer(agent, RegisterStatus::LostState, Delivered::default());
    registered.registration.epoch = 0;
    if is_new {
        let detail = json!({ "applied_seq": stored.applied.seq, "boot_id": request.boot_id });
        registered
            .audit
            .push(entry("agent.lost_state", stored.agent_id, now, detail));
    }
    registered
}

fn known_agent(
    stored: &Agent,
    request: &RegisterRequest,
    known: Option<Digest>,
    now: Timestamp,
) -> Registered {
    let superseded = request.boot_id != stored.boot_id;
    match (
        has_diverged(stored, request, known),
        superseded && stored.former_boots.contains(&request.boot_id),
    ) {
        (false, _) => resumed(stored, request, now),
        (true, false) => rolled_back(stored, request, now),
        (true, true) => forked(stored, request, now),
    }
}

fn resumed(stored: &Agent, request: &RegisterRequest, now: Timestamp) -> Registered {
    let mut agent = in_session(stored, request, now);
    agent.history.resume(&request.lineage);
    let delivered = stored.history.delivered_of(&request.lineage);
    let mut registered = answer(agent, standing(stored), delivered);
    note_ahead(&mut registered, request, now);
    registered
}

fn rolled_back(stored: &Agent, request: &RegisterRequest, now: Timestamp) -> Registered {
    let delivered = stored.history.delivered_of(&request.lineage);
    let mut agent = in_session(stored, request, now);
    agent.history.supersede(&request.lineage, delivered);
    // The older state may still accept events that the newer one had promised not to.
    agent.watermark = stored.watermark.min(request.watermark);
    // Its counts begin where the copy was made, which is no violation of theirs.
    agent.receipts = Receipts::default();
    agent.alarms.insert(Alarm::RolledBack);
    // Who asks again has not heard the answer.
    let told = Some((request.boot_id, stored.applied.seq));
    let is_new = std::mem::replace(&mut agent.rolled_back, told) != told;
    let mut registered = answer(agent, RegisterStatus::Rollback, delivered);
    if is_new {
        let detail = json!({
            "applied_seq": stored.applied.seq,
            "sealed_seq": request.sealed.seq,
            "delivered_record": delivered.record,
            "last_record": request.lineage.last,
            "delivered_in_part_after_record": delivered.torn_after,
            "note": "an older copy of the state came back. Memory of the event ids that were accepted after the copy was made is gone: their retries count again. What was accepted after the copy was made and not yet delivered is gone with the other state, unless its process still runs: then it will be told apart as a fork",
        });
        registered
            .audit
            .push(entry("agent.rolled_back", stored.agent_id, now, detail));
    }
    registered
}

fn forked(stored: &Agent, request: &RegisterRequest, now: Timestamp) -> Registered {
    let left = stored.history.left_of(&request.lineage);
    let delivered = stored.history.delivered_of(&request.lineage);
    let mut agent = Agent {
        last_seen_at: now,
        ..stored.clone()
    };
    agent.alarms.insert(Alarm::Forked);
    let undelivered = (delivered.record < left.record)
        .then(|| json!({ "first": delivered.record + 1, "last": left.record }));
    let detail = json!({
        "applied": stored.applied,
        "sealed": request.sealed,
        "boot_id": request.boot_id,
        "last_common_record": left.record,
        "last_record": request.lineage.last,
        "records_the_other_copy_has_yet_to_deliver": undelivered,
        "delivered_in_part_after_record": left.torn_after,
        "note": "two processes run with copies of one state; this one takes a new identity for what it accepted by itself",
    });
    let mut registered = answer(agent, RegisterStatus::Forked, left);
    // Whose session is open keeps it.
    registered.registration.epoch = 0;
    registered
        .audit
        .push(entry("agent.forked", stored.agent_id, now, detail));
    registered
}

/// A known agent at the begin of a session.
fn in_session(stored: &Agent, request: &RegisterRequest, now: Timestamp) -> Agent {
    let mut agent = Agent {
        boot_id: request.boot_id,
        agent_version: request.agent_version.clone(),
        name: request.name.clone(),
        // 2^64 registers do not happen; if they did, the last epoch would be shared, not wrapped.
        epoch: stored.epoch.saturating_add(1),
        farewell: false,
        last_seen_at: now,
        ..stored.clone()
    };
    if stored.boot_id != request.boot_id {
        let boots = &mut agent.former_boots;
        boots.retain(|boot| *boot != request.boot_id && *boot != stored.boot_id);
        boots.push(stored.boot_id);
        keep_newest(boots, FORMER_BOOTS_MAX);
    }
    agent
}

/// A retired agent that comes back is listened to, but no period waits for it any more.
fn standing(stored: &Agent) -> RegisterStatus {
    if stored.retired_at.is_some() {
        RegisterStatus::Retired
    } else {
        RegisterStatus::Resumed
    }
}

/// Tells whether the applied frames are not the agent's own: it is behind them, has others under their numbers, says so
/// itself, or lacks records that went into them.
fn has_diverged(stored: &Agent, request: &RegisterRequest, known: Option<Digest>) -> bool {
    let applied = stored.applied;
    if applied.seq == 0 {
        return false;
    }
    let sealed_differs =
        request.sealed.seq == applied.seq && request.sealed.digest != applied.digest;
    let acknowledged_differs = request.acknowledged.seq <= applied.seq
        && known.is_some_and(|digest| digest != request.acknowledged.digest);
    applied.seq > request.sealed.seq
        || sealed_differs
        || acknowledged_differs
        || request.disowned == Some(applied)
        || !stored.history.continues_in(&request.lineage)
}

/// Records that the agent remembers acknowledgements of frames that are not here: the collector's own
/// state is an older one, or a new one. The agent sends again what it still keeps.
fn note_ahead(registered: &mut Registered, request: &RegisterRequest, now: Timestamp) {
    let agent = &mut registered.agent;
    let acknowledged = request.acknowledged.seq;
    if acknowledged <= agent.applied.seq || acknowledged == agent.ahead_at {
        return;
    }
    agent.ahead_at = acknowledged;
    agent.alarms.insert(Alarm::CollectorBehind);
    let detail = json!({
        "applied_seq": agent.applied.seq,
        "acknowledged_seq": acknowledged,
        "note": "frames that were acknowledged are not here: this collector was restored from a backup or is a new one. The agent sends again what it still keeps, and tells what it cannot",
    });
    let agent_id = agent.agent_id;
    registered
        .audit
        .push(entry("agent.ahead_of_collector", agent_id, now, detail));
}

/// Records what the agent tells of itself, each incident once.
fn note_incidents(registered: &mut Registered, request: &RegisterRequest, now: Timestamp) {
    for incident in &request.incidents {
        let agent = &mut registered.agent;
        if agent.incidents.contains(&incident.id) {
            continue;
        }
        agent.incidents.push(incident.id);
        keep_newest(&mut agent.incidents, INCIDENTS_KEPT);
        if incident.missing.is_some() {
            agent.alarms.insert(Alarm::EventsMissing);
        }
        if incident.repeated.is_some() {
            agent.alarms.insert(Alarm::EventsRepeated);
        }
        if incident.kind == IncidentKind::Damaged {
            agent.alarms.insert(Alarm::Damaged);
        }
        let agent_id = agent.agent_id;
        registered
            .audit
            .push(entry("agent.reported", agent_id, now, json!(incident)));
    }
}

fn keep_newest<T>(list: &mut Vec<T>, max: usize) {
    let surplus = list.len().saturating_sub(max);
    list.drain(..surplus);
}

fn answer(agent: Agent, status: RegisterStatus, delivered: Delivered) -> Registered {
    let registration = Registration {
        epoch: agent.epoch,
        applied: agent.applied,
        status,
        delivered,
        counted_by: agent.catalog_version,
        backfilling: agent.backfilling,
        replaces: None,
    };
    Registered {
        agent,
        registration,
        audit: Vec::new(),
    }
}

fn entry(action: &str, agent: AgentId, now: Timestamp, detail: serde_json::Value) -> AuditEntry {
    AuditEntry {
        at: now,
        actor: format!("agent:{agent}"),
        action: action.to_owned(),
        subject: agent.to_string(),
        detail,
    }
}

#[cfg(test)]
mod tests;
