//! The merged usage of one customer, meter, group and window, with its sources.

use submeter_common::aggregate::{AggregateError, Partial, State};
use submeter_common::id::AgentId;
use submeter_common::meter::AggregationKind;

use super::source::{self, Contributor, Source};

/// Most different values that one cell counts exactly, a day's as a minute's: 16 MiB stored. The set is read and written whole
/// with each frame that touches it; what goes beyond is set aside, listed and reported, and never counted wrongly.
pub const UNIQUE_VALUES_MAX: usize = 1 << 20;

/// A partial and where it came from. The events of the sources add up to the partial's, always.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell<A = AgentId> {
    /// The merged partial.
    pub partial: Partial,
    /// Who contributed, sorted by agent, at most one entry each.
    pub sources: Vec<Source<A>>,
}

impl<A: Contributor> Cell<A> {
    /// Returns the cell of a window in which nothing happened.
    pub fn identity(kind: AggregationKind) -> Self {
        Self {
            partial: Partial::identity(kind),
            sources: Vec::new(),
        }
    }

    /// Tells whether `partial` can be merged into this cell, without changing it.
    ///
    /// # Errors
    /// When the partial is of another aggregation, or a count or sum would overflow.
    pub fn fits(&self, partial: &Partial) -> Result<(), AggregateError> {
        if self.partial.kind() != partial.kind() {
            return Err(AggregateError::KindMismatch {
                expected: self.partial.kind(),
                found: partial.kind(),
            });
        }
        let count = self.partial.events.checked_add(partial.events);
        let non_numeric = self.partial.non_numeric.checked_add(partial.non_numeric);
        if count.is_none() || non_numeric.is_none() {
            return Err(AggregateError::Overflow);
        }
        if let (State::Unique(values), State::Unique(more)) = (&self.partial.state, &partial.state)
            && values.len().saturating_add(more.len()) > UNIQUE_VALUES_MAX
        {
            let new = more.iter().filter(|value| !values.contains(value)).count();
            if values.len().saturating_add(new) > UNIQUE_VALUES_MAX {
                return Err(AggregateError::TooManyValues {
                    max: UNIQUE_VALUES_MAX,
                });
            }
        }
        // Only a sum can overflow in its state, and a sum is a few words to try on a copy.
        if partial.kind() == AggregationKind::Sum {
            self.partial.clone().merge(partial)
        } else {
            Ok(())
        }
    }

    /// Merges a partial together with its source.
    ///
    /// # Errors
    /// As [`Cell::fits`]; the cell is unchanged then.
    pub fn add(&mut self, partial: &Partial, from: &Source<A>) -> Result<(), AggregateError> {
        debug_assert_eq!(
            partial.events, from.events,
            "a source counts the partial's events"
        );
        self.partial.merge(partial)?;
        // Cannot overflow where the partial's own count did not: the sources add up to it.
        if source::add(&mut self.sources, from) {
            Ok(())
        } else {
            Err(AggregateError::Overflow)
        }
    }

    /// Merges another cell.
    ///
    /// # Errors
    /// As [`Cell::fits`]; the cell is unchanged then.
    pub fn merge(&mut self, other: &Cell<A>) -> Result<(), AggregateError> {
        self.partial.merge(&other.partial)?;
        for from in &other.sources {
            if !source::add(&mut self.sources, from) {
                return Err(AggregateError::Overflow);
            }
        }
        Ok(())
    }

    /// Names the agents otherwise; different agents must get different names.
    pub fn renamed<B: Contributor>(self, mut name: impl FnMut(A) -> B) -> Cell<B> {
        let renamed = |from: Source<A>| Source {
            agent_id: name(from.agent_id),
            first_seq: from.first_seq,
            last_seq: from.last_seq,
            events: from.events,
        };
        let mut sources: Vec<Source<B>> = self.sources.into_iter().map(renamed).collect();
        sources.sort_unstable_by_key(|source| source.agent_id);
        Cell {
            partial: self.partial,
            sources,
        }
    }

    /// Tells whether the law of sources holds.
    pub fn is_conserved(&self) -> bool {
        let sum = self
            .sources
            .iter()
            .try_fold(0_u64, |sum, from| sum.checked_add(from.events));
        sum == Some(self.partial.events)
    }
}

#[cfg(test)]
mod tests;
