//! Where a cell's events came from: agents, and their frames.
//!
//! The law: the events of a cell's sources add up to the events of its partial. An invoice line can
//! therefore be followed back to agents and frame ranges without a remainder.

use serde::{Deserialize, Serialize};
use submeter_common::id::AgentId;
use uuid::Uuid;

/// Agents that one cell names at most. A cell is read, merged and written again with every frame that
/// touches it, so its size has to have an end; beyond it, further agents are added up under
/// [`Source::others`].
pub const SOURCES_MAX: usize = 256;

/// How a source names its agent: by its id, or by a shorter name of an engine's own.
pub trait Contributor: Copy + Ord {
    /// Stands for all agents that are not named one by one; sorts before every other.
    const OTHERS: Self;
}

impl Contributor for AgentId {
    const OTHERS: Self = AgentId::new(Uuid::nil());
}

/// Events that one agent contributed to a cell, and the range of its frames that carried them (frames
/// in between may have carried nothing for this cell).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source<A = AgentId> {
    /// The agent; the nil id stands for all that are not named (see [`SOURCES_MAX`]).
    pub agent_id: A,
    /// Its first contributing frame; 0 where no single agent is named.
    pub first_seq: u64,
    /// Its last contributing frame; 0 where no single agent is named.
    pub last_seq: u64,
    /// Events in those frames' rows.
    pub events: u64,
}

impl<A: Contributor> Source<A> {
    /// Says that `events` came in frame `seq` of an agent.
    pub fn of_frame(agent_id: A, seq: u64, events: u64) -> Self {
        Self {
            agent_id,
            first_seq: seq,
            last_seq: seq,
            events,
        }
    }

    /// Says that `events` came from agents that are not named one by one.
    pub fn others(events: u64) -> Self {
        Self {
            agent_id: A::OTHERS,
            first_seq: 0,
            last_seq: 0,
            events,
        }
    }
}

/// Adds `more` to `sources`, which stay sorted by agent and bounded. Returns `false`, with `sources`
/// unchanged, when a count of events would overflow.
pub fn add<A: Contributor>(sources: &mut Vec<Source<A>>, more: &Source<A>) -> bool {
    match sources.binary_search_by_key(&more.agent_id, |source| source.agent_id) {
        Ok(at) => sources
            .get_mut(at)
            .is_some_and(|source| widen(source, more)),
        Err(at) if sources.len() < SOURCES_MAX => {
            sources.insert(at, more.clone());
            true
        }
        Err(_) => add_to_others(sources, more.events),
    }
}

fn widen<A: Contributor>(source: &mut Source<A>, more: &Source<A>) -> bool {
    let Some(events) = source.events.checked_add(more.events) else {
        return false;
    };
    source.events = events;
    source.first_seq = source.first_seq.min(more.first_seq);
    source.last_seq = source.last_seq.max(more.last_seq);
    true
}

/// The rest sorts first, so that it is found without a search.
fn add_to_others<A: Contributor>(sources: &mut Vec<Source<A>>, events: u64) -> bool {
    let others = Source::others(events);
    match sources.first_mut() {
        Some(first) if first.agent_id == others.agent_id => widen(first, &others),
        _ => {
            sources.insert(0, others);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SOURCES_MAX, Source, add};
    use submeter_common::id::AgentId;
    use uuid::Uuid;

    fn agent(number: u128) -> AgentId {
        AgentId::new(Uuid::from_u128(number))
    }

    #[test]
    fn frames_of_one_agent_widen_its_range_in_any_order() {
        let mut sources = Vec::new();
        for (seq, events) in [(7, 2), (3, 5), (5, 1)] {
            assert!(add(&mut sources, &Source::of_frame(agent(1), seq, events)));
        }
        let expected = Source {
            agent_id: agent(1),
            first_seq: 3,
            last_seq: 7,
            events: 8,
        };
        assert_eq!(sources, [expected]);
    }

    #[test]
    fn agents_beyond_the_bound_are_added_up_and_no_event_is_lost() {
        let mut sources = Vec::new();
        let agents = 1..=1000_u128;
        for number in agents.clone().chain(agents) {
            assert!(add(&mut sources, &Source::of_frame(agent(number), 1, 3)));
        }
        assert_eq!(sources.len(), SOURCES_MAX + 1);
        assert!(sources.is_sorted_by_key(|source| source.agent_id));
        assert_eq!(
            sources.iter().map(|source| source.events).sum::<u64>(),
            2 * 1000 * 3
        );
    }

    #[test]
    fn an_overflow_is_told_and_changes_nothing() {
        let mut sources = vec![Source::of_frame(agent(1), 1, u64::MAX)];
        let before = sources.clone();
        assert!(!add(&mut sources, &Source::of_frame(agent(1), 2, 1)));
        assert_eq!(sources, before);
    }
}
