//! What a register means: a new agent, one that goes on, or one whose state is not what it was.
//!
//! Pure: the engine looks up the agent, calls [`register`] and writes what it returns in one write.
//!
//! The epoch grows with each session, so that of two processes under one identity only the one that
//! registered last is listened to. A lost state does not get a session: it is told to take a new
//! identity, and the session of whoever may still have the true state is left alone.

use serde_json::json;
use submeter_common::id::Digest;
use submeter_common::protocol::{Position, Receipts, RegisterRequest, RegisterStatus};
use submeter_common::time::Timestamp;

use super::{Agent, Alarm};
use crate::storage::{AuditEntry, Registration};

/// Before the first frame: nothing is applied.
const NOTHING: Position = Position {
    seq: 0,
    digest: Digest::ZERO,
};

/// No promise at all: every period waits for such an agent's first frame.
const NO_WATERMARK: Timestamp = Timestamp::from_micros(0);

/// What a register writes and answers.
#[derive(Debug, Clone)]
pub struct Registered {
    /// The agent as it is afterwards.
    pub agent: Agent,
    /// The answer.
    pub registration: Registration,
    /// What a person should know, if anything.
    pub audit: Option<AuditEntry>,
}

/// Judges a register. `known` is the digest applied under the number that the agent says was
/// acknowledged last, where it is still kept.
pub fn register(
    stored: Option<&Agent>,
    request: &RegisterRequest,
    known: Option<Digest>,
    now: Timestamp,
) -> Registered {
    match stored {
        None => new_agent(request, now),
        Some(stored) if stored.state_nonce != request.state_nonce => {
            lost_state(stored, request, now)
        }
        Some(stored) => resume(stored, request, known, now),
    }
}

fn new_agent(request: &RegisterRequest, now: Timestamp) -> Registered {
    let agent = Agent {
        agent_id: request.agent_id,
        state_nonce: request.state_nonce,
        boot_id: request.boot_id,
        agent_version: request.agent_version.clone(),
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
        receipts: Receipts::default(),
        farewell: false,
        retired_at: None,
        registered_at: now,
        last_seen_at: now,
        sealed_at: None,
        rows_applied: 0,
        rows_quarantined: 0,
        alarm: None,
    };
    let audit = ahead(&agent, request, now);
    registered(agent, RegisterStatus::New, audit)
}

fn lost_state(stored: &Agent, request: &RegisterRequest, now: Timestamp) -> Registered {
    let audit = (stored.alarm != Some(Alarm::LostState)).then(|| {
        let detail = json!({ "applied_seq": stored.applied.seq, "boot_id": request.boot_id });
        entry("agent.lost_state", stored, now, detail)
    });
    let agent = Agent {
        alarm: Some(Alarm::LostState),
        last_seen_at: now,
        ..stored.clone()
    };
    let registration = Registration {
        epoch: 0,
        applied: stored.applied,
        status: RegisterStatus::LostState,
    };
    Registered {
        agent,
        registration,
        audit,
    }
}

fn resume(
    stored: &Agent,
    request: &RegisterRequest,
    known: Option<Digest>,
    now: Timestamp,
) -> Registered {
    let mut agent = Agent {
        boot_id: request.boot_id,
        agent_version: request.agent_version.clone(),
        // 2^64 registers do not happen; if they did, the last epoch would be shared, not wrapped.
        epoch: stored.epoch.saturating_add(1),
        farewell: false,
        last_seen_at: now,
        ..stored.clone()
    };
    if contradicts(stored.applied, request, known) {
        let audit = (stored.alarm != Some(Alarm::Forked)).then(|| {
            let detail = json!({ "applied": stored.applied, "sealed": request.sealed });
            entry("agent.forked", stored, now, detail)
        });
        agent.alarm = Some(Alarm::Forked);
        return registered(agent, standing(stored), audit);
    }
    if stored.applied.seq > request.sealed.seq {
        // The older state may still accept events that the newer one had promised not to.
        agent.watermark = stored.watermark.min(request.watermark);
        agent.alarm = Some(Alarm::RolledBack);
        let detail = json!({
            "applied_seq": stored.applied.seq,
            "sealed_seq": request.sealed.seq,
            "note": "memory of event ids between these frames is gone: their retries count again",
        });
        let audit = entry("agent.rolled_back", stored, now, detail);
        return registered(agent, RegisterStatus::Rollback, Some(audit));
    }
    let audit = ahead(stored, request, now);
    registered(agent, standing(stored), audit)
}

/// A retired agent that comes back is listened to, but no period waits for it any more.
fn standing(stored: &Agent) -> RegisterStatus {
    if stored.retired_at.is_some() {
        RegisterStatus::Retired
    } else {
        RegisterStatus::Resumed
    }
}

/// Tells whether the agent holds another frame than the applied one under the same number. Frames in
/// between are the agent's to compare: it has the applied position in the answer.
fn contradicts(applied: Position, request: &RegisterRequest, known: Option<Digest>) -> bool {
    let sealed_differs =
        request.sealed.seq == applied.seq && request.sealed.digest != applied.digest;
    let acknowledged_differs = request.acknowledged.seq <= applied.seq
        && known.is_some_and(|digest| digest != request.acknowledged.digest);
    sealed_differs || acknowledged_differs
}

/// Records that the agent remembers acknowledgements of frames that are not here: the collector's own
/// state is an older one. The agent is asked for them by `GAP`, for as far as it keeps them.
fn ahead(stored: &Agent, request: &RegisterRequest, now: Timestamp) -> Option<AuditEntry> {
    (request.acknowledged.seq > stored.applied.seq).then(|| {
        let detail = json!({
            "applied_seq": stored.applied.seq,
            "acknowledged_seq": request.acknowledged.seq,
        });
        entry("agent.ahead_of_collector", stored, now, detail)
    })
}

fn registered(agent: Agent, status: RegisterStatus, audit: Option<AuditEntry>) -> Registered {
    let registration = Registration {
        epoch: agent.epoch,
        applied: agent.applied,
        status,
    };
    Registered {
        agent,
        registration,
        audit,
    }
}

fn entry(action: &str, agent: &Agent, now: Timestamp, detail: serde_json::Value) -> AuditEntry {
    AuditEntry {
        at: now,
        actor: format!("agent:{}", agent.agent_id),
        action: action.to_owned(),
        subject: agent.agent_id.to_string(),
        detail,
    }
}

#[cfg(test)]
mod tests;
