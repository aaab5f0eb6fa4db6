//! Another place in a chain of frames: what is ordered, and what is told of it.

use submeter_common::id::AgentId;
use submeter_common::protocol::{Incident, IncidentKind, Position, Stretch};
use submeter_common::time::Timestamp;
use uuid::Uuid;

/// Where to go on, and what of this directory's usage is not its own to deliver any more.
#[derive(Clone, Debug)]
pub struct Rebase {
    /// Why.
    pub kind: IncidentKind,
    /// Behind which frame the chain goes on. None: under a new identity, from the first frame.
    pub position: Option<Position>,
    /// What the collector has, or will get from another process.
    pub delivered: Delivered,
    /// Whether a new meter's past is told to be complete in what was delivered.
    pub backfilled: bool,
}

/// What is not to be delivered from here.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Delivered {
    /// The frames that were acknowledged.
    Acknowledged,
    /// The same, but another process may have delivered some of the rest: it is kept, and told as perhaps counted twice.
    AcknowledgedAtLeast,
    /// All journal records up to this one.
    Record {
        /// The last one.
        last: u64,
        /// After which one the delivery is in part only.
        torn_after: Option<u64>,
    },
}

/// What a rebase came to.
#[derive(Copy, Clone, Default, Eq, PartialEq, Debug)]
pub(super) struct Outcome {
    /// Records whose events may be missing.
    pub(super) missing: Option<Stretch>,
    /// Records whose events may be counted twice.
    pub(super) repeated: Option<Stretch>,
}

impl Rebase {
    /// The incident as it is told.
    pub(super) fn incident(
        &self,
        former: AgentId,
        agent: AgentId,
        outcome: Outcome,
        at: Timestamp,
    ) -> Incident {
        Incident {
            id: Uuid::new_v4(),
            at,
            kind: self.kind,
            former_agent_id: former,
            agent_id: agent,
            missing: outcome.missing,
            repeated: outcome.repeated,
            message: self.message(former, outcome),
        }
    }

    fn message(&self, former: AgentId, outcome: Outcome) -> String {
        let behind = self.position.map_or(0, |position| position.seq);
        let mut message = match self.kind {
            IncidentKind::RolledBack => format!(
                "the data directory is an older copy of one that went on; this agent goes on behind the collector's frame {behind}, and event ids accepted after the copy was made are not remembered here"
            ),
            IncidentKind::Forked => format!(
                "another process runs with a copy of this data directory; agent {former} stays with it, and this one has taken a new identity for what it accepted by itself"
            ),
            IncidentKind::LostState => format!(
                "the collector knows agent {former} with another state; this one has taken a new identity"
            ),
            IncidentKind::CollectorBehind => format!(
                "the collector lacks frames that it had acknowledged (it was restored from a backup, or is a new one); what is still kept here is sent again behind its frame {behind}"
            ),
            IncidentKind::Damaged => {
                "parts of the data directory were damaged; this agent has taken a new identity for what could be read".to_owned()
            }
        };
        if let Delivered::Record { last, .. } = self.delivered
            && !self.backfilled
            && last > 0
        {
            message.push_str(&format!(
                "; meters that are newer than the delivered frames do not count records up to {last}"
            ));
        }
        message.push_str(&told("; events of {} may be missing", outcome.missing));
        message.push_str(&told(
            "; events of {} may be counted twice",
            outcome.repeated,
        ));
        message
    }
}

fn told(text: &str, stretch: Option<Stretch>) -> String {
    stretch.map_or_else(String::new, |Stretch { first, last }| {
        text.replace("{}", &format!("journal records {first} to {last}"))
    })
}
