//! The merged usage of one customer, meter, group and window, with its sources.

use submeter_common::aggregate::{AggregateError, AggregationKind, Partial};
use submeter_common::id::AgentId;

use super::source::{self, Source};

/// A partial and where it came from. The events of the sources add up to the partial's, always.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The merged partial.
    pub partial: Partial,
    /// Who contributed, sorted by agent.
    pub sources: Vec<Source>,
}
