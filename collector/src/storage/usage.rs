//! Usage: frames in, totals out.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use submeter_common::aggregate::Group;
use submeter_common::id::{AgentId, CustomerId, Digest, MeterId};
use submeter_common::protocol::Frame;
use submeter_common::time::{Period, Timestamp};

use super::{Page, StorageError};
use crate::merge::FrameOutcome;
use crate::usage::{Granularity, GroupUsage, UsagePoint};

/// A decoded frame as it came in.
#[derive(Debug, Clone)]
pub struct IncomingFrame {
    /// The session's epoch, as the agent's register was answered.
    pub epoch: u64,
    /// The frame.
    pub frame: Frame,
    /// The digest over the frame's bytes.
    pub digest: Digest,
    /// When it came in.
    pub received_at: Timestamp,
}

/// A row that could not be merged into what is stored, set aside with the reason. Its usage is in no
/// total.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QuarantinedRow {
    /// Who sent it.
    pub agent_id: AgentId,
    /// In which frame.
    pub seq: u64,
    /// When it came in.
    pub received_at: Timestamp,
    /// Whose usage it is.
    pub customer_id: CustomerId,
    /// Of which meter.
    pub meter_id: MeterId,
    /// Start of the row's minute.
    pub window: Timestamp,
    /// The values of the meter's `group_by` keys.
    pub group: Group,
    /// Events the row carried.
    pub events: u64,
    /// Why it was set aside.
    pub reason: String,
}

/// Keeps usage by minute, hour and day.
#[async_trait]
pub trait UsageStore: Send + Sync + 'static {
    /// Applies a frame exactly once: its rows, the agent's position, watermark and receipts in one
    /// atomic durable write. Unknown customers and meters are kept like any other.
    async fn apply_frame(&self, frame: IncomingFrame) -> Result<FrameOutcome, StorageError>;

    /// Returns a meter's usage of a customer over a half-open period, one entry per group, sorted by
    /// group. Both edges are cut to the minute, the resolution of what is stored.
    async fn usage(
        &self,
        customer: &CustomerId,
        meter: &MeterId,
        period: Period,
    ) -> Result<Vec<GroupUsage>, StorageError>;

    /// Returns a meter's usage of a customer over a half-open period by minute, hour or day (UTC), the
    /// first and last cut to the period; up to `limit` points in order of time, then group.
    async fn series(
        &self,
        customer: &CustomerId,
        meter: &MeterId,
        period: Period,
        granularity: Granularity,
        limit: usize,
    ) -> Result<Vec<UsagePoint>, StorageError>;

    /// Lists rows that were set aside, newest first.
    async fn quarantined(&self, page: Page) -> Result<Vec<QuarantinedRow>, StorageError>;
}
