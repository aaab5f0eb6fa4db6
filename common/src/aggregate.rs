//! Partials: what is kept of many events, and the laws by which they merge.
//!
//! A [`Partial`] is a commutative monoid: `merge` is associative and commutative,
//! [`Partial::identity`] is neutral, and any split of the same events over agents, windows and
//! frames merges to the same result. Merging is *not* idempotent for count and sum: that each frame
//! counts once is the frame sequence's promise, not the algebra's.
//!
//! Every step is checked; one that would overflow is an error and leaves the partial as it was.

use bincode::{Decode, Encode};
use thiserror::Error;

use crate::{
    event::Event,
    meter::{Aggregation, AggregationKind},
    quantity::Quantity,
};

mod extreme;
mod group;
mod last;
mod sum;
mod unique;

pub use group::Group;
pub use last::LastValue;
pub use unique::{Fingerprint, UniqueSet};

/// Why two partials, or a partial and an event, do not go together. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AggregateError {
    /// The two are of different aggregations.
    #[error("expected a partial of {expected:?}, found one of {found:?}")]
    KindMismatch {
        /// The aggregation merged into.
        expected: AggregationKind,
        /// The aggregation of what was to be merged.
        found: AggregationKind,
    },
    /// The exact result does not fit.
    #[error("the total is too large to be kept exactly")]
    Overflow,
    /// The set of different values is full.
    #[error("there would be more than {max} different values, which is all that is kept")]
    TooManyValues {
        /// How many it may hold.
        max: usize,
    },
}

/// What an aggregation remembers beside the number of events.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum State {
    /// Nothing more: the events are the count.
    Count,
    /// The sum so far.
    Sum(Quantity),
    /// The largest number so far.
    Max(Option<Quantity>),
    /// The smallest number so far.
    Min(Option<Quantity>),
    /// The latest number so far.
    Last(Option<LastValue>),
    /// The different values so far.
    Unique(UniqueSet),
}

/// The mergeable state of one aggregation for one meter, customer, group and window.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Partial {
    /// Events observed.
    pub events: u64,
    /// Events among them that contributed nothing: the key was missing or held no number.
    pub non_numeric: u64,
    /// What the aggregation remembers.
    pub state: State,
}

impl Partial {
    /// The partial of no events.
    #[must_use]
    pub fn identity(kind: AggregationKind) -> Self {
        let state = match kind {
            AggregationKind::Count => State::Count,
            AggregationKind::Sum => State::Sum(Quantity::ZERO),
            AggregationKind::Max => State::Max(None),
            AggregationKind::Min => State::Min(None),
            AggregationKind::Last => State::Last(None),
            AggregationKind::UniqueCount => State::Unique(UniqueSet::default()),
        };
        Partial {
            events: 0,
            non_numeric: 0,
            state,
        }
    }

    /// The partial's aggregation.
    #[must_use]
    pub fn kind(&self) -> AggregationKind {
        match self.state {
            State::Count => AggregationKind::Count,
            State::Sum(_) => AggregationKind::Sum,
            State::Max(_) => AggregationKind::Max,
            State::Min(_) => AggregationKind::Min,
            State::Last(_) => AggregationKind::Last,
            State::Unique(_) => AggregationKind::UniqueCount,
        }
    }

    /// Takes in one event that the meter matches.
    ///
    /// Allocates only for what it has to remember: a value not yet seen (`unique_count`), an id
    /// longer than any before (`last`).
    ///
    /// # Errors
    /// `aggregation` is of another kind, or the total would overflow; the partial is then
    /// unchanged.
    pub fn observe(
        &mut self,
        aggregation: &Aggregation,
        event: &Event<'_>,
    ) -> Result<(), AggregateError> {
        self.expect(aggregation.kind)?;
        let events = self.events.checked_add(1).ok_or(AggregateError::Overflow)?;
        if !self.state.observe(aggregation, event)? {
            // Never above `events`, so it fits where that does.
            self.non_numeric += 1;
        }
        self.events = events;
        Ok(())
    }

    /// Takes in what another partial has observed.
    ///
    /// # Errors
    /// `other` is of another kind, or the total would overflow; the partial is then unchanged.
    pub fn merge(&mut self, other: &Partial) -> Result<(), AggregateError> {
        self.expect(other.kind())?;
        let events = self
            .events
            .checked_add(other.events)
            .ok_or(AggregateError::Overflow)?;
        let non_numeric = self
            .non_numeric
            .checked_add(other.non_numeric)
            .ok_or(AggregateError::Overflow)?;
        self.state.merge(&other.state)?;
        (self.events, self.non_numeric) = (events, non_numeric);
        Ok(())
    }

    /// The billable quantity; zero when nothing was observed.
    #[must_use]
    pub fn value(&self) -> Quantity {
        match &self.state {
            State::Count => Quantity::from_u64(self.events),
            State::Sum(sum) => *sum,
            State::Max(extreme) | State::Min(extreme) => extreme.unwrap_or_default(),
            State::Last(last) => last.as_ref().map(|last| last.value).unwrap_or_default(),
            State::Unique(set) => Quantity::from_u64(set.len() as u64),
        }
    }

    /// Tells whether any event contributed, so that [`Partial::value`] is an observation and not a
    /// default.
    #[must_use]
    pub fn has_value(&self) -> bool {
        self.events > self.non_numeric
    }

    /// Bytes held beside the partial itself, roughly, for memory budgets.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match &self.state {
            State::Last(Some(last)) => last.event_id.capacity(),
            State::Unique(set) => set.heap_bytes(),
            _ => 0,
        }
    }

    fn expect(&self, found: AggregationKind) -> Result<(), AggregateError> {
        let expected = self.kind();
        if expected == found {
            Ok(())
        } else {
            Err(AggregateError::KindMismatch { expected, found })
        }
    }
}

impl State {
    /// Takes in the event's value; tells whether it had one. Changes nothing where it fails.
    fn observe(
        &mut self,
        aggregation: &Aggregation,
        event: &Event<'_>,
    ) -> Result<bool, AggregateError> {
        if matches!(self, State::Count) {
            return Ok(true);
        }
        let Some(value) = aggregation.key.as_deref().and_then(|key| event.get(key)) else {
            return Ok(false);
        };
        if let State::Unique(set) = self {
            set.insert(Fingerprint::of(value));
            return Ok(true);
        }
        let Some(number) = value.as_number() else {
            return Ok(false);
        };
        match self {
            State::Count | State::Unique(_) => {}
            State::Sum(total) => sum::add(total, number)?,
            State::Max(extreme) => extreme::raise(extreme, number),
            State::Min(extreme) => extreme::lower(extreme, number),
            State::Last(last) => last::observe(last, event, number),
        }
        Ok(true)
    }

    /// The kinds are known to be the same.
    fn merge(&mut self, other: &State) -> Result<(), AggregateError> {
        match (self, other) {
            (State::Sum(total), State::Sum(more)) => sum::add(total, *more)?,
            (State::Max(extreme), State::Max(Some(other))) => extreme::raise(extreme, *other),
            (State::Min(extreme), State::Min(Some(other))) => extreme::lower(extreme, *other),
            (State::Last(last), State::Last(Some(other))) => last::merge(last, other),
            (State::Unique(set), State::Unique(other)) => set.extend(other),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
