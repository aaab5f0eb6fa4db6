//! Forms that several resources share in their replies.

use serde::Serialize;
use submeter_common::id::AgentId;

pub(super) use crate::id::{BRAND_ID, BUSINESS_ID};
use crate::usage::Source;

/// A page of a list.
#[derive(Serialize)]
pub(super) struct Items<T> {
    items: Vec<T>,
}

impl<T> Items<T> {
    /// Wraps a page.
    pub(super) fn new(items: Vec<T>) -> Self {
        Self { items }
    }
}

impl<T> FromIterator<T> for Items<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self::new(items.into_iter().collect())
    }
}

/// Frames of an agent that contributed. The nil agent stands for agents beyond the number that is named one by one.
#[derive(Serialize)]
pub(super) struct SourceReply {
    agent_id: AgentId,
    first_seq: u64,
    last_seq: u64,
    events: u64,
}

impl From<Source> for SourceReply {
    fn from(source: Source) -> Self {
        Self {
            agent_id: source.agent_id,
            first_seq: source.first_seq,
            last_seq: source.last_seq,
            events: source.events,
        }
    }
}
