//! Turns rows into frames of bounded size, chained by digest.

use std::collections::{BTreeMap, HashSet};

use submeter_common::id::{AgentId, MeterId};
use submeter_common::limits::FRAME_HEADER_BYTES_MAX;
use submeter_common::protocol::{
    Frame, FrameHeader, Position, Reach, Receipts, Row, encode_frame, events_by_meter,
};
use submeter_common::time::Timestamp;

use crate::store::StoreError;
use crate::store::outbox::FrameMeta;

/// Bytes of rows in one frame before compression; the protocol's limits are far above.
const ROWS_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What a row takes besides its ids and its heap, roughly.
const ROW_BYTES: usize = 64;

/// Bytes of the header's list of meters, half of what the protocol allows for the whole header.
const METERS_BYTES_MAX: usize = FRAME_HEADER_BYTES_MAX / 2;
/// What a meter takes in that list besides its id.
const METER_BYTES: usize = 16;

/// What all frames of one seal have in common.
pub(super) struct Seal {
    pub(super) agent_id: AgentId,
    pub(super) epoch: u64,
    pub(super) at: Timestamp,
    pub(super) receipts: Receipts,
    /// Accepted events that the frames before this seal hold.
    pub(super) accepted_before: u64,
    /// The place of the frame before the next one.
    pub(super) position: Position,
    /// Events by meter in the frames frozen since they were last noted.
    pub(super) meter_events: BTreeMap<MeterId, u64>,
    /// The oldest and the newest journal record whose events this seal may hold.
    pub(super) oldest: u64,
    pub(super) record: u64,
    /// Whether a meter still lacks older records.
    pub(super) backfilling: bool,
}

/// What the last frame of a seal claims beyond the others.
#[derive(Copy, Clone)]
pub(super) struct Claim {
    pub(super) watermark: Timestamp,
    pub(super) farewell: bool,
    /// The catalog whose meters have counted everything accepted.
    pub(super) catalog_version: u64,
    /// Accepted events that all frames up to this one hold.
    pub(super) accepted: u64,
    /// Whether it is that last one.
    pub(super) whole: bool,
}

impl Seal {
    /// Freezes rows into the next frame.
    pub(super) fn freeze(
        &mut self,
        rows: Vec<Row>,
        claim: Claim,
    ) -> Result<(FrameMeta, Vec<u8>), StoreError> {
        let failed = |error| StoreError::Failed(format!("a frame cannot be sealed: {error}"));
        let previous = self.position;
        let header = FrameHeader {
            agent_id: self.agent_id,
            epoch: self.epoch,
            seq: previous.seq + 1,
            previous: previous.digest,
            sealed_at: self.at,
            watermark: claim.watermark,
            farewell: claim.farewell,
            catalog_version: claim.catalog_version,
            receipts: self.receipts.clone(),
            reach: Reach {
                record: self.record,
                whole: claim.whole,
                backfilling: self.backfilling,
            },
            meter_events: events_by_meter(&rows).map_err(failed)?,
        };
        if !header.receipts.is_conserved() {
            return Err(StoreError::Failed(format!(
                "receipts are not conserved: {:?}",
                header.receipts
            )));
        }
        for (meter, events) in &header.meter_events {
            *self.meter_events.entry(meter.clone()).or_default() += events;
        }
        let (seq, row_count) = (header.seq, rows.len() as u64);
        let (bytes, digest) = encode_frame(&Frame { header, rows }).map_err(failed)?;
        self.position = Position { seq, digest };
        let meta = FrameMeta {
            seq,
            digest,
            previous: previous.digest,
            sealed_at: self.at,
            bytes: bytes.len() as u64,
            rows: row_count,
            accepted: claim.accepted,
            accepted_before: self.accepted_before,
            oldest: self.oldest,
            record: self.record,
        };
        Ok((meta, bytes))
    }
}

/// Gathers rows until a frame is full.
pub(super) struct Rows {
    rows: Vec<Row>,
    bytes: usize,
    /// The meters among the rows, which the header lists, and the bytes that takes.
    meters: HashSet<MeterId>,
    header_bytes: usize,
    part: u16,
    rows_max: usize,
}

impl Rows {
    pub(super) fn new(rows_max: usize) -> Self {
        Self {
            rows: Vec::new(),
            bytes: 0,
            meters: HashSet::new(),
            header_bytes: 0,
            part: 0,
            rows_max,
        }
    }

    /// Adds a row; answers the rows of a full frame, to be frozen before it.
    ///
    /// Parts of one key never share a frame, because a frame's rows are unique by key; rows come sorted by part.
    pub(super) fn add(&mut self, part: u16, row: Row) -> Option<Vec<Row>> {
        let size = ROW_BYTES
            + row.customer_id.as_str().len()
            + row.meter_id.as_str().len()
            + row.group.heap_bytes()
            + row.partial.heap_bytes();
        let full = !self.rows.is_empty()
            && (self.rows.len() >= self.rows_max
                || self.bytes.saturating_add(size) > ROWS_BYTES_MAX
                || self.header_bytes > METERS_BYTES_MAX
                || self.part != part);
        let frame = full.then(|| self.take());
        self.part = part;
        self.bytes += size;
        if !self.meters.contains(&row.meter_id) {
            self.header_bytes += METER_BYTES + row.meter_id.as_str().len();
            self.meters.insert(row.meter_id.clone());
        }
        self.rows.push(row);
        frame
    }

    /// The rows gathered since the last full frame.
    pub(super) fn take(&mut self) -> Vec<Row> {
        (self.bytes, self.header_bytes) = (0, 0);
        self.meters.clear();
        std::mem::take(&mut self.rows)
    }
}
